# SPDX-License-Identifier: Apache-2.0
"""Methods against peft beyond decoders: T5 (sequence to sequence), BERT and LLaMA (classification with their heads). Runs started from an
adapter that peft saved follow its loss over 20 steps and end in its tensors; full fine-tuning follows transformers; multi-label and
regression losses equal transformers'. `tasks.py PART` runs the cases whose label holds PART."""
import json
import sys
from pathlib import Path

import torch
from peft import IA3Config, LNTuningConfig, LoHaConfig, LoKrConfig, LoraConfig, PeftModel, PrefixTuningConfig, PromptTuningConfig, VeraConfig, get_peft_model
from safetensors.torch import load_file

import encoders
from common import check, engine, finish, score, taken, temporary, train, worst, write_rows
from contract import Classifier, Seq2Seq

STEPS = 20
# Adam's first step divides a gradient by its own size. Where a gradient is rounding noise (3e-9 in a tensor of 5e-3) an epsilon of 1e-8 would turn
# the noise into steps of full size and random sign on either side; 1e-6 does not, and is the same for both.
EPSILON = 1e-6
PART = sys.argv[1] if len(sys.argv) > 1 else ""
# T5 with gated GELU, as T0 and Flan-T5 have it: at the kink of the first T5's ReLU a difference of 1e-7 may turn a gradient on or off.
CASES = {"t5": lambda: Seq2Seq("t5", 1), "bert": lambda: Classifier("bert"), "llama": lambda: Classifier("llama-classifier")}
TARGETS = {"t5": ["q", "v"], "bert": ["query", "value"], "llama": ["q_proj", "v_proj"]}
NORMS = {"t5": ["layer_norm", "final_layer_norm"], "bert": ["LayerNorm"], "llama": ["input_layernorm", "post_attention_layernorm", "norm"]}


def peft_configs(family):
    targets = TARGETS[family]
    common = dict(task_type="SEQ_2_SEQ_LM" if family == "t5" else "SEQ_CLS")
    yield "lora", LoraConfig(r=4, lora_alpha=8, target_modules=targets, **common), dict(type="lora", r=4, lora_alpha=8, target_modules=targets)
    yield "lora all-linear", LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", **common), dict(type="lora", r=4, lora_alpha=8, target_modules="all-linear")
    yield "dora", LoraConfig(r=4, lora_alpha=8, target_modules=targets, use_dora=True, **common), dict(type="lora", r=4, lora_alpha=8, target_modules=targets, use_dora=True)
    yield "ia3", IA3Config(**common), dict(type="ia3")
    yield "ln_tuning", LNTuningConfig(target_modules=NORMS[family], **common), dict(type="ln_tuning")
    yield "vera", VeraConfig(r=8, target_modules=targets, **common), dict(type="vera", r=8, target_modules=targets)
    yield "loha", LoHaConfig(r=4, alpha=6, target_modules=targets, **common), dict(type="loha", r=4, alpha=6, target_modules=targets)
    yield "lokr", LoKrConfig(r=2, alpha=3, target_modules=targets, **common), dict(type="lokr", r=2, alpha=3, target_modules=targets)
    yield "prompt_tuning", PromptTuningConfig(num_virtual_tokens=5, **common), dict(type="prompt_tuning", num_virtual_tokens=5)
    yield "prefix_tuning", PrefixTuningConfig(num_virtual_tokens=5, **common), dict(type="prefix_tuning", num_virtual_tokens=5)


def rows_for(case):
    generator = torch.Generator().manual_seed(9)
    if isinstance(case, Seq2Seq):
        return [{"input_ids": encoders.ids_of(generator, 6, 18), "labels": encoders.ids_of(generator, 4, 10)} for _ in range(24)]
    return [{"input_ids": encoders.ids_of(generator, 6, 18), "label": i % encoders.CLASSES} for i in range(24)]


