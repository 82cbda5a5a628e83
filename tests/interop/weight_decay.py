# SPDX-License-Identifier: Apache-2.0
"""What decays: for every family and every way to train, exactly the parameters that transformers' Trainer puts into its group with weight decay. One step at a rate
of 1e-7 with a decay of 1e6 takes a tenth off what decays and moves nothing else. `weight_decay.py NAME…` runs a part."""
import json
import sys
from pathlib import Path

import torch
from peft import LNTuningConfig, LoraConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file
from transformers import Trainer

import encoders
from common import check, engine, finish, random_rows, taken, temporary, train, write_rows
from contract import CLASSIFIERS, Classifier, Decoder, Seq2Seq, case_of
from families import FAMILIES

ONCE = dict(lr=1e-7, weight_decay=1e6, lr_scheduler_type="constant")


def decayed_of(model):
    """Names that Trainer decays; PEFT's own spelling taken off."""
    plain = lambda name: name.replace(".default", "").replace("base_model.model.", "").replace(".modules_to_save", "").replace(".ln_tuning_layers", "").replace(".base_layer", "").removeprefix("base_model.")
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    return {plain(name) for name in trained & set(Trainer.get_decay_parameter_names(None, model))}, {plain(name) for name in trained}


def shrunk(before, after):
    """Tensors of which a tenth went, and those that stayed; anything else is None."""
    found = {}
    for name, start in before.items():
        kept = (after[name] * start).sum() / (start * start).sum().clamp(min=1e-30)
        found[name] = True if abs(kept - 0.9) < 1e-3 else False if abs(kept - 1) < 1e-3 else None
    return found


def full(base, name):
    case = case_of(name)
    folder = base / "model"
    with torch.no_grad():  # zeros would not show what happens to them
        for parameter in case.model.parameters():
            if not parameter.any():
                parameter.fill_(0.1)
    case.model.save_pretrained(folder)
    decays, trained = decayed_of(case.model)
    _, run = train(base / "run", folder, dict(type="full"), case.rows, 1, extra=case.extra, **ONCE)
    before, after = load_file(folder / "model.safetensors"), load_file(run / "model" / "model.safetensors")
    check(f"full: the file keeps its names ({name})", set(before) == set(after), str(sorted(set(before) ^ set(after))[:4]))
    buffers = {one for one, _ in case.model.named_buffers()}
    found = shrunk({one: start for one, start in before.items() if one not in buffers}, after)
    same = sorted(set(found) & trained)  # what the model in memory and its file call alike: not experts, which are one tensor in memory, and renamed heads
    wrong = [one for one in same if found[one] is not (one in decays)]
    check(f"full: what decays is what Trainer decays ({name})", not wrong and same, f"{len(same)} of {len(found)} tensors, wrong: {wrong[:4]}")
    others = [one for one in found if one not in trained and found[one] is not (not any(part in one for part in ("norm", "bias")))]
    check(f"full: and of those that its file calls otherwise ({name})", not others, str(others[:4]))


