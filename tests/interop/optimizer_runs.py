# SPDX-License-Identifier: Apache-2.0
"""Whole runs with every optimiser: loss curves follow the same loop with transformers' and torch's rules; resumed runs end bit for bit
alike; early stopping and the best checkpoint do what they say."""
import json
import random
import signal
import subprocess
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import Adafactor, Trainer

from common import CLI, check, engine, finish, llama, random_rows, reference_losses, temporary, train, worst, write_rows

STEPS = 20
RULES = {
    "adafactor": (dict(optimizer="adafactor", adafactor=dict(scale_parameter=True)), lambda p: Adafactor(p, lr=5e-3, scale_parameter=True, relative_step=False)),
    "sgd": (dict(optimizer="sgd", momentum=0.9, nesterov=True, weight_decay=0.01), lambda p: torch.optim.SGD(p, lr=5e-3, momentum=0.9, nesterov=True, weight_decay=0.01)),
    "adamw": (dict(optimizer="adamw", weight_decay=0.05), lambda p: torch.optim.AdamW(p, lr=5e-3, weight_decay=0.05)),
}


def groups(model):
    """As transformers' Trainer groups them: no weight decay on biases and norms."""
    decayed = set(Trainer.get_decay_parameter_names(None, model))
    named = list(model.named_parameters())
    assert len(decayed) < len(named)
    return [dict(params=[p for name, p in named if name in decayed]), dict(params=[p for name, p in named if name not in decayed], weight_decay=0.0)]


def result(folder):
    return [file.read_bytes() for file in sorted(Path(folder).glob("*/*.safetensors")) if file.parent.name in ("adapter", "model")]


def events(run, kind):
    return [event for line in (Path(run) / "events.jsonl").read_text().splitlines() if (event := json.loads(line))["type"] == kind]


def killed(folder, step):
    worker = subprocess.Popen([CLI, "train", str(folder / "run.json"), "--workspace", str(folder / "killed"), "--events", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for line in worker.stdout:
        event = json.loads(line)
        if event["type"] == "step" and event["step"] >= step:
            break
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    return event["run"]


with temporary() as base:
    base = Path(base)
    llama().save_pretrained(base / "model")
    rows = random_rows(40)
    for name, (settings, make) in RULES.items():
        model = llama()
        expected = reference_losses(model, rows, STEPS, optimizer=make(groups(model)))
        actual, _ = train(base / name, base / "model", dict(type="full"), rows, STEPS, **settings)
        check(f"loss curve follows the reference ({name})", worst(actual, expected) < 1e-4, f"worst {worst(actual, expected):.1e}")

    draw = random.Random(5)
    for name in ("adamw_8bit", "adafactor", "lion", "sgd"):
        folder = base / f"resume-{name}"
        settings = dict(optimizer=name, momentum=0.9, save_every=7, lr=1e-3, lr_scheduler_type="cosine", warmup_steps=5)
        _, straight = train(folder, base / "model", dict(type="full"), rows, 40, batch=2, **settings)
        step = draw.randint(8, 30)
        run = killed(folder, step)
        engine("train", "--resume", run, "--workspace", folder / "killed")
        check(f"killed at step {step} and resumed: equal bit for bit ({name})", result(straight) == result(folder / "killed" / "runs" / run) and result(straight))

    # A rate far too high makes the evaluation loss rise after a first fall.
    folder = base / "early"
    _, run = train(folder, base / "model", dict(type="lora", r=4), rows[:30], 200, lr=0.02, eval_every=4, early_stopping_patience=3, load_best_model_at_end=True, keep_checkpoints=1,
                   extra=("--set", "data.eval.split=0.2"))
    evals = events(run, "eval")
    best = min(evals, key=lambda event: event["loss"])
    stopped = events(run, "early_stopped")
    summary = json.loads((run / "summary.json").read_text())
    check("three evaluations without gain end the run", len(stopped) == 1 and stopped[0]["step"] == best["step"] + 12 and len(events(run, "step")) == stopped[0]["step"],
          f"best at {best['step']}, stopped at {stopped[0]['step'] if stopped else None}")
    check("the best checkpoint is kept and is the result", best["step"] > 0 and summary["result_step"] == best["step"] and (run / "checkpoints" / f"step-{best['step']:06d}").exists(), str(summary.get("result_step")))

    # The model already gives what is evaluated; training on anything else only spoils it, and what was there before the first step stays the best.
    own = [row["input_ids"] for row in rows[:8]]
    with torch.no_grad():
        best = [llama()(input_ids=torch.tensor([ids])).logits[0].argmax(-1).tolist() for ids in own]
    write_rows(base / "own.jsonl", [{"input_ids": ids, "labels": [-100, *labels[:-1]]} for ids, labels in zip(own, best)])
    _, run = train(base / "spoilt", base / "model", dict(type="lora", r=4), rows[8:], 40, lr=0.02, lr_scheduler_type="constant", eval_every=2, early_stopping_patience=2, load_best_model_at_end=True,
                   keep_checkpoints=1, extra=("--set", f'data.eval.path="{base}/own.jsonl"'))
    summary = json.loads((run / "summary.json").read_text())
    check("the evaluation before the first step is the first best one", summary["best_eval_step"] == 0 and summary["steps"] == 4 and summary["result_step"] == 0, str(summary))
    untrained = load_file(run / "adapter" / "adapter_model.safetensors")
    check("and the adapter of that moment is the result", all((tensor == 0).all() for name, tensor in untrained.items() if "lora_B" in name) and len(untrained) > 0)

    four, _ = train(base / "four", base / "model", dict(type="lora"), rows, 6, batch=2, accumulation=4)
    eight, _ = train(base / "eight", base / "model", dict(type="lora"), rows, 6, batch=8)
    check("accumulation 4 x batch 2 equals batch 8", worst(four, eight) < 1e-5, f"worst {worst(four, eight):.1e}")
    short = random_rows(24, low=4, high=12)
    loose, _ = train(base / "loose", base / "model", dict(type="lora"), short, 1, batch=24)
    packed, _ = train(base / "packed", base / "model", dict(type="lora"), short, 1, batch=24, extra=("--set", "data.packing=true"))
    check("packed and unpacked rows have the same loss", worst(loose, packed) < 1e-5, f"{abs(loose[0] - packed[0]):.1e}")
finish()
