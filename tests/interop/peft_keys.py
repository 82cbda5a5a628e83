# SPDX-License-Identifier: Apache-2.0
"""Keys of adapter_config.json that PEFT writes: what changes the result is computed as PEFT does or refused by file and key, what does not is carried along by an
export. A bad value is a bad input file, named with its key. Runs train under the same keys."""
import json
import shutil
import sys
from pathlib import Path

import torch
from peft import (AdaLoraConfig, IA3Config, LoHaConfig, LoKrConfig, LoraConfig, OFTConfig, PeftModel, PromptTuningConfig, VeraConfig, get_peft_model)
from safetensors.torch import load_file

from common import check, engine, finish, gpt2, llama, logits_of, random_rows, reference_losses, score, taken, temporary, train, worst
from contract import Seq2Seq
from families import make

PART = sys.argv[1] if len(sys.argv) > 1 else ""
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
LINEAR = [*ATTENTION, "up_proj", "down_proj"]


def shaken(model):
    torch.manual_seed(7)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(torch.randn_like(parameter) * 0.05)
    return model.eval()


def moe():
    return make("qwen2_moe", 0)


COMMON = dict(task_type="CAUSAL_LM")
# label: (base model, PEFT's configuration, keys that an export carries along)
OPENED = {
    "loha, ranks and alphas of their own": (llama, LoHaConfig(r=4, alpha=6, target_modules=LINEAR, rank_pattern={"q_proj": 2, r"layers\.1\..*up_proj": 7}, alpha_pattern={"down_proj": 3.5}, **COMMON), ["rank_pattern", "alpha_pattern"]),
    "lokr, ranks and alphas of their own": (llama, LoKrConfig(r=3, alpha=5, target_modules=LINEAR, rank_pattern={r"layers\.0\.self_attn\.q_proj": 5, "v_proj": 1}, alpha_pattern={"k_proj": 9}, **COMMON),
                                            ["rank_pattern", "alpha_pattern"]),
    "lokr decomposed, ranks of their own": (llama, LoKrConfig(r=2, alpha=5, target_modules=LINEAR, decompose_both=True, decompose_factor=16, rank_pattern={"up_proj": 6}, **COMMON), ["rank_pattern"]),
    "lora in two layers, by pattern": (llama, LoraConfig(r=3, target_modules=ATTENTION, layers_to_transform=[0, 2], layers_pattern="layers", **COMMON), ["layers_to_transform", "layers_pattern"]),
    "lora in the first layer of gpt2": (gpt2, LoraConfig(r=3, target_modules=["c_attn", "c_fc"], layers_to_transform=0, layers_pattern=["layers", "h"], fan_in_fan_out=True, **COMMON),
                                        ["layers_to_transform", "layers_pattern", "fan_in_fan_out"]),
    "loha in the last layer": (llama, LoHaConfig(r=3, target_modules=ATTENTION, layers_to_transform=2, **COMMON), ["layers_to_transform"]),
    "vera in layers by pattern": (llama, VeraConfig(r=8, target_modules=["q_proj"], layers_to_transform=[1], layers_pattern="layers", **COMMON), ["layers_to_transform", "layers_pattern"]),
    "oft in layers": (llama, OFTConfig(oft_block_size=8, target_modules=ATTENTION, layers_to_transform=[1, 2], **COMMON), ["layers_to_transform"]),
    "a layer and a module by its whole path": (llama, LoraConfig(r=3, target_modules=["model.layers.2.self_attn.q_proj", "v_proj"], layers_to_transform=[0], **COMMON), ["layers_to_transform"]),
    "layers of experts' blocks": (moe, LoraConfig(r=3, target_modules=["q_proj"], layers_to_transform=[1], **COMMON), ["layers_to_transform"]),
    "excluded modules": (llama, LoraConfig(r=3, target_modules=ATTENTION, exclude_modules=["k_proj"], **COMMON), ["exclude_modules"]),
    "fan_in_fan_out where no layer is transposed": (llama, LoraConfig(r=3, target_modules=["q_proj"], fan_in_fan_out=True, **COMMON), ["fan_in_fan_out"]),
    "ia3 with fan_in_fan_out": (gpt2, IA3Config(target_modules=["c_attn", "mlp.c_proj"], feedforward_modules=["mlp.c_proj"], fan_in_fan_out=True, **COMMON), ["fan_in_fan_out"]),
    "adalora with an alpha_pattern, which it does not read": (llama, AdaLoraConfig(init_r=4, target_r=2, total_step=10, target_modules=["q_proj"], alpha_pattern={"q_proj": 99}, **COMMON), []),
    "prompt tuning that names its tokenizer": (llama, PromptTuningConfig(num_virtual_tokens=4, tokenizer_name_or_path="some/where", **COMMON), ["tokenizer_name_or_path"]),
}


