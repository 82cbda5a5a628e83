#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The window's session with what a window does to it: requests that overlap, are cancelled while they wait and while they run, and an input that closes in the
middle of it all. Run under the thread and address sanitizers too (packaging/ci/sanitizers)."""
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from common import CLI, DEMO, call, check, finish, poems, run_file

MODEL = str(DEMO / "story-2m")


class Session:
    def __init__(self, workspace):
        self.process = subprocess.Popen([CLI, "serve", "--workspace", str(workspace)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.number, self.answers = 0, []

    def send(self, command, **more):
        self.number += 1
        self.process.stdin.write(json.dumps(dict(id=self.number, command=command, **more)) + "\n")
        self.process.stdin.flush()
        return self.number

    def until(self, wanted):
        for line in self.process.stdout:
            self.answers.append(json.loads(line))
            if wanted(self.answers[-1]):
                return self.answers[-1]
        return None

    def answer(self, number):
        for answer in self.answers:
            if answer["id"] == number and answer["type"] in ("result", "failed"):
                return answer
        return self.until(lambda answer: answer["id"] == number and answer["type"] in ("result", "failed"))

    def close(self):
        self.process.stdin.close()
        self.until(lambda answer: False)
        errors = self.process.stderr.read()
        return self.process.wait(120), errors


def generate(session, tokens, **more):
    return session.send("generate", model=MODEL, columns=[{"adapters": []}, {"adapters": []}], prompt="Once there was", max_new_tokens=tokens, seed=1, dtype="float32", **more)


with tempfile.TemporaryDirectory() as base:
    base = Path(base)
    config = json.loads(run_file(base / "run", rows=poems()[:60], train=dict(max_steps=2, eval_every=0, batch_size=2)).read_text())
    trained = call("train", base / "run" / "run.json", "--workspace", base / "w", "--run-id", "one")
    run = str(base / "w" / "runs" / "one")
    log = (base / "w" / "runs" / "one" / "log.txt").read_text().splitlines()
    check("log.txt tells the run in words", log[0].split()[2] == "run_started" and log[-1].split()[2] == "finished" and not any(" step " in line for line in log), log)
    session = Session(base / "w")

    many = [session.send("methods"), session.send("inspect", path=MODEL), session.send("estimate", config=config, directory=str(base / "run")), session.send("preview", config=config, directory=str(base / "run"), first=0, count=5),
            session.send("tokenize", model=MODEL, text="a kite"), session.send("models", folders=[str(DEMO)]), session.send("formats"), session.send("inspect", path=run),
            session.send("perplexity", model=MODEL, columns=[{"adapters": []}, {"adapters": [{"path": run + "/adapter", "weight": 1.0}]}], text="a kite in the wind", dtype="float32")]
    answers = [session.answer(number) for number in many]
    check("requests sent at once are answered in their order", trained.returncode == 0 and all(answer and answer["type"] == "result" for answer in answers), [a for a in answers if not a or a["type"] != "result"])
    check("in order", [a["id"] for a in session.answers if a["type"] in ("result", "failed")] == many)

    first, second, third = generate(session, 20000), generate(session, 20000), session.send("formats")
    session.until(lambda answer: answer["id"] == first and answer["type"] == "token")
    session.send("cancel", target=second)
    session.send("cancel", target=first)
    one, two, three = session.answer(first), session.answer(second), session.answer(third)
    ended = one["type"] == "failed" and one["code"] == "cancelled" or one["type"] == "result" and all(column["finish_reason"] in ("cancelled", "stop") for column in one["value"]["columns"])
    check("one that runs ends at its next token", ended, str(one)[:200])
    check("one that waits never begins", two["type"] == "failed" and two["code"] == "cancelled" and not any(a["id"] == second and a["type"] == "token" for a in session.answers), two)
    check("and the next is answered", three["type"] == "result")

    number = session.send("export", source=run, format="gguf-merged", out=str(base / "gone"))
    session.until(lambda answer: answer["id"] == number and answer["type"] == "phase")
    session.send("cancel", target=number)
    answer = session.answer(number)
    check("a cancelled export leaves nothing", answer["type"] == "failed" and answer["code"] == "cancelled" and not (base / "gone").exists() and not list(base.glob(".gone*")) or answer["type"] == "result", answer)

    number = session.send("measure", config=config, directory=str(base / "run"))
    answer = session.answer(number)
    check("six steps are measured in a process of their own", answer["type"] == "result" and answer["value"]["step_seconds"] > 0, answer)

    for _ in range(50):
        session.send("cancel", target=session.send("tokenize", model=MODEL, text="a"))
    check("fifty are cancelled as they come", session.answer(session.send("formats"))["type"] == "result")
    number = session.send("tokenize", model=MODEL, text="a")
    session.send("cancel", target=number)
    session.answer(number)
    session.number = number - 1
    again = session.send("formats")
    check("a number that was cancelled may be used again", again == number and session.until(lambda answer: answer["id"] == number and answer["type"] in ("result", "failed"))["type"] == "result")
    session.process.stdin.write(json.dumps(dict(id=9000, command="formats")))
    session.process.stdin.close()
    last = session.until(lambda answer: answer["id"] == 9000)
    check("a last line without its end is a request too", last is not None and last["type"] == "result")
    code, errors = session.process.wait(120), session.process.stderr.read()
    check("closed, it ends with 0 and no word", code == 0 and not errors.strip(), (code, errors[-3000:]))

    session = Session(base / "w")
    number = generate(session, 20000)
    session.until(lambda answer: answer["id"] == number and answer["type"] == "token")
    session.send("cancel", target=number)
    generate(session, 3)
    code, errors = session.close()
    check("closed in the middle of work, it does what was asked and ends", code == 0 and not errors.strip(), (code, errors[-3000:]))
finish()
