# SPDX-License-Identifier: Apache-2.0
"""GSM8K (real rows, ../shared/data/gsm8k) as a new user brings it: a folder and no settings. Its rows are recognised and counted, their tokens and
labels are transformers', LoRA training of the demo model lowers the evaluation loss, and `eval` measures what PEFT measures."""
import json
import os
import sys
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from common import check, engine, finish, temporary

ROOT = Path(__file__).resolve().parents[2]
ROWS = Path(os.environ.get("LUTHIER_SHARED_DATA", ROOT.parent / "shared/data")) / "gsm8k"
MODEL = ROOT / "resources/demo/story-2m"
STEPS = int(os.environ.get("LUTHIER_GSM8K_STEPS", 60))
TRAIN, EVAL, WRITTEN = (int(os.environ.get("LUTHIER_GSM8K_ROWS", 400)), 40, 4)
if not ROWS.is_dir():
    print(f"skipped: {ROWS} is not there")
    sys.exit(77)


def lines(name, count=None):
    return [json.loads(line) for line in (ROWS / name).read_text().splitlines()[:count]]


def run_file(path, rows, **train):
    path.write_text(json.dumps(dict(name="gsm8k", model=dict(path=str(MODEL), dtype="float32"), method=dict(type="lora", r=8, lora_alpha=16, target_modules="all-linear"),
                                    data=dict(train=dict(path=str(rows)), max_length=1024), train=dict(learning_rate=5e-3, batch_size=4, save_every=0, **train))))
    return path


def expected(tokenizer, row):
    """Ids, and how many of them are learned: the answer and an end token. Prompt and answer are tokenised apart."""
    prompt = tokenizer(f"Question: {row['question']}\nAnswer:").input_ids
    answer = tokenizer(" " + row["answer"], add_special_tokens=False).input_ids + [tokenizer.eos_token_id]
    return prompt + answer, len(answer)


def whole_set(base, tokenizer):
    shown = json.loads(engine("data", ROWS, "--json", "--count", "3"))
    check("a folder and nothing else: rows are recognised", shown["format"] == "prompt_completion" and shown["problems"] == [], shown["mapping"])
    check("rows as they stand", [entry["value"] for entry in shown["preview"]] == lines("train.jsonl", 3))
    document = json.loads(engine("data", run_file(base / "all.json", ROWS, max_steps=1), "--json", "--count", "40"))
    check("7,473 rows train, 1,319 evaluate", (document["train_rows"], document["eval_rows"]) == (7473, 1319), f"{document['train_rows']} {document['eval_rows']}")
    check("nothing is cut, skipped or wrong", document["truncated_rows"] == document["skipped_rows"] == 0 and not [p for p in document["problems"] if p["level"] != "note" and p["code"] != "max_length_context"],
          str([problem["code"] for problem in document["problems"]]))
    context = json.loads((MODEL / "config.json").read_text())["max_position_embeddings"]
    check("1,024 tokens are told to be more than the model was made for", [p["code"] for p in document["problems"] if p["level"] == "warning"] == ["max_length_context"] and str(context) in str(document["problems"]))
    rows, right = lines("train.jsonl"), 0
    for shown in document["preview"]:
        ids, learned = expected(tokenizer, rows[shown["row"] - 1])
        states = [token["state"] == "loss" for token in shown["tokens"]]
        right += [token["id"] for token in shown["tokens"]] == ids and states == [False] * (len(ids) - learned) + [True] * learned
    check("tokens and loss of every row shown are transformers'", right == len(document["preview"]) == 40, f"{right} of 40")


def peft_loss(tokens, adapter):
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32), adapter).eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for row in tokens:
            ids = torch.tensor([[token["id"] for token in row["tokens"]]])
            labels = torch.tensor([token["id"] if token["state"] == "loss" else -100 for token in row["tokens"]])
            logits = model(input_ids=ids).logits[0]
            total += torch.nn.functional.cross_entropy(logits[:-1], labels[1:], ignore_index=-100, reduction="sum").item()
            count += int((labels[1:] != -100).sum())
    return total / count


def trained(base):
    folder = base / "rows"
    folder.mkdir()
    for name, source, count in (("train.jsonl", "train.jsonl", TRAIN), ("test.jsonl", "test.jsonl", EVAL)):
        (folder / name).write_text("\n".join((ROWS / source).read_text().splitlines()[:count]) + "\n")
    run = run_file(base / "run.json", folder, max_steps=STEPS, eval_every=max(1, STEPS // 3))
    result = Path(json.loads(engine("train", run, "--workspace", base / "ws", "--json"))["folder"])
    events = [json.loads(line) for line in (result / "events.jsonl").read_text().splitlines()]
    falling = [event["loss"] for event in events if event["type"] == "eval"]
    check("the evaluation loss falls from each evaluation to the next", len(falling) >= 4 and all(b < a for a, b in zip(falling, falling[1:])), " ".join(f"{loss:.3f}" for loss in falling))
    measured = json.loads(engine("eval", MODEL, "--data", folder / "test.jsonl", "--adapter", result / "adapter", "--max-length", "1024", "--dtype", "float32", "--metric", "loss", "--json"))["metrics"]["loss"]
    check("eval gives the loss of the last evaluation", abs(measured - falling[-1]) < 1e-5, f"{measured:.6f}")
    shown = json.loads(engine("data", run_file(base / "test.json", folder / "test.jsonl", max_steps=1), "--set", "data.eval.split=0", "--json", "--count", str(EVAL)))["preview"]
    reference = peft_loss(shown, result / "adapter")
    check("which is PEFT's over the same rows", abs(measured - reference) < 1e-4 * reference and len(shown) == EVAL, f"{measured:.6f} {reference:.6f}")
    document = json.loads(engine("eval", MODEL, "--data", folder / "test.jsonl", "--adapter", result / "adapter", "--max-length", "1024", "--limit", WRITTEN, "--max-new-tokens", "160",
                                 "--metric", "exact_match", "--metric", "rouge", "--json"))
    metrics = document["metrics"]
    check("exact match and ROUGE-L are reported", document["written_rows"] == WRITTEN and 0 <= metrics["exact_match"] <= 1 and 0 < metrics["rouge"] <= 1, json.dumps(metrics))


with temporary() as folder:
    base = Path(folder)
    os.environ["XDG_CACHE_HOME"] = str(base / "cache")
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    whole_set(base, tokenizer)
    trained(base)
finish()
