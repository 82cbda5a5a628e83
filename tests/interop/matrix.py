# SPDX-License-Identifier: Apache-2.0
"""Every method × LLaMA, GPT-2, BLOOM, T5 (sequence to sequence) and BERT (classifier): 20 steps from one start follow peft's losses and end in
its tensors, with its counts; the export loads in peft, no name missing or too many, with equal logits. The start is the folder that peft saved or,
where no file holds it, the values that Luthier draws, given to peft. A pair that peft cannot run stands in REFUSED with the reason and peft is
shown to refuse it. `matrix.py [FAMILY…] [--METHOD…]` runs a part; the table at the end is Markdown."""
import json
import re
import sys
import time
from pathlib import Path

import torch
from peft import (AdaLoraConfig, IA3Config, LNTuningConfig, LoHaConfig, LoKrConfig, LoraConfig, OFTConfig, PeftModel, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig,
                  VeraConfig, get_peft_model)
from peft.optimizers import create_loraplus_optimizer
from safetensors.torch import load_file

from common import check, engine, finish, random_rows, score, taken, temporary, train, worst
from contract import Classifier, Decoder, Seq2Seq
from saved_modules import EPSILON, loss_sum, with_rows

STEPS = 20
BATCH = 3
# T5 is the gated one of T0 and Flan-T5, and epsilon 1e-6, for the reasons that tasks.py gives.
FAMILIES = {"llama": lambda: Decoder("llama"), "gpt2": lambda: Decoder("gpt2"), "bloom": lambda: Decoder("bloom"), "t5": lambda: Seq2Seq("t5", 1), "bert": lambda: Classifier("bert")}
TASK = {"t5": "SEQ_2_SEQ_LM", "bert": "SEQ_CLS"}
LAYERS = {"llama": ["q_proj", "v_proj", "up_proj", "down_proj"], "gpt2": ["c_attn", "c_fc"], "bloom": ["query_key_value", "dense_h_to_4h"], "t5": ["q", "v", "wo"], "bert": ["query", "value", "intermediate.dense"]}
NORMS = {"llama": ["input_layernorm", "post_attention_layernorm", "norm"], "gpt2": ["ln_1", "ln_2", "ln_f"], "bloom": ["input_layernorm", "post_attention_layernorm", "ln_f"],
         "t5": ["layer_norm", "final_layer_norm"], "bert": ["LayerNorm"]}
LORA = dict(r=4, lora_alpha=8)
TABLE = dict(encoder_hidden_size=24, num_virtual_tokens=5)
ADALORA = dict(init_r=6, target_r=3, lora_alpha=8, tinit=3, tfinal=4, deltaT=2, orth_reg_weight=0.4)

# name: (peft's configuration, Luthier's type, settings that both spell alike, settings of Luthier's alone)
ON_LAYERS = {
    "lora": (LoraConfig, "lora", LORA, {}),
    "rslora": (LoraConfig, "lora", dict(**LORA, use_rslora=True), {}),
    "dora": (LoraConfig, "lora", dict(**LORA, use_dora=True), {}),
    "pissa": (LoraConfig, "lora", dict(**LORA, init_lora_weights="pissa"), {}),
    "lora+": (LoraConfig, "lora", LORA, dict(loraplus_lr_ratio=8)),
    "adalora": (AdaLoraConfig, "adalora", ADALORA, {}),
    "vera": (VeraConfig, "vera", dict(r=8, d_initial=0.3), {}),
    "loha": (LoHaConfig, "loha", dict(r=4, alpha=6), {}),
    "lokr": (LoKrConfig, "lokr", dict(r=2, alpha=3, decompose_both=True, decompose_factor=8), {}),
    "oft": (OFTConfig, "oft", dict(oft_block_size=8), {}),
}
OTHERS = {
    "ia3": (IA3Config, "ia3", {}, {}),
    "ln_tuning": (LNTuningConfig, "ln_tuning", {}, {}),
    "prompt_tuning": (PromptTuningConfig, "prompt_tuning", dict(num_virtual_tokens=5), {}),
    "p_tuning mlp": (PromptEncoderConfig, "p_tuning", TABLE, {}),
    "p_tuning lstm": (PromptEncoderConfig, "p_tuning", dict(**TABLE, encoder_reparameterization_type="LSTM"), {}),
    "prefix_tuning": (PrefixTuningConfig, "prefix_tuning", dict(num_virtual_tokens=5), {}),
    "prefix projection": (PrefixTuningConfig, "prefix_tuning", dict(**TABLE, prefix_projection=True), {}),
    "p_tuning_v2": (PrefixTuningConfig, "p_tuning_v2", dict(num_virtual_tokens=5), {}),
}
THROUGH_A_NETWORK = {"p_tuning mlp", "p_tuning lstm", "prefix projection"}  # which the file does not hold
# Against plain transformers; a classifier's head is trained beside them.
BASE_WEIGHTS = {"bitfit": (dict(type="bitfit"), re.compile(r".*\.bias|classifier\..*")), "full": (dict(type="full"), re.compile(".*")),
                "freeze": (dict(type="freeze", trainable_layers=1), re.compile(r"(model\.layers|transformer\.h|decoder\.block|bert\.encoder\.layer)\.2\..*|(model\.norm|transformer\.ln_f|decoder\.final_layer_norm|classifier)\..*"))}
