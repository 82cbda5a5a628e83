# SPDX-License-Identifier: Apache-2.0
"""What adapters train beside their own tensors, against peft: `modules_to_save`, `bias`, `lora_bias`, and LoRA at embeddings, on tied and
untied heads. Runs started from what peft saved follow its loss over 20 steps and end in its tensors; counts, names and bytes are known
before; exports load in peft; merged equals unmerged, in Luthier and in transformers; what cannot be is refused in a sentence.
`saved_modules.py PART` runs the cases whose label holds PART."""
import json
import sys
from pathlib import Path

import torch
from peft import (AdaLoraConfig, IA3Config, LNTuningConfig, LoHaConfig, LoraConfig, OFTConfig, PeftModel, PrefixTuningConfig, PromptTuningConfig, VeraConfig,
                  get_peft_model)
from safetensors.torch import load_file

from common import check, engine, finish, gpt2, llama, random_rows, score, taken, temporary, train, worst
from common import loss_sum as decoder_loss_sum
from contract import Classifier, Decoder, Seq2Seq
import encoders

STEPS = 20
EPSILON = 1e-6  # as in tasks.py: gradients that are rounding noise shall not become steps of full size
PART = sys.argv[1] if len(sys.argv) > 1 else ""


class Plain(Decoder):
    """A decoder of common.py."""
    def __init__(self, model):
        self.model = model
        self.rows = random_rows(24)


def biased():
    """LLaMA with biases that are not zero."""
    model = llama(attention_bias=True, mlp_bias=True)
    torch.manual_seed(3)
    for name, parameter in model.named_parameters():
        if name.endswith(".bias"):
            parameter.data.normal_(0, 0.1)
    return model


def with_rows(case):
    generator = torch.Generator().manual_seed(9)
    if isinstance(case, Seq2Seq):
        case.rows = [{"input_ids": encoders.ids_of(generator, 6, 18), "labels": encoders.ids_of(generator, 4, 10)} for _ in range(24)]
    elif isinstance(case, Classifier):
        case.rows = [{"input_ids": encoders.ids_of(generator, 6, 18), "label": i % encoders.CLASSES} for i in range(24)]
    return case


CASES = {
    "llama": lambda: Plain(llama()),
    "tied llama": lambda: Plain(llama(tie_word_embeddings=True)),
    "biased llama": lambda: Plain(biased()),
    "gpt2": lambda: Plain(gpt2()),
    "t5": lambda: with_rows(Seq2Seq("t5", 1)),
    "bert": lambda: with_rows(Classifier("bert")),
}
Q = {"llama": ["q_proj", "up_proj"], "tied llama": ["q_proj"], "biased llama": ["q_proj"], "gpt2": ["c_attn"], "t5": ["q", "v"], "bert": ["query"]}
TASK = {"t5": "SEQ_2_SEQ_LM", "bert": "SEQ_CLS"}
LORA = dict(r=4, lora_alpha=8)


def both(kind, config, family, **settings):
    """peft's configuration and Luthier's settings with the same keys."""
    return config(task_type=TASK.get(family, "CAUSAL_LM"), **settings), dict(type=kind, **settings)


