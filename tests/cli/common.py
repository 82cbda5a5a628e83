# SPDX-License-Identifier: Apache-2.0
"""What the scripts of this folder share: checks that are counted, the program as a process, and runs of the demo."""
import json
import os
import subprocess
import sys
from pathlib import Path

CLI = os.environ.get("LUTHIER_CLI", "luthier-cli")
DEMO = Path(__file__).resolve().parents[2] / "resources" / "demo"
_counts = {"passed": 0, "failed": 0}


def check(name, passed, figure=""):
    _counts["passed" if passed else "failed"] += 1
    print(f"{'ok  ' if passed else 'FAIL'} {name}{' ' + str(figure) if figure != '' and not passed else ''}", flush=True)


def finish():
    print(f"{_counts['passed']} passed, {_counts['failed']} failed")
    sys.exit(1 if _counts["failed"] else 0)


def call(*arguments, **options):
    return subprocess.run([CLI, *map(str, arguments)], capture_output=True, text=True, stdin=subprocess.DEVNULL, **options)


def poems():
    return [json.loads(line) for line in (DEMO / "poems.jsonl").read_text().splitlines()]


def write_rows(path, rows):
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))


def run_file(folder, eval_rows=None, train=(), data=(), method=None, model=DEMO / "story-2m", rows=None):
    """Writes run.json with the demo's model, poems as training rows and, if given, so many of them again as evaluation rows."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    all_rows = poems() if rows is None else rows
    write_rows(folder / "train.jsonl", all_rows)
    evaluation = {"split": 0}
    if eval_rows:
        write_rows(folder / "eval.jsonl", [all_rows[i % len(all_rows)] for i in range(eval_rows)])
        evaluation = {"path": "eval.jsonl"}
    evaluation.update(dict(data).pop("eval", {}))
    config = dict(name="test", model=dict(path=str(model), dtype="float32"), method=method or dict(type="lora", r=4),
                  data=dict(train=dict(path="train.jsonl"), max_length=128, **{key: value for key, value in dict(data).items() if key != "eval"}, eval=evaluation),
                  train=dict(dict(max_steps=6, batch_size=4, learning_rate=1e-3, save_every=0, sample_prompts=[]), **dict(train)))
    (folder / "run.json").write_text(json.dumps(config))
    return folder / "run.json"


class Worker:
    """`train --events -`, its events one after another."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([CLI, "train", *map(str, arguments), "--events", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.events = []

    def next(self):
        line = self.process.stdout.readline()
        if not line:
            return None
        self.events.append(json.loads(line))
        return self.events[-1]

    def until(self, wanted):
        while (event := self.next()) is not None:
            if wanted(event):
                return event
        return None

    def send(self, command, **more):
        self.process.stdin.write(json.dumps(dict(command=command, **more)) + "\n")
        self.process.stdin.flush()

    def end(self):
        self.until(lambda event: False)
        self.process.stdin.close()
        return self.process.wait()


def results(workspace, run):
    folder = Path(workspace) / "runs" / run
    return [(file.name, file.read_bytes()) for file in sorted(folder.glob("adapter/*.safetensors"))]
