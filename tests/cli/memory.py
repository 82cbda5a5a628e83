#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Under every limit of address space a command ends by itself: done, or exit 4 with one `failed` object; never by a signal.

    memory.py [--limits 30]     so many limits from 400 MB to 1.2 GB for each command; else a few"""
import argparse
import json
import resource
import subprocess
import tempfile
from pathlib import Path

from common import CLI, DEMO, check, finish, poems, run_file

MEGABYTE = 1 << 20


def limited(megabytes, *arguments):
    done = subprocess.run([CLI, *map(str, arguments)], capture_output=True, text=True, stdin=subprocess.DEVNULL, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (megabytes * MEGABYTE,) * 2))
    failed = []
    for line in done.stderr.splitlines():
        try:
            failed.append(json.loads(line))
        except ValueError:
            pass
    return done, [each for each in failed if isinstance(each, dict) and each.get("type") == "failed"]


parser = argparse.ArgumentParser()
parser.add_argument("--limits", type=int, default=0)
many = parser.parse_args().limits
with tempfile.TemporaryDirectory() as base:
    base = Path(base)
    trained = run_file(base / "trained", rows=poems()[:20], method=dict(type="lora", r=2), train=dict(max_steps=1))
    subprocess.run([CLI, "train", trained, "--workspace", base / "made", "--run-id", "one", "--quiet"], check=True, capture_output=True)
    adapter = base / "made" / "runs" / "one"
    config = run_file(base / "run", rows=poems(), eval_rows=40, method=dict(type="full"), train=dict(max_steps=2, batch_size=256, eval_every=1), data=dict(eval=dict(max_rows=None)))
    commands = {"inspect": lambda n: ("inspect", DEMO / "story-2m"), "train": lambda n: ("train", config, "--workspace", base / f"w{n}"),
                "data": lambda n: ("data", config), "generate": lambda n: ("generate", DEMO / "story-2m", "--prompt", "Once", "--max-new-tokens", 4),
                "eval": lambda n: ("eval", DEMO / "story-2m", "--adapter", adapter / "adapter", "--data", base / "run" / "train.jsonl"),
                "export": lambda n: ("export", adapter, "--format", "gguf-merged", "--out", base / f"export-{n}.gguf")}
    ends = {}
    for name, words in commands.items():
        wrong = []
        limits = [400 + 800 * i // (many - 1) for i in range(many)] if many else range(380, 1300, 230 if name != "train" else 115)
        for megabytes in limits:
            done, failed = limited(megabytes, *words(megabytes))
            ends[name, megabytes] = done.returncode
            # Below what the loader needs for the libraries themselves no program of ours runs yet: the loader says so, with 127.
            isRight = done.returncode == 0 and not failed or done.returncode == 4 and len(failed) == 1 and failed[0]["code"] == "out_of_memory" or done.returncode == 127 and "error while loading shared libraries" in done.stderr
            if not isRight:
                wrong.append((megabytes, done.returncode, done.stderr[-200:]))
        check(f"{name} under every limit: done, or exit 4 with one failed object", not wrong, wrong)
    check("some limits were too small and some large enough", 4 in ends.values() and 0 in ends.values(), ends)
    for folder in base.glob("w*/runs/*"):
        events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()] if (folder / "events.jsonl").exists() else []
        if events and events[-1]["type"] not in ("finished", "failed"):
            check("the log of every run ends with what happened", False, (folder, events[-1]))
finish()
