# SPDX-License-Identifier: Apache-2.0
"""Gemma 3 270M as people have it, one Q4_K_M GGUF file (its blocks are Q4_K, Q5_0, Q6_K and Q8_0): import, token ids, log-probabilities and ten
LoRA steps on GSM8K against transformers and peft on the same file, dequantised by transformers; the adapter as GGUF in the real llama.cpp on the
file itself. `gemma.py --time` measures the three commands from file to exported adapter instead."""
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from common import CLI, check, engine, finish, losses, reference_losses, temporary, worst, write_rows
from published import ROOT, gemma, skip

FILE = gemma()
ROWS = Path(os.environ.get("LUTHIER_SHARED_DATA", ROOT.parent / "shared/data")) / "gsm8k"
STEPS, BATCH, LENGTH = 10, 2, 160
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ODD = ["", " ", "Hello, world!", "  two  spaces   three", "a\tb\n\n\nc \n d", "naïve café – “quoted” …", "你好，世界 — ¿qué? नमस्ते", "🙂👩‍👩‍👧‍👦🏳️‍🌈", "def f(x):\n    return x ** 2  # 12345.678", "<start_of_turn>user\nHi<end_of_turn>\n",
       "<html><body>1</body></html>", "ﬁ Å Å ½ ①", "\u200bzero\u00a0width", "ALL CAPS and CamelCaseWords", "1 22 333 4444 55555", "e\u0301 composed é", "ẞß Ωω Жж שלום مرحبا", "\\frac{a}{b} $x^2$", "https://example.org/a?b=c&d=%20", "[multimodal] <unused12> <mask>"]


def rows_of(name, count):
    return [json.loads(line) for line in (ROWS / name).read_text().splitlines()[:count]]


def run_file(path, model, steps, **train):
    data = dict(train=dict(path=str(ROWS / "train.jsonl")), eval=dict(split=0), shuffle=False, max_length=LENGTH)
    path.write_text(json.dumps(dict(name="gemma", model=dict(path=str(model), dtype="float32"), method=dict(type="lora", r=8, lora_alpha=16, target_modules=TARGETS), data=data,
                                    train=dict(max_steps=steps, batch_size=BATCH, learning_rate=5e-4, lr_scheduler_type="linear", eval_every=0, save_every=0, max_grad_norm=1.0) | train)))
    return path


def tokenised(model, texts, base):
    """Ids of the texts by one session: the tokenizer of 262,144 tokens is opened once. A session's text is data, in which control tokens are
    letters; where they are meant, as transformers means them, the command says so."""
    asked = "".join(json.dumps({"id": i, "command": "tokenize", "model": str(model), "text": text}) + "\n" for i, text in enumerate(texts))
    done = subprocess.run([CLI, "serve"], input=asked, capture_output=True, text=True)
    answers = {answer["id"]: answer for line in done.stdout.splitlines() if (answer := json.loads(line)).get("type") in ("result", "failed")}
    ids = [answers[i]["value"]["ids"] if answers[i]["type"] == "result" else answers[i]["message"] for i in range(len(texts))]
    for i, text in enumerate(texts):
        if "<" in text and i < len(ODD):
            (base / "text").write_text(text)
            ids[i] = json.loads(engine("tokenize", model, "--file", base / "text", "--json"))["ids"]
    return ids