def loss_sum(model, row):
    """Sum of a row's losses and their number."""
    ids = torch.tensor([row["input_ids"]])
    if "labels" in row:
        labels = torch.tensor([row["labels"]])
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).logits[0]
        return torch.nn.functional.cross_entropy(logits.float(), labels[0], reduction="sum"), len(row["labels"])
    return torch.nn.functional.cross_entropy(model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits, torch.tensor([row["label"]]), reduction="sum"), 1


def reference_losses(model, rows, steps, batch=4, lr=5e-3):
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=lr, eps=EPSILON, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: max(0.0, (steps - k) / max(1, steps)))
    values = []
    for step in range(steps):
        chosen = [rows[(step * batch + i) % len(rows)] for i in range(batch)]
        parts = [loss_sum(model, row) for row in chosen]
        loss = sum(part for part, _ in parts) / sum(count for _, count in parts)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        values.append(loss.item())
    return values


def loss_of_value(model, row):
    with torch.no_grad():
        return (model(input_ids=torch.tensor([row["input_ids"]])).logits[0, 0].item() - row["label"]) ** 2


def shaken(model):
    torch.manual_seed(7)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(torch.randn_like(parameter) * 0.05)
    return model.eval()  # dropout off; gradients stay


def relative(a, b):
    return max(((a[k].float() - b[k].float()).abs().max() / b[k].float().abs().max().clamp(min=1e-6)).item() for k in b)