CONV1D = "its layers are Conv1D, which this method of peft does not take"
NO_BIAS = "has no biases"
REFUSED = {("loha", "gpt2"): CONV1D, ("lokr", "gpt2"): CONV1D, ("oft", "gpt2"): CONV1D, ("bitfit", "llama"): NO_BIAS, ("bitfit", "t5"): NO_BIAS}


def settings_of(name, family):
    """peft's configuration, and Luthier's settings."""
    kind, ours, shared, own = {**ON_LAYERS, **OTHERS}[name]
    where = dict(target_modules=LAYERS[family]) if name in ON_LAYERS else dict(target_modules=NORMS[family]) if name == "ln_tuning" else {}
    more = dict(total_step=STEPS) if name == "adalora" else {}
    return kind(task_type=TASK.get(family, "CAUSAL_LM"), **shared, **where, **more), dict(type=ours, **shared, **where, **own)


def trained(model):
    return [p for p in model.parameters() if p.requires_grad]


def regularisation(model, row):
    """What AdaLoRA of peft adds to the model's own loss, which is taken off again."""
    ids = torch.tensor([row["input_ids"]])
    labels = torch.tensor([row["label"]] if "label" in row else [row["labels"] if "labels" in row and model.config.is_encoder_decoder else row["input_ids"]])
    out = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels)
    plain = model.get_base_model()(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss
    return out.loss - plain


def reference_losses(model, rows, lr, optimizer=None):
    optimizer = optimizer or torch.optim.AdamW(trained(model), lr=lr, eps=EPSILON, weight_decay=0.0)
    rates = [group["lr"] for group in optimizer.param_groups]
    isAdaLora = isinstance(model, PeftModel) and model.peft_type == "ADALORA"
    values = []
    for step in range(STEPS):
        for group, rate in zip(optimizer.param_groups, rates):
            group["lr"] = rate * (STEPS - step) / STEPS
        chosen = [rows[(step * BATCH + i) % len(rows)] for i in range(BATCH)]
        parts = [loss_sum(model, row) for row in chosen]
        loss = sum(part for part, _ in parts) / sum(count for _, count in parts)
        if isAdaLora:
            loss = loss + regularisation(model, chosen[0])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained(model), 1.0)
        optimizer.step()
        if isAdaLora:
            model.base_model.update_and_allocate(step + 1)
        values.append(loss.item())
    return values


def shaken(model):
    torch.manual_seed(7)
    for parameter in trained(model):
        parameter.data.add_(torch.randn_like(parameter) * 0.05)
    return model.eval()  # dropout off; gradients stay


def without_key_bias(family, name, value):
    """A bias on the keys has a gradient of rounding noise alone (training.py): None where that is all, else what remains."""
    if family == "bert" and name.endswith("key.bias"):
        return None
    if family == "gpt2" and name.endswith("c_attn.bias"):
        return torch.cat(value.float().chunk(3)[::2])
    if family == "bloom" and name.endswith("query_key_value.bias"):  # [H, 3, D]
        return value.float().reshape(8, 3, -1)[:, ::2]
    return value.float()


def relative(family, ours, theirs):
    figure = 0.0
    for name in theirs:
        a, b = (without_key_bias(family, name, tensors[name]) for tensors in (ours, theirs))
        if b is not None and b.numel():
            figure = max(figure, ((a - b).abs().max() / b.abs().max().clamp(min=1e-6)).item())
    return figure


def tensors_of(folder):
    return load_file(Path(folder) / "adapter_model.safetensors")


def changes(start, end):
    """B A after less B A before: PiSSA's vectors have signs of their own."""
    products = [{name: tensors[name.replace("lora_A", "lora_B")] @ a for name, a in tensors.items() if "lora_A" in name} for tensors in (start, end)]
    return {name: products[1][name] - products[0][name] for name in products[0]}