def timed():
    """Wall time and peak memory from the file to an exported adapter: import, train, export."""
    with temporary() as base:
        base = Path(base)
        run_file(base / "run.json", base / "model", int(os.environ.get("LUTHIER_GEMMA_STEPS", 50)))
        figures = {}
        for name, arguments in {"import": ["import", FILE, "--out", base / "model"], "train": ["train", base / "run.json", "--workspace", base / "workspace", "--run-id", "r"],
                                "export": ["export", "r", "--workspace", base / "workspace", "--format", "gguf", "--out", base / "adapter.gguf"]}.items():
            start = time.monotonic()
            done = subprocess.Popen([CLI, *map(str, arguments)], stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(done.pid, 0)
            figures[name] = (time.monotonic() - start, usage.ru_maxrss / 1024, status)
            print(f"{name}: {figures[name][0]:.1f} s, peak {figures[name][1]:.0f} MiB, status {status}", flush=True)
        events = [json.loads(line) for line in (base / "workspace/runs/r/events.jsonl").read_text().splitlines()]
        steps = [event for event in events if event["type"] == "step"]
        learning, whole = sum(event["step_seconds"] for event in steps), sum(figure[0] for figure in figures.values())
        print(f"{len(steps)} steps: {learning:.1f} s; all three commands: {whole:.1f} s, {whole / learning:.2f} times that")


if "--time" in sys.argv:
    timed()
    sys.exit(0)
if not ROWS.is_dir():
    skip(f"{ROWS} is not there")

seen = json.loads(engine("inspect", FILE, "--json"))
check("inspect says what the file is", seen["architecture"] == "gemma3" and seen["can_import"] and seen["context"] == 32768 and set(seen["values"]) == {"f32", "q4_k", "q5_0", "q6_k", "q8_0"}, f"{seen['parameters']} parameters, {seen['values']}")
with temporary() as base:
    base = Path(base)
    said = json.loads(engine("import", FILE, "--out", base / "half", "--json"))
    check("an import is bfloat16 unless told", said["dtype"] == "bfloat16" and said["bytes"] < 2.01 * said["parameters"], f"{said['bytes']} bytes for {said['parameters']} parameters")
    said = json.loads(engine("import", FILE, "--out", base / "model", "--dtype", "float32", "--json"))
    check("and float32 when told", said["dtype"] == "float32" and said["family"] == "gemma3_text", str(said["parameters"]))

    tokenizer = AutoTokenizer.from_pretrained(FILE.parent, gguf_file=FILE.name)
    own = AutoTokenizer.from_pretrained(base / "model")
    texts = ODD + [row["question"] for row in rows_of("test.jsonl", 90)] + [row["answer"] for row in rows_of("test.jsonl", 90)]
    ours = tokenised(base / "model", texts, base)
    for name, reference in (("the same file", tokenizer), ("the imported folder", own)):
        wanted = [reference(text)["input_ids"] for text in texts]
        off = [(i, texts[i][:40], a, b) for i, (a, b) in enumerate(zip(ours, wanted)) if a != b]
        check(f"token ids of {len(texts)} texts are those of transformers' reading of {name}", not off, f"{sum(map(len, ours))} ids; {len(off)} differ: {str(off)[:400]}")

    reference = AutoModelForCausalLM.from_pretrained(FILE.parent, gguf_file=FILE.name, dtype=torch.float32, attn_implementation="eager").eval()
    rows = [{"input_ids": ids, "labels": ids} for ids in ours[:8] + ours[len(ODD):] if 8 <= len(ids) <= 160][:16]
    write_rows(base / "score.jsonl", rows)
    engine("score", base / "model", "--data", base / "score.jsonl", "--what", "logprobs", "--dtype", "float32", "--out", base / "score.safetensors")
    scored = load_file(base / "score.safetensors")
    far = 0
    with torch.no_grad():
        for i, row in enumerate(rows):
            ids = torch.tensor([row["input_ids"]])
            wanted = reference(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None]).squeeze(1)
            mine = next(tensor for name, tensor in scored.items() if name.endswith(f".{i}"))
            far = max(far, (mine - wanted).abs().max().item())
    check("log-probabilities are those of transformers' dequantised model", far <= 5e-5, f"{far:.1e} at most over {sum(len(row['input_ids']) for row in rows)} tokens")

    run_file(base / "run.json", base / "model", STEPS)
    done = json.loads(engine("train", base / "run.json", "--workspace", base / "workspace", "--json"))
    folder = Path(done["folder"])
    mine = losses(folder)
    preview = json.loads(engine("data", base / "run.json", "--json"))["preview"]
    learned = [{"input_ids": [token["id"] for token in row["tokens"] if token["state"] != "cut"], "labels": [token["id"] if token["state"] == "loss" else -100 for token in row["tokens"] if token["state"] != "cut"]} for row in preview]
    if len(learned) < STEPS * BATCH:
        check("data previews the rows of the run", False, f"{len(learned)} rows")
    # The start is drawn by Luthier: peft begins with the same matrices, saved by a run of no step's worth.
    run_file(base / "start.json", base / "model", 1, learning_rate=0.0)
    start = Path(json.loads(engine("train", base / "start.json", "--workspace", base / "workspace", "--json"))["folder"]) / "adapter"
    adapted = PeftModel.from_pretrained(reference, start, is_trainable=True).train()
    theirs = reference_losses(adapted, learned, STEPS, batch=BATCH, lr=5e-4)
    check(f"the losses of {STEPS} LoRA steps on GSM8K are peft's", worst(mine, theirs) <= 1e-4, f"{worst(mine, theirs):.1e}; {mine[0]:.4f} to {mine[-1]:.4f}")

    engine("export", folder, "--format", "gguf", "--out", base / "adapter.gguf")
    import gguf_files
    if not (gguf_files.LLAMA / "node_modules/node-llama-cpp").exists():
        check("llama.cpp is there (packaging/test brings it)", False, str(gguf_files.LLAMA))
    else:
        trained = adapted.eval()
        prompts = [row["input_ids"][:24] for row in learned[:3]]
        jobs = [dict(prompt=prompt, count=gguf_files.COUNT) for prompt in prompts]
        # llama.cpp rounds what goes into each product to 8 bits: near ties may fall either way
        gguf_files.check_tokens("llama.cpp loads the GGUF adapter on the file itself and writes what peft finds likely", trained, prompts, gguf_files.llama_cpp(base, FILE, jobs, base / "adapter.gguf"), 0.25)
finish()
