# SPDX-License-Identifier: Apache-2.0
"""compare-methods on the demo: what its table says is what the run folders say; runs that are there are taken over; the same time for all; Ctrl+C."""
import json
import signal
import subprocess
import time
from pathlib import Path

from common import CLI, check, engine, finish, temporary

DEMO = Path(__file__).resolve().parents[2] / "resources/demo"


def called(workspace, *more):
    return subprocess.run([CLI, "compare-methods", str(DEMO / "poems-lora.json"), "--workspace", str(workspace), "--group", "g", *map(str, more)], capture_output=True, text=True)


def compare(workspace, *more):
    return json.loads(called(workspace, "--json", *more).stdout)


with temporary() as base:
    base = Path(base)
    few = ["--set", "train.batch_size=2", "--set", "data.max_length=64", "--set", "data.eval.split=0.02"]
    report = compare(base, "--methods", "lora,ia3,bitfit", "--steps", 4, "--rate-tries", 3, "--with", "lora.r=2", "--out", base / "r.html", *few)
    check("one row a method", sorted(row["method"] for row in report["rows"]) == ["ia3", "lora"])
    check("what cannot run is named", any(line.startswith("bitfit: ") for line in report["failed"]), str(report["failed"]))
    runs = json.loads(engine("runs", "list", "--workspace", base, "--json"))["runs"]
    check("three rates each", len(runs) == 6, str(len(runs)))
    for row in report["rows"]:
        own = [run for run in runs if run["method"] == row["method"]]
        check(f"the best rate's loss ({row['method']})", row["best_eval_loss"] == min(run["best_eval_loss"] for run in own))
        check(f"its parameters and file ({row['method']})", (row["trainable"], row["file_bytes"]) == (own[0]["trainable"], own[0]["adapter_bytes"]))
    page = (base / "r.html").read_text()
    check("the page holds table and picture", "<svg" in page and page.count("<tr>") == 3)

    words = called(base, "--methods", "lora", "--steps", 4, "--rate-tries", 3, "--with", "lora.r=2", *few).stderr
    check("runs that are there are taken over", words.count("taken from") == 3, words)

    report = compare(base / "timed", "--methods", "lora,ia3", "--seconds", 1, *few)
    check("the same time for all", all(row["steps"] >= 1 and row["train_seconds"] < 10 for row in report["rows"]), str([(row["steps"], row["train_seconds"]) for row in report["rows"]]))

    worker = subprocess.Popen([CLI, "train", str(DEMO / "poems-lora.json"), "--workspace", str(base / "stopped"), "--set", "train.max_steps=100000"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.time() + 60
    while time.time() < deadline and not any('"type":"step"' in log.read_text() for log in (base / "stopped").glob("runs/*/events.jsonl")):
        time.sleep(0.2)
    worker.send_signal(signal.SIGINT)
    code = worker.wait(60)
    run = json.loads(engine("runs", "list", "--workspace", base / "stopped", "--json"))["runs"][0]
    check("Ctrl+C checkpoints and stops", code == 5 and run["status"] == "stopped" and any(Path(run["folder"]).glob("checkpoints/step-*")), f"exit {code}, {run['status']}")
finish()
