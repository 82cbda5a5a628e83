#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How tight the net is: makes one small fault after another (mutations.py), builds the test programs that could see it and runs the fast tests.
A mutation that stays unseen is a hole. The sources are put back after each, also when this is interrupted. Not part of CI: each takes a build.

    tests/mutation/mutate.py [--build FOLDER] [--list] [--check] [NAME…]

--check only looks whether the texts still stand in the sources, once each. Ends with 1 when a mutation stays unseen."""
import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path

from mutations import MUTATIONS

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ["kernels_test", "model_test", "peft_test", "task_test", "train_test", "generate_test", "export_test"]  # those that link the engine


def stand(file, old):
    return (ROOT / file).read_text().count(old)


def run(command, log):
    with open(log, "ab") as out:
        return subprocess.run(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT).returncode


def tried(build, log):
    """@returns whether the tests saw the fault, and which of them."""
    if run(["cmake", "--build", build, "--target", *PROGRAMS], log) != 0:
        return "does not compile", ""
    found = subprocess.run(["ctest", "--test-dir", build, "--stop-on-failure", "-L", "fast", "-R", f"^({'|'.join(PROGRAMS)})", "-j", "2", "--timeout", "120"], cwd=ROOT, capture_output=True, text=True)
    with open(log, "a") as out:
        out.write(found.stdout[-4000:])
    failed = [line.split(" - ", 1)[1].rsplit(" (", 1)[0] for line in found.stdout.splitlines() if " - " in line and line.rstrip().endswith(")") and "(" in line and line.strip()[0].isdigit()]
    return ("caught", "; ".join(failed[:3])) if found.returncode != 0 else ("UNSEEN", "")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    chosen = [m for m in MUTATIONS if not options.names or m[0] in options.names]
    if options.list:
        print("\n".join(f"{name}: {file}" for name, file, _, _ in chosen))
        return 0
    stale = [name for name, file, old, new in chosen if stand(file, old) != 1 or old == new]
    if stale:
        print("these texts do not stand in the sources once: " + ", ".join(stale))
        return 2
    if options.check:
        print(f"{len(chosen)} mutations, each of whose texts stands in the sources once")
        return 0
    for kind in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(kind, lambda *_: sys.exit(130))  # so that `finally` runs
    log = ROOT / options.build / "mutations.log"
    log.write_text("")
    results = {}
    for name, file, old, new in chosen:
        path = ROOT / file
        source = path.read_text()
        started = time.time()
        try:
            path.write_text(source.replace(old, new))
            results[name], by = tried(options.build, log)
        finally:
            path.write_text(source)
        print(f"{results[name]:10} {name} ({file}, {time.time() - started:.0f} s) {by}", flush=True)
    run(["cmake", "--build", options.build, "--target", *PROGRAMS], log)  # the programs of the sources as they are
    caught = sum(result == "caught" for result in results.values())
    print(f"{caught} of {len(results)} caught")
    return 0 if caught == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
