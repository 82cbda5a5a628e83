# SPDX-License-Identifier: Apache-2.0
"""first rows as text      `luthier-cli data FILE`, the whole process
first rows as tokens    a session as the window has it: from the request to its first answer with rows (the model's tokenizer is opened in that time)
all rows                the same session's last answer: every row tokenised, checked and split (with --all; minutes)
Memory is the process's peak resident set (VmHWM) at that moment."""
import argparse
import json
import os
import random
import resource
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLI = os.environ["LUTHIER_CLI"]
SECONDS, MEGABYTES = 1.0, 512


def write_rows(path, count):
    """Questions and answers of a few words; a thousand different ones, each with its number."""
    draw = random.Random(3)
    words = "the a cat dog tree house river runs sleeps sings over under near every old small green bright why what when one two three".split()
    shapes = [(" ".join(draw.choices(words, k=draw.randrange(4, 16))), " ".join(draw.choices(words, k=draw.randrange(3, 24)))) for _ in range(1000)]
    with open(path, "w") as file:
        for number in range(count):
            question, answer = shapes[number % 1000]
            file.write(f'{{"question": "{question} {number}?", "answer": "{answer} {number * 7}."}}\n')


def peak_of(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="luthier-reading-", dir="/var/tmp") as base:
        path = Path(base) / "rows.jsonl"
        write_rows(path, options.rows)
        print(f"{options.rows:,} rows, {path.stat().st_size / 1e6:,.0f} MB")
        begin = time.perf_counter()
        subprocess.run([CLI, "data", str(path), "--json"], check=True, capture_output=True)
        text = time.perf_counter() - begin
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"first rows as text    {text:.2f} s, {memory:.0f} MB")
        met = [text <= SECONDS, memory <= MEGABYTES]
        session = subprocess.Popen([CLI, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ, XDG_CACHE_HOME=base))
        config = dict(model=dict(path=str(ROOT / "resources/demo/story-2m")), method=dict(type="full"), data=dict(train=dict(path=str(path)), eval=dict(split=0.05), max_length=128))
        begin = time.perf_counter()
        session.stdin.write(json.dumps(dict(id=1, command="preview", config=config, directory=base, first=0, count=50)) + "\n")
        session.stdin.flush()
        for line in session.stdout:
            answer = json.loads(line)
            seconds = time.perf_counter() - begin
            if answer["type"] == "beginning":
                assert len(answer["value"]["preview"]) == 50
                memory = peak_of(session.pid)
                print(f"first rows as tokens  {seconds:.2f} s, {memory:.0f} MB")
                met += [seconds <= SECONDS, memory <= MEGABYTES]
                if not options.all:
                    break
            if answer["type"] in ("result", "failed"):
                assert answer["type"] == "result" and answer["value"]["rows"] == options.rows, line[:300]
                print(f"all rows              {seconds:.0f} s, {peak_of(session.pid):.0f} MB; {answer['value']['tokens']:,} tokens")
                break
        session.kill()
        print("targets of 1 s and 512 MB for the first rows:", "met" if all(met) and len(met) == 4 else "NOT met")


if __name__ == "__main__":
    main()
