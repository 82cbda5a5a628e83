# SPDX-License-Identifier: Apache-2.0
"""Virtual tokens before a text: the last of them predicts the text's first token, as PEFT counts it. Loss and gradients of prompt tuning and P-tuning equal
PEFT's for rows of unequal length, whatever is masked; packed and unpacked rows, `score`, `eval` and training agree. Prefixes of keys and values leave the first
label out, as PEFT does. `prompts.py FAMILY…` runs a part."""
import json
import sys
from pathlib import Path

import torch
from peft import PeftModel, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file

from common import check, engine, finish, random_rows, taken, temporary, train, write_rows
from families import make

FAMILIES = ["llama", "gpt2", "opt", "gpt_neox", "bloom", "gemma2", "qwen2", "falcon"]
VIRTUAL = 5


def adapters(family):
    """PEFT's models with their values shaken, by name."""
    def shaken(config):
        model = get_peft_model(make(family, 0), config)
        torch.manual_seed(7)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data.add_(torch.randn_like(parameter) * 0.3)
        return model.eval()

    yield "prompt_tuning", shaken(PromptTuningConfig(num_virtual_tokens=VIRTUAL, task_type="CAUSAL_LM"))
    yield "p_tuning", shaken(PromptEncoderConfig(num_virtual_tokens=VIRTUAL, encoder_hidden_size=24, task_type="CAUSAL_LM"))
    if family != "falcon":  # PEFT makes keys for each head, of which this one has a single one
        yield "prefix_tuning", shaken(PrefixTuningConfig(num_virtual_tokens=VIRTUAL, task_type="CAUSAL_LM"))


def rows_of(kind):
    """Every label, some of them, and rows of which the first label alone, or all but the first, is learned."""
    rows = random_rows(5, seed=3, low=4, high=12, masked=0.0)
    if kind == "some":
        rows = random_rows(5, seed=4, low=4, high=12)
    if kind == "first alone":
        rows = [{**row, "labels": row["labels"][:1] + [-100] * (len(row["labels"]) - 1)} for row in rows]
    if kind == "all but the first":
        rows = [{**row, "labels": [-100] + row["labels"][1:]} for row in rows]
    return rows


def peft_loss(model, rows):
    """PEFT's own loss of one padded batch: the mean over all labels that are not masked. Padding stands behind the text, where no row looks at it."""
    longest = max(len(row["input_ids"]) for row in rows)
    padded = lambda values, filler: torch.tensor([list(one) + [filler] * (longest - len(one)) for one in values])
    return model(input_ids=padded([row["input_ids"] for row in rows], 2), attention_mask=padded([[1] * len(row["input_ids"]) for row in rows], 0), labels=padded([row["labels"] for row in rows], -100)).loss


def scored(folder, model_folder, rows, what, *adapter):
    write_rows(folder / "rows.jsonl", rows)
    engine("score", model_folder, "--data", folder / "rows.jsonl", "--out", folder / "out.safetensors", "--what", what, *adapter)
    return load_file(folder / "out.safetensors")


def main():
    wanted = [name for name in sys.argv[1:] if not name.startswith("-")] or FAMILIES
    for family in wanted:
        with temporary() as base:
            base = Path(base)
            make(family, 0).save_pretrained(base / "model")
            for method, model in adapters(family):
                model.save_pretrained(base / method)
                # What the file holds of P-tuning are the rows that its network makes: PEFT trains the network, a reader of the file the rows.
                loaded = PeftModel.from_pretrained(make(family, 0), base / method).eval()
                for kind in ("all", "some", "first alone", "all but the first"):
                    if kind == "first alone" and method == "prefix_tuning":
                        continue  # no label is left
                    label = f"{family} {method}, {kind}"
                    if not taken(f"prompts {label}"):
                        continue
                    rows = rows_of(kind)
                    with torch.no_grad():
                        right = peft_loss(loaded, rows).item()
                    found = scored(base, base / "model", rows, "gradients", "--adapter", base / method)
                    check(f"loss of a batch equals peft's ({label})", abs(found["loss"].item() - right) < 1e-5 * max(1, abs(right)), f"{found['loss'].item():.6f} against {right:.6f}")
                    each = scored(base, base / "model", rows, "loss", "--adapter", base / method)
                    with torch.no_grad():
                        figure = max(abs(each[f"loss.{i}"].item() - peft_loss(loaded, [row]).item()) for i, row in enumerate(rows))
                    check(f"loss of each row equals peft's ({label})", figure < 1e-4, f"worst {figure:.1e}")
                    if method == "prompt_tuning":
                        model.zero_grad()
                        peft_loss(model, rows).backward()
                        theirs = model.prompt_encoder["default"].embedding.weight.grad
                        figure = ((found["prompt_embeddings"] - theirs).norm() / theirs.norm()).item()
                        check(f"gradient of the virtual tokens equals peft's ({label})", figure < 1e-4, f"relative {figure:.1e}")
                    write_rows(base / "eval.jsonl", rows)
                    measured = json.loads(engine("eval", base / "model", "--data", base / "eval.jsonl", "--format", "tokenized", "--adapter", base / method, "--json"))
                    check(f"eval measures the same ({label})", abs(measured["metrics"]["loss"] - right) < 1e-5 * max(1, abs(right)), f"{measured['metrics']['loss']:.6f}")
                    if method == "p_tuning":
                        continue  # a run that continues it trains rows; what it starts from is the same
                    for packing in ("false", "true"):
                        values, _ = train(base / f"run-{method}-{kind}-{packing}".replace(" ", "-"), base / "model", dict(type=method, num_virtual_tokens=VIRTUAL, init_from=str(base / method)), rows, 1, batch=5,
                                          extra=("--set", f"data.packing={packing}"))
                        check(f"training counts the same ({label}, packing {packing})", abs(values[0] - right) < 1e-5 * max(1, abs(right)), f"{values[0]:.6f}")
    finish()


if __name__ == "__main__":
    main()