with temporary() as base:
    base = Path(base)
    for family, case_of in CASES.items():
        case = case_of()
        model_folder = base / family
        case.model.save_pretrained(model_folder)
        rows = rows_for(case)

        def fresh():
            return type(case.model).from_pretrained(model_folder).eval()

        for name, config, method in peft_configs(family):
            label = f"{family} {name}"
            if PART not in label or not taken(f"tasks {label}"):
                continue
            folder = base / label.replace(" ", "-")
            try:
                model = shaken(get_peft_model(fresh(), config))
                model.save_pretrained(folder / "start")
                expected = reference_losses(model, rows, STEPS)
            except Exception as error:
                check(f"peft itself runs ({label})", False, f"{type(error).__name__}: {error}"[:200])
                continue
            try:
                actual, run = train(folder, model_folder, {**method, "init_from": str(folder / "start")}, rows, STEPS, extra=case.extra, adam_epsilon=EPSILON)
            except RuntimeError as error:
                check(f"trains ({label})", False, str(error)[-400:])
                continue
            check(f"loss curve follows peft ({label})", worst(actual, expected) < 1e-4, f"worst {worst(actual, expected):.1e}")
            model.save_pretrained(folder / "end")
            ours, theirs = (load_file(path / "adapter_model.safetensors") for path in (run / "adapter", folder / "end"))
            check(f"the file has peft's names ({label})", set(ours) == set(theirs), f"{sorted(set(ours) ^ set(theirs))[:4]}")
            figure = relative(ours, {k: v for k, v in theirs.items() if k in ours})
            check(f"ends in peft's tensors ({label})", figure < 2e-3, f"relative {figure:.1e}")
            engine("export", run, "--format", "peft", "--out", folder / "export")
            loaded = PeftModel.from_pretrained(fresh(), str(folder / "export")).eval()
            mine = score(model_folder, rows[:3], folder, folder / "export")
            figure = max(((case.logits(loaded, row) - own).abs().max() / own.std()).item() for row, own in zip(rows, mine))
            check(f"export loads in peft with equal logits ({label})", figure < 1e-4, f"{figure:.1e}")

        if PART and PART not in f"{family} full":
            continue
        model = fresh()
        expected = reference_losses(model, rows, STEPS, lr=1e-3)
        actual, run = train(base / f"{family}-full", model_folder, dict(type="full"), rows, STEPS, lr=1e-3, extra=case.extra, adam_epsilon=EPSILON)
        check(f"full fine-tuning follows transformers ({family})", worst(actual, expected) < 1e-4, f"worst {worst(actual, expected):.1e}")
        again = type(model).from_pretrained(run / "model").eval()
        figure = max(((case.logits(again, row) - case.logits(model, row)).abs().max() / case.logits(model, row).std()).item() for row in rows[:3])
        check(f"its folder loads in transformers with equal logits ({family})", figure < 1e-3, f"{figure:.1e}")

    # The two other losses of a classifier, as transformers computes them with a whole batch.
    for kind, labels in {"several classes at once": [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]], "regression": [[0.3, -1.0, 2.0], [1.5, 0.25, -0.75]]}.items():
        name = "multi_label_classification" if kind != "regression" else "regression"
        model = encoders.make("Bert", "ForSequenceClassification", encoders.BERT, dict(problem_type=name), 3)
        folder = base / name
        model.save_pretrained(folder)
        rows = [{"input_ids": [5, 9, 12, 40, 7, 3], "label": labels[0]}, {"input_ids": [8, 6, 44, 21, 11, 13], "label": labels[1]}]
        expected = model(input_ids=torch.tensor([row["input_ids"] for row in rows]), labels=torch.tensor(labels)).loss
        expected.backward()
        found = encoders.scored(folder, rows, base, "gradients")
        figure = max((found["loss"] - expected).abs().item() / expected.item(), (found["classifier.weight"] - model.classifier.weight.grad).norm().item() / model.classifier.weight.grad.norm().item())
        check(f"loss and gradient of {kind} equal transformers'", figure < 1e-5, f"relative {figure:.1e}")

    # Whole numbers are values for a model with one output, in training and in eval, and a row without one is refused.
    model = encoders.make("Bert", "ForSequenceClassification", encoders.BERT, dict(num_labels=1), 3)
    model.save_pretrained(base / "measures")
    rows = [{"input_ids": [5, 9, 12, 40], "label": 4}, {"input_ids": [8, 6, 44, 21], "label": 2}]
    expected = sum(loss_of_value(model, row) for row in rows) / 2
    actual, _ = train(base / "measuring", base / "measures", dict(type="full"), rows, 1, batch=2)
    check("whole numbers are values where there is one output", abs(actual[0] - expected) / expected < 1e-5, f"{actual[0]:.6f} against {expected:.6f}")
    for name, wrong in {"a word for a value": "good", "a class among values": [0.5, 0.25]}.items():
        write_rows(base / "wrong.jsonl", [rows[0], {**rows[1], "label": wrong}])
        (base / "wrong.json").write_text(json.dumps(dict(model=dict(path=str(base / "measures")), method=dict(type="full"), data=dict(train=dict(path="wrong.jsonl", format="tokenized"), eval=dict(split=0)),
                                                         train=dict(max_steps=1))))
        done = engine("train", base / "wrong.json", "--workspace", base / "workspace", expect=3)
        check(f"refused: {name}", done.returncode == 3 and '"label_' in done.stderr + done.stdout, (done.stderr + done.stdout)[-200:])

    # A head that the folder lacks is drawn, trained and written; a wrong number of classes is refused.
    model = encoders.make("Bert", "Model", {k: v for k, v in encoders.BERT.items() if k != "num_labels"}, {}, 4)
    model.save_pretrained(base / "headless")
    case = Classifier("bert")
    rows = rows_for(case)
    _, run = train(base / "new-head", base / "headless", dict(type="full"), rows, 3, extra=case.extra)
    config = json.loads((run / "model" / "config.json").read_text())
    check("a new head is drawn, trained and written", config["architectures"] == ["BertForSequenceClassification"] and len(config["id2label"]) == 3 and "classifier.weight" in load_file(run / "model" / "model.safetensors"))
    write_rows(base / "rows.jsonl", rows)
    (base / "run.json").write_text(json.dumps(dict(model=dict(path=str(base / "headless"), task="sequence_classification", num_labels=2), method=dict(type="full"),
                                                   data=dict(train=dict(path="rows.jsonl", format="tokenized")), train=dict(max_steps=1))))
    done = engine("train", base / "run.json", "--workspace", base / "workspace", expect=3)
    check("too many classes are told with the key to set", done.returncode == 3 and "model.num_labels" in done.stderr + done.stdout, (done.stderr + done.stdout)[-200:])
finish()
