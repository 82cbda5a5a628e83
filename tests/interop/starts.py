# SPDX-License-Identifier: Apache-2.0
"""Methods whose start no adapter file holds, against peft or plain transformers over 20 steps from the same values: PiSSA, AdaLoRA, LoRA+, the
encoders of p-tuning and prefix tuning that are dropped after training, BitFit. `starts.py PART` runs the names that hold PART."""
import json
import sys
from pathlib import Path

import torch
from peft import AdaLoraConfig, LoraConfig, PeftModel, PrefixTuningConfig, PromptEncoderConfig, get_peft_model
from peft.optimizers import create_loraplus_optimizer
from safetensors.torch import load_file

from common import check, engine, finish, gpt2, llama, logits_of, random_rows, reference_losses, score, temporary, train, worst

STEPS = 20
PART = sys.argv[1] if len(sys.argv) > 1 else ""
BOTH = {"llama": llama, "gpt2": gpt2}
QKV = {"llama": ["q_proj", "v_proj"], "gpt2": ["c_attn"]}
COMMON = dict(task_type="CAUSAL_LM")


def relative(a, b):
    return ((a.float() - b.float()).abs().max() / b.float().abs().max().clamp(min=1e-6)).item()


def tensors_of(folder):
    return load_file(Path(folder) / "adapter_model.safetensors")


def deltas(tensors):
    return {name[:-len(".lora_A.weight")]: tensors[name.replace("lora_A", "lora_B")] @ a for name, a in tensors.items() if "lora_A" in name}


def start_of(folder, model_folder, method, rows):
    """The values that a run of this method starts from: its checkpoint after a step that moves nothing."""
    _, run = train(folder, model_folder, method, rows, 1, lr=1e-30)
    state = load_file(run / "checkpoints" / "step-000001" / "state.safetensors")
    return {name[len("parameter."):]: value for name, value in state.items() if name.startswith("parameter.")}


def check_export(label, run, folder, model_folder, make, rows):
    """The export loads in peft with the names and logits of ours."""
    engine("export", run, "--format", "peft", "--out", folder / "export")
    loaded = PeftModel.from_pretrained(make(), folder / "export").eval()
    loaded.save_pretrained(folder / "again")
    names = set(tensors_of(folder / "export")) ^ set(tensors_of(folder / "again"))
    figure = max((logits_of(loaded, row) - ours).abs().max().item() for row, ours in zip(rows, score(model_folder, rows[:3], folder, folder / "export")))
    check(f"export loads in peft with equal logits ({label})", figure < 1e-4 and not names, f"max difference {figure:.1e}")
    return loaded


def pissa(label, family, make, model_folder, folder, rows):
    for name, settings in {"": {}, ", rslora": dict(use_rslora=True)}.items():
        here = folder / ("plain" + name.strip(", "))
        model = get_peft_model(make(), LoraConfig(r=4, lora_alpha=6, target_modules=QKV[family], init_lora_weights="pissa", **settings, **COMMON))
        model.save_pretrained(here / "start")
        ours = dict(type="lora", r=4, lora_alpha=6, target_modules=QKV[family], init_lora_weights="pissa", **settings)
        figure = max((logits_of(model, row) - mine).abs().max().item() for row, mine in zip(rows, score(model_folder, rows[:3], here, here / "start")))
        check(f"a PiSSA folder of peft reads as peft reads it ({label}{name})", figure < 1e-4, f"max difference {figure:.1e}")
        expected = reference_losses(model, rows, STEPS, lr=1e-3)
        for start, more in {"own start": {}, "peft's start": dict(init_from=str(here / "start"))}.items():
            actual, run = train(here / start.replace("'", ""), model_folder, {**ours, **more}, rows, STEPS, lr=1e-3)
            check(f"loss curve follows peft ({label}{name}, {start})", worst(actual, expected) < 1e-4, f"worst {worst(actual, expected):.1e}")
            model.save_pretrained(here / "end")
            before, after, mine = (deltas(tensors_of(path)) for path in (here / "start", here / "end", run / "adapter"))
            figure = max(relative(mine[key], after[key] - before[key]) for key in after)
            check(f"ends in peft's change of the weights ({label}{name}, {start})", figure < 2e-3, f"relative {figure:.1e}")
        check_export(label + name, run, here, model_folder, make, rows)
    _, exact = train(folder / "exact", model_folder, {**ours, "use_rslora": False}, rows, 1, lr=1e-30)
    _, rounds = train(folder / "rounds", model_folder, {**ours, "use_rslora": False, "init_lora_weights": "pissa_niter_16"}, rows, 1, lr=1e-30)

    def starts(run):  # the half of the file that takes the start off
        tensors = tensors_of(run / "adapter")
        return {name: tensors[name.replace("lora_A", "lora_B")][:, 4:] @ a[4:] for name, a in tensors.items() if "lora_A" in name}

    # A random matrix has no gap behind its largest values, so its vectors are not to be compared: what they carry is.
    one, other = starts(exact), starts(rounds)
    figure = min((other[name].square().sum() / one[name].square().sum()).item() for name in one)
    check(f"rounds of iteration carry as much of the weight as the largest singular values ({label})", 0.97 < figure <= 1 + 1e-5, f"{figure:.4f} of it")


