#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 at random moments: what a run has saved stays whole, and a run that is resumed as often as it is killed ends with the bytes of one that never was.

    kills.py [--kills 24] [--seed 1]     all methods but BitFit (the demo's model has no biases); the seed is printed and replays the moments"""
import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cli"))
from common import CLI, call, check, finish, poems, run_file  # noqa: E402

STEPS = 10


def is_whole(folder):
    files = json.loads((folder / "MANIFEST.json").read_text())["files"]
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()} - {"MANIFEST.json"} == set(files) and all(
        hashlib.sha256((folder / name).read_bytes()).hexdigest() == facts["sha256"] for name, facts in files.items())


def result(run):
    return {str(file.relative_to(run)): file.read_bytes() for part in ("adapter", "model") for file in sorted((run / part).glob("*.safetensors"))}


def events_of(run):
    return [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines() if line.strip()] if (run / "events.jsonl").exists() else []


def one(method, base, kills, coin):
    """Kills and resumes until `kills` are spent, then lets it end. Returns (moments, what was wrong)."""
    config = run_file(base / "run", rows=poems()[:24], eval_rows=4, method=dict(type=method), train=dict(max_steps=STEPS, save_every=2, eval_every=5, batch_size=2, keep_checkpoints=2))
    workspace = base / "w"
    begun = time.monotonic()
    straight = subprocess.run([CLI, "train", config, "--workspace", base / "straight", "--run-id", "one", "--quiet"], capture_output=True, text=True)
    seconds = time.monotonic() - begun
    wanted = result(base / "straight" / "runs" / "one")
    if straight.returncode != 0 or not wanted:
        return [], [f"the run without an accident ended with {straight.returncode}: {straight.stderr[-300:]}"]
    run, moments, wrong = workspace / "runs" / "one", [], []
    straight_losses = {event["step"]: event["loss"] for event in events_of(base / "straight" / "runs" / "one") if event["type"] == "step"}
    while True:
        is_new = not (run / "run.json").exists()
        if is_new and run.exists():
            # Killed before its first file: nothing to resume, the id is taken.
            call("runs", "delete", "one", "--yes", "--workspace", workspace)
            subprocess.run(["rm", "-rf", str(run)], check=True)
        words = ["train", config, "--run-id", "one"] if is_new else ["train", "--resume", "one"]
        process = subprocess.Popen([CLI, *map(str, words), "--workspace", str(workspace), "--quiet"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if len(moments) < kills:
            moment = coin.uniform(0.02, seconds * 1.05)
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                process.kill()
                moments.append(round(moment, 3))
        out, errors = process.communicate()
        for checkpoint in (run / "checkpoints").glob("step-*"):
            if not is_whole(checkpoint):
                wrong.append(f"after {moments}: {checkpoint.name} is not whole")
        if process.returncode == 0:
            if len(moments) >= kills or not kills:
                break
            # It was quicker than its moment: begin again with the kills that are left.
            if result(run) != wanted:
                wrong.append(f"after {moments}: another result")
            subprocess.run(["rm", "-rf", str(workspace)], check=True)
        elif process.returncode != -9:
            wrong.append(f"after {moments}: ended with {process.returncode}: {errors[-300:]}")
            break
    if result(run) != wanted:
        wrong.append(f"after {moments}: the result differs from that of a run without an accident")
    losses = {event["step"]: event["loss"] for event in events_of(run) if event["type"] == "step"}
    if losses != straight_losses:
        wrong.append(f"after {moments}: the log's losses differ")
    if any(file.name.startswith(".") for file in (run / "checkpoints").iterdir()):
        wrong.append(f"after {moments}: leftovers in checkpoints")
    return moments, wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    os.environ["LUTHIER_DEVICE"] = "cpu"
    methods = [method["name"] for method in json.loads(call("methods", "--json").stdout)["methods"]]
    methods.remove("bitfit")  # the demo's model has no biases
    coin, total = random.Random(options.seed), 0
    print(f"seed {options.seed}, {len(methods)} methods", flush=True)
    for number, method in enumerate(methods):
        share = options.kills // len(methods) + (number < options.kills % len(methods))
        with tempfile.TemporaryDirectory(prefix="luthier-kills-") as base:
            moments, wrong = one(method, Path(base), share, coin)
        total += len(moments)
        check(f"{method}: {len(moments)} kills, then the same bytes", not wrong, wrong)
    check(f"{total} kills in all", total >= options.kills, total)
    finish()


main()
