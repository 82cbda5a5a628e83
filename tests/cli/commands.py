#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is no command ends nothing: a worker warns and trains on, a session answers and serves on."""
import json
import os
import subprocess
import tempfile
from pathlib import Path

from common import CLI, DEMO, Worker, check, finish, poems, run_file

HOSTILE = ['{"command":null}', '{"command":5}', '{"command":["stop"]}', '{"command":{"command":"stop"}}', '{}', '[]', '"stop"', '5', 'null', 'not JSON', '{"command":"set","learning_rate":1e400}',
           '{"command":"set","learning_rate":"x"}', '{"command":"set","learning_rate":-1}', '{"command":"set"}', '{"command":"sotp"}', '{"command":"pause"', '[' * 3000, '{"a":' * 500, '\x00\x01', '{"command":"\\ud800"}']

with tempfile.TemporaryDirectory() as base:
    base = Path(base)
    worker = Worker(run_file(base, rows=poems()[:80], train=dict(max_steps=30, eval_every=0)), "--workspace", base / "w")
    worker.until(lambda event: event["type"] == "step")
    for line in HOSTILE:
        worker.process.stdin.write(line + "\n")
    worker.process.stdin.flush()
    code = worker.end()
    told = [event for event in worker.events if event["type"] == "warning" and event["code"] == "bad_command"]
    check("the run goes on to its end", code == 0 and worker.events[-1]["type"] == "finished", (code, worker.events[-1]))
    check("each is answered by a warning", len(told) == len(HOSTILE), len(told))
    check("with what a command looks like", all(event["hint"] for event in told))

    session = subprocess.Popen([CLI, "serve", "--workspace", str(base / "w")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    os.mkfifo(base / "pipe")
    bad = [*HOSTILE, json.dumps(dict(id=12, command="inspect", path=str(base / "pipe"))), json.dumps(dict(id=13, command="import", path=str(base / "pipe"), out=str(base / "out"))), '{"id":1,"command":"inspect"}', '{"id":2,"command":"inspect","path":5}', '{"id":3,"command":"estimate","config":"x"}', '{"id":4,"command":"generate","model":[],"columns":5}',
           '{"id":5,"command":"tokenize","model":null}', '{"id":6,"command":"models","folders":[5]}', '{"id":7,"command":"export","source":{}}', '{"id":[],"command":"inspect","path":{}}',
           json.dumps(dict(id=10, command="inspect", path=str(base) + "/x" * 3000)), json.dumps(dict(id=11, command="perplexity", model=str(base) + "/x" * 3000, ids=[1], columns=[{}])),
           json.dumps(dict(id=9, command="perplexity", model=str(DEMO / "story-2m"), ids=["a"], columns=[{}]))]
    for line in bad:
        session.stdin.write(line + "\n")
    session.stdin.write('{"id":99,"command":"formats"}\n')
    session.stdin.close()
    answers = [json.loads(line) for line in session.stdout]
    check("the session answers every one and serves on", session.wait() == 0 and len([a for a in answers if a["type"] != "phase"]) == len(bad) + 1 and answers[-1]["id"] == 99 and answers[-1]["type"] == "result", (len(answers), len(bad)))
    answers = [answer for answer in answers if answer["type"] != "phase"]
    failed = [answer for answer in answers if answer["type"] == "failed"]
    check("each by a failure with a code and a sentence", len(failed) == len(bad) and all(answer["code"] and answer["message"] for answer in failed), [a for a in answers if a["type"] != "failed"])
    check("none as an internal fault", not any(answer["code"] == "internal" for answer in failed), [a for a in failed if a["code"] == "internal"])
    check("none in the words of a library", not any("json.exception" in answer["message"] for answer in failed), [a["message"] for a in failed if "json" in a["message"]])
finish()