def adalora(label, family, make, model_folder, folder, rows):
    """Regularisation, budget and cuts as update_and_allocate makes them after each update, counted from 1."""
    settings = dict(init_r=6, target_r=3, lora_alpha=8, tinit=3, tfinal=4, deltaT=2, orth_reg_weight=0.4, target_modules=QKV[family])
    model = get_peft_model(make(), AdaLoraConfig(total_step=STEPS, **settings, **COMMON))
    torch.manual_seed(7)
    for name, parameter in model.named_parameters():
        if "lora_" in name and parameter.requires_grad:
            parameter.data.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(folder / "start")
    rule = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-3, weight_decay=0.0)
    expected = []
    for step in range(1, STEPS + 1):
        chosen = batches(rows)[step - 1]
        count = sum(sum(label != -100 for label in row["labels"][1:]) for row in chosen)
        total = 0.0
        for row in chosen:
            logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0]
            loss = torch.nn.functional.cross_entropy(logits[:-1].float(), torch.tensor(row["labels"][1:]), ignore_index=-100, reduction="sum") / count
            loss.backward()
            total += loss.item()
        ids = torch.tensor([chosen[0]["input_ids"]])
        out = model(input_ids=ids, labels=ids)  # peft adds the regularisation to the model's own loss, which is taken off again
        extra = out.loss - torch.nn.functional.cross_entropy(out.logits[0, :-1].float(), ids[0, 1:])
        extra.backward()
        expected.append(total + extra.item())
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
        for group in rule.param_groups:
            group["lr"] = 5e-3 * (STEPS - step + 1) / STEPS
        rule.step()
        model.base_model.update_and_allocate(step)
        rule.zero_grad()
    ours = dict(type="adalora", init_from=str(folder / "start"), **settings)
    actual, run = train(folder, model_folder, ours, rows, STEPS)
    check(f"loss curve follows peft ({label})", worst(actual, expected) < 1e-4, f"worst {worst(actual, expected):.1e}")
    model.save_pretrained(folder / "end")
    mine, theirs = tensors_of(run / "adapter"), tensors_of(folder / "end")
    same = {name: list(value.shape) for name, value in mine.items()} == {name: list(value.shape) for name, value in theirs.items()}
    figure = max(relative(mine[name], theirs[name]) for name in theirs if theirs[name].numel()) if same else 1.0
    check(f"ends in peft's tensors with peft's ranks ({label})", same and figure < 2e-3, f"relative {figure:.1e}")
    patterns = [json.loads((path / "adapter_config.json").read_text())["rank_pattern"] for path in (run / "adapter", folder / "end")]
    kept = sum(map(sum, patterns[0].values()))
    check(f"rank_pattern is peft's ({label})", patterns[0] == patterns[1] and kept == 3 * len(patterns[0]), f"{kept} of {sum(map(len, patterns[0].values()))} triplets kept")
    check_export(label, run, folder, model_folder, make, rows)
    engine("merge", model_folder, "--adapter", folder / "export", "--out", folder / "merged")
    figure = max((a - b).abs().max().item() for a, b in zip(score(folder / "merged", rows[:3], folder), score(model_folder, rows[:3], folder, folder / "export")))
    check(f"merged = unmerged ({label})", figure < 1e-4, f"max difference {figure:.1e}")


def batches(rows):
    """Four rows a step; a batch ends with the rows."""
    order, position = [], 0
    for _ in range(STEPS):
        if position == len(rows):
            position = 0
        order.append(rows[position:position + 4])
        position = min(position + 4, len(rows))
    return order


def loraplus(label, family, make, model_folder, folder, rows):
    model = get_peft_model(make(), LoraConfig(r=4, lora_alpha=8, target_modules=QKV[family], **COMMON))
    model.save_pretrained(folder / "start")
    optimizer = create_loraplus_optimizer(model, torch.optim.AdamW, lr=1e-3, loraplus_lr_ratio=8, loraplus_weight_decay=0.0)
    expected = reference_losses(model, rows, STEPS, optimizer=optimizer)
    actual, run = train(folder, model_folder, dict(type="lora", r=4, lora_alpha=8, target_modules=QKV[family], loraplus_lr_ratio=8, init_from=str(folder / "start")),
                        rows, STEPS, lr=1e-3)
    check(f"loss curve follows peft ({label})", worst(actual, expected) < 1e-4, f"worst {worst(actual, expected):.1e}")
    model.save_pretrained(folder / "end")
    ours, theirs = tensors_of(run / "adapter"), tensors_of(folder / "end")
    figure = max(relative(ours[key], theirs[key]) for key in theirs)
    check(f"ends in peft's tensors ({label})", figure < 2e-3, f"relative {figure:.1e}")