def configs():
    def lora(family, label, **more):
        yield family, label, *both("lora", LoraConfig, family, **{**LORA, "target_modules": Q[family], **more})
    yield from lora("llama", "saves embeddings and head", modules_to_save=["embed_tokens", "lm_head"])
    yield from lora("tied llama", "saves embeddings and head", modules_to_save=["embed_tokens", "lm_head"])
    yield from lora("tied llama", "saves the embeddings", modules_to_save=["embed_tokens"])
    yield from lora("tied llama", "saves the head", modules_to_save=["lm_head"])
    yield from lora("llama", "saves all norms by a suffix", modules_to_save=["norm"])
    yield from lora("llama", "saves a module around a target", modules_to_save=["layers.1.mlp"])
    yield from lora("llama", "of an embedding", target_modules=["embed_tokens", "v_proj"])
    yield from lora("tied llama", "of an embedding", target_modules=["embed_tokens", "v_proj"], use_rslora=True)
    yield from lora("llama", "of a head", target_modules=["lm_head", "v_proj"])
    yield from lora("gpt2", "saves embeddings", modules_to_save=["wte", "wpe"])
    yield from lora("gpt2", "saves head and norms", modules_to_save=["lm_head", "ln_f", "ln_1"])
    yield from lora("gpt2", "of an embedding", target_modules=["wte", "c_attn"])
    yield from lora("gpt2", "all biases", bias="all")
    yield from lora("gpt2", "its own biases", bias="lora_only")
    yield from lora("gpt2", "bias of B", lora_bias=True)
    yield from lora("biased llama", "all biases and bias of B", bias="all", lora_bias=True)
    yield from lora("biased llama", "its own biases", bias="lora_only", modules_to_save=["lm_head"])
    yield from lora("biased llama", "with dora and all biases", bias="all", use_dora=True)
    yield from lora("t5", "saves the embeddings", modules_to_save=["embed_tokens"])
    yield from lora("t5", "saves the head", modules_to_save=["lm_head"])
    yield from lora("t5", "saves norms and positions", modules_to_save=["layer_norm", "relative_attention_bias"])
    yield from lora("t5", "of the embeddings", target_modules=["embed_tokens", "q"])
    yield from lora("bert", "saves embeddings", modules_to_save=["word_embeddings"])
    yield from lora("bert", "all biases", bias="all", modules_to_save=["pooler"])
    everything = ["q_proj", "v_proj", "down_proj"]
    yield "llama", "ia3 saves the head", *both("ia3", IA3Config, "llama", modules_to_save=["lm_head", "norm"])
    yield "llama", "vera saves the embeddings", *both("vera", VeraConfig, "llama", r=8, target_modules=["q_proj", "v_proj"], modules_to_save=["embed_tokens"])
    yield "biased llama", "vera its own biases", *both("vera", VeraConfig, "biased llama", r=8, target_modules=["q_proj", "v_proj"], bias="vera_only")
    yield "llama", "loha saves a norm", *both("loha", LoHaConfig, "llama", r=4, alpha=6, target_modules=everything, modules_to_save=["model.norm"])
    yield "biased llama", "oft all biases", *both("oft", OFTConfig, "biased llama", oft_block_size=8, target_modules=["q_proj", "v_proj"], bias="all", modules_to_save=["lm_head"])
    yield "llama", "ln_tuning saves the head", *both("ln_tuning", LNTuningConfig, "llama", target_modules=["input_layernorm", "norm"], modules_to_save=["lm_head", "model.norm"])
    yield "llama", "prompt_tuning saves the head", *both("prompt_tuning", PromptTuningConfig, "llama", num_virtual_tokens=5, modules_to_save=["lm_head"])
    yield "tied llama", "prefix_tuning saves the head", *both("prefix_tuning", PrefixTuningConfig, "tied llama", num_virtual_tokens=5, modules_to_save=["lm_head"])


def loss_sum(model, row):
    ids = torch.tensor([row["input_ids"]])
    mask = torch.ones_like(ids)
    if "label" in row:
        return torch.nn.functional.cross_entropy(model(input_ids=ids, attention_mask=mask).logits, torch.tensor([row["label"]]), reduction="sum"), 1
    if getattr(model.config, "is_encoder_decoder", False):
        labels = torch.tensor(row["labels"])
        logits = model(input_ids=ids, attention_mask=mask, labels=labels[None]).logits[0]
        return torch.nn.functional.cross_entropy(logits.float(), labels, reduction="sum"), len(labels)
    return decoder_loss_sum(model, row)


