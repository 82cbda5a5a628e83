#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Evaluations are bounded, the same rows each time, told as they go, and end when asked; a run stopped in one ends like one that was not."""
import json
import tempfile
import time
from pathlib import Path

from common import Worker, call, check, finish, results, run_file


def trained(config, workspace, *more):
    worker = Worker(config, "--workspace", workspace, *more)
    code = worker.end()
    return code, worker.events


def of(events, kind):
    return [event for event in events if event["type"] == kind]


with tempfile.TemporaryDirectory() as base:
    base = Path(base)

    # --- bounds
    short = [dict(prompt=f"Tom saw {n}", completion=" dogs.") for n in range(60)]
    config = run_file(base / "bounds", eval_rows=700, rows=short, train=dict(max_steps=4, eval_every=2))
    code, events = trained(config, base / "w1")
    evals = of(events, "eval")
    check("500 rows of 700 unless told", code == 0 and [(e["rows"], e["of_rows"]) for e in evals] == [(500, 700)] * 3, evals)
    check("before the first step, then as often as asked, the last step once", [e["step"] for e in evals] == [0, 2, 4], evals)
    phases = [e for e in of(events, "phase") if e["name"] == "evaluating"]
    check("an evaluation tells how far it is", phases[0]["done"] == 0 and {e["total"] for e in phases} == {500} and sum(e["done"] == 500 for e in phases) == 3, phases)
    check("its share of the run is warned of before the first step", next((i for i, e in enumerate(events) if e.get("code") == "evaluation_share"), 10**9) < events.index(of(events, "step")[0]), events)
    warning = next((e for e in events if e.get("code") == "evaluation_share"), {"hint": ""})
    check("with what to set", all(word in warning["hint"] for word in ("data.eval.max_rows", "train.eval_every", "train.eval_at_start")), warning)
    again = of(trained(config, base / "w2")[1], "eval")
    check("drawn once by the seed: another run measures the same", [e["loss"] for e in again] == [e["loss"] for e in evals])
    other = of(trained(config, base / "w3", "--set", "train.seed=7")[1], "eval")
    check("another seed draws other rows", other[0]["loss"] != evals[0]["loss"])

    few = run_file(base / "few", eval_rows=30, train=dict(max_steps=2, eval_every=1), data=dict(eval=dict(max_rows=None)))
    whole = of(trained(few, base / "w4")[1], "eval")
    check("null measures all rows", [(e["rows"], e["of_rows"]) for e in whole] == [(30, 30)] * 3, whole)
    some = of(trained(few, base / "w5", "--set", "data.eval.max_rows=7", "--set", "train.eval_at_start=false")[1], "eval")
    check("as many as asked, and not before the first step when told so", [(e["step"], e["rows"], e["of_rows"]) for e in some] == [(1, 7, 30), (2, 7, 30)], some)
    _, light = trained(few, base / "w6", "--set", "train.eval_every=0", "--set", "train.max_steps=40", "--set", "data.eval.max_rows=5")
    check("a run that mostly trains is not warned", not any(e.get("code") == "evaluation_share" for e in light) and [e["step"] for e in of(light, "eval")] == [40])

    # --- against the command `eval`, whose batches are others
    rows = json.loads(call("eval", json.loads(config.read_text())["model"]["path"], "--data", base / "few" / "eval.jsonl", "--max-length", 128, "--dtype", "float32", "--json").stdout)
    check("the same rows in other batches have the same loss", abs(rows["metrics"]["loss"] - whole[0]["loss"]) < 1e-6, (rows["metrics"]["loss"], whole[0]["loss"]))

    # --- the estimate
    estimate = json.loads(call("estimate", config, "--json").stdout)
    check("the estimate says how much of the run evaluating takes", estimate["evaluation"]["times"] == 3 and estimate["evaluation"]["rows"] == 500 and estimate["evaluation"]["share"] > 0.9, estimate["evaluation"])
    check("and warns", [w["code"] for w in estimate["warnings"]] == ["evaluation_share"])
    text = call("estimate", config).stdout
    check("in the table too", "evaluating" in text and "data.eval.max_rows" in text, text)

    # --- stop and pause inside
    slow = run_file(base / "slow", eval_rows=1200, train=dict(max_steps=4, eval_every=2, batch_size=2, save_every=2), data=dict(eval=dict(max_rows=None)))
    code, straight = trained(slow, base / "straight")
    straight_run = straight[0]["run"]
    worker = Worker(slow, "--workspace", base / "stopped")
    run = worker.until(lambda e: e["type"] == "step" and e["step"] == 2)["run"]
    worker.until(lambda e: e["type"] == "phase" and e["name"] == "evaluating" and 0 < e["done"] < e["total"])
    worker.send("stop")
    asked = time.time()
    code = worker.end()
    check("a stop ends an evaluation at its next batch", code == 5 and time.time() - asked < 2 and [e["step"] for e in of(worker.events, "eval")] == [0], (code, time.time() - asked))
    worker = Worker("--resume", run, "--workspace", base / "stopped")
    code = worker.end()
    check("resumed, it takes the evaluation that was broken off first", code == 0 and [e["step"] for e in of(worker.events, "eval")] == [2, 4], of(worker.events, "eval"))
    check("and ends bit for bit like the run that was not stopped", results(base / "stopped", run) == results(base / "straight", straight_run) != [])
    check("with the same losses", [e["loss"] for e in of(straight, "eval")][1:] == [e["loss"] for e in of(worker.events, "eval")])

    worker = Worker(slow, "--workspace", base / "paused")
    worker.until(lambda e: e["type"] == "phase" and e["name"] == "evaluating" and 0 < e["done"] < e["total"])
    worker.send("pause")
    paused = worker.until(lambda e: e["type"] == "paused")
    worker.send("evaluate")
    worker.send("resume")
    went_on = worker.until(lambda e: e["type"] == "eval")
    code = worker.end()
    check("a pause waits inside an evaluation and goes on with it", paused is not None and went_on["step"] == 0 and went_on["rows"] == 1200 and code == 0)
    check("an evaluation asked for in one is that one", [e["step"] for e in of(worker.events, "eval")] == [0, 2, 4])

    worker = Worker(slow, "--workspace", base / "early")
    worker.until(lambda e: e["type"] == "phase" and e["name"] == "evaluating")
    worker.send("stop")
    code = worker.end()
    summary = worker.events[-1].get("summary", {})
    check("stopped before the first step: no loss is claimed", code == 5 and worker.events[-1]["type"] == "finished" and not {"loss", "eval_loss", "first_loss"} & set(summary), summary)

    # --- bad values
    for setting, key in (("data.eval.max_rows=0", "data.eval.max_rows"), ("data.eval.max_rows=-3", "data.eval.max_rows"), ("train.eval_at_start=5", "train.eval_at_start")):
        done = call("train", few, "--workspace", base / "bad", "--set", setting)
        check(f"{setting} is refused by its key", done.returncode == 2 and key in done.stderr, done.stderr[-200:])
finish()
