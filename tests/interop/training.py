# SPDX-License-Identifier: Apache-2.0
"""Methods against peft: runs started from an adapter that peft saved follow peft's loss and end in its tensors; exports load in peft.
`training.py PART` runs the methods whose name holds PART."""
import sys
from pathlib import Path

import torch
from peft import (IA3Config, LNTuningConfig, LoHaConfig, LoKrConfig, LoraConfig, OFTConfig, PeftModel, PrefixTuningConfig, PromptTuningConfig, VeraConfig,
                  get_peft_model)
from safetensors.torch import load_file

from common import (check, engine, finish, gpt2, llama, logits_of, losses, random_rows, reference_losses, score, taken, temporary, train, worst)

STEPS = 20
EPSILON = 1e-6  # as in tasks.py: gradients that are rounding noise shall not become steps of full size, which differ from CPU to CPU
PART = sys.argv[1] if len(sys.argv) > 1 else ""
BOTH = {"llama": llama, "gpt2": gpt2}


def peft_configs(family):
    qkv = ["q_proj", "v_proj"] if family == "llama" else ["c_attn"]
    everything = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"] if family == "llama" else ["c_attn", "attn.c_proj", "c_fc", "mlp.c_proj"]
    common = dict(task_type="CAUSAL_LM")
    yield "lora", LoraConfig(r=4, lora_alpha=8, target_modules=qkv, **common), dict(type="lora", r=4, lora_alpha=8, target_modules=qkv)
    yield "lora everywhere, rslora, rank_pattern", LoraConfig(r=4, lora_alpha=8, target_modules=everything, use_rslora=True, rank_pattern={everything[0]: 6}, **common), \
        dict(type="lora", r=4, lora_alpha=8, target_modules=everything, use_rslora=True, rank_pattern={everything[0]: 6})
    yield "lora with dora", LoraConfig(r=4, lora_alpha=8, target_modules=everything, use_dora=True, **common), \
        dict(type="lora", r=4, lora_alpha=8, target_modules=everything, use_dora=True)
    yield "ia3", IA3Config(**common), dict(type="ia3")
    yield "ln_tuning", LNTuningConfig(**common), dict(type="ln_tuning")
    yield "vera", VeraConfig(r=8, target_modules=everything, projection_prng_key=3, d_initial=0.3, **common), dict(type="vera", r=8, target_modules=everything, projection_prng_key=3)
    yield "vera without its projections", VeraConfig(r=8, target_modules=qkv, save_projection=False, **common), dict(type="vera", r=8, target_modules=qkv, save_projection=False)
    if family != "gpt2":  # peft's LoHa and LoKr do not take GPT-2's Conv1D
        yield "loha", LoHaConfig(r=4, alpha=6, target_modules=everything, **common), dict(type="loha", r=4, alpha=6, target_modules=everything)
        for label, more in {"": {}, " decomposed": dict(decompose_both=True, decompose_factor=16)}.items():
            yield f"lokr{label}", LoKrConfig(r=2, alpha=3, target_modules=everything, **more, **common), dict(type="lokr", r=2, alpha=3, target_modules=everything, **more)
        for label, more in {"": {}, " exact": dict(use_cayley_neumann=False), " shared": dict(block_share=True), " constrained": dict(coft=True, eps=0.01)}.items():
            yield f"oft{label}", OFTConfig(oft_block_size=8, target_modules=everything, **more, **common), dict(type="oft", oft_block_size=8, target_modules=everything, **more)
        yield "oft by count", OFTConfig(r=4, oft_block_size=0, target_modules=qkv, **common), dict(type="oft", r=4, oft_block_size=0, target_modules=qkv)
    yield "prefix_tuning", PrefixTuningConfig(num_virtual_tokens=5, **common), dict(type="prefix_tuning", num_virtual_tokens=5)
    yield "p_tuning_v2", PrefixTuningConfig(num_virtual_tokens=4, **common), dict(type="p_tuning_v2", num_virtual_tokens=4)
    yield "prompt_tuning", PromptTuningConfig(num_virtual_tokens=5, **common), dict(type="prompt_tuning", num_virtual_tokens=5)


def shaken(model):
    """Small random values in every trained tensor, so that no part is silently zero."""
    torch.manual_seed(7)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(torch.randn_like(parameter) * 0.05)
    return model


def relative(a, b):
    return max(((a[k].float() - b[k].float()).abs().max() / b[k].float().abs().max().clamp(min=1e-6)).item() for k in b)


