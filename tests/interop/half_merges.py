# SPDX-License-Identifier: Apache-2.0
"""Merging into a base that is stored in half precision: the files keep the base's types and their size, the numbers are PEFT's merge in float32, rounded once.
The certificate of every export is what it says: the difference is of the size of that rounding, allowed is what the same rounding does in memory, and a result
that is off fails. `half_merges.py PART` runs a part."""
import json
import sys
from pathlib import Path

import torch
from peft import IA3Config, LoHaConfig, LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from common import check, engine, finish, gpt2, llama, random_rows, score, taken, temporary
from contract import case_of
import encoders
from families import make

PART = sys.argv[1] if len(sys.argv) > 1 else ""
TYPES = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}
NAMES = {"bf16": "bfloat16", "f16": "float16", "f32": "float32"}


def shaken(model):
    torch.manual_seed(7)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.add_((torch.randn(parameter.shape) * 0.05).to(parameter.dtype))
    return model.eval()


def config_of(folder):
    return json.loads((Path(folder) / "config.json").read_text())


def bytes_of(folder):
    return sum(file.stat().st_size for file in Path(folder).glob("*.safetensors"))


CASES = {
    "llama": (llama, LoraConfig(r=4, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")),
    "gpt2": (gpt2, LoraConfig(r=4, target_modules=["c_attn", "mlp.c_proj"], task_type="CAUSAL_LM")),
    "tied llama": (lambda: llama(tie_word_embeddings=True), LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["lm_head"], task_type="CAUSAL_LM")),
    "qwen2, ia3": (lambda: make("qwen2", 0), IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"], task_type="CAUSAL_LM")),
    "gemma, loha": (lambda: make("gemma", 0), LoHaConfig(r=3, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM")),
}


def merged_in_float32(base, kind, adapter):
    """PEFT's merge of the stored base, all of it in float32."""
    model = kind.from_pretrained(base, dtype=torch.float32)
    return PeftModel.from_pretrained(model, adapter).merge_and_unload().state_dict()


def types_kept(base):
    for label, (make_base, config) in CASES.items():
        for stored, dtype in TYPES.items():
            name = f"{label}, stored as {stored}"
            if not taken(f"kept {name}"):
                continue
            folder = base / name.replace(" ", "-").replace(",", "")
            plain = make_base().to(dtype)
            plain.save_pretrained(folder / "model")
            adapted = shaken(get_peft_model(type(plain).from_pretrained(folder / "model", dtype=torch.float32), config))
            adapted.save_pretrained(folder / "adapter")
            right = merged_in_float32(folder / "model", type(plain), folder / "adapter")
            out = {"merge": folder / "merged", "export": folder / "exported"}
            answer = json.loads(engine("merge", folder / "model", "--adapter", folder / "adapter", "--out", out["merge"], "--json"))
            certificate = json.loads(engine("export", folder / "adapter", "--model", folder / "model", "--format", "merged", "--out", out["export"], "--json"))["certificate"]
            untied = 0 if label != "tied llama" else right["lm_head.weight"].numel() * dtype.itemsize
            for command, path in out.items():
                tensors = load_file(path / "model.safetensors")
                check(f"{command} keeps the base's type ({name})", {tensor.dtype for tensor in tensors.values()} == {dtype} and (config_of(path).get("dtype") or config_of(path).get("torch_dtype")) == NAMES[stored])
                check(f"{command} keeps the base's size ({name})", abs(bytes_of(path) - untied - bytes_of(folder / "model")) < 4096, f"{bytes_of(path)} against {bytes_of(folder / 'model')}")
                # The product B A is summed in another order than PEFT's: a sum within one unit of float32 of a tie between two halves may round to either.
                wrong = sum((tensors[key] != right[key].to(dtype)).sum().item() for key in tensors)
                count = sum(tensor.numel() for tensor in tensors.values())
                figure = max((tensors[key].float() - right[key].float()).abs().max().item() for key in tensors)
                limit = 1e-6 if stored == "f32" else 0.02
                check(f"{command} is peft's merge in float32, rounded once ({name})", (figure < limit if stored == "f32" else wrong <= 3e-4 * count) and figure < limit, f"{wrong} of {count} values, max difference {figure:.1e}")
            loaded = type(plain).from_pretrained(out["merge"], dtype="auto")
            check(f"transformers opens it in that type ({name})", loaded.dtype == dtype)
            difference = certificate["max_abs_difference"]
            check(f"what the certificate allows is what rounding does ({name})", certificate["passed"] and difference <= certificate["tolerance"] and
                  (certificate["rounding"] == 0 if stored == "f32" else certificate["rounding"] <= certificate["tolerance"] < 3 * certificate["rounding"] + 2e-3), str({key: certificate[key] for key in ("max_abs_difference", "rounding", "tolerance")}))
            check(f"merge tells the difference of what it wrote ({name})", abs(answer["max_abs_difference"] - difference) < 0.2 * max(difference, 1e-3) + 1e-4 or stored != "f32", f"{answer['max_abs_difference']:.1e}, {difference:.1e}")


def types_mixed(base):
    """Norms in float32 beside matrices in bfloat16: each tensor as it came."""
    model = llama()
    model.save_pretrained(base / "mixed")
    path = base / "mixed" / "model.safetensors"
    tensors = {name: tensor if "norm" in name else tensor.bfloat16() for name, tensor in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})
    shaken(get_peft_model(llama(), LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM"))).save_pretrained(base / "mixed-adapter")
    engine("merge", base / "mixed", "--adapter", base / "mixed-adapter", "--out", base / "mixed-merged")
    found = load_file(base / "mixed-merged" / "model.safetensors")
    check("a mixed file keeps each tensor's type", {name: tensor.dtype for name, tensor in found.items()} == {name: tensor.dtype for name, tensor in tensors.items()})
    for option, dtype in TYPES.items():
        engine("merge", base / "mixed", "--adapter", base / "mixed-adapter", "--out", base / f"mixed-{option}", "--out-type", option)
        found = load_file(base / f"mixed-{option}" / "model.safetensors")
        check(f"--out-type {option} is followed", {tensor.dtype for tensor in found.values()} == {dtype} and (config_of(base / f"mixed-{option}").get("dtype") or config_of(base / f"mixed-{option}").get("torch_dtype")) == NAMES[option])
        engine("export", base / "mixed-adapter", "--model", base / "mixed", "--format", "merged", "--type", option, "--out", base / f"exported-{option}")
        check(f"and by export ({option})", all(torch.equal(tensor, found[name]) for name, tensor in load_file(base / f"exported-{option}" / "model.safetensors").items()))


def classifiers(base):
    for name in ("bert", "llama-classifier", "t5-classifier"):
        case = case_of(name)
        case.model.to(torch.bfloat16).save_pretrained(base / name)
        targets = dict(bert=["query"], t5=["q"]).get(name.split("-")[0], ["q_proj"])
        # T5's head has a name of its own, which PEFT keeps only when told.
        config = LoraConfig(r=4, target_modules=targets, task_type="SEQ_CLS", modules_to_save=["classification_head"] if name.startswith("t5") else None)
        model = shaken(get_peft_model(type(case.model).from_pretrained(base / name, dtype=torch.float32), config))
        model.save_pretrained(base / f"{name}-adapter")
        trained = score(base / name, case.rows, base, base / f"{name}-adapter")
        engine("merge", base / name, "--adapter", base / f"{name}-adapter", "--out", base / f"{name}-merged")
        tensors = load_file(base / f"{name}-merged" / "model.safetensors")
        figure = max((a - b).abs().max().item() for a, b in zip(trained, score(base / f"{name}-merged", case.rows, base)))
        check(f"a classifier keeps the base's type, its head too ({name})", {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16} and figure < 0.1, f"max difference {figure:.1e}")


def certificates(base):
    """Every exporter's certificate on one adapter: the rule as it is written there holds, and its numbers are of the right size."""
    llama(initializer_range=0.1).save_pretrained(base / "model")
    shaken(get_peft_model(llama(initializer_range=0.1), LoraConfig(r=4, lora_alpha=64, target_modules=["q_proj", "k_proj", "up_proj"], use_rslora=True, rank_pattern={"up_proj": 6}, task_type="CAUSAL_LM"))).save_pretrained(base / "adapter")
    rows = random_rows(3)
    moved = max((a - b).abs().max().item() for a, b in zip(score(base / "model", rows, base), score(base / "model", rows, base, base / "adapter")))
    for kind, types in {"peft": [""], "merged": ["", "bf16", "f16"], "gguf": ["f32", "f16", "bf16"], "gguf-merged": ["f32", "f16", "bf16", "q8_0"]}.items():
        for wanted in types:
            label = f"{kind} {wanted}".strip()
            out = base / label.replace(" ", "-")
            result = json.loads(engine("export", base / "adapter", "--model", base / "model", "--format", kind, *(["--type", wanted] if wanted else []), "--out", out, "--json"))["certificate"]
            file = json.loads((out / "luthier-export.json").read_text())
            check(f"the file says what was answered ({label})", file == result)
            isRounded = wanted not in ("", "f32")
            holds = result["max_abs_difference"] <= result["tolerance"] and result["max_weight_difference"] <= result["weight_tolerance"] and result.get("merge_difference", 0) <= result["noise"]
            adds_up = abs(result["tolerance"] - result["rounding"] - result["noise"]) < 1e-9
            check(f"it passed by the rule that it spells ({label})", result["passed"] and holds and adds_up and "max_abs_difference <= tolerance" in result["rule"])
            check(f"only what the type rounds is allowed ({label})", (result["rounding"] > 0) == isRounded and result["tolerance"] < 0.2 * moved, f"allowed {result['tolerance']:.1e}, the adapter moves logits by {moved:.1e}")


def main():
    for name, part in {"kept": types_kept, "mixed": types_mixed, "classifiers": classifiers, "certificates": certificates}.items():
        if PART in name:
            with temporary() as base:
                part(Path(base))
    finish()


if __name__ == "__main__":
    main()
