# SPDX-License-Identifier: Apache-2.0
"""What commands take and say where transformers and PEFT set the custom: paths with colons and weights, rows by their content, the type a model is measured in, the
base that an adapter names and the class that its card shows, problems with the file and key in them."""
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from peft import AutoPeftModelForCausalLM, AutoPeftModelForSeq2SeqLM, AutoPeftModelForSequenceClassification, LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file

from common import CLI, check, engine, finish, llama, logits_of, random_rows, score, temporary, train, write_rows
from contract import Classifier, Seq2Seq


def adapter(folder, seed=1, **settings):
    model = get_peft_model(llama(), LoraConfig(**{**dict(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM"), **settings}))
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(0, 0.1)
    model.save_pretrained(folder)
    return model.eval()


def colons(base):
    """DIR:WEIGHT: the last colon with a number behind it parts them, whatever the folder is called."""
    llama().save_pretrained(base / "model")
    rows = random_rows(2)
    model = adapter(base / "plain")
    plain = [logits_of(llama(), row) for row in rows]
    whole = [logits_of(model, row) for row in rows]

    def of_weight(weight):
        layer_scales = {}
        for module in model.modules():
            if isinstance(getattr(module, "scaling", None), dict):
                layer_scales[module] = dict(module.scaling)
                module.scaling["default"] *= weight
        found = [logits_of(model, row) for row in rows]
        for module, scaling in layer_scales.items():
            module.scaling.update(scaling)
        return found

    for name in ("a:b", "run:2026-11-30 14:05", "x:0.5:y", "r=4:lora", "lr=0.1", "a:1e"):
        shutil.copytree(base / "plain", base / name)
        for text, weight in ((name, 1), (f"{name}:0.5", 0.5), (f"{name}:-1", -1), (f"{name}:2e-1", 0.2), (f"{name}:0", 0)):
            found = score(base / "model", rows, base, base / text)
            figure = max((a - b).abs().max().item() for a, b in zip(found, of_weight(weight)))
            check(f"--adapter {text} is of weight {weight}", figure < 1e-4, f"max difference {figure:.1e}")
    # A folder that ends in a number itself: a weight has to be said, unless nothing else stands there.
    shutil.copytree(base / "plain", base / "step:100")
    for text, right in (("step:100:1", whole), ("step:100", whole), ("step:100:0", plain)):
        figure = max((a - b).abs().max().item() for a, b in zip(score(base / "model", rows, base, base / text), right))
        check(f"--adapter {text}", figure < 1e-4, f"max difference {figure:.1e}")
    os.chdir(base)
    figure = max((a - b).abs().max().item() for a, b in zip(score(base / "model", rows, base, "lr=0.1:0.5"), of_weight(0.5)))
    check("a folder of the working directory with an equals sign", figure < 1e-4, f"max difference {figure:.1e}")


def rows_by_content(base):
    """`score` and `eval` take a list or lines, whatever the file is called."""
    llama().save_pretrained(base / "rows-model")
    rows = random_rows(4)
    right = [logits_of(llama(), row) for row in rows]
    contents = {"lines": "".join(json.dumps(row) + "\n" for row in rows), "a list": json.dumps(rows), "a list over many lines": json.dumps(rows, indent=2), "objects over several lines": "\n".join(json.dumps(row, indent=1) for row in rows),
                "a list behind a mark of its coding": "\ufeff" + json.dumps(rows), "lines with blank ones": "\n\n" + "\n\n".join(map(json.dumps, rows)) + "\n\n"}
    for shape, content in contents.items():
        for name in ("rows.json", "rows.jsonl", "rows.ndjson", "rows.txt", "rows.data", "rows"):
            (base / name).write_text(content)
            try:
                engine("score", base / "rows-model", "--data", base / name, "--out", base / "out.safetensors")
            except RuntimeError as error:
                check(f"score reads {shape} called {name}", False, str(error)[-200:])
                continue
            found = load_file(base / "out.safetensors")
            figure = max((found[f"logits.{i}"] - one).abs().max().item() for i, one in enumerate(right)) if len(found) == len(rows) else float("inf")
            check(f"score reads {shape} called {name}", figure < 1e-4, f"{len(found)} rows, max difference {figure:.1e}")
    (base / "bad.jsonl").write_text(json.dumps(rows[0]) + "\n" + '{"input_ids": [1, 2\n' + json.dumps(rows[1]) + "\n")
    done = engine("score", base / "rows-model", "--data", base / "bad.jsonl", "--out", base / "bad.safetensors", expect=3)
    failure = json.loads(done.stderr.strip().splitlines()[-1])
    check("a row that cannot be read is named", done.returncode == 3 and "row 2" in failure["message"] + failure.get("field", "") and not (base / "bad.safetensors").exists(), done.stderr[-200:])


def own_type(base):
    """`eval` measures a model in the type that it has, as `score` does."""
    rows = random_rows(6)
    write_rows(base / "eval.jsonl", rows)
    for name, dtype in (("float32", torch.float32), ("float16", torch.float16)):
        model = llama().to(dtype)
        model.save_pretrained(base / name)
        exact = type(model).from_pretrained(base / name, dtype=torch.float32).eval()
        total, count = 0.0, 0
        for row in rows:
            labels = torch.tensor(row["labels"][1:])
            total += torch.nn.functional.cross_entropy(logits_of(exact, row)[:-1], labels, ignore_index=-100, reduction="sum").item()
            count += int((labels != -100).sum())
        for more in ([], ["--dtype", "auto"], ["--dtype", "float32"]):
            found = json.loads(engine("eval", base / name, "--data", base / "eval.jsonl", "--format", "tokenized", "--json", *more))["metrics"]["loss"]
            check(f"eval {' '.join(more) or 'by itself'} of a {name} model is exact", abs(found - total / count) < 2e-6, f"{found:.7f} against {total / count:.7f}")
        coarse = json.loads(engine("eval", base / name, "--data", base / "eval.jsonl", "--format", "tokenized", "--json", "--dtype", "bfloat16"))["metrics"]["loss"]
        check(f"and in bfloat16 where it is told so ({name})", 1e-6 < abs(coarse - total / count) < 0.1, f"{coarse:.7f}")


def bases_and_cards(base):
    """base_model_name_or_path is what PEFT's Auto classes open; the card of an export shows the class that opens it, and runs."""
    cases = {"decoder": (None, AutoPeftModelForCausalLM, "AutoModelForCausalLM", dict(target_modules=["q_proj"])),
             "classifier": (Classifier("bert"), AutoPeftModelForSequenceClassification, "AutoModelForSequenceClassification", dict(target_modules=["query"])),
             "llama classifier": (Classifier("llama-classifier"), AutoPeftModelForSequenceClassification, "AutoModelForSequenceClassification", dict(target_modules=["q_proj"])),
             "seq2seq": (Seq2Seq("t5", 1), AutoPeftModelForSeq2SeqLM, "AutoModelForSeq2SeqLM", dict(target_modules=["q"]))}
    for name, (case, auto, shown, settings) in cases.items():
        folder = base / name.replace(" ", "-")
        model, rows, extra = (llama(), random_rows(4), ()) if case is None else (case.model, case.rows, case.extra)
        model.save_pretrained(folder / "model")
        _, run = train(folder, folder / "model", dict(type="lora", r=2, **settings), rows, 2, extra=extra)
        config = json.loads((run / "adapter" / "adapter_config.json").read_text())
        check(f"a run's adapter names its base ({name})", config["base_model_name_or_path"] == str(folder / "model"), config["base_model_name_or_path"])
        # Found by that name alone, where no run.json stands beside it.
        shutil.copytree(run / "adapter", folder / "moved")
        engine("export", folder / "moved", "--format", "peft", "--out", folder / "export")
        card = (folder / "export" / "README.md").read_text()
        check(f"the card shows the task's class ({name})", shown in card and not any(other in card for other in ("AutoModelForCausalLM", "AutoModelForSequenceClassification", "AutoModelForSeq2SeqLM") if other != shown), card)
        opened = auto.from_pretrained(folder / "export").eval()
        code = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]
        scope = {}
        os.chdir(folder)
        exec(code, scope)  # what the card says, from the folder that it lies in
        logits = (lambda one, row: logits_of(one, row)) if case is None else case.logits
        ours = score(folder / "model", rows, folder, folder / "export")
        for label, loaded in (("PEFT's Auto class", opened), ("the card's code", scope["model"].eval())):
            figure = max((logits(loaded, row) - one).abs().max().item() for row, one in zip(rows, ours))
            check(f"{label} opens the export ({name})", figure < 1e-4, f"max difference {figure:.1e}")
    # A model of the hub lies in its cache under another name.
    hub = base / "hub" / "models--owner--tiny-llama" / "snapshots" / "0123456789abcdef"
    llama().save_pretrained(hub)
    (base / "hub" / "models--owner--tiny-llama" / "refs").mkdir(parents=True)
    (base / "hub" / "models--owner--tiny-llama" / "refs" / "main").write_text("0123456789abcdef")
    _, run = train(base / "of-hub", hub, dict(type="lora", r=2), random_rows(4), 1)
    name = json.loads((run / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"]
    check("a base out of the hub's cache goes by its name there", name == "owner/tiny-llama", name)
    shutil.copytree(run / "adapter", base / "of-hub" / "moved")
    done = subprocess.run([CLI, "export", base / "of-hub" / "moved", "--format", "peft", "--out", base / "of-hub" / "export"], capture_output=True, text=True, env={**os.environ, "HF_HUB_CACHE": str(base / "hub")})
    check("and export finds it by that name", done.returncode == 0 and json.loads((base / "of-hub" / "export" / "adapter_config.json").read_text())["base_model_name_or_path"] == "owner/tiny-llama", done.stderr[-200:])


def said(base):
    """Every failure ends with one object on standard error, that of a look at a file too."""
    broken = llama()
    broken.model.norm.weight.data[0] = float("nan")
    broken.save_pretrained(base / "nan")
    for more in ([], ["--json"]):
        done = engine("inspect", base / "nan", *more, expect=3)
        failures = [json.loads(line) for line in done.stderr.splitlines() if line.startswith('{"')]
        check(f"inspect of weights that are no numbers says so on standard error {more}", done.returncode == 3 and len(failures) == 1 and failures[0]["type"] == "failed" and "model.norm.weight" in failures[0]["message"] and
              failures[0]["hint"], done.stderr[-300:])
        check(f"and what it saw on standard output {more}", "model.norm.weight" in done.stdout and (not more or json.loads(done.stdout)["can_train"] is False))
    rows = random_rows(8)
    write_rows(base / "rows.jsonl", rows)
    llama().save_pretrained(base / "good")
    for given in (dict(max_steps=None, epochs=None), {}):
        document = dict(model=dict(path=str(base / "good")), method=dict(type="lora", r=2), data=dict(train=dict(path="rows.jsonl", format="tokenized"), eval=dict(split=0)), train=dict(batch_size=4, sample_prompts=[], **given))
        (base / "run.json").write_text(json.dumps(document))
        answer = json.loads(engine("train", base / "run.json", "--workspace", base / "workspace", "--json"))
        resolved = json.loads((Path(answer["folder"]) / "run.json").read_text())["train"]
        steps = sum('"type":"step"' in line for line in (Path(answer["folder"]) / "events.jsonl").read_text().splitlines())
        check(f"neither steps nor epochs {given}: three epochs, as the Trainer, and the resolved copy says so", steps == 6 and resolved["epochs"] == 3, f"{steps} steps, {resolved['epochs']} epochs")


for name, part in dict(colons=colons, rows=rows_by_content, type=own_type, cards=bases_and_cards, said=said).items():
    if len(sys.argv) == 1 or sys.argv[1] in name:
        with temporary() as base:
            part(Path(base))
            os.chdir("/")
finish()
