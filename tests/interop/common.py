# SPDX-License-Identifier: Apache-2.0
"""What the comparisons with transformers and peft share: tiny random models, rows, the engine as a process, and checks that are counted."""
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

logging.set_verbosity_error()
logging.disable_progress_bar()

CLI = os.environ.get("LUTHIER_CLI", "luthier-cli")
VOCABULARY = 99
_checks = {"passed": 0, "failed": 0}


def check(name, passed, figure=""):
    _checks["passed" if passed else "failed"] += 1
    print(f"{'ok  ' if passed else 'FAIL'} {name} {figure}", flush=True)


SLICE = os.environ.get("LUTHIER_TEST_SLICE", "")
_slice = {"taken": 0, "left": 0}


def taken(label):
    """Whether a case of a large matrix runs: all of them, or under LUTHIER_TEST_SLICE (the commit, set by packaging/test without --all) the
    half that its hash draws, the same whenever this commit is tested. What is named on the command line runs whole."""
    yes = not SLICE or any(not argument.startswith("-") for argument in sys.argv[1:]) or hashlib.sha256(f"{SLICE} {label}".encode()).digest()[0] % 2 == 0
    _slice["taken" if yes else "left"] += 1
    return yes


def finish():
    if _slice["left"]:
        print(f"a slice: {_slice['taken']} of {sum(_slice.values())} cases, drawn by the commit {SLICE[:10]}; packaging/test --all runs all of them")
    print(f"{_checks['passed']} passed, {_checks['failed']} failed")
    sys.exit(1 if _checks["failed"] else 0)


def engine(*arguments, expect=0):
    """Runs luthier-cli; returns its standard output, or the process when another exit code is expected."""
    done = subprocess.run([CLI, *map(str, arguments)], capture_output=True, text=True)
    if expect == 0 and done.returncode != 0:
        raise RuntimeError(f"luthier-cli {arguments[0]} ended with {done.returncode}: {done.stderr[-600:]}")
    return done.stdout if expect == 0 else done


def llama(seed=0, **changes):
    torch.manual_seed(seed)
    settings = dict(vocab_size=VOCABULARY, hidden_size=64, intermediate_size=112, num_hidden_layers=3, num_attention_heads=8,
                    num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.2, bos_token_id=0, eos_token_id=1, pad_token_id=2)
    return LlamaForCausalLM(LlamaConfig(**{**settings, **changes})).eval()


def gpt2(seed=0, **changes):
    torch.manual_seed(seed)
    settings = dict(vocab_size=VOCABULARY, n_embd=64, n_layer=3, n_head=4, n_positions=64, initializer_range=0.2, bos_token_id=0,
                    eos_token_id=1, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    return GPT2LMHeadModel(GPT2Config(**{**settings, **changes})).eval()


def ropes(original=16):
    half = 4  # head size 8
    return {
        "linear": dict(rope_type="linear", factor=2.0, rope_theta=10000.0),
        "dynamic": dict(rope_type="dynamic", factor=2.0, rope_theta=10000.0),
        "llama3": dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=original, rope_theta=10000.0),
        "yarn": dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=original, rope_theta=10000.0),
        "longrope": dict(rope_type="longrope", factor=4.0, short_factor=[1 + 0.1 * i for i in range(half)], long_factor=[1.5 + 0.3 * i for i in range(half)],
                         original_max_position_embeddings=original, rope_theta=10000.0),
    }


def random_rows(count, seed=1, low=6, high=24, masked=0.4):
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for _ in range(count):
        length = int(torch.randint(low, high, (1,), generator=generator))
        ids = torch.randint(3, VOCABULARY, (length,), generator=generator)
        labels = torch.where(torch.rand(length, generator=generator) < masked, torch.tensor(-100), ids)
        labels[-1] = ids[-1]
        rows.append({"input_ids": ids.tolist(), "labels": labels.tolist()})
    return rows


def write_rows(path, rows):
    Path(path).write_text("\n".join(json.dumps(row) for row in rows) + "\n")


def train(folder, model, method, rows, steps, batch=4, accumulation=1, lr=5e-3, extra=(), **train_settings):
    """Trains on `rows` in file order; returns (losses, run folder)."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "rows.jsonl", rows)
    settings = dict(max_steps=steps, batch_size=batch, gradient_accumulation_steps=accumulation, learning_rate=lr, lr_scheduler_type="linear",
                    eval_every=0, save_every=0, max_grad_norm=1.0)
    settings.update(train_settings)
    run = dict(name="interop", model=dict(path=str(model), dtype="float32"), method=method,
               data=dict(train=dict(path="rows.jsonl", format="tokenized"), eval=dict(split=0), shuffle=False, max_length=64), train=settings)
    (folder / "run.json").write_text(json.dumps(run))
    out = json.loads(engine("train", folder / "run.json", "--workspace", folder / "workspace", "--json", *extra))
    return losses(out["folder"]), Path(out["folder"])


def losses(folder):
    values = {}
    for line in (Path(folder) / "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["type"] == "step":
            values[event["step"]] = event["loss"]
    return [values[step] for step in sorted(values)]


def loss_sum(model, row):
    """Sum of a decoder's losses over a row and their number. Where virtual tokens of a prompt stand in front, the last of them predicts the first label."""
    ids = torch.tensor([row["input_ids"]])
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0].float()
    labels = torch.tensor(row["labels"])
    virtual = logits.shape[0] - labels.shape[0]
    logits, labels = (logits[virtual - 1:-1], labels) if virtual else (logits[:-1], labels[1:])
    return torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100, reduction="sum"), int((labels != -100).sum())


def reference_losses(model, rows, steps, batch=4, accumulation=1, lr=5e-3, clip=1.0, optimizer=None, eps=1e-8):
    """A plain loop: token-exact loss over all micro-batches, AdamW, linear schedule; one row at a time, so nothing is padded."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = optimizer or torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.999), eps=eps, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: max(0.0, (steps - k) / max(1, steps)))
    position = 0
    values = []
    for _ in range(steps):
        chosen = []
        for _ in range(batch * accumulation):
            if position == len(rows):
                if chosen:
                    break
                position = 0
            chosen.append(rows[position])
            position += 1
        parts = [loss_sum(model, row) for row in chosen]
        loss = sum(part for part, _ in parts) / sum(count for _, count in parts)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        values.append(loss.item())
    return values


def worst(a, b):
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


def score(model_folder, rows, folder, *adapters):
    """Logits of each row from the engine."""
    folder = Path(folder)
    write_rows(folder / "score.jsonl", rows)
    arguments = [value for adapter in adapters for value in ("--adapter", adapter)]
    engine("score", model_folder, "--data", folder / "score.jsonl", "--out", folder / "score.safetensors", *arguments)
    tensors = load_file(folder / "score.safetensors")
    return [tensors[f"logits.{i}"] for i in range(len(rows))]


def logits_of(model, row):
    ids = torch.tensor([row["input_ids"]])
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0][-ids.shape[1]:].float()


def temporary():
    return tempfile.TemporaryDirectory(prefix="luthier-interop-")
