#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a person sees of a run: one bar in place on a terminal of 80 columns, lines elsewhere, nothing with --quiet, --json and --events -, and at the end
what came out and what to type next."""
import fcntl
import json
import os
import pty
import re
import select
import shlex
import struct
import subprocess
import tempfile
import termios
from pathlib import Path

from common import CLI, DEMO, call, check, finish, run_file

COLUMNS = 80


def on_terminal(arguments, columns=COLUMNS, **environment):
    """The bytes that a terminal gets on standard error, and standard output."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen([CLI, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=follower,
                               env={**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **environment})
    os.close(follower)
    seen = b""
    while True:
        ready, _, _ = select.select([leader], [], [], 0.2)
        if ready:
            try:
                block = os.read(leader, 65536)
            except OSError:
                break
            if not block:
                break
            seen += block
        elif process.poll() is not None:
            break
    os.close(leader)
    return process.wait(), seen.decode(), process.stdout.read().decode()


def bars_and_lines(seen):
    """What was drawn in place, and the lines that stayed, as a terminal would have them."""
    bars, lines = [], []
    for line in seen.replace("\r\n", "\n").split("\n"):
        states = line.split("\r")
        bars += [state.replace("\x1b[K", "") for state in states[:-1]]
        lines.append(states[-1].replace("\x1b[K", ""))
    plain = lambda text: re.sub(r"\x1b\[[0-9;]*m", "", text)
    return [plain(bar) for bar in bars if plain(bar).strip()], [plain(line) for line in lines if plain(line).strip()]


