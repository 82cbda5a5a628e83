# SPDX-License-Identifier: Apache-2.0
"""What peft counted and wrote for tiny models of each family (shared/peft-golden, made by peft itself), against Luthier from config.json
alone: trainable parameters, bytes of the adapter's file, refusals; and after a step the names and shapes in the file.
`golden.py FAMILY…` runs a part; 77 when the golden files are not there."""
import json
import os
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from common import check, engine, finish, random_rows, taken, temporary, train

GOLDEN = Path(os.environ.get("LUTHIER_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "peft-golden"
TYPES = {"LoraConfig": "lora", "IA3Config": "ia3", "VeraConfig": "vera", "LoHaConfig": "loha", "LoKrConfig": "lokr", "OFTConfig": "oft", "LNTuningConfig": "ln_tuning",
         "PromptTuningConfig": "prompt_tuning", "PromptEncoderConfig": "p_tuning", "PrefixTuningConfig": "prefix_tuning", "AdaLoraConfig": "adalora"}
OWN_RANK = {"lora_pissa"}  # peft writes A and B alone, Luthier a plain LoRA of twice the rank
# What Luthier does otherwise, and why: (family or "", run).
DIFFERENT = {
    **{(name, run): "nothing computes with T5's shared table in transformers 5, so Luthier refuses to train it" for name in ("t5",) for run in ("lora_embedding", "lora_embedding_modules_to_save")},
    **{(name, run): "the model has no biases, which Luthier says" for name in ("llama", "t5") for run in ("lora_bias_all", "lora_bias_lora_only")},
    ("llama_tied", "lora_lm_head_and_emb"): "a tied head is refused instead of being untied silently",
    ("mixtral", "lora_all_linear"): "experts take no adapter",
    ("mixtral", "lora_experts_v4_names"): "experts take no adapter",
    **{("falcon_old", run): "peft's own prefix has a head for each query head and fails in its forward pass" for run in ("prefix_tuning", "prefix_tuning_proj")},
}


def settings_of(run, known):
    """The run's method as RUN.json has it; nothing when it uses what Luthier's schema does not have."""
    kind = TYPES.get(run.get("config_class", ""))
    if kind not in known:
        return None
    settings = dict(run["config_args"])
    for ignored in ("task_type", "inference_mode", "num_attention_heads", "tokenizer_name_or_path"):
        settings.pop(ignored, None)
    if settings.get("prompt_tuning_init") == "TEXT" or any(key not in known[kind] for key in settings):
        return None
    if kind == "adalora":
        settings["tinit"] = 2  # peft wrote its file before any update, so that nothing is to be cut in the one made here
    return dict(type=kind, **settings)


def tensors_of(run):
    """What peft wrote, without what no reader needs: the base's own table under an adapted one, a classifier's bias three times over."""
    return {name: shape for name, (_, shape) in run["tensors"].items() if not name.endswith("base_layer.weight") and ".original_module." not in name and ".modules_to_save." not in name}


def size_of(run):
    return len(save({name: torch.zeros(shape) for name, shape in tensors_of(run).items()}, metadata={"format": "pt"}))


def rows_for(task):
    rows = [dict(input_ids=[token % 50 for token in row["input_ids"]], labels=[label if label < 0 else label % 50 for label in row["labels"]]) for row in random_rows(4)]
    if task == "SEQ_CLS":
        return [dict(input_ids=row["input_ids"], label=i % 3) for i, row in enumerate(rows)]
    return [dict(input_ids=row["input_ids"], labels=[label for label in row["labels"] if label >= 0]) for row in rows] if task == "SEQ_2_SEQ_LM" else rows


def family(name, golden, known, base):
    folder = base / name
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(golden["base"]["config"]))
    rows = rows_for(golden["task_type"])
    task = dict(SEQ_CLS=dict(task="sequence_classification", num_labels=3), SEQ_2_SEQ_LM=dict(task="seq2seq_lm")).get(golden["task_type"], {})
    done, skipped = 0, []
    for label, run in golden["runs"].items():
        method = settings_of(run, known)
        reason = DIFFERENT.get((name, label)) or DIFFERENT.get(("", label))
        if method is None or "error" in run or reason:
            skipped.append(f"{label} ({reason})" if reason else label)
            continue
        if not taken(f"golden {name} {label}"):
            continue
        document = dict(name="golden", model=dict(path=str(folder), dtype="float32", init="random", **task), method=method,
                        data=dict(train=dict(path="rows.jsonl", format="tokenized"), eval=dict(split=0), max_length=32), train=dict(max_steps=1, batch_size=2))
        here = base / f"{name}-{label}"
        here.mkdir()
        (here / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
        (here / "run.json").write_text(json.dumps(document))
        process = engine("estimate", here / "run.json", "--json", expect=None)
        if process.returncode != 0:
            check(f"counts ({name} {label})", False, process.stderr.strip()[-250:])
            continue
        estimate = json.loads(process.stdout)
        check(f"trainable from config.json alone equals peft's ({name} {label})", estimate["trainable"] == run["trainable"], f"{estimate['trainable']} against {run['trainable']}")
        if label not in OWN_RANK:
            check(f"bytes of the file are peft's ({name} {label})", estimate["adapter_bytes"] == size_of(run), f"{estimate['adapter_bytes']} against {size_of(run)}")
        out = engine("train", here / "run.json", "--workspace", here / "workspace", "--json", expect=None)
        if out.returncode != 0:
            check(f"trains ({name} {label})", False, out.stderr.strip()[-250:])
            continue
        adapter = Path(json.loads(out.stdout)["folder"]) / "adapter"
        if label not in OWN_RANK:
            ours = {key: list(value.shape) for key, value in load_file(adapter / "adapter_model.safetensors").items()}
            theirs = tensors_of(run)
            check(f"names and shapes are peft's ({name} {label})", ours == theirs, f"{len(theirs)} tensors; differing: {sorted(ours.keys() ^ theirs.keys())[:2]}")
            written, wanted = json.loads((adapter / "adapter_config.json").read_text()), run["adapter_config"]
            differing = {key for key in written if key not in ("target_modules", "feedforward_modules", "peft_version", "base_model_name_or_path", "inference_mode", "prompt_tuning_init",
                                                                "encoder_hidden_size", "prefix_projection", "prompt_tuning_init_text", "tinit") and written[key] != wanted.get(key)}
            if golden["task_type"] == "SEQ_CLS" and set(written.get("modules_to_save", [])) <= set(wanted["modules_to_save"]):
                differing.discard("modules_to_save")  # peft names score and classifier, whichever the model has
            check(f"config fields are peft's ({name} {label})", not differing, str({key: (written[key], wanted.get(key)) for key in differing}))
        done += 1
    check(f"runs compared ({name})", done > 0, f"{done}; left out: {', '.join(skipped)}")


def main():
    if not GOLDEN.exists():
        print(f"skipped: {GOLDEN} does not exist")
        sys.exit(77)
    known = {method["name"]: {field["key"] for field in method["schema"]["fields"]} for method in json.loads(engine("methods", "--json"))["methods"]}
    for file in sorted(GOLDEN.glob("*.json")):
        golden = json.loads(file.read_text())
        if "runs" not in golden or "legacy" in file.name or (sys.argv[1:] and file.stem not in sys.argv[1:]):
            continue
        if golden["task_type"] is None:  # images
            continue
        with temporary() as base:
            family(file.stem, golden, known, Path(base))
    finish()


if __name__ == "__main__":
    main()