def beside(base):
    """What is trained beside or in place of an adapter's matrices."""
    targets = dict(llama=["q_proj"], gpt2=["c_attn"], bert=["query"], t5=["q"])
    for family in ("llama", "gpt2", "bert", "t5"):
        case = case_of(family)
        folder = base / family
        case.model.save_pretrained(folder)
        task = "SEQ_CLS" if isinstance(case, Classifier) else "SEQ_2_SEQ_LM" if isinstance(case, Seq2Seq) else "CAUSAL_LM"
        norm = dict(llama="norm", gpt2="ln_f", bert="LayerNorm", t5="final_layer_norm")[family]
        cases = {"lora": (LoraConfig(r=2, target_modules=targets[family], task_type=task), dict(type="lora", r=2, target_modules=targets[family])),
                 "lora with biases": (LoraConfig(r=2, target_modules=targets[family], bias="all", task_type=task), dict(type="lora", r=2, target_modules=targets[family], bias="all")),
                 "lora with a norm saved": (LoraConfig(r=2, target_modules=targets[family], modules_to_save=[norm], task_type=task), dict(type="lora", r=2, target_modules=targets[family], modules_to_save=[norm])),
                 "ln_tuning": (LNTuningConfig(target_modules=[norm], task_type=task), dict(type="ln_tuning", target_modules=[norm])),
                 "prompt_tuning": (PromptTuningConfig(num_virtual_tokens=3, task_type=task), dict(type="prompt_tuning", num_virtual_tokens=3))}
        for name, (config, settings) in cases.items():
            if name == "lora with biases" and family in ("llama", "t5"):
                continue  # no biases
            label = f"{family} {name}"
            model = get_peft_model(type(case.model).from_pretrained(folder), config)
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.data.add_(0.05 * torch.randn_like(parameter) + 0.05)
            model.save_pretrained(base / label.replace(" ", "-") / "start")
            decays, trained = decayed_of(model)
            _, run = train(base / label.replace(" ", "-"), folder, {**settings, "init_from": str(base / label.replace(" ", "-") / "start")}, case.rows, 1, extra=case.extra, **ONCE)
            plain = lambda tensors: {key.replace("base_model.model.", "").removeprefix("base_model.").replace(".ln_tuning_layers", "").replace(".base_layer", ""): value for key, value in tensors.items()
                                     if ".modules_to_save." not in key and ".original_module." not in key}
            found = shrunk(*(plain(load_file(path / "adapter_model.safetensors")) for path in (base / label.replace(" ", "-") / "start", run / "adapter")))
            wrong = [one for one, is_decayed in found.items() if is_decayed is not (one in decays or (one == "prompt_embeddings" and bool(decays)))]
            check(f"what decays is what Trainer decays ({label})", not wrong and found, f"{sum(map(bool, found.values()))} of {len(found)} decay, wrong: {wrong[:4]}")


def chosen(base):
    """train.no_decay: regular expressions beside Trainer's rule."""
    case = case_of("llama")
    case.model.save_pretrained(base / "model")
    before = load_file(base / "model" / "model.safetensors")
    for optimizer in ("adamw", "adamw_8bit", "lion", "adafactor", "sgd"):
        once = {**ONCE, "optimizer": optimizer, "no_decay": ["embed", r"layers\.[01]\..*proj"]}
        _, run = train(base / f"run-{optimizer}", base / "model", dict(type="full"), case.rows, 1, **once)
        found = shrunk(before, load_file(run / "model" / "model.safetensors"))
        right = {name: "norm" not in name and "embed" not in name and not ("proj" in name and ("layers.0." in name or "layers.1." in name)) for name in before}
        wrong = [name for name in right if found[name] is not right[name]]
        check(f"train.no_decay leaves out what it names ({optimizer})", not wrong and any(right.values()), f"{sum(right.values())} decay, wrong: {wrong[:4]}")
    _, run = train(base / "nothing", base / "model", dict(type="lora", r=2), case.rows, 1, no_decay=["lora_C"])
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    check("an expression that is found nowhere is warned of", any(event["type"] == "warning" and event["code"] == "setting_matches_nothing" and "lora_C" in event["message"] for event in events))
    write_rows(base / "rows.jsonl", random_rows(4))
    (base / "bad.json").write_text(json.dumps(dict(model=dict(path=str(base / "model")), method=dict(type="lora"), data=dict(train=dict(path="rows.jsonl", format="tokenized"), eval=dict(split=0)),
                                                   train=dict(max_steps=1, no_decay=["(unclosed"]))))
    done = engine("train", base / "bad.json", "--workspace", base / "workspace", expect=2)
    check("one that is no expression is refused by key", done.returncode == 2 and "train.no_decay" in done.stderr + done.stdout, (done.stderr + done.stdout)[-200:])


def main():
    asked = [name for name in sys.argv[1:] if not name.startswith("-")]
    for name in asked or [*FAMILIES, *encoders.SEQ2SEQ, *CLASSIFIERS]:
        if name in ("beside", "chosen") or not taken(f"decay {name}"):
            continue
        with temporary() as base:
            full(Path(base), name)
    for name, part in {"beside": beside, "chosen": chosen}.items():
        if not asked or name in asked:
            with temporary() as base:
                part(Path(base))
    finish()


if __name__ == "__main__":
    main()