with tempfile.TemporaryDirectory() as base:
    base = Path(base)
    config = run_file(base / "run", eval_rows=200, train=dict(max_steps=120, eval_every=40, batch_size=8))

    code, seen, out = on_terminal(["train", config, "--workspace", base / "w1"])
    bars, lines = bars_and_lines(seen)
    check("a run on a terminal ends well", code == 0, seen[-300:])
    check("a bar stays in place", sum("training" in bar for bar in bars) >= 3, bars[:5])
    training = [bar for bar in bars if bar.startswith("training")]
    check("with steps, loss and its trend, speed and time left", any(re.search(r"━.*\d+/120  loss \d+\.\d+ (falling|level|rising)  [\d,]+ tokens/s  \d+:\d\d left$", bar) for bar in training), training[-1:])
    check("never wider than the terminal", max(map(len, bars)) < COLUMNS, max(bars, key=len))
    check("evaluations stay", sum("evaluation loss" in line and "over 200 rows" in line for line in lines) == 4, lines)
    text = "\n".join(lines)
    for wanted in ("finished after 120 steps", "at first", "at best", "peak memory", "adapter", "trained parameters", "luthier-cli generate", "luthier-cli export"):
        check(f"the end says: {wanted}", wanted in text, text)
    run, folder = out.splitlines()[-2:]
    check("run id and folder come last on standard output", (Path(folder) / "summary.json").exists() and Path(folder).name == run and len(out.splitlines()) == 2, out)
    commands = [line.strip() for line in lines if line.strip().startswith("luthier-cli ")]
    check("two commands to type next", len(commands) == 2, commands)
    generate = shlex.split(next(c for c in commands if " generate " in c))
    done = call(*[word if word != "…" else "Once there was" for word in generate[1:]], "--max-new-tokens", 8)
    check("the first one works as it stands", done.returncode == 0 and done.stdout.strip() != "", done.stderr[-300:])
    export = shlex.split(next(c for c in commands if " export " in c))
    done = call(*[word if word != "FOLDER" else str(base / "exported") for word in export[1:]])
    check("and the second", done.returncode == 0 and (base / "exported" / "adapter_config.json").exists(), done.stderr[-300:])

    code, seen, _ = on_terminal(["train", config, "--workspace", base / "w2", "--set", "train.max_steps=60"], columns=40)
    bars, _ = bars_and_lines(seen)
    check("a narrow terminal gets a narrow bar", code == 0 and bars and max(map(len, bars)) < 40, max(bars, key=len) if bars else "")
    code, seen, _ = on_terminal(["train", config, "--workspace", base / "w3", "--set", "train.max_steps=60"], LANG="C", LC_ALL="C", NO_COLOR="1")
    check("no line drawing and no colour where the terminal has none", code == 0 and "#" in seen and "━" not in seen and "\x1b[36m" not in seen)
    code, seen, _ = on_terminal(["train", config, "--workspace", base / "w4", "--set", "train.max_steps=60"], TERM="dumb")
    check("a dumb terminal gets lines", code == 0 and "\x1b" not in seen and "\r" not in seen.replace("\r\n", "\n"), seen[:200])

    done = call("train", config, "--workspace", base / "w5")
    check("in a file no control characters", done.returncode == 0 and not re.search(r"[\x00-\x09\x0b-\x1f]", done.stderr), done.stderr[:200])
    check("but evaluations and the end", done.stderr.count("evaluation loss") == 4 and "luthier-cli generate" in done.stderr, done.stderr)
    check("and standard output as ever", len(done.stdout.splitlines()) == 2)
    done = call("train", config, "--workspace", base / "w6", "--quiet")
    check("--quiet says nothing", done.returncode == 0 and done.stderr == "" and len(done.stdout.splitlines()) == 2, done.stderr)
    done = call("train", config, "--workspace", base / "w7", "--json")
    document = json.loads(done.stdout)
    check("--json is one document and no progress", done.stderr == "" and document["summary"]["steps"] == 120 and document["summary"]["first_loss"] > 0, done.stderr)
    done = call("train", config, "--workspace", base / "w8", "--events", "-")
    check("--events - does not mix with it", done.stderr == "" and json.loads(done.stdout.splitlines()[-1])["type"] == "finished", done.stderr)
    code, seen, out = on_terminal(["train", base / "run" / "nothing.json"])
    check("a failure is one object on a line of its own", code == 2 and json.loads(seen.strip().splitlines()[-1])["type"] == "failed", seen)

    # A name from a file is data, not orders to the terminal.
    rows = [dict(prompt="a", completion="b") for _ in range(40)]
    hostile = run_file(base / "hostile", rows=rows, train=dict(max_steps=2, eval_every=0))
    done = call("train", hostile, "--workspace", base / "w9", "--set", 'train.sample_prompts=["\\u001b]0;owned\\u0007"]')
    check("control characters of texts never reach the terminal", "\x1b" not in done.stderr and "\x07" not in done.stderr, done.stderr)

    # Other commands that take their time.
    many = [dict(prompt=f"Once there was a dog {i}.", completion=" It ran and ran and ran all day, and then it slept.") for i in range(3000)]
    long = base / "long.jsonl"
    long.write_text("".join(json.dumps(row) + "\n" for row in many))
    code, seen, _ = on_terminal(["eval", DEMO / "story-2m", "--data", long])
    bars, _ = bars_and_lines(seen)
    check("eval shows a bar", code == 0 and any("evaluating" in bar and "/3,000" in bar for bar in bars), bars[-3:])
    long.write_text("".join(json.dumps(dict(input_ids=[1 + i % 50] * 200)) + "\n" for i in range(500)))
    code, seen, _ = on_terminal(["score", DEMO / "story-2m", "--data", long, "--what", "loss", "--out", base / "scores.safetensors"])
    bars, _ = bars_and_lines(seen)
    check("score shows a bar", any("scoring" in bar for bar in bars), (code, seen[-300:]))
    code, seen, _ = on_terminal(["compare-methods", config, "--methods", "ia3,lora", "--steps", 60, "--workspace", base / "w10"])
    bars, lines = bars_and_lines(seen)
    check("compare-methods shows each run", code == 0 and any(bar.startswith("1/2") for bar in bars) and any(bar.startswith("2/2") for bar in bars), lines[-4:])
finish()