# PEFT puts these right as it makes the adapter; files of others have them.
FORCED = {"fan_in_fan_out where no layer is transposed": dict(fan_in_fan_out=True)}


def config_of(folder):
    return json.loads((Path(folder) / "adapter_config.json").read_text())


def opened(base):
    rows = random_rows(3)
    for label, (base_of, config, carried) in OPENED.items():
        if not taken(f"opened {label}"):
            continue
        folder = base / label.replace(" ", "-").replace(",", "").replace("'", "")
        base_of().save_pretrained(folder / "model")
        model = shaken(get_peft_model(base_of(), config))
        model.save_pretrained(folder / "adapter")
        (folder / "adapter" / "adapter_config.json").write_text(json.dumps({**config_of(folder / "adapter"), **FORCED.get(label, {})}))
        theirs = [logits_of(model, row) for row in rows]
        plain = [logits_of(base_of(), row) for row in rows]
        check(f"the adapter does something ({label})", max((a - b).abs().max().item() for a, b in zip(theirs, plain)) > 1e-2)
        try:
            ours = score(folder / "model", rows, folder, folder / "adapter")
        except RuntimeError as error:
            check(f"opens ({label})", False, str(error)[-300:])
            continue
        figure = max((a - b).abs().max().item() for a, b in zip(theirs, ours))
        check(f"logits equal peft's ({label})", figure < 1e-4, f"max difference {figure:.1e}")
        engine("export", folder / "adapter", "--model", folder / "model", "--format", "peft", "--out", folder / "export")
        came, written = config_of(folder / "adapter"), config_of(folder / "export")
        lost = [key for key in carried if written.get(key) != came[key]]
        check(f"an export carries along {', '.join(carried) or 'nothing'} ({label})", not lost, str({key: (came[key], written.get(key)) for key in lost}))
        again = PeftModel.from_pretrained(base_of(), folder / "export").eval()
        figure = max((logits_of(again, row) - one).abs().max().item() for row, one in zip(rows, theirs))
        check(f"the export gives the same in peft ({label})", figure < 1e-5, f"max difference {figure:.1e}")


def by_block_name(base):
    """Numbers behind another name than the blocks': T5's blocks hold lists of layers."""
    case = Seq2Seq("t5", 1)
    case.model.save_pretrained(base / "t5")
    for label, more in {"": {}, " behind block": dict(layers_pattern="block"), " behind layer": dict(layers_pattern=["layer"])}.items():
        torch.manual_seed(3)
        model = shaken(get_peft_model(type(case.model).from_pretrained(base / "t5"), LoraConfig(r=3, target_modules=["q", "v", "wo"], layers_to_transform=[1], task_type="SEQ_2_SEQ_LM", **more)))
        adapter = base / f"adapter{label}".replace(" ", "-")
        model.save_pretrained(adapter)
        found = score(base / "t5", case.rows, base, adapter)
        figure = max((case.logits(model, row) - one).abs().max().item() for row, one in zip(case.rows, found))
        modules = len(load_file(adapter / "adapter_model.safetensors")) // 2
        check(f"t5, the number{label or ' that two names stand before'} counts", figure < 1e-4, f"{modules} modules, max difference {figure:.1e}")


