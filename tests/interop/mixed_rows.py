# SPDX-License-Identifier: Apache-2.0
"""Several adapters on one base: rows of one batch that see different adapters give what each adapter gives in a run of its own, and what
peft gives; columns of a session go on in one pass. What cannot share a batch is refused. `mixed_rows.py FAMILY…` runs a part."""
import json
import sys
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file

from common import check, engine, finish, score, temporary, train, write_rows
from contract import case_of, targets
import encoders

ADAPTERS = {
    "lora": dict(type="lora", r=4, lora_alpha=8, target_modules="all-linear"),
    "ia3": dict(type="ia3"),
    "bottleneck": dict(type="bottleneck"),
    "dora": dict(type="lora", r=4, lora_alpha=8, target_modules="all-linear", use_dora=True),
    "oft": dict(type="oft", oft_block_size=8, target_modules="all-linear"),
    "prompt": dict(type="prompt_tuning", num_virtual_tokens=3),
    "long prompt": dict(type="p_tuning", num_virtual_tokens=7),
    "prefix": dict(type="prefix_tuning", num_virtual_tokens=4),
    "long prefix": dict(type="p_tuning_v2", num_virtual_tokens=9),
    "norms": dict(type="ln_tuning"),
    "biases": dict(type="lora", r=2, bias="all"),
    "whole": dict(type="lora", r=2),  # and the head, by its name
}
NO_PREFIX = {"deberta-v2"}
BIASED = {"gpt2", "gpt_neox", "bart", "bert", "bloom", "gpt2-classifier"}  # and DeBERTa: one of its biases makes the table of distances that all rows share
CASES = ["llama", "gpt2", "gpt_neox", "gemma2", "bloom", "qwen3", "t5", "bart", "deberta-v2", "bert", "llama-classifier"]


def runs_on(adapter, name):
    if adapter == "oft":
        return not name.startswith("gpt2")
    if adapter.endswith("prefix"):
        return name not in NO_PREFIX
    if adapter == "norms":
        return name != "deberta-v2"  # one norm makes that table
    if adapter == "biases":
        return name in BIASED
    return adapter != "whole" or case_of(name).extra == ()


def head_of(folder):
    """As the file spells it: transformers 5 renames GPT-NeoX's."""
    return next(module["name"] for module in json.loads(engine("inspect", folder, "--json", expect=None).stdout)["map"]["modules"] if module["role"] == "head")


def family(name, base):
    case = case_of(name)
    case.model.save_pretrained(base / "model")
    rows = (case.rows * 5)[:17]
    trained = {}
    for adapter, settings in ADAPTERS.items():
        if not runs_on(adapter, name):
            continue
        if adapter == "whole":
            settings = dict(settings, modules_to_save=[head_of(base / "model")])
        _, run = train(base / adapter, base / "model", {**settings, **targets(case.family, adapter, base / "model")}, case.rows, 3, lr=2e-2, extra=case.extra)
        trained[adapter] = run / "adapter"
    names = [*trained, None]
    chosen = [names[i % len(names)] for i in range(len(rows))]
    write_rows(base / "mixed.jsonl", [{**row, "adapter": adapter} for row, adapter in zip(rows, chosen)])
    given = [value for adapter, folder in trained.items() for value in ("--adapter", f"{adapter}={folder}")]
    engine("score", base / "model", "--data", base / "mixed.jsonl", "--out", base / "mixed.safetensors", *given)
    mixed = load_file(base / "mixed.safetensors")
    alone = {adapter: score(base / "model", rows, base, *([trained[adapter]] if adapter else [])) for adapter in names}
    # The deviation of all rows of an adapter: three classes of one row may lie close together.
    figures = {adapter: max(((mixed[f"logits.{i}"] - alone[adapter][i]).abs().max() / torch.cat([row.flatten() for row in alone[adapter]]).std()).item()
                            for i in range(len(rows)) if chosen[i] == adapter) for adapter in names}
    for adapter, figure in figures.items():
        check(f"rows of {adapter or 'the base'} in a mixed batch = a run of their own ({name})", figure < 1e-5, f"{figure:.1e} of their deviation")
    apart = min((alone[a][0] - alone[b][0]).abs().max().item() for a in names for b in names if a != b)
    check(f"the adapters differ ({name})", apart > 1e-3, f"{apart:.1e}")
    theirs = PeftModel.from_pretrained(type(case.model).from_pretrained(base / "model"), str(trained["lora"])).eval()
    figure = max(((mixed[f"logits.{i}"] - case.logits(theirs, rows[i])).abs().max() / mixed[f"logits.{i}"].std()).item() for i in range(len(rows)) if chosen[i] == "lora")
    check(f"and what peft gives ({name})", figure < 1e-4, f"{figure:.1e}")


def refusals(base):
    case = case_of("gpt2")
    case.model.save_pretrained(base / "model")
    folders = {}
    for adapter, settings in {"positions": dict(type="lora", r=2, modules_to_save=["wpe"]), "lora": ADAPTERS["lora"]}.items():
        _, run = train(base / adapter, base / "model", settings, case.rows, 1)
        folders[adapter] = run / "adapter"
    given = [value for adapter, folder in folders.items() for value in ("--adapter", f"{adapter}={folder}")]
    for adapter, code in {"positions": "cannot_mix", "nobody": "unknown_adapter"}.items():
        write_rows(base / "rows.jsonl", [{**case.rows[0], "adapter": adapter}, {**case.rows[1], "adapter": "lora"}])
        done = engine("score", base / "model", "--data", base / "rows.jsonl", "--out", base / "out.safetensors", *given, expect=None)
        check(f"refused: {adapter}", done.returncode != 0 and code in done.stderr and not (base / "out.safetensors").exists(), done.stderr[-200:])


def main():
    for name in sys.argv[1:] or CASES:
        with temporary() as base:
            family(name, Path(base))
    if not sys.argv[1:]:
        with temporary() as base:
            refusals(Path(base))
    finish()


if __name__ == "__main__":
    main()
