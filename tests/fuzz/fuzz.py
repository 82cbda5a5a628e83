#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Opens mutated inputs of every kind in one session of `luthier-cli serve` and says what ended it, took over 2 GiB or over 5 seconds, or was
answered with an internal failure or with none at all.

  fuzz.py [--seconds 60 | --count N] [--seed S] [--kind KIND]… [--keep FOLDER]     a run; the seed is printed and gives the same inputs again
  fuzz.py --seed S --case N                                                          one input of a run, written and opened again
  fuzz.py --replay FOLDER…                                                           inputs that an earlier run kept

LUTHIER_CLI names the program: best one of the asan preset, whose reports then stand beside the kept input. Each failing input is kept as
KEEP/SEED-CASE-KIND/ {input/, requests.json, why.txt}."""
import argparse
import collections
import json
import os
import random
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
import inputs
import mutate

MOST_SECONDS = 5          # of an input: of the clock, and of the processor or four times of the clock where a machine is busy
MOST_BYTES = 2 << 30
ANSWER_BYTES = 64 << 20
TICK = os.sysconf("SC_CLK_TCK")
ENVIRONMENT = {**os.environ, "LUTHIER_TOKEN_CACHE": "off", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1",
               "ASAN_OPTIONS": "detect_leaks=0:exitcode=99:quarantine_size_mb=32:detect_odr_violation=0:malloc_context_size=12:allocator_may_return_null=1:max_allocation_size_mb=8192:" + os.environ.get("ASAN_OPTIONS", ""),
               "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1:exitcode=99:" + os.environ.get("UBSAN_OPTIONS", "")}


class Fault(Exception):
    def __init__(self, kind, words):
        super().__init__(words)
        self.kind = kind


def is_plain(request):
    """Whether the session can read it as JSON and see its number: no raw part, no half of a surrogate pair, nothing nested deeper than 64."""
    def depth(value):
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return 1 + max(map(depth, inner), default=0)

    try:
        return "\\u0001raw:" not in json.dumps(request) and bool(json.dumps(request, ensure_ascii=False).encode()) and depth(request) < 60
    except (UnicodeEncodeError, RecursionError):
        return False


class Session:
    """`serve`, started anew when it has ended."""

    def __init__(self, cli, workspace, scratch):
        self.cli, self.workspace, self.scratch = cli, workspace, scratch
        self.process, self.next_id, self.starts = None, 10, 0

    def start(self):
        self.errors = open(self.scratch / "stderr.txt", "wb+")
        self.process = subprocess.Popen([self.cli, "serve", "--workspace", str(self.workspace)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, env=ENVIRONMENT, cwd=self.scratch / "nowhere")
        os.set_blocking(self.process.stdout.fileno(), False)
        self.buffer = b""
        self.starts += 1
        self.ask([{"command": "formats"}], 120)

    def end(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def cpu(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def peak(self):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
        return 0

    def words(self):
        self.errors.flush()
        self.errors.seek(0)
        return self.errors.read().decode("utf-8", "replace")[-20000:]

    def ask(self, requests, limit=MOST_SECONDS):
        """Sends requests and a last one of ours; waits for its answer. @returns answers."""
        if self.process is None:
            self.start()
        lines, awaited = b"", set()
        for request in requests:
            if isinstance(request, bytes):
                lines += request + b"\n"
            else:
                self.next_id += 1
                if is_plain(request):
                    awaited.add(self.next_id)
                lines += mutate.dump({"id": self.next_id, **request}).replace(b"\n", b" ") + b"\n"
        self.next_id += 1
        last = self.next_id
        lines += b'{"id": %d, "command": "formats"}\n' % last
        begin, cpu = time.monotonic(), self.cpu()
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        answers, sent = [], 0
        os.set_blocking(self.process.stdin.fileno(), False)
        while True:
            try:
                ready = select.select([self.process.stdout], [self.process.stdin] if sent < len(lines) else [], [], 0.5)
                if ready[1]:
                    sent += os.write(self.process.stdin.fileno(), lines[sent:sent + 65536])
            except BrokenPipeError:
                ready = [[self.process.stdout], [], []]
            except BlockingIOError:
                pass
            if ready[0]:
                part = os.read(self.process.stdout.fileno(), 1 << 20)
                if not part:
                    code = self.process.wait()
                    words = self.words()
                    self.process = None
                    raise Fault("ended", f"the session ended with {'signal ' + signal.Signals(-code).name if code < 0 else code}\n{words}")
                self.buffer += part
                while b"\n" in self.buffer:
                    line, self.buffer = self.buffer.split(b"\n", 1)
                    try:
                        answer = json.loads(line)
                    except ValueError as error:
                        raise Fault("garbled", f"an answer is no JSON ({error}): {line[:400]!r}") from None
                    answers.append(answer)
                    if answer.get("id") == last and answer.get("type") in ("result", "failed"):
                        answered = {each.get("id") for each in answers if each.get("type") in ("result", "failed") and isinstance(each.get("id"), int)}
                        if awaited - answered:
                            raise Fault("unanswered", f"{len(awaited - answered)} requests have no answer")
                        self.judge(answers, begin, cpu, limit)
                        return answers
                if len(self.buffer) > ANSWER_BYTES:
                    self.end()
                    raise Fault("endless", "an answer is longer than 64 MiB")
            elapsed = time.monotonic() - begin
            if elapsed > limit and (self.cpu() - cpu > limit or elapsed > 4 * limit):
                words = self.where()
                self.end()
                raise Fault("slow", f"no answer after {elapsed:.1f} s\n{words}")

    def where(self):
        """What it is doing, when gdb is here."""
        if not shutil.which("gdb"):
            return ""
        return subprocess.run(["gdb", "-p", str(self.process.pid), "-batch", "-ex", "thread apply all bt 30"], capture_output=True, text=True).stdout[-12000:]

    def judge(self, answers, begin, cpu, limit):
        peak = self.peak()
        if peak > MOST_BYTES:
            self.end()
            raise Fault("memory", f"{peak / 2**30:.2f} GiB")
        if time.monotonic() - begin > limit and self.cpu() - cpu > limit:
            raise Fault("slow", f"answered after {time.monotonic() - begin:.1f} s")
        for answer in answers:
            problems = [answer, *answer.get("problems", [])] if answer.get("type") == "failed" else [answer.get("problem")] if answer.get("type") == "column_failed" else []
            for each in (answer.get("value") or {}).get("columns", []) if isinstance(answer.get("value"), dict) else []:
                problems.append(each.get("problem") if isinstance(each, dict) else None)
            for problem in problems:
                if isinstance(problem, dict) and problem.get("code") == "internal":
                    raise Fault("internal", problem.get("message", ""))


def placed(requests, folder, base):
    """Requests with their two folders in place."""
    if isinstance(requests, bytes):
        return requests.replace(b"@/", bytes(folder) + b"/").replace(b'"@"', b'"' + bytes(folder) + b'"').replace(b"~", bytes(base))
    if isinstance(requests, str):
        return str(folder) + requests[1:] if requests == "@" or requests.startswith("@/") else requests.replace("~", str(base)) if requests.startswith("~") else requests
    if isinstance(requests, list):
        return [placed(each, folder, base) for each in requests]
    if isinstance(requests, dict):
        return {key: placed(value, folder, base) for key, value in requests.items()}
    return requests


def wanders(request, work):
    """A changed request may name places outside our folder: nothing of the machine is read as rows, written over or walked through."""
    try:
        request = json.loads(request) if isinstance(request, bytes) else request
    except (ValueError, RecursionError):
        return False
    if not isinstance(request, dict) or request.get("command") in ("measure", "input_closed"):
        return True

    def strings(value):
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            for each in value.values():
                yield from strings(each)
        elif isinstance(value, list):
            for each in value:
                yield from strings(each)

    if isinstance(request.get("max_new_tokens"), (int, float)) and request["max_new_tokens"] > 5000:
        return True   # it is to take long
    return any((text.startswith(("/", "./", "../")) or text in (".", "..")) and not text.startswith((str(work), "/dev/zero", "/proc/self/mem")) for text in strings(request))


class Fuzz:
    def __init__(self, options):
        self.options = options
        shared = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
        self.work = Path(tempfile.mkdtemp(prefix="luthier-fuzz-", dir=shared))
        (self.work / "nowhere").mkdir()
        self.cli = os.path.abspath(options.cli)
        self.inputs = inputs.Inputs(self.work / "base", self.run_once)
        self.session = Session(self.cli, self.work / "workspace", self.work)
        self.counts, self.faults = collections.Counter(), []

    def close(self):
        self.session.end()
        shutil.rmtree(self.work, ignore_errors=True)

    def run_once(self, *arguments, limit=120):
        process = subprocess.run([self.cli, *map(str, arguments)], capture_output=True, env=ENVIRONMENT, stdin=subprocess.DEVNULL, timeout=limit, cwd=self.work / "nowhere")
        if process.returncode != 0:
            raise SystemExit(f"{arguments}: {process.stderr.decode(errors='replace')[-2000:]}")

    def kind_of(self, rng):
        kinds = {kind: weight for kind, weight in inputs.Inputs.WEIGHTS.items() if not self.options.kind or kind in self.options.kind}
        if not self.options.kind and rng.random() < self.options.processes or not kinds:
            kinds = {kind: weight for kind, weight in inputs.Inputs.PROCESS_KINDS.items() if not self.options.kind or kind in self.options.kind}
        return rng.choices(list(kinds), list(kinds.values()))[0]

    def folder(self, number):
        """Two names in turn: the session keeps what it opened last under a name."""
        folder = self.work / f"case{number % 2}"
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
        os.mkfifo(folder / "fifo")
        return folder

    def open(self, kind, requests, folder):
        requests = placed(requests, folder, self.inputs.base)
        if kind in inputs.Inputs.PROCESS_KINDS:
            return self.open_processes(requests)
        requests = [each for each in requests if kind not in ("request", "run") or not wanders(each, self.work)]
        self.session.ask(requests)

    def open_processes(self, commands):
        for arguments in commands:
            begin = time.monotonic()
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            try:
                process = subprocess.run([self.cli, *arguments], capture_output=True, env=ENVIRONMENT, stdin=subprocess.DEVNULL, timeout=60, cwd=self.work / "nowhere")
            except subprocess.TimeoutExpired:
                raise Fault("slow", f"{arguments[0]} did not end within 60 s") from None
            usage = resource.getrusage(resource.RUSAGE_CHILDREN)
            said = process.stderr.decode("utf-8", "replace")
            if process.returncode < 0 or process.returncode in (70, 99) or process.returncode > 100:
                raise Fault("ended" if process.returncode != 70 else "internal", f"{arguments[0]} ended with {process.returncode}\n{said[-8000:]}")
            # Training itself takes its time.
            if arguments[0] != "train" and time.monotonic() - begin > 2 * MOST_SECONDS and usage.ru_utime - before.ru_utime > 2 * MOST_SECONDS:
                raise Fault("slow", f"{arguments[0]} took {time.monotonic() - begin:.1f} s")

    def keep(self, name, kind, requests, folder, fault):
        self.faults.append((name, fault.kind, str(fault).strip().splitlines()[0] if str(fault).strip() else ""))
        print(f"FAULT {name}: {fault.kind}: {self.faults[-1][2]}", flush=True)
        place = self.options.keep / name
        if place.exists():
            shutil.rmtree(place)
        place.mkdir(parents=True)
        if folder.exists():
            shutil.copytree(folder, place / "input", ignore=shutil.ignore_patterns("fifo", "out"))
        kept = [{"bytes": each.hex()} if isinstance(each, bytes) else each for each in requests]
        (place / "requests.json").write_text(json.dumps({"kind": kind, "requests": kept}, indent=1))
        (place / "why.txt").write_text(f"{fault.kind}\n{fault}\n", errors="replace")

    def case(self, number):
        rng = random.Random(f"{self.options.seed}:{number}")
        kind = self.kind_of(rng)
        folder = self.folder(number)
        requests = self.inputs.make(kind, rng, folder)
        self.counts[kind] += 1
        try:
            self.open(kind, requests, folder)
        except Fault as fault:
            self.keep(f"{self.options.seed}-{number}-{kind}", kind, requests, folder, fault)

    def replay(self, place):
        kept = json.loads((place / "requests.json").read_text())
        requests = [bytes.fromhex(each["bytes"]) if isinstance(each, dict) and set(each) == {"bytes"} else each for each in kept["requests"]]
        folder = self.folder(0)
        if (place / "input").exists():
            shutil.copytree(place / "input", folder, dirs_exist_ok=True)
        self.counts[kept["kind"]] += 1
        try:
            self.open(kept["kind"], requests, folder)
            print(f"ok    {place.name}", flush=True)
        except Fault as fault:
            self.keep(place.name, kept["kind"], requests, folder, fault)
            print(fault)

    def report(self, begin):
        total = sum(self.counts.values())
        seconds = time.monotonic() - begin
        print(f"seed {self.options.seed}: {total:,} inputs in {seconds:.0f} s ({total / max(seconds, 1e-9):.0f} a second), {self.session.starts} starts; " + ", ".join(f"{kind} {count:,}" for kind, count in sorted(self.counts.items())))
        by_kind = collections.Counter(kind for _, kind, _ in self.faults)
        print("faults: " + (", ".join(f"{kind} {count}" for kind, count in sorted(by_kind.items())) + f"; kept in {self.options.keep}" if self.faults else "none"), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--count", type=int)
    parser.add_argument("--seed", default=None)
    parser.add_argument("--case", type=int)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--kind", action="append")
    parser.add_argument("--processes", type=float, default=0.002, help="share of inputs that are opened by a process of their own")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-faults"))
    parser.add_argument("--most-faults", type=int, default=100)
    parser.add_argument("--replay", type=Path, nargs="+")
    parser.add_argument("--cli", default=os.environ.get("LUTHIER_CLI", "luthier-cli"))
    options = parser.parse_args()
    options.seed = options.seed or f"{int(time.time()):x}"
    if options.seconds is None and options.count is None:
        options.seconds = 60
    options.keep = options.keep.absolute()
    print(f"seed {options.seed}, {options.cli}", flush=True)
    fuzz = Fuzz(options)
    begin = shown = time.monotonic()
    number = options.first
    try:
        if options.replay:
            for place in options.replay:
                fuzz.replay(place.absolute())
        elif options.case is not None:
            fuzz.case(options.case)
        else:
            while (options.count is None or number < options.first + options.count) and (options.seconds is None or time.monotonic() - begin < options.seconds) and len(fuzz.faults) < options.most_faults:
                fuzz.case(number)
                number += 1
                if time.monotonic() - shown > 30:
                    shown = time.monotonic()
                    print(f"  {number:,} inputs, {len(fuzz.faults)} faults", flush=True)
    except KeyboardInterrupt:
        pass
    finally:
        fuzz.report(begin)
        fuzz.close()
    sys.exit(1 if fuzz.faults else 0)


if __name__ == "__main__":
    main()