def trained(base):
    """Runs under the same keys follow PEFT's loss."""
    rows = random_rows(24)
    llama().save_pretrained(base / "model")
    settings = dict(loha=dict(r=4, alpha=6, target_modules=LINEAR, rank_pattern={"q_proj": 2}, alpha_pattern={"down_proj": 3}, layers_to_transform=[0, 2], layers_pattern="layers"),
                    lokr=dict(r=3, alpha=5, target_modules=LINEAR, rank_pattern={"up_proj": 5}, alpha_pattern={"q_proj": 8}))
    for name, kind in dict(loha=LoHaConfig, lokr=LoKrConfig).items():
        model = shaken(get_peft_model(llama(), kind(**settings[name], **COMMON)))
        model.save_pretrained(base / f"{name}-start")
        expected = reference_losses(model, rows, 20, eps=1e-6)
        actual, run = train(base / name, base / "model", {"type": name, **settings[name], "init_from": str(base / f"{name}-start")}, rows, 20, adam_epsilon=1e-6)
        check(f"loss curve follows peft ({name} with patterns)", worst(actual, expected) < 1e-4, f"worst {worst(actual, expected):.1e}")
        model.save_pretrained(base / f"{name}-end")
        ours, theirs = (load_file(path / "adapter_model.safetensors") for path in (run / "adapter", base / f"{name}-end"))
        figure = max(((ours[key] - theirs[key]).abs().max() / theirs[key].abs().max()).item() for key in theirs)
        check(f"ends in peft's tensors ({name} with patterns)", ours.keys() == theirs.keys() and figure < 2e-3, f"relative {figure:.1e}")


def refused(base):
    """What changes the result and is not computed, and values of a wrong kind: exit 3 with the file and the key, from every command that opens the adapter."""
    llama().save_pretrained(base / "model")
    good = base / "good"
    shaken(get_peft_model(llama(), LoraConfig(r=3, target_modules=["q_proj"], **COMMON))).save_pretrained(good)
    tokens = base / "tokens"
    shaken(get_peft_model(llama(), LoraConfig(r=3, target_modules=["q_proj"], trainable_token_indices=[5, 9], **COMMON))).save_pretrained(tokens)

    def changed(name, **keys):
        folder = base / name
        shutil.copytree(good, folder)
        (folder / "adapter_config.json").write_text(json.dumps({**config_of(folder), **keys}))
        return folder

    cases = [("trainable_token_indices", tokens), *((key, changed(f"bad-{n}", **{key: value})) for n, (key, value) in enumerate([
        ("target_modules", 5), ("target_modules", ["nothing_here"]), ("target_modules", "(unclosed"), ("target_modules", []), ("r", 0), ("r", "8"), ("r", 4096), ("lora_alpha", None), ("layers_to_transform", [99]),
        ("rank_pattern", {"q_proj": "x"}), ("rank_pattern", {"(q": 2}), ("alpha_pattern", []), ("bias", "some"), ("use_qalora", True), ("layer_replication", [[0, 2]])]))]
    rows = base / "rows.jsonl"
    rows.write_text(json.dumps(random_rows(1)[0]) + "\n")
    for key, folder in cases:
        value = config_of(folder).get(key)
        if key == "lora_alpha":
            continue  # null stands for the default
        for command in (("score", base / "model", "--data", rows, "--out", base / "out.safetensors", "--adapter", folder), ("merge", base / "model", "--adapter", folder, "--out", base / "merged"),
                        ("export", folder, "--model", base / "model", "--format", "peft", "--out", base / "exported")):
            done = engine(*command, expect=3)
            said = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "{}"
            failure = json.loads(said) if said.startswith("{") else {}
            message = failure.get("message", "") + failure.get("hint", "")
            named = key in message or key in failure.get("field", "")
            check(f"{command[0]}: {key} {json.dumps(value)} is refused by file and key", done.returncode == 3 and named and "adapter_config.json" in message and "method." not in message, done.stderr.strip()[-250:])


def main():
    for name, part in dict(opened=opened, blocks=by_block_name, trained=trained, refused=refused).items():
        if PART in name:
            with temporary() as base:
                part(Path(base))
    finish()


if __name__ == "__main__":
    main()