def parameters_at_start(folder, model_folder, method, case):
    """What a run of this method starts from: its checkpoint after a step that moves nothing."""
    _, run = train(folder, model_folder, method, case.rows, 1, lr=1e-30, extra=case.extra)
    state = load_file(run / "checkpoints" / "step-000001" / "state.safetensors")
    return {name[len("parameter."):]: value for name, value in state.items() if name.startswith("parameter.")}


def exported(label, run, folder, model_folder, fresh, case):
    engine("export", run, "--format", "peft", "--out", folder / "export")
    loaded = PeftModel.from_pretrained(fresh(), str(folder / "export")).eval()
    loaded.save_pretrained(folder / "again")
    names = {name for name in tensors_of(folder / "export").keys() ^ tensors_of(folder / "again").keys() if not re.search(r"\.(original_module|modules_to_save)\.", name)}
    # (with bias "all" peft writes a classifier's bias three times)
    mine = score(model_folder, case.rows[:3], folder, folder / "export")
    figure = max(((case.logits(loaded, row) - own).abs().max() / own.std()).item() for row, own in zip(case.rows, mine))
    check(f"export loads in peft with equal logits, no name missing or too many ({label})", figure < 1e-4 and not names, f"{figure:.1e} {sorted(names)[:3]}")


def counted(label, folder, run, count):
    estimated = json.loads(engine("estimate", folder / "run.json", "--json"))
    told = json.loads((run / "summary.json").read_text())["trainable"]
    check(f"count before = after = the reference's ({label})", estimated["trainable"] == told == count, f"{estimated['trainable']}, {told}, {count}")


def adapter_cell(label, name, family, case, folder, model_folder):
    """@returns the largest difference of the losses and of the tensors."""
    def fresh():
        return type(case.model).from_pretrained(model_folder).eval()

    lr = 1e-3 if name in THROUGH_A_NETWORK or name in ("lora+", "pissa") else 5e-3
    config, method = settings_of(name, family)
    model = get_peft_model(fresh(), config).eval()
    if name in THROUGH_A_NETWORK:
        start = parameters_at_start(folder / "start", model_folder, method, case)
        network = model.prompt_encoder["default"]
        network.load_state_dict({key: start[key] for key in network.state_dict()})
    else:
        model = model if name == "pissa" else shaken(model)
        model.save_pretrained(folder / "start")
        method = {**method, "init_from": str(folder / "start")}
    count = sum(p.numel() for p in trained(model))
    optimizer = create_loraplus_optimizer(model, torch.optim.AdamW, lr=lr, loraplus_lr_ratio=8, loraplus_weight_decay=0.0, eps=EPSILON) if name == "lora+" else None
    expected = reference_losses(model, case.rows, lr, optimizer)
    actual, run = train(folder, model_folder, method, case.rows, STEPS, batch=BATCH, lr=lr, extra=case.extra, adam_epsilon=EPSILON)
    loss = worst(actual, expected)
    check(f"loss curve follows peft ({label})", loss < 1e-4, f"worst {loss:.1e}")
    model.save_pretrained(folder / "end")
    ours, theirs = tensors_of(run / "adapter"), tensors_of(folder / "end")
    if name == "pissa":
        before = tensors_of(folder / "start")
        heads = {key: value for key, value in theirs.items() if "lora_" not in key}
        figure = relative(family, {**{key: ours[key.replace("lora_A", "lora_B")] @ ours[key] for key in ours if "lora_A" in key}, **{key: ours[key] for key in heads}}, {**changes(before, theirs), **heads})
    else:
        same = {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in theirs.items()}
        check(f"the file has peft's names and shapes ({label})", same, f"{sorted(ours.keys() ^ theirs.keys())[:4]}")
        figure = relative(family, ours, {key: value for key, value in theirs.items() if key in ours and ours[key].shape == value.shape})
    check(f"ends in peft's tensors ({label})", figure < 2e-3, f"relative {figure:.1e}")
    counted(label, folder, run, count)
    exported(label, run, folder, model_folder, fresh, case)
    return loss, figure