def reference_losses(model, rows, lr=5e-3, batch=4):
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=lr, eps=EPSILON, weight_decay=0.0)
    values = []
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = lr * (STEPS - step) / STEPS
        parts = [loss_sum(model, rows[(step * batch + i) % len(rows)]) for i in range(batch)]
        loss = sum(part for part, _ in parts) / sum(count for _, count in parts)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        values.append(loss.item())
    return values


def shaken(model):
    torch.manual_seed(7)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(torch.randn_like(parameter) * 0.05)
    return model.eval()


def kept(tensors):
    """What peft writes besides what the adapter needs: the base's own table under an adapted one, a classifier's bias three times over."""
    return {k: v for k, v in tensors.items() if not k.endswith("base_layer.weight") and ".original_module." not in k and ".modules_to_save." not in k}


def relative(a, b):
    """The bias of keys has a gradient of rounding noise alone (training.py)."""
    def part(name, value):
        return torch.cat(value.float().chunk(3)[::2]) if name.endswith(("c_attn.bias", "c_attn.base_layer.bias", "c_attn.lora_B.bias")) else value.float()
    noise = ("k_proj.bias", "key.bias")
    return max(((part(k, a[k]) - part(k, b[k])).abs().max() / b[k].float().abs().max().clamp(min=1e-6)).item() for k in b if not k.endswith(noise))


def one(label, case, folder, config, method):
    model_folder = folder / "model"
    case.model.save_pretrained(model_folder)

    def fresh():
        return type(case.model).from_pretrained(model_folder).eval()

    model = shaken(get_peft_model(fresh(), config))
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    model.save_pretrained(folder / "start")
    expected = reference_losses(model, case.rows)
    try:
        actual, run = train(folder, model_folder, {**method, "init_from": str(folder / "start")}, case.rows, STEPS, extra=case.extra, adam_epsilon=EPSILON)
    except RuntimeError as error:
        check(f"trains ({label})", False, str(error)[-400:])
        return
    check(f"loss curve follows peft ({label})", worst(actual, expected) < 1e-4, f"worst {worst(actual, expected):.1e}")
    model.save_pretrained(folder / "end")
    ours, theirs = load_file(run / "adapter" / "adapter_model.safetensors"), kept(load_file(folder / "end" / "adapter_model.safetensors"))
    check(f"the file has peft's names and shapes ({label})", {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}, f"{sorted(ours.keys() ^ theirs.keys())[:4]}")
    figure = relative(ours, {k: v for k, v in theirs.items() if k in ours})
    check(f"ends in peft's tensors ({label})", figure < 2e-3, f"relative {figure:.1e}")
    estimated = json.loads(engine("estimate", folder / "run.json", "--json"))
    trained = json.loads((run / "summary.json").read_text())["trainable"]
    written = kept_count(theirs, model)
    check(f"count before = after = peft's ({label})", estimated["trainable"] == trained == count - written, f"{estimated['trainable']}, {trained}, {count} less {written}")
    check(f"size of the file is known before ({label})", estimated["adapter_bytes"] == (run / "adapter" / "adapter_model.safetensors").stat().st_size)
    engine("export", run, "--format", "peft", "--out", folder / "export")
    loaded = PeftModel.from_pretrained(fresh(), str(folder / "export")).eval()
    mine = score(model_folder, case.rows[:3], folder, folder / "export")
    figure = max(((case.logits(loaded, row) - own).abs().max() / own.std()).item() for row, own in zip(case.rows, mine))
    check(f"export loads in peft with equal logits ({label})", figure < 1e-4, f"{figure:.1e}")
    both_read = score(model_folder, case.rows[:3], folder, folder / "end")
    figure = max(((case.logits(model, row) - own).abs().max() / own.std()).item() for row, own in zip(case.rows, both_read))
    check(f"peft's own folder gives peft's logits ({label})", figure < 1e-4, f"{figure:.1e}")
    merged(label, case, folder, method, model_folder, mine)


