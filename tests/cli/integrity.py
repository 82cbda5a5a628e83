#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A run that goes on is the run that began: damage at rest is seen and stepped over, changed inputs and settings are named, leftovers go, and a finished run stays
as it is."""
import hashlib
import json
import shutil
import tempfile
from pathlib import Path

from common import DEMO, Worker, call, check, finish, poems, results, run_file, write_rows

STEPS = 8


def manifest_is_right(folder):
    files = json.loads((folder / "MANIFEST.json").read_text())["files"]
    there = {str(file.relative_to(folder)): file for file in folder.rglob("*") if file.is_file() and file.name != "MANIFEST.json"}
    return set(files) == set(there) and all(facts == dict(bytes=there[name].stat().st_size, sha256=hashlib.sha256(there[name].read_bytes()).hexdigest()) for name, facts in files.items())


def stopped(config, workspace, step=6):
    worker = Worker(config, "--workspace", workspace)
    run = worker.until(lambda e: e["type"] == "step" and e["step"] == step)["run"]
    worker.send("stop")
    worker.end()
    return run, Path(workspace) / "runs" / run


def resumed(workspace, run, *more):
    worker = Worker("--resume", run, "--workspace", workspace, *more)
    code = worker.end()
    return code, worker.events, worker.process.stderr.read()


def warnings(events):
    return {event["code"]: event["message"] + " " + event["hint"] for event in events if event["type"] == "warning"}


def steps(events):
    return [event["step"] for event in events if event["type"] == "step"]


def flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) * 2 // 3] ^= 4
    file.write_bytes(data)


with tempfile.TemporaryDirectory() as base:
    base = Path(base)
    config = run_file(base / "run", rows=poems()[:60], train=dict(max_steps=STEPS, save_every=2, eval_every=0, batch_size=2, learning_rate=1e-3))
    straight = Worker(config, "--workspace", base / "straight")
    code = straight.end()
    whole_run = straight.events[0]["run"]
    folder = base / "straight" / "runs" / whole_run
    check("checkpoints and result have manifests that are right", code == 0 and all(manifest_is_right(each) for each in [*(folder / "checkpoints").iterdir(), folder / "adapter"]))
    inputs = json.loads((folder / "run.json").read_text())["inputs"]
    check("every input is hashed", {Path(name).name for name in inputs} >= {"config.json", "model.safetensors", "tokenizer.json", "train.jsonl"}, list(inputs))
    check("runs verify finds it whole", call("runs", "verify", whole_run, "--workspace", base / "straight").returncode == 0)
    worker = Worker(config, "--workspace", base / "early")
    early = worker.until(lambda e: e["type"] == "step")["run"]
    check("hashes stand in run.json before the first step", "inputs" in json.loads((base / "early" / "runs" / early / "run.json").read_text()))
    worker.process.kill()
    worker.process.wait()

    # --- damage
    for kind, harm in {"a flipped bit": lambda f: flip(f / "state.safetensors"), "a file cut short": lambda f: (f / "state.safetensors").write_bytes((f / "state.safetensors").read_bytes()[:-100]),
                       "a missing file": lambda f: (f / "state.json").unlink(), "a manifest that is no JSON": lambda f: (f / "MANIFEST.json").write_text("{"),
                       "state.json changed": lambda f: (f / "state.json").write_text((f / "state.json").read_text().replace('"step": 6', '"step": 7'))}.items():
        workspace = base / kind.replace(" ", "-")
        run, folder = stopped(config, workspace)
        newest = max((folder / "checkpoints").iterdir())
        step = int(newest.name.split("-")[1])
        harm(newest)
        verified = call("runs", "verify", run, "--workspace", workspace)
        check(f"{kind}: runs verify names the checkpoint", verified.returncode == 3 and newest.name in verified.stderr, verified.stderr)
        code, events, _ = resumed(workspace, run)
        said = warnings(events).get("checkpoint_damaged", "")
        older = steps(events)[0] - 1 if steps(events) else None
        check(f"{kind}: the run goes on from the one before, and says so", code == 0 and newest.name in said and older is not None and older < step, (code, said, older))
        check(f"{kind}: and ends bit for bit like one that was not damaged", results(workspace, run) == results(base / "straight", whole_run) != [])
    run, folder = stopped(config, base / "none-whole")
    for checkpoint in (folder / "checkpoints").iterdir():
        flip(checkpoint / "state.safetensors")
    code, events, err = resumed(base / "none-whole", run)
    check("no whole checkpoint: nothing is trained", code == 3 and not steps(events) and events[-1]["type"] == "failed", (code, events[-1]))

    # --- leftovers
    run, folder = stopped(config, base / "leftovers")
    for name in (".step-000099.tmp-abcd", ".step-000001.removed"):
        (folder / "checkpoints" / name).mkdir()
        (folder / "checkpoints" / name / "state.safetensors").write_bytes(b"x" * 1000)
    (folder / "checkpoints" / "step-9999999999999999999").mkdir()
    code, _, err = resumed(base / "leftovers", run)
    check("what a killed process left is removed at the next start", code == 0 and not [f for f in (folder / "checkpoints").iterdir() if f.name.startswith(".")], (code, err))

    # --- inputs
    run, folder = stopped(config, base / "inputs")
    rows = poems()[:60]
    write_rows(base / "run" / "train.jsonl", rows[:-1] + [dict(rows[-1], completion="other")])
    code, events, err = resumed(base / "inputs", run)
    check("changed rows are named and refused", code == 3 and events[-1]["code"] == "inputs_changed" and "train.jsonl" in events[-1]["message"] and not steps(events), events[-1])
    code, events, _ = resumed(base / "inputs", run, "--accept-changed-inputs")
    check("unless told, with a warning", code == 0 and "train.jsonl" in warnings(events).get("inputs_changed", "") and steps(events)[-1] == STEPS, warnings(events))
    write_rows(base / "run" / "train.jsonl", rows)
    shutil.copytree(DEMO / "story-2m", base / "model")
    own = run_file(base / "own", rows=rows, model=base / "model", train=dict(max_steps=STEPS, save_every=2, eval_every=0, batch_size=2))
    run, _ = stopped(own, base / "model-changed")
    flip(base / "model" / "model.safetensors")
    code, events, _ = resumed(base / "model-changed", run)
    check("changed weights are named", code == 3 and "model.safetensors" in events[-1]["message"], events[-1])

    # --- settings
    run, _ = stopped(config, base / "settings")
    for setting, key in (("train.optimizer=sgd", "train.optimizer"), ("method.r=2", "method.r"), ("train.seed=1", "train.seed"), ("data.max_length=64", "data.max_length"), ("train.batch_size=4", "train.batch_size")):
        done = call("train", "--resume", run, "--workspace", base / "settings", "--set", setting)
        check(f"{setting} on resume is refused by its key", done.returncode == 2 and "not_resumable_setting" in done.stderr and key in done.stderr, done.stderr)
    code, events, _ = resumed(base / "settings", run, "--set", "train.learning_rate=0.01", "--set", "train.max_steps=10", "--set", "train.seed=42")
    rates = {event["step"]: event["learning_rate"] for event in events if event["type"] == "step"}
    check("another rate and another end are used", code == 0 and max(rates) == 10 and abs(rates[10] - 0.01 * (1 - 9 / 10)) < 1e-9, rates)
    run, _ = stopped(config, base / "pieces")
    code, events, _ = resumed(base / "pieces", run, "--set", "train.batch_size=1", "--set", "train.gradient_accumulation_steps=2")
    check("the same rows a step in other pieces go on", code == 0 and steps(events)[-1] == STEPS)

    # --- at the end
    before = {file: file.read_bytes() for file in (base / "straight" / "runs" / whole_run).rglob("*") if file.is_file()}
    done = call("train", "--resume", whole_run, "--workspace", base / "straight")
    check("a finished run says so", done.returncode == 0 and f"step {STEPS}" in done.stderr and done.stdout.split()[0] == whole_run, done.stderr)
    code, events, _ = resumed(base / "straight", whole_run)
    check("on the stream as well", code == 0 and [event["type"] for event in events] == ["finished"] and events[0]["summary"]["steps"] == STEPS, events)
    after = {file: file.read_bytes() for file in (base / "straight" / "runs" / whole_run).rglob("*") if file.is_file()}
    check("and nothing of it changes", before == after, [str(file) for file in set(before) | set(after) if before.get(file) != after.get(file)])
finish()
