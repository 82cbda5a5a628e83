#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Names from outside: bytes that are no text are refused before any work, wherever they come from; run ids are plain words."""
import json
import os
import subprocess
import tempfile
from pathlib import Path

from common import CLI, DEMO, check, finish, poems, run_file

FOREIGN = b"caf\xe9"


def ends(*words, **options):
    done = subprocess.run([CLI.encode(), *(word if isinstance(word, bytes) else str(word).encode() for word in words)], capture_output=True, stdin=subprocess.DEVNULL, **options)
    failed = [json.loads(line) for line in done.stderr.splitlines() if line.startswith(b"{")]
    return done, failed[-1] if len(failed) == 1 else {}


with tempfile.TemporaryDirectory() as base:
    base = Path(base)
    config = run_file(base / "run", rows=poems()[:8], train=dict(max_steps=1))
    folder = os.path.join(os.fsencode(base), FOREIGN)
    os.mkdir(folder)
    for name, words, options in (("a model", ("inspect", folder), {}), ("a workspace", ("train", config, "--workspace", folder), {}), ("a result", ("export", "x", "--format", "peft", "--out", folder), {}),
                                 ("a setting", ("train", config, "--set", b"model.path=" + folder), {}), ("the workspace of the environment", ("runs", "list"), {"env": {**os.environb, b"LUTHIER_WORKSPACE": folder}}),
                                 ("the current folder", ("train", config, "--workspace", "w"), {"cwd": folder})):
        done, failed = ends(*words, **options)
        check(f"{name} whose bytes are no text is refused, and shown", done.returncode == 2 and failed.get("code") == "not_utf8" and "caf\\xe9" in failed.get("message", "") and failed.get("hint"), (done.returncode, done.stderr[-300:]))
    check("and nothing was written there", not os.listdir(folder), os.listdir(folder))
    done, _ = ends("train", config, "--events", "-", "--workspace", folder)
    last = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}
    check("on the stream of events too", last.get("type") == "failed" and last.get("code") == "not_utf8", done.stdout)
    done, _ = ends("train", config, "--events", "-", "--no-such-option")
    last = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}
    check("as is an option that is not known", done.returncode == 2 and last.get("type") == "failed", done.stdout)
    named = base / "Träume 日本"
    named.mkdir()
    done, _ = ends("train", config, "--workspace", named, "--run-id", "one", "--quiet")
    again, _ = ends("export", "one", "--workspace", named, "--format", "peft", "--out", named / "größer")
    check("names in any script are carried", done.returncode == 0 and again.returncode == 0 and (named / "größer" / "adapter_config.json").exists(), (done.stderr[-200:], again.stderr[-200:]))
    homeless = {key: value for key, value in os.environ.items() if key not in ("HOME", "XDG_DATA_HOME", "LUTHIER_WORKSPACE")}
    before = set(os.listdir("/tmp"))
    done, _ = ends("runs", "list", "--json", env=homeless, cwd=base)
    check("without HOME nothing is looked for or made in /tmp itself", done.returncode == 0 and not {".local", ".cache"} & (set(os.listdir("/tmp")) - before), (done.returncode, done.stderr[-200:]))
    for bad in ("-x", "/etc/x", "a/b", "..", "a\x1b[31m", "a b\n", ""):
        done, failed = ends("train", config, "--workspace", base / "ids", f"--run-id={bad}")
        check(f"{bad!r} is no run id", done.returncode == 2 or bad == "" and done.returncode == 0, (done.returncode, done.stderr[-200:]))
finish()