def encoder(settings, config):
    """Trained through a network that the file does not hold: peft's gets the values that ours starts from."""
    def run(label, family, make, model_folder, folder, rows):
        start = start_of(folder / "start", model_folder, settings, rows)
        model = get_peft_model(make(), config(**COMMON))
        model.prompt_encoder["default"].load_state_dict(start)
        count = sum(p.numel() for p in model.parameters() if p.requires_grad)
        expected = reference_losses(model, rows, STEPS, lr=1e-3)
        actual, run = train(folder, model_folder, settings, rows, STEPS, lr=1e-3)
        check(f"loss curve follows peft ({label})", worst(actual, expected) < 1e-4, f"worst {worst(actual, expected):.1e}")
        trained = json.loads((run / "summary.json").read_text())["trainable"]
        estimated = json.loads(engine("estimate", folder / "run.json", "--json"))
        check(f"count before = after = peft's ({label})", count == trained == estimated["trainable"], f"{count}")
        check(f"size of the file is known before ({label})", estimated["adapter_bytes"] == (run / "adapter" / "adapter_model.safetensors").stat().st_size)
        model.save_pretrained(folder / "end")
        figure = relative(tensors_of(run / "adapter")["prompt_embeddings"], tensors_of(folder / "end")["prompt_embeddings"])
        check(f"ends in peft's rows ({label})", figure < 2e-3, f"relative {figure:.1e}")
        check_export(label, run, folder, model_folder, make, rows)
    return run


def bitfit(label, family, make, model_folder, folder, rows):
    settings = dict(attention_bias=True, mlp_bias=True) if family == "llama" else {}

    def biased():
        model = make(**settings)
        torch.manual_seed(11)
        for name, parameter in model.named_parameters():
            parameter.requires_grad = name.endswith(".bias")
            if parameter.requires_grad:
                parameter.data.normal_(0, 0.1)
        return model

    model = biased()
    model.save_pretrained(folder / "model")
    expected = reference_losses(model, rows, STEPS, lr=1e-3)
    actual, run = train(folder, folder / "model", dict(type="bitfit"), rows, STEPS, lr=1e-3)
    check(f"loss curve follows transformers ({label})", worst(actual, expected) < 1e-4, f"worst {worst(actual, expected):.1e}")
    ours = {name[len("base_model.model."):].replace(".base_layer", ""): value for name, value in tensors_of(run / "adapter").items() if "lora_" not in name}
    theirs = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    trained = json.loads((run / "summary.json").read_text())["trainable"]
    estimated = json.loads(engine("estimate", folder / "run.json", "--json"))
    check(f"trains every bias and nothing else ({label})", ours.keys() == theirs.keys() and trained == sum(p.numel() for p in theirs.values()) == estimated["trainable"], f"{trained}")
    check(f"size of the file is known before ({label})", estimated["adapter_bytes"] == (run / "adapter" / "adapter_model.safetensors").stat().st_size)

    def comparable(name, value):  # the gradient of a key's bias is rounding noise (training.py), which Adam scales up
        return None if name.endswith("k_proj.bias") else torch.cat(value.chunk(3)[::2]) if name.endswith("c_attn.bias") else value

    figure = max(relative(comparable(name, ours[name]), comparable(name, theirs[name])) for name in theirs if comparable(name, theirs[name]) is not None)
    check(f"ends in transformers' biases ({label})", figure < 2e-3, f"relative {figure:.1e}")
    check_export(label, run, folder, folder / "model", biased, rows)


METHODS = {
    "pissa": pissa,
    "adalora": adalora,
    "lora plus": loraplus,
    "p_tuning mlp": encoder(dict(type="p_tuning", num_virtual_tokens=5, encoder_hidden_size=24),
                            lambda **more: PromptEncoderConfig(num_virtual_tokens=5, encoder_hidden_size=24, encoder_reparameterization_type="MLP", **more)),
    "p_tuning lstm": encoder(dict(type="p_tuning", num_virtual_tokens=5, encoder_hidden_size=24, encoder_reparameterization_type="LSTM"),
                             lambda **more: PromptEncoderConfig(num_virtual_tokens=5, encoder_hidden_size=24, encoder_reparameterization_type="LSTM", **more)),
    "prefix projection": encoder(dict(type="prefix_tuning", num_virtual_tokens=5, prefix_projection=True, encoder_hidden_size=24),
                                 lambda **more: PrefixTuningConfig(num_virtual_tokens=5, prefix_projection=True, encoder_hidden_size=24, **more)),
    "bitfit": bitfit,
}

with temporary() as base:
    base = Path(base)
    rows = random_rows(30)
    for family, make in BOTH.items():
        make().save_pretrained(base / family)
        for name, run in METHODS.items():
            if PART in name:
                run(f"{family} {name}", family, make, base / family, base / f"{family}-{name.replace(' ', '-')}", rows)
finish()