def without_key_bias(tensors):
    return {k: torch.cat(v.float().chunk(3)[::2]) if k.endswith("c_attn.bias") else v for k, v in tensors.items()}


with temporary() as base:
    base = Path(base)
    rows = random_rows(30)
    for family, make in BOTH.items():
        model_folder = base / family
        make().save_pretrained(model_folder)
        for name, config, method in peft_configs(family):
            if PART not in name:
                continue
            label = f"{family} {name}"
            if not taken(f"training {label}"):
                continue
            folder = base / label.replace(" ", "-").replace(",", "")
            model = shaken(get_peft_model(make(), config))
            model.save_pretrained(folder / "start")
            lr = 1e-3 if name.startswith("oft") else 5e-3  # rotations of 8 x 8 blocks: larger steps make rounding grow tenfold in a few of them
            expected = reference_losses(model, rows, STEPS, lr=lr, eps=EPSILON)
            actual, run = train(folder, model_folder, {**method, "init_from": str(folder / "start")}, rows, STEPS, lr=lr, adam_epsilon=EPSILON)
            check(f"loss curve follows peft ({label})", worst(actual, expected) < 1e-4, f"worst {worst(actual, expected):.1e}")
            model.save_pretrained(folder / "end")
            figure = relative(load_file(run / "adapter" / "adapter_model.safetensors"), load_file(folder / "end" / "adapter_model.safetensors"))
            check(f"ends in peft's tensors ({label})", figure < 2e-3, f"relative {figure:.1e}")
            engine("export", run, "--format", "peft", "--out", folder / "export")
            loaded = PeftModel.from_pretrained(make(), folder / "export").eval()
            missing = set(load_file(folder / "export" / "adapter_model.safetensors")) ^ set(load_file(folder / "end" / "adapter_model.safetensors"))
            ours = score(model_folder, rows[:3], folder, folder / "export")
            figure = max((logits_of(loaded, row) - mine).abs().max().item() for row, mine in zip(rows, ours))
            check(f"export loads in peft with equal logits ({label})", figure < 1e-4 and not missing, f"max difference {figure:.1e}")
            if not name.startswith(("prefix", "prompt", "p_tuning")):
                engine("merge", model_folder, "--adapter", folder / "export", "--out", folder / "merged")
                merged = loaded.merge_and_unload().state_dict()
                files = load_file(folder / "merged" / "model.safetensors")
                figure = max((files[k] - merged[k]).abs().max().item() for k in files)
                check(f"merge equals merge_and_unload ({label})", figure < 1e-5, f"max difference {figure:.1e}")

        if PART:
            continue
        model = make()
        expected = reference_losses(model, rows, STEPS, batch=2, accumulation=2, lr=1e-3, eps=EPSILON)
        actual, run = train(base / f"{family}-full", model_folder, dict(type="full"), rows, STEPS, batch=2, accumulation=2, lr=1e-3, adam_epsilon=EPSILON)
        check(f"full fine-tuning follows transformers ({family})", worst(actual, expected) < 1e-4, f"worst {worst(actual, expected):.1e}")
        files = load_file(run / "model" / "model.safetensors")
        # A bias on the keys shifts all scores of a query alike and softmax ignores that: its gradient is rounding noise, which
        # Adam scales up to full steps of random sign on either side. It is the one tensor part that cannot be compared.
        figure = relative(without_key_bias(files), without_key_bias({k: v for k, v in model.state_dict().items() if k in files}))
        check(f"full fine-tuning ends in the same weights ({family})", figure < 2e-3, f"relative {figure:.1e}")

        model = make()
        last = "model.layers.2." if family == "llama" else "transformer.h.2."
        norm = "model.norm." if family == "llama" else "transformer.ln_f."
        for parameter_name, parameter in model.named_parameters():
            parameter.requires_grad = parameter_name.startswith((last, norm))
        expected = reference_losses(model, rows, STEPS, lr=1e-3, eps=EPSILON)
        actual, _ = train(base / f"{family}-freeze", model_folder, dict(type="freeze", trainable_layers=1), rows, STEPS, lr=1e-3, adam_epsilon=EPSILON)
        check(f"freezing follows transformers ({family})", worst(actual, expected) < 1e-4, f"worst {worst(actual, expected):.1e}")

    one, _ = train(base / "whole", base / "llama", dict(type="lora"), rows, 6, batch=8)
    four, _ = train(base / "parts", base / "llama", dict(type="lora"), rows, 6, batch=2, accumulation=4)
    check("accumulation 4 x batch 2 equals batch 8", worst(one, four) < 1e-5, f"worst {worst(one, four):.1e}")
finish()