def kept_count(theirs, model):
    """Parameters that peft lets train although nothing computes with them: with bias "all" the bias of the module under a saved one."""
    return sum(p.numel() for name, p in model.named_parameters() if p.requires_grad and ".original_module." in name)


def merged(label, case, folder, method, model_folder, unmerged):
    done = engine("merge", model_folder, "--adapter", folder / "export", "--out", folder / "merged", "--json", expect=None)
    apart = isinstance(case, Seq2Seq) and "embed_tokens" in [*method.get("modules_to_save", []), *method.get("target_modules", [])]
    if apart or method.get("num_virtual_tokens") or (method.get("lora_bias") and not hasattr(case.model.config, "n_embd") and not getattr(case.model.config, "attention_bias", False)):
        check(f"a merge that cannot be is refused ({label})", done.returncode == 2 and "cannot_merge" in done.stderr and not (folder / "merged").exists(), done.stderr[-200:])
        return
    if done.returncode != 0:
        check(f"merges ({label})", False, done.stderr[-300:])
        return
    figure = max(((a - b).abs().max() / b.std()).item() for a, b in zip(score(folder / "merged", case.rows[:3], folder), unmerged))
    check(f"merged = unmerged ({label})", figure < 1e-4, f"{figure:.1e}")
    again = type(case.model).from_pretrained(folder / "merged").eval()
    figure = max(((case.logits(again, row) - own).abs().max() / own.std()).item() for row, own in zip(case.rows, unmerged))
    check(f"merged in transformers = unmerged ({label})", figure < 1e-4, f"{figure:.1e}")


def refusals(base):
    llama(tie_word_embeddings=True).save_pretrained(base / "refused")
    seq2seq = Seq2Seq("t5", 1)
    seq2seq.model.save_pretrained(base / "refused-t5")
    wrong = {
        "a module that does not exist": (base / "refused", dict(type="lora", modules_to_save=["word_embeddings"]), "no_target_matches"),
        "T5's table, which nothing computes with": (base / "refused-t5", dict(type="lora", modules_to_save=["shared"]), "no_target_matches"),
        "biases of a model without": (base / "refused", dict(type="lora", bias="all"), "no_target_matches"),
        "LoHa at an embedding": (base / "refused", dict(type="loha", target_modules=["embed_tokens"]), "unsupported_layer"),
        "DoRA at an embedding": (base / "refused", dict(type="lora", target_modules=["embed_tokens"], use_dora=True), "bad_combination"),
        "a bias of B beside DoRA": (base / "refused", dict(type="lora", target_modules=["q_proj"], use_dora=True, lora_bias=True), "bad_combination"),
        "another method's word for its biases": (base / "refused", dict(type="lora", bias="vera_only"), "unknown_choice"),
    }
    for name, (model, method, code) in wrong.items():
        (base / "rows.jsonl").write_text(json.dumps({"input_ids": [3, 4, 5], "labels": [3, 4, 5]}))
        (base / "run.json").write_text(json.dumps(dict(model=dict(path=str(model)), method=method, data=dict(train=dict(path="rows.jsonl", format="tokenized"), eval=dict(split=0)), train=dict(max_steps=1))))
        for command in (["estimate", base / "run.json", "--json"], ["train", base / "run.json", "--workspace", base / "workspace"]):
            done = engine(*command, expect=2)
            check(f"{command[0]} refuses {name}", done.returncode == 2 and code in done.stderr + done.stdout, (done.stderr + done.stdout)[-200:])


def main():
    with temporary() as base:
        base = Path(base)
        for family, label, config, method in configs():
            label = f"{family} {method['type']} {label}"
            if PART not in label or not taken(f"saved modules {label}"):
                continue
            folder = base / label.replace(" ", "-")
            folder.mkdir()
            one(label, CASES[family](), folder, config, method)
        if not PART or PART == "refusals":
            refusals(base)
    finish()


if __name__ == "__main__":
    main()
