#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How the program ends when it cannot: the exit code, one sentence, and an event stream whose last line tells; nothing of a killed process stays behind."""
import json
import os
import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from common import CLI, DEMO, Worker, call, check, finish, poems, run_file, write_rows


def said(process):
    """The one object that every failure ends with."""
    lines = process.stderr.strip().splitlines()
    try:
        failed = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return failed if failed.get("type") == "failed" and failed.get("message") else {}


def peak_seconds(before):
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime


MODEL = DEMO / "story-2m"
with tempfile.TemporaryDirectory() as base:
    base = Path(base)
    config = run_file(base / "run", rows=poems()[:40], train=dict(max_steps=3, eval_every=0, batch_size=2))
    for seed in (1, 2):
        call("train", config, "--workspace", base / "w", "--set", f"train.seed={seed}", "--run-id", f"seed-{seed}")

    write_rows(base / "few.jsonl", poems()[:3])

    # Standard output on a full disk.
    printing = [["methods"], ["methods", "lora"], ["methods", "--json"], ["devices"], ["models", MODEL.parent], ["inspect", MODEL], ["data", DEMO / "poems.jsonl"], ["data", config], ["estimate", config],
                ["tokenize", MODEL, "--text", "a"], ["generate", MODEL, "--prompt", "a", "--max-new-tokens", "2"], ["eval", MODEL, "--data", base / "few.jsonl"], ["--help"], ["--version"], ["train", "--help"],
                ["runs", "list", "--workspace", base / "w"], ["runs", "show", "seed-1", "--workspace", base / "w"], ["runs", "verify", "seed-1", "--workspace", base / "w"],
                ["runs", "compare", "seed-1", "seed-2", "--workspace", base / "w"], ["runs", "report", "seed-1", "seed-2", "--workspace", base / "w"], ["train", config, "--workspace", base / "full"]]
    for arguments in printing:
        with open("/dev/full", "w") as full:
            process = subprocess.run([CLI, *map(str, arguments)], stdout=full, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        told = said(process)
        check(f"{' '.join(map(str, arguments[:2]))} on a full disk: exit 1 and a sentence", process.returncode == 1 and told.get("code") == "output_not_written", (process.returncode, process.stderr[-300:]))

    # The event log.
    workspace = base / "log"
    folder = workspace / "runs" / "blocked"
    process = call("train", config, "--workspace", workspace, "--events", "/nowhere/events.jsonl")
    check("a file for the events that cannot be opened is bad usage", process.returncode == 2 and said(process).get("field") == "--events", process.stderr[-300:])
    good = call("train", config, "--workspace", workspace, "--run-id", "whole")
    (workspace / "runs" / "whole" / "summary.json").unlink()
    shutil.rmtree(workspace / "runs" / "whole" / "adapter")
    log = workspace / "runs" / "whole" / "events.jsonl"
    log.unlink()
    log.mkdir()
    process = call("train", "--resume", "whole", "--workspace", workspace)
    check("an event log that cannot be opened: exit 1", good.returncode == 0 and process.returncode == 1 and "events.jsonl" in said(process).get("message", ""), (process.returncode, process.stderr[-300:]))

    # The stream always has an end.
    (base / "broken.json").write_text('{"model": ')
    (base / "wrong.json").write_text(json.dumps({"model": {"path": str(MODEL)}, "method": {"type": "lora", "r": -1}, "data": {"train": {"path": "x.jsonl"}}}))
    (base / "file").write_text("")
    streams = {"no RUN.json": [base / "nowhere.json"], "a RUN.json that is no JSON": [base / "broken.json"], "a RUN.json with a bad setting": [base / "wrong.json"], "--set that is no setting": [config, "--set", "train.stepz=5"],
               "--set without a value": [config, "--set", "train.seed"], "a workspace that is a file": [config, "--workspace", base / "file"], "--resume of no run": ["--resume", "nobody", "--workspace", base / "w"],
               "data that are not there": [config, "--set", 'data.train.path="gone.jsonl"', "--workspace", base / "w2"], "no RUN.json at all": []}
    for name, arguments in streams.items():
        process = call("train", *arguments, "--events", "-", timeout=120)
        lines = process.stdout.splitlines()
        try:
            last = json.loads(lines[-1]) if lines else {}
        except ValueError:
            last = {}
        check(f"the stream of {name} ends with `failed`", last.get("type") == "failed" and last.get("code") and last.get("message") and process.returncode in (1, 2, 3), (process.returncode, lines[-1:], process.stderr[-200:]))

    # Words of commands.
    process = call("trane")
    check("a command with a typing error: the nearest is named", process.returncode == 2 and "train" in said(process).get("hint", "") and "trane" in said(process).get("message", ""), process.stderr)
    process = call("tokenize", MODEL)
    check("tokenize without text: exit 2", process.returncode == 2 and "--text" in said(process).get("hint", ""), (process.returncode, process.stderr))
    check("tokenize of the empty text: exit 0", call("tokenize", MODEL, "--text", "").returncode == 0)

    for weight in ("1e300", "-1e30"):
        process = call("generate", MODEL, "--prompt", "a", "--max-new-tokens", "2", "--adapter", f"{base / 'w' / 'runs' / 'seed-1' / 'adapter'}:{weight}")
        check(f"an adapter's weight of {weight} is out of range", process.returncode == 2 and said(process).get("code") == "out_of_range", (process.returncode, process.stderr[-300:]))

    # Nesting.
    for name, text in {"brackets": "[" * 200_000, "braces": "{" * 200_000, "keys and brackets": "{a: [" * 40_000, "dashes": "- " * 100_000, "brackets behind an apostrophe in a comment": "# it's: 'so\n" + "[" * 200_000,
                       "brackets behind a quote in a block of text": 'a: |\n  say: "\n  x\nb: ' + "[" * 200_000}.items():
        (base / "deep.yaml").write_text(text)
        before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        process = call("import", base / "deep.yaml", "--out", base / "RUN.json", timeout=60)
        seconds = peak_seconds(before)
        check(f"200 KB of YAML {name}: an error, not a search that grows with its square", process.returncode in (2, 3) and said(process) and seconds < 12, (process.returncode, f"{seconds:.1f} s", process.stderr[-200:]))

    # Reports.
    runs = json.loads(call("runs", "report", "seed-1", "seed-2", "--workspace", base / "w", "--json").stdout)
    check("runs that differ in their seed are one row", len(runs["rows"]) == 1, runs)
    call("train", config, "--workspace", base / "w", "--set", "train.seed=1", "--set", 'name="other"', "--run-id", "seed-1-again")
    call("train", config, "--workspace", base / "w", "--set", "train.seed=3", "--set", "train.learning_rate=0.0007", "--run-id", "other-rate")
    report = lambda *ids: json.loads(call("runs", "report", *ids, "--workspace", base / "w", "--json").stdout)["rows"]
    check("runs with the same seed and other names are rows of their own", len(report("seed-1", "seed-1-again")) == 2)
    check("runs with another setting too", len(report("seed-1", "other-rate")) == 2 and len(report("seed-1", "seed-2", "other-rate")) == 2)

    # Sockets of killed processes.
    runtime = base / "runtime"
    runtime.mkdir(mode=0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    worker = Worker(config, "--workspace", base / "killed", "--set", "train.max_steps=1000")
    worker.until(lambda event: event["type"] == "step")
    sockets = lambda: sorted(path.name for path in (runtime / "luthier").glob("*.sock"))
    first = sockets()
    alive = Worker(config, "--workspace", base / "alive", "--set", "train.max_steps=100000")
    alive.until(lambda event: event["type"] == "step")
    worker.process.kill()
    worker.process.wait()
    left = sockets()
    call("train", config, "--workspace", base / "next")
    check("the socket of a killed process is gone after the next start, a living one's stays", len(first) == 1 and first[0] in left and len(left) == 2 and sockets() == [name for name in left if name not in first], (first, left, sockets()))
    alive.process.kill()
    alive.process.wait()
finish()