def base_cell(label, name, family, case, folder, model_folder):
    method, wanted = BASE_WEIGHTS[name]
    method = {**method, "train_head": True} if (name, family) == ("freeze", "bert") else method
    model = type(case.model).from_pretrained(model_folder).eval()
    for key, parameter in model.named_parameters():
        parameter.requires_grad = bool(wanted.fullmatch(key))
    count = sum(p.numel() for p in trained(model))
    expected = reference_losses(model, case.rows, 1e-3)
    actual, run = train(folder, model_folder, method, case.rows, STEPS, batch=BATCH, lr=1e-3, extra=case.extra, adam_epsilon=EPSILON)
    loss = worst(actual, expected)
    check(f"loss curve follows transformers ({label})", loss < 1e-4, f"worst {loss:.1e}")
    theirs = {key: p.detach() for key, p in model.named_parameters() if p.requires_grad}
    if name == "bitfit":
        ours = {key[len("base_model.model."):].replace(".base_layer", ""): value for key, value in tensors_of(run / "adapter").items() if "lora_" not in key}
    else:
        ours = load_file(run / "model" / "model.safetensors")
    kept = {key: value for key, value in model.state_dict().items() if key in ours}
    same = all(torch.equal(ours[key], value) for key, value in kept.items() if key not in theirs)
    check(f"trains what transformers trains and leaves the rest ({label})", theirs.keys() <= ours.keys() and same and (name != "bitfit" or ours.keys() == theirs.keys()), f"{sorted(ours.keys() ^ theirs.keys())[:4]}")
    figure = relative(family, ours, theirs)
    check(f"ends in transformers' tensors ({label})", figure < 2e-3, f"relative {figure:.1e}")
    counted(label, folder, run, count)
    if name == "bitfit":
        exported(label, run, folder, model_folder, lambda: type(case.model).from_pretrained(model_folder).eval(), case)
    return loss, figure


def refused(label, name, family, case, folder, model_folder):
    """The other tool, or the model, really cannot."""
    if name in BASE_WEIGHTS:
        method, wanted = BASE_WEIGHTS[name]
        nothing = not any(wanted.fullmatch(key) for key, _ in case.model.named_parameters())
        done = engine("estimate", write_run(folder, model_folder, method, case), "--json", expect=2)
        check(f"is refused: {family} {REFUSED[name, family]} ({label})", nothing and done.returncode == 2 and "no_target_matches" in done.stderr + done.stdout, (done.stderr + done.stdout)[-150:])
        return
    try:
        reference_losses(get_peft_model(type(case.model).from_pretrained(model_folder), settings_of(name, family)[0]), case.rows, 1e-3)
        passed = False
    except Exception as error:
        passed = f"{type(error).__name__}: {error}"[:100]
    check(f"peft refuses: {REFUSED[name, family]} ({label})", passed, passed or "it runs: fill the cell")


def write_run(folder, model_folder, method, case):
    folder.mkdir(parents=True)
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, case.rows)))
    (folder / "run.json").write_text(json.dumps(dict(model=dict(path=str(model_folder)), method=method, data=dict(train=dict(path="rows.jsonl", format="tokenized")), train=dict(max_steps=1))))
    return folder / "run.json"


def main():
    asked = [argument[2:] for argument in sys.argv[1:] if argument.startswith("--")]
    families = [argument for argument in sys.argv[1:] if not argument.startswith("--")] or list(FAMILIES)
    methods = [name for name in [*ON_LAYERS, *OTHERS, *BASE_WEIGHTS] if not asked or name in asked]
    table = {name: [] for name in methods}
    started = time.time()
    for family in families:
        with temporary() as base:
            case = with_rows(FAMILIES[family]())
            if type(case) is Decoder:
                case.rows = random_rows(24)
            model_folder = Path(base) / "model"
            case.model.save_pretrained(model_folder)
            for name in methods:
                label, folder = f"{family} {name}", Path(base) / name.replace(" ", "-")
                if not asked and not taken(label):
                    table[name].append("not in this slice")
                    continue
                if (name, family) in REFUSED:
                    refused(label, name, family, case, folder, model_folder)
                    table[name].append(REFUSED[name, family])
                    continue
                run = base_cell if name in BASE_WEIGHTS else adapter_cell
                try:
                    table[name].append("{:.0e} / {:.0e}".format(*run(label, name, family, case, folder, model_folder)))
                except Exception as error:
                    check(f"runs ({label})", False, f"{type(error).__name__}: {error}"[-500:])
                    table[name].append("failed")
    print(f"| largest difference of losses / of tensors, relative | {' | '.join(families)} |\n|{' --- |' * (len(families) + 1)}")
    for name, cells in table.items():
        print(f"| {name} | {' | '.join(cells)} |")
    print(f"{time.time() - started:.0f} s")
    finish()


if __name__ == "__main__":
    main()
