# SPDX-License-Identifier: Apache-2.0
"""T-Few (Liu et al. 2022) on T5 and on a decoder: L_LM, L_UL and L_LN with their gradients against a reference written from the paper, which
reads every choice alone; whole runs with IA3 and Adafactor against peft and transformers; rank classification. `tfew.py PART` runs the
cases whose label holds PART."""
import json
import math
import sys
from pathlib import Path

import torch
from peft import IA3Config, get_peft_model
from safetensors.torch import load_file
from transformers import Adafactor

import encoders
from common import check, engine, finish, llama, temporary, train, worst, write_rows
from contract import Seq2Seq

PART = sys.argv[1] if len(sys.argv) > 1 else ""
STEPS = 20
CHOICES = ("--set", 'data.train.format="choices"')
TASK = {"t5": ("--set", 'model.task="seq2seq_lm"'), "llama": ()}
IA3 = {
    "t5": (IA3Config(task_type="SEQ_2_SEQ_LM", target_modules=["k", "v", "wo"], feedforward_modules=["wo"]), dict(type="ia3", target_modules=["k", "v", "wo"], feedforward_modules=["wo"])),
    "llama": (IA3Config(task_type="CAUSAL_LM"), dict(type="ia3")),
}


def make(family):
    return Seq2Seq("t5", 1).model.eval() if family == "t5" else llama()


def rows_of(count, seed=3, choices=None):
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for i in range(count):
        number = choices or 2 + i % 3
        rows.append({"input_ids": encoders.ids_of(generator, 5, 14), "choices": [encoders.ids_of(generator, 1, 6) for _ in range(number)],
                     "answer": int(torch.randint(number, (1,), generator=generator))})
    return rows


def log_probabilities(model, prompt, choice):
    """log p(y_t | x, y_<t) of every token of one choice."""
    if model.config.is_encoder_decoder:
        labels = torch.tensor([choice])
        logits = model(input_ids=torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), labels=labels).logits[0]
    else:
        ids = torch.tensor([prompt + choice])
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0][len(prompt) - 1:-1]
    return torch.log_softmax(logits.float(), -1)[range(len(choice)), choice]


def losses_of(model, rows, form="paper"):
    """The three losses as the paper writes them, and every row's scores."""
    right, wrong, ranks, scores = [], [], [], []
    for row in rows:
        lls = [log_probabilities(model, row["input_ids"], choice) for choice in row["choices"]]
        beta = torch.stack([ll.mean() for ll in lls])
        ranks.append(-torch.log(torch.exp(beta[row["answer"]]) / torch.exp(beta).sum()))
        right.append(lls[row["answer"]])
        wrong += [ll for n, ll in enumerate(lls) if n != row["answer"]]
        scores.append(-beta.detach())
    right, wrong = torch.cat(right), torch.cat(wrong)
    if form == "paper":
        unlikelihood = -torch.log(1 - torch.exp(wrong)).sum() / len(wrong)
    else:
        places = sum(len(row["choices"]) for row in rows) * max(len(choice) for row in rows for choice in row["choices"])
        unlikelihood = (-torch.log(1 - torch.exp(wrong) + 0.01).sum() - (places - len(wrong)) * math.log(1.01)) / len(wrong)
    return dict(lm=-right.mean(), unlikelihood=unlikelihood, length_normalized=torch.stack(ranks).mean()), scores


def relative(a, b):
    return ((a.float() - b.float()).abs().max() / b.float().abs().max().clamp(min=1e-12)).item()


def gradients(family, folder, rows):
    """Every term alone and all together, in both forms of L_UL, with the gradients of every parameter of the model."""
    for label, weights, form in (("L_LM + L_UL", (0.5, 0), "paper"), ("L_LM + L_LN", (0, 2), "paper"), ("T-Few", (1, 1), "paper"), ("T-Few's code", (1, 1), "code")):
        model = make(family)
        terms, _ = losses_of(model, rows, form)
        total = terms["lm"] + weights[0] * terms["unlikelihood"] + weights[1] * terms["length_normalized"]
        total.backward()
        write_rows(folder / "rows.jsonl", rows)
        engine("score", folder / "model", "--data", folder / "rows.jsonl", "--out", folder / "out.safetensors", "--what", "gradients", "--unlikelihood", weights[0],
               "--length-normalized", weights[1], "--unlikelihood-form", form)
        ours = load_file(folder / "out.safetensors")
        figure = max(relative(ours["loss"], total.detach()), *(relative(ours[f"terms.{name}"], value.detach()) for name, value in terms.items()))
        check(f"loss and its terms ({family} {label})", figure < 1e-5, f"relative {figure:.1e}")
        theirs = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
        missing = {name for name in theirs if name not in ours and not name.startswith("lm_head")}
        figure = max(relative(ours[name], gradient) for name, gradient in theirs.items() if name in ours)
        check(f"gradients of all parameters ({family} {label})", not missing and len(ours) > 10 and figure < 1e-4, f"relative {figure:.1e} over {len(theirs)} tensors {sorted(missing)[:3]}")


