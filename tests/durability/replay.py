#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Power may go at any moment: whatever the program has acknowledged by then is on the disk afterwards.

    replay.py [--all] [--seed N] [--keep FOLDER]

Workloads are run under recorder.cpp. Their calls are applied one by one to a model of the disk, and after each call, under each of five ideas of what a disk may have
kept of what was not synced, the state is held against every acknowledgement told so far:

    strict        nothing that was not synced: contents by fsync of the file, names by fsync of the folder
    everything    all calls so far (what kill -9 leaves)
    names         all names, contents only as synced: renamed files without their bytes
    contents      all bytes, names only as synced
    tossed        for each file and each folder a coin, drawn anew at each state

A control replays the same log with all calls of one kind left out and must find violations: the check can fail. Some states are written out and resumed by the program
itself, to the same result byte for byte (--all: many)."""
import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cli"))
from common import CLI, DEMO, check, finish, poems, run_file, write_rows  # noqa: E402

RECORDER = os.environ["LUTHIER_RECORDER"]
POLICIES = ("strict", "everything", "names", "contents", "tossed")
O_CREAT, O_TRUNC, RENAME_EXCHANGE = os.O_CREAT, os.O_TRUNC, 2


# --- the log

def calls_of(log):
    data, at, calls = log.read_bytes(), 0, []
    while at < len(data):
        end = data.index(b"\n", at)
        words = data[at:end].decode().split()
        size = int(words[-1])
        payload = data[end + 1:end + 1 + size]
        assert data[end + 1 + size:end + 2 + size] == b"\n", f"the record at byte {at} is cut"
        calls.append((words[0], words[1], [int(word) for word in words[2:-1]], payload))
        at = end + 2 + size
    return calls


def recorded(folder, log, *arguments, until=None, **environment):
    """Runs the program with its calls below `folder` written to `log`; `until` is given each event and answers with a command to send, "kill", or None."""
    process = subprocess.Popen([CLI, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env=dict(os.environ, LD_PRELOAD=RECORDER, LUTHIER_RECORD=str(log), LUTHIER_RECORD_ROOT=str(folder), LUTHIER_DEVICE="cpu", **environment))
    events = []
    for line in process.stdout:
        if not line.startswith("{"):
            continue
        events.append(json.loads(line))
        command = until(events[-1]) if until else None
        if command == "kill":
            process.kill()
        elif command:
            process.stdin.write(json.dumps({"command": command}) + "\n")
            process.stdin.flush()
    errors = process.stderr.read()
    process.stdin.close()
    return process.wait(), events, errors


# --- the disk

class File:
    def __init__(self):
        self.now, self.synced = b"", b""


class Folder:
    def __init__(self):
        self.now, self.synced = {}, {}


class Disk:
    """What calls make of the folder `root`, which itself is there for good."""

    def __init__(self, root):
        self.root, self.top, self.open = root.encode(), Folder(), {}

    def parts(self, path):
        assert path == self.root or path.startswith(self.root + b"/"), path
        return [part for part in path[len(self.root):].split(b"/") if part]

    def at(self, path):
        node = self.top
        for part in self.parts(path):
            node = node.now.get(part) if isinstance(node, Folder) else None
        return node

    def place(self, path):
        *folder, name = self.parts(path)
        node = self.top
        for part in folder:
            node = node.now[part]
        return node, name

    def apply(self, call):
        kind, process, numbers, data = call
        if kind == "open":
            node = self.at(data)
            if node is None and numbers[1] & O_CREAT:
                node = File()
                folder, name = self.place(data)
                folder.now[name] = node
            if isinstance(node, File) and numbers[1] & O_TRUNC:
                node.now = b""
            self.open[process, numbers[0]] = node
        elif kind == "write":
            node = self.open[process, numbers[0]]
            before, offset = node.now, numbers[1]
            node.now = before[:offset].ljust(offset, b"\0") + data + before[offset + len(data):]
        elif kind == "truncate":
            node = self.open[process, numbers[0]]
            node.now = node.now[:numbers[1]].ljust(numbers[1], b"\0")
        elif kind == "sync":
            node = self.open[process, numbers[0]]
            if node is not None:
                node.synced = dict(node.now) if isinstance(node, Folder) else node.now
        elif kind == "mkdir":
            folder, name = self.place(data)
            folder.now[name] = Folder()
        elif kind in ("unlink", "rmdir"):
            folder, name = self.place(data)
            del folder.now[name]
        elif kind == "rename":
            (source, old), (target, new) = (self.place(path) for path in data.split(b"\0"))
            if numbers[0] & RENAME_EXCHANGE:
                source.now[old], target.now[new] = target.now[new], source.now[old]
            else:
                target.now[new] = source.now.pop(old)

    def seen(self, policy, coin):
        """The tree after a loss of power: {name: bytes or another such dict}."""
        def of(node, isTop=False):
            kept = policy in ("everything", "contents" if isinstance(node, File) else "names") or policy == "tossed" and coin.random() < 0.5
            if isinstance(node, File):
                return node.now if kept else node.synced
            return {name: of(each) for name, each in (node.now if kept else node.synced).items()}
        return of(self.top)


# --- what has been promised

hashes = {}


def sha256(data):
    key = id(data)
    if key not in hashes or hashes[key][0] is not data:
        hashes[key] = (data, hashlib.sha256(data).hexdigest())
    return hashes[key][1]


def flat(tree, prefix=""):
    for name, each in tree.items():
        name = prefix + name.decode()
        if isinstance(each, dict):
            yield from flat(each, name + "/")
        else:
            yield name, each


def is_whole(folder):
    """By its manifest: MANIFEST.json of checkpoints and results."""
    files = dict(flat(folder))
    try:
        named = json.loads(files.pop("MANIFEST.json"))["files"]
    except (KeyError, ValueError):
        return False
    return named.keys() == files.keys() and all(facts == {"bytes": len(files[name]), "sha256": sha256(files[name])} for name, facts in named.items())


def parsed(data):
    try:
        return json.loads(data)
    except (TypeError, ValueError):
        return None


class Promises:
    """Of runs: a checkpoint that was told, or a later one, is there whole, with every event before it and a run.json that resumes; a finished run has its result."""

    def __init__(self):
        self.checkpoint, self.finished = {}, set()

    def told(self, data):
        for line in data.splitlines():
            event = parsed(line)
            if isinstance(event, dict) and event.get("type") == "checkpoint":
                self.checkpoint[event["run"]] = max(event["step"], self.checkpoint.get(event["run"], 0))
            elif isinstance(event, dict) and event.get("type") == "finished":
                self.finished.add(event["run"])

    def broken(self, tree):
        runs = tree.get(b"w", {}).get(b"runs", {})
        for run, step in self.checkpoint.items():
            folder = runs.get(run.encode())
            if folder is None:
                return f"{run} has no folder though its checkpoint of step {step} was told"
            if not isinstance(parsed(folder.get(b"run.json")), dict):
                return f"{run} has no run.json"
            there = [int(name[5:]) for name, each in folder.get(b"checkpoints", {}).items() if name.startswith(b"step-") and isinstance(each, dict) and is_whole(each)]
            if max(there, default=-1) < step:
                return f"{run} has whole checkpoints {there}, told was step {step}"
            steps = {event["step"] for event in map(parsed, folder.get(b"events.jsonl", b"").splitlines()) if isinstance(event, dict) and event.get("type") == "step"}
            if not steps >= set(range(1, step + 1)):
                return f"{run}'s log lacks steps before the checkpoint of step {step}"
        for run in self.finished:
            folder = runs.get(run.encode(), {})
            if not any(is_whole(folder.get(name, {})) for name in (b"adapter", b"model")):
                return f"{run} was told to be finished and has no whole result"
            if not isinstance(parsed(folder.get(b"summary.json")), dict):
                return f"{run} was told to be finished and has no summary.json"
        return None


def replayed(calls, root, seed, left_out=lambda call: False, each=lambda *state: None):
    """(states, violations)"""
    disk, promises, coin, states, violations = Disk(str(root)), Promises(), random.Random(seed), 0, []
    for number, call in enumerate(calls):
        if call[0] == "strange":
            violations.append(f"call {number}: {call[3].decode()} is not modelled")
        elif call[0] == "told":
            promises.told(call[3])
        elif not left_out(call):
            disk.apply(call)
        for policy in POLICIES:
            tree = disk.seen(policy, coin)
            states += 1
            if problem := promises.broken(tree):
                violations.append(f"call {number} of {len(calls)}, {policy}: {problem}")
            each(number, policy, tree, promises)
    return states, violations, disk


def write_out(tree, folder):
    folder.mkdir(parents=True)
    for name, data in tree.items():
        if isinstance(data, dict):
            write_out(data, folder / name.decode())
        else:
            (folder / name.decode()).write_bytes(data)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep")
    options = parser.parse_args()
    base = Path(options.keep or tempfile.mkdtemp(prefix="luthier-durability-")).resolve()
    base.mkdir(parents=True, exist_ok=True)
    print(f"seed {options.seed}")
    try:
        runs(base, options)
        files(base, options)
    finally:
        if not options.keep:
            shutil.rmtree(base)
    finish()


def runs(base, options):
    """A run that is stopped, resumed, killed, and resumed to its end, in a workspace that is not there yet."""
    config = run_file(base / "run", rows=poems()[:40], eval_rows=6, method=dict(type="lora", r=2), train=dict(max_steps=12, save_every=2, eval_every=4, batch_size=2, keep_checkpoints=2))
    straight = subprocess.run([CLI, "train", config, "--workspace", base / "straight", "--run-id", "one", "--quiet"], capture_output=True, text=True)
    result = lambda workspace: {file.name: file.read_bytes() for file in (workspace / "runs" / "one" / "adapter").glob("*.safetensors")}
    wanted = result(base / "straight")
    check("the run without an accident ends", straight.returncode == 0 and wanted, straight.stderr[-300:])
    root, log = base / "disk", base / "log"
    root.mkdir()
    resume = ("train", "--resume", "one", "--workspace", root / "w", "--events", "-")
    at = lambda step, word: lambda event: word if event["type"] == "step" and event["step"] == step else None
    ends = [recorded(root, log, "train", config, "--workspace", root / "w", "--run-id", "one", "--events", "-", until=at(5, "stop"))[0],
            recorded(root, log, *resume, until=at(9, "kill"))[0], recorded(root, log, *resume)[0]]
    check("stopped, killed and finished under the recorder", ends == [5, -9, 0] or ends == [0, -9, 0], ends)
    check("to the same result", result(root / "w") == wanted)
    calls = calls_of(log)

    chosen, coin, kept = {}, random.Random(options.seed), []
    wanted_states = 60 if options.all else 5
    def choose(number, policy, tree, promises):
        # Reservoir: each state after the first acknowledgement is as likely as any other.
        if promises.checkpoint and not promises.finished:
            kept.append(1)
            place = len(kept) - 1 if len(kept) <= wanted_states else coin.randrange(len(kept))
            if place < wanted_states:
                chosen[place] = (number, policy, tree)
    states, violations, disk = replayed(calls, root, options.seed, each=choose)
    print(f"run: {len(calls)} calls, {states} states, {len(violations)} violations")
    check("no state loses what was acknowledged", not violations, violations[:5])
    there = {name: data for name, data in flat(disk.seen("everything", None)) if "index" not in name}
    check("the model's last state is the disk's", there == {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file() and "index" not in file.name})
    for name, left_out in {"no sync at all": {id(call) for call in calls if call[0] == "sync"}, "no sync of folders": syncs_of_folders(calls)}.items():
        _, found, _ = replayed(calls, root, options.seed, lambda call: id(call) in left_out)
        check(f"control: {name}, and the replay finds it", bool(found))
    for number, policy, tree in chosen.values():
        place = base / f"state-{number}-{policy}"
        write_out(tree, place)
        done = subprocess.run([CLI, "train", "--resume", "one", "--workspace", place / "w", "--quiet"], capture_output=True, text=True)
        check(f"the state after call {number} ({policy}) is resumed to the same result", done.returncode == 0 and result(place / "w") == wanted, (done.returncode, done.stderr[-400:]))
        shutil.rmtree(place)


def syncs_of_folders(calls):
    found, opened = set(), {}
    for call in calls:
        if call[0] == "open":
            opened[call[1], call[2][0]] = bool(call[2][1] & os.O_DIRECTORY)
        elif call[0] == "sync" and opened.get((call[1], call[2][0])):
            found.add(id(call))
    return found


def files(base, options):
    """What a command has written when it ends with 0 stays, its new folders included."""
    run = base / "straight" / "runs" / "one"
    made = {"peft": ("export", run, "--format", "peft", "--out"), "merged": ("export", run, "--format", "merged", "--out"), "gguf": ("export", run, "--format", "gguf", "--out"),
            "gguf-merged": ("export", run, "--format", "gguf-merged", "--out"), "merge": ("merge", DEMO / "story-2m", "--adapter", run / "adapter", "--out"),
            "combine": ("combine", "--adapter", run / "adapter", "--adapter", run / "adapter", "--out")}
    endings = {"gguf": ("", ".gguf"), "gguf-merged": ("", ".gguf")}
    for name, words in made.items():
        for ending in endings.get(name, ("",)):
            root, log = base / f"{name}{ending}-disk", base / f"{name}{ending}-log"
            root.mkdir()
            code, _, errors = recorded(root, log, *words, root / "new" / "folders" / f"out{ending}")
            label = f"{name}{' to a file' if ending else ''}"
            check(f"{label} ends with 0", code == 0, errors[-400:])
            if code != 0:
                continue
            calls = calls_of(log)
            disk = Disk(str(root))
            for call in calls:
                if call[0] == "strange":
                    check(f"{label}: every call is modelled", False, call[3])
                elif call[0] != "told":
                    disk.apply(call)
            final = {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()}
            for policy in ("strict", "names", "contents"):
                there = {path: data for path, data in flat(disk.seen(policy, None)) if not path.split("/")[-1].startswith(".")}
                lacking = sorted(path for path, data in final.items() if there.get(path) != data)
                check(f"{label}: all of it is durable when it ends ({policy})", final and not lacking, lacking)
            # On the way: under its final name it is whole or absent.
            disk, torn = Disk(str(root)), []
            for number, call in enumerate(calls):
                if call[0] in ("told", "strange"):
                    continue
                disk.apply(call)
                for policy in ("strict", "everything", "names", "contents"):
                    for path, data in flat(disk.seen(policy, None)):
                        if path in final and not any(part.startswith(".") for part in path.split("/")) and data != final[path]:
                            torn.append((number, policy, path))
            check(f"{label}: nothing under its name is torn at any moment", not torn, torn[:3])


if __name__ == "__main__":
    main()
