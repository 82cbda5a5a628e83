#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A full disk pauses a run and loses nothing, wherever in the run it fills up. Disks are mounts in memory; where mounting is not allowed the test is skipped.

    disk.py [--sizes 30]     so many sizes of disk; else a few"""
import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from common import Worker, check, finish, poems, run_file


def mounted(folder, kilobytes):
    folder.mkdir(exist_ok=True)
    return subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)], capture_output=True).returncode == 0


def unmount(folder):
    subprocess.run(["umount", str(folder)])


def model_of(workspace, name):
    return (workspace / "runs" / name / "model" / "model.safetensors").read_bytes()


def pauses_and_goes_on(base, config, free_kilobytes, wanted):
    """(how it went: paused or not, what was wrong). The disk has so many kilobytes for the run; at each pause it is made larger."""
    disk = base / "disk"
    mounted(disk, free_kilobytes)
    try:
        worker, size, pauses = Worker(config, "--workspace", disk / "w", "--run-id", "one"), free_kilobytes, 0
        while (event := worker.next()) is not None:
            if event["type"] == "paused":
                if event["reason"] != "disk_full" or event["needed_bytes"] <= 0:
                    return pauses, f"paused with {event}"
                pauses += 1
                # Not enough, then enough.
                size += 2048 if pauses == 1 else 1 << 18
                subprocess.run(["mount", "-o", f"remount,size={size}k", str(disk)], check=True)
                worker.send("resume")
        code = worker.end()
        last = worker.events[-1] if worker.events else {}
        if code != 0 and not any(event["type"] == "step" for event in worker.events):
            said = last or {}
            return -1, "" if said.get("type") == "failed" and said.get("code") == "disk_full" else f"ended with {code}: {last} {worker.process.stderr.read()[-300:]}"
        steps = [event["step"] for event in worker.events if event["type"] == "step"]
        if code != 0 or steps != list(range(1, 7)):
            return pauses, f"ended with {code} after steps {steps}: {last}"
        if model_of(disk / "w", "one") != wanted:
            return pauses, "another result"
        lines = (disk / "w" / "runs" / "one" / "events.jsonl").read_text().splitlines()
        return pauses, "" if len(lines) == len(worker.events) else f"{len(lines)} lines in the log for {len(worker.events)} events"
    finally:
        unmount(disk)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, default=4)
    sizes = parser.parse_args().sizes
    with tempfile.TemporaryDirectory() as base:
        base = Path(base)
        if os.geteuid() != 0 or not mounted(base / "disk", 1024):
            print("skipped: making a small disk needs root and the right to mount")
            sys.exit(77)
        unmount(base / "disk")
        config = run_file(base / "run", rows=poems()[:60], method=dict(type="full"), train=dict(max_steps=6, save_every=2, eval_every=0, batch_size=2, keep_checkpoints=1))
        straight = Worker(config, "--workspace", base / "straight", "--run-id", "one")
        straight.end()
        wanted = model_of(base / "straight", "one")
        ends = []
        for number in range(sizes):
            # From too small for anything to room for all of it (a full checkpoint of this model has 27 MB).
            free = round(64 * (1600 ** (number / (sizes - 1))))
            paused, wrong = pauses_and_goes_on(base, config, free, wanted)
            ends.append(paused)
            check(f"a disk of {free} kB: {'refused' if paused < 0 else f'{paused} pauses'}, nothing lost", not wrong, wrong)
        check("some disks filled up in the run, some were large enough", any(paused > 0 for paused in ends) and 0 in ends, ends)
    finish()


main()