def recipe(family, folder, rows):
    """IA3 with the three losses and T-Few's Adafactor: our run beside the plain loop."""
    config, method = IA3[family]
    model = get_peft_model(make(family), config)
    torch.manual_seed(7)
    parameters = [p for p in model.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.data.add_(torch.randn_like(parameter) * 0.05)
    model.eval().save_pretrained(folder / "start")
    optimizer = Adafactor(parameters, lr=3e-3, scale_parameter=True, relative_step=False, warmup_init=False)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: k / 3 if k < 3 else max(0.0, (STEPS - k) / (STEPS - 3)))
    expected = []
    for step in range(STEPS):
        terms, _ = losses_of(model, [rows[(step * 8 + i) % len(rows)] for i in range(8)])
        optimizer.zero_grad()
        sum(terms.values()).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        expected.append({name: value.item() for name, value in terms.items()})
    settings = dict(optimizer="adafactor", adafactor=dict(scale_parameter=True), lr=3e-3, warmup_steps=3, loss=dict(unlikelihood=1, length_normalized=1))
    start = {**method, "init_from": str(folder / "start")}
    whole, run = train(folder / "whole", folder / "model", start, rows, STEPS, batch=8, extra=(*CHOICES, *TASK[family]), **settings)
    cut, _ = train(folder / "cut", folder / "model", start, rows, STEPS, batch=2, accumulation=4, extra=(*CHOICES, *TASK[family]), **settings)
    steps = [event for line in (run / "events.jsonl").read_text().splitlines() if (event := json.loads(line))["type"] == "step"]
    figure = worst(whole, [sum(terms.values()) for terms in expected])
    check(f"loss curve follows peft and transformers ({family})", figure < 1e-4, f"worst {figure:.1e}")
    figure = max(abs(event["losses"][name] - terms[name]) for event, terms in zip(steps, expected, strict=True) for name in terms)
    check(f"the step's losses follow each term ({family})", figure < 1e-4, f"worst {figure:.1e}")
    figure = worst(whole, cut)
    check(f"accumulation 4 x batch 2 equals batch 8 ({family})", figure < 1e-5, f"worst {figure:.1e}")
    model.save_pretrained(folder / "end")
    ours, theirs = (load_file(path / "adapter_model.safetensors") for path in (run / "adapter", folder / "end"))
    figure = max(relative(ours[name], theirs[name]) for name in theirs)
    check(f"ends in peft's tensors ({family})", set(ours) == set(theirs) and figure < 2e-3, f"relative {figure:.1e}")
    return run / "adapter", model


def ranking(family, folder, rows, adapter, model):
    """Scores, rank accuracy and token accuracy in eval and during training."""
    with torch.no_grad():
        terms, scores = losses_of(model, rows)
    write_rows(folder / "rows.jsonl", rows)
    engine("score", folder / "model", "--adapter", adapter, "--data", folder / "rows.jsonl", "--out", folder / "out.safetensors", "--what", "choices")
    ours = load_file(folder / "out.safetensors")
    figure = max((ours[f"choices.{i}"] - row).abs().max().item() for i, row in enumerate(scores))
    check(f"length-normalised scores ({family})", figure < 1e-4, f"worst {figure:.1e}")
    right = sum(int(row.argmin()) == rows[i]["answer"] for i, row in enumerate(scores)) / len(rows)
    found = json.loads(engine("eval", folder / "model", "--adapter", adapter, "--data", folder / "rows.jsonl", "--format", "choices", "--dtype", "float32", "--json"))["metrics"]
    check(f"rank accuracy in eval ({family})", 0 < right < 1 and abs(found["rank_accuracy"] - right) < 1e-9, f"{found['rank_accuracy']} against {right}")
    check(f"loss in eval is L_LM ({family})", abs(found["loss"] - terms["lm"].item()) < 1e-4 and abs(found["perplexity"] - math.exp(terms["lm"])) < 1e-2, f"{found['loss']}")
    _, run = train(folder / "ranked", folder / "model", dict(type="ia3", init_from=str(adapter)), rows, 1, lr=0, eval_every=1, loss=dict(unlikelihood=1, length_normalized=1),
                   extra=(*CHOICES, *TASK[family], "--set", f'data.eval.path="{folder}/rows.jsonl"'))
    event = next(event for line in (run / "events.jsonl").read_text().splitlines() if (event := json.loads(line))["type"] == "eval")
    figure = max(abs(event["metrics"][f"{name}_loss"] - value.item()) for name, value in terms.items())
    check(f"rank accuracy and the losses in training's evaluation ({family})", abs(event["metrics"]["rank_accuracy"] - right) < 1e-9 and figure < 1e-4, f"worst {figure:.1e}")
    check(f"the evaluation's loss is their sum ({family})", abs(event["loss"] - sum(terms.values()).item()) < 1e-4, f"{event['loss']}")


with temporary() as base:
    base = Path(base)
    for family in ("t5", "llama"):
        if PART not in family:
            continue
        folder = base / family
        make(family).save_pretrained(folder / "model")
        rows = rows_of(16)  # whole batches: the last step of an epoch may be short
        gradients(family, folder, rows_of(5))
        adapter, model = recipe(family, folder, rows)
        ranking(family, folder, rows, adapter, model)

        plain = [{"input_ids": [5, 6, 7], "labels": [5, 6, 7]}] * 4
        (folder / "refused").mkdir()
        write_rows(folder / "refused" / "rows.jsonl", plain)
        document = dict(model=dict(path=str(folder / "model"), task="seq2seq_lm" if family == "t5" else "causal_lm"), method=IA3[family][1],
                        data=dict(train=dict(path="rows.jsonl"), eval=dict(split=0)), train=dict(max_steps=1, loss=dict(unlikelihood=1)))
        (folder / "refused" / "run.json").write_text(json.dumps(document))
        done = engine("train", folder / "refused" / "run.json", "--workspace", folder / "refused" / "workspace", expect=3)
        failed = json.loads(done.stderr.splitlines()[-1])
        check(f"rows without choices are refused by name ({family})", failed["code"] == "no_choices" and "train.loss.unlikelihood" in failed["message"], failed["message"])
finish()
