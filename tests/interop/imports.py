# SPDX-License-Identifier: Apache-2.0
"""`luthier-cli import`: what PEFT itself writes gives a run with the same settings, and YAML files give what transformers'
own parser makes of them; every imported RUN.json is trained for real."""
import json
import os
from pathlib import Path

import yaml
from peft import AdaLoraConfig, IA3Config, LoHaConfig, LoraConfig, PrefixTuningConfig, PromptTuningConfig
from transformers import HfArgumentParser, TrainingArguments

from common import check, engine, finish, llama, random_rows, temporary, write_rows

CONFIGS = {
    "lora": LoraConfig(r=3, lora_alpha=7, lora_dropout=0.1, target_modules=["q_proj", "down_proj"], use_rslora=True, rank_pattern={"down_proj": 2}, task_type="CAUSAL_LM"),
    "pissa": LoraConfig(r=2, lora_alpha=2, target_modules="all-linear", init_lora_weights="pissa", task_type="CAUSAL_LM"),
    "ia3": IA3Config(target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"], task_type="CAUSAL_LM"),
    "loha": LoHaConfig(r=4, alpha=2, target_modules=["v_proj"], task_type="CAUSAL_LM"),
    "adalora": AdaLoraConfig(init_r=5, target_r=2, tinit=1, tfinal=1, deltaT=1, total_step=4, target_modules=["q_proj"], task_type="CAUSAL_LM"),
    "prefix": PrefixTuningConfig(num_virtual_tokens=3, prefix_projection=True, encoder_hidden_size=16, task_type="CAUSAL_LM"),
    "prompt": PromptTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"),
}
SHARED = dict(learning_rate="1e-3", num_train_epochs=2.0, per_device_train_batch_size=3, gradient_accumulation_steps=2, weight_decay=0.01, adam_beta2=0.98, max_grad_norm=0.5,
              lr_scheduler_type="cosine", warmup_steps=2, seed=7, max_steps=4, label_smoothing_factor=0.1, optim="adafactor")


def imported(path, out, **more):
    document = json.loads(engine("import", path, "--out", out, "--json"))
    for dotted, value in more.items():
        section, key = dotted.split("__", 1)
        target = document["run"].setdefault(section, {})
        for part in key.split("__")[:-1]:
            target = target.setdefault(part, {})
        target[key.split("__")[-1]] = value
    out.write_text(json.dumps(document["run"]))
    return document


def trained(run, workspace):
    return Path(json.loads(engine("train", run, "--workspace", workspace, "--json"))["folder"])


def peft_files(base, rows):
    for name, config in CONFIGS.items():
        folder = base / name
        config.base_model_name_or_path = str(base / "model")
        config.save_pretrained(folder)
        document = imported(folder / "adapter_config.json", folder / "run.json", data__train__path=str(rows), data__max_length=64, train__max_steps=4, train__learning_rate=1e-3)
        result = trained(folder / "run.json", folder / "ws")
        method = json.loads((result / "run.json").read_text())["method"]
        asked = json.loads((folder / "adapter_config.json").read_text())
        same = set(setting["key"] for setting in document["taken"]) - {"base_model_name_or_path", "peft_type", "task_type"}
        wrong = [key for key in same if method[key] != asked[key]]
        told = {entry["key"] for entry in document["ignored"]}
        lost = [key for key in config.to_dict() if key in method and key not in same and key not in told and asked.get(key) not in (None, method[key])]
        check(f"{name}: trained with every setting of PEFT's adapter_config.json", not wrong and not lost and len(same) >= 2, f"{len(same)} settings {wrong} {lost}")
        check(f"{name}: the adapter is of the same kind", json.loads((result / "adapter" / "adapter_config.json").read_text())["peft_type"] == asked["peft_type"])
        check(f"{name}: only the missing data is named as missing", [entry["key"] for entry in document["missing"]] == ["data.train.path"], str(document["missing"]))


def yaml_files(base, rows):
    common = dict(model_name_or_path=str(base / "model"), **SHARED)
    files = {
        "llama-factory": dict(common, stage="sft", finetuning_type="lora", lora_rank=4, lora_target="q_proj,v_proj", dataset=str(rows), cutoff_len=64, template="default"),
        "trl": dict(common, use_peft=True, lora_r=4, lora_target_modules=["q_proj"], dataset_name=str(rows), max_length=64),
    }
    for name, settings in files.items():
        path = base / f"{name}.yaml"
        path.write_text(yaml.safe_dump(settings))
        document = imported(path, base / f"{name}.json")
        # The reference reads the same values: only the keys that are transformers' own.
        arguments = HfArgumentParser(TrainingArguments).parse_dict({key: float(value) if key == "learning_rate" else value for key, value in SHARED.items()} | {"output_dir": "x"})[0]
        train = json.loads((trained(base / f"{name}.json", base / "ws") / "run.json").read_text())["train"]
        theirs = {"learning_rate": arguments.learning_rate, "batch_size": arguments.per_device_train_batch_size, "gradient_accumulation_steps": arguments.gradient_accumulation_steps,
                  "weight_decay": arguments.weight_decay, "adam_beta1": arguments.adam_beta1, "adam_beta2": arguments.adam_beta2, "adam_epsilon": arguments.adam_epsilon,
                  "max_grad_norm": arguments.max_grad_norm, "lr_scheduler_type": arguments.lr_scheduler_type.value, "warmup_steps": arguments.warmup_steps, "seed": arguments.seed,
                  "max_steps": arguments.max_steps, "label_smoothing_factor": arguments.label_smoothing_factor, "optimizer": arguments.optim.value if hasattr(arguments.optim, "value") else arguments.optim}
        wrong = {key: (train[key], value) for key, value in theirs.items() if train[key] != value}
        check(f"{name}: the run trains with what transformers' parser reads", not wrong, str(wrong))
        check(f"{name}: each key is taken or named", all(any(key == entry["key"].split("[")[0].split(".")[0] for entry in document["taken"] + document["ignored"]) for key in settings if key != "stage"),  # sft is what a run does
              str([key for key in settings if not any(key == entry["key"].split("[")[0] for entry in document["taken"] + document["ignored"])]))


def axolotl_file(base, rows):
    settings = dict(base_model=str(base / "model"), adapter="lora", lora_r=4, lora_alpha=8, lora_target_linear=True, datasets=[dict(path=str(rows), type="completion")], sequence_len=64,
                    micro_batch_size=2, max_steps=3, learning_rate=0.001, optimizer="adamw_torch", lr_scheduler="cosine", val_set_size=0.1, wandb_project="mine")
    (base / "axolotl.yaml").write_text(yaml.safe_dump(settings))
    document = imported(base / "axolotl.yaml", base / "axolotl.json", data__train__format="tokenized")
    resolved = json.loads((trained(base / "axolotl.json", base / "ws") / "run.json").read_text())
    check("axolotl: trains", resolved["method"]["r"] == 4 and resolved["train"]["batch_size"] == 2 and resolved["data"]["eval"]["split"] == 0.1)
    check("axolotl: what has no counterpart is named", [entry["key"] for entry in document["ignored"]] == ["wandb_project"], str(document["ignored"]))


def bad_files(base):
    cases = {"nowhere.yaml": (None, 3, "file_missing"), "broken.yaml": ("a: [1, 2", 3, "import_damaged"), "list.yaml": ("- a\n", 3, "import_damaged"), "other.yaml": ("colour: red\n", 2, "import_kind"),
             "poly.json": ('{"peft_type": "POLY"}', 2, "import_kind"), "dpo.yaml": ("stage: dpo\nfinetuning_type: lora\n", 2, "import_kind")}
    for name, (text, code, problem) in cases.items():
        if text is not None:
            (base / name).write_text(text)
        done = engine("import", base / name, "--out", base / "bad.json", expect=code)
        told = json.loads(done.stderr.splitlines()[-1])
        check(f"{name}: {problem}, nothing written", done.returncode == code and told["code"] == problem and not (base / "bad.json").exists(), told["message"])
    (base / "there.json").write_text("kept")
    (base / "fine.yaml").write_text("base_model: nowhere/at-all\nadapter: lora\ndatasets: [{path: rows.jsonl, type: alpaca}]\n")
    done = engine("import", base / "fine.yaml", "--out", base / "there.json", expect=2)
    check("a file that is there is not replaced", done.returncode == 2 and (base / "there.json").read_text() == "kept")
    document = json.loads(engine("import", base / "fine.yaml", "--json"))
    check("a model that is only a name on the hub is named", any(entry["key"] == "model.path" and "nowhere/at-all" in entry["why"] for entry in document["missing"]), str(document["missing"]))


def downloaded(base):
    """A name on the hub stands for the snapshot in Hugging Face's cache."""
    cache = base / "hub/models--maker--small"
    for revision in ("1111", "2222"):
        llama().save_pretrained(cache / "snapshots" / revision)
    (cache / "refs").mkdir()
    (cache / "refs/main").write_text("1111")
    (base / "named.yaml").write_text("base_model: maker/small\nadapter: lora\ndatasets: [{path: rows.jsonl, type: alpaca}]\n")
    os.environ["HF_HUB_CACHE"] = str(base / "hub")
    document = json.loads(engine("import", base / "named.yaml", "--json"))
    del os.environ["HF_HUB_CACHE"]
    wanted = str(cache / "snapshots/1111")
    check("a name on the hub becomes the snapshot that was downloaded", document["run"]["model"]["path"] == wanted and not any(entry["key"] == "model.path" for entry in document["missing"])
          and any(entry["value"] == wanted for entry in document["taken"]), str(document["run"]["model"]))


with temporary() as folder:
    base = Path(folder)
    llama().save_pretrained(base / "model")
    write_rows(base / "rows.jsonl", random_rows(40))
    peft_files(base, base / "rows.jsonl")
    yaml_files(base, base / "rows.jsonl")
    axolotl_file(base, base / "rows.jsonl")
    bad_files(base)
    downloaded(base)
finish()
