#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A full disk pauses a run and loses nothing: a file of its own size as the disk (a loop mount) where that is allowed, else the test is skipped."""
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from common import Worker, check, finish, poems, results, run_file


def mounted(folder, megabytes):
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], capture_output=True)
    return done.returncode == 0


with tempfile.TemporaryDirectory() as base:
    base = Path(base)
    if os.geteuid() != 0 or not mounted(base / "disk", 16):
        print("skipped: making a small disk needs root and the right to mount")
        sys.exit(77)
    try:
        config = run_file(base / "run", rows=poems()[:60], method=dict(type="full"), train=dict(max_steps=6, save_every=2, eval_every=0, batch_size=2, keep_checkpoints=1))
        straight = Worker(config, "--workspace", base / "straight")
        straight.end()
        ballast = base / "disk" / "ballast"
        ballast.write_bytes(bytes(shutil.disk_usage(base / "disk").free - (1 << 20)))
        worker = Worker(config, "--workspace", base / "disk" / "w")
        paused = worker.until(lambda e: e["type"] == "paused")
        check("no room for a checkpoint pauses the run", paused is not None and paused["reason"] == "disk_full" and paused["needed_bytes"] > 0, worker.events[-1])
        subprocess.run(["mount", "-o", "remount,size=256m", str(base / "disk")], check=True)
        worker.send("resume")
        check("room and a word: it goes on", worker.until(lambda e: e["type"] == "resumed") is not None)
        code = worker.end()
        run = worker.events[0]["run"]
        steps = [event["step"] for event in worker.events if event["type"] == "step"]
        check("to its end, every step once", code == 0 and steps == list(range(1, 7)), (code, steps, worker.events[-1]))
        model = lambda workspace, name: (workspace / "runs" / name / "model" / "model.safetensors").read_bytes()
        check("bit for bit what it is with room", model(base / "disk" / "w", run) == model(base / "straight", straight.events[0]["run"]))
        lines = (base / "disk" / "w" / "runs" / run / "events.jsonl").read_text().splitlines()
        check("no event is lost", len(lines) == len(worker.events), (len(lines), len(worker.events)))
    finally:
        subprocess.run(["umount", str(base / "disk")])
finish()
