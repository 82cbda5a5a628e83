# SPDX-License-Identifier: Apache-2.0
"""GGUF LoRA adapters read back: `--adapter FILE.gguf` gives the logits of the folder that it was exported from, merged or not; exported as a
PEFT folder it holds the same tensors and loads in peft; a run goes on from it as from the folder. `gguf_import.py FAMILY…` runs a part."""
import json
import struct
import sys
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file

from common import check, engine, finish, llama, logits_of, random_rows, score, temporary, train, worst
from families import make

FAMILIES = ["llama", "gpt2", "gpt_neox", "bloom", "falcon", "mistral", "qwen2", "qwen3", "gemma", "phi", "stablelm", "starcoder2", "granite"]
PLAIN = dict(type="lora", r=4, lora_alpha=8, target_modules="all-linear")


def difference(a, b):
    return max(((x - y).abs().max() / y.std()).item() for x, y in zip(a, b))


def family(name, base):
    model = make(name, 0)
    model.save_pretrained(base / "model")
    rows = random_rows(12, low=12)
    for label, method in {"": PLAIN, " with ranks and rslora": {**PLAIN, "use_rslora": True, "r": 6, "rank_pattern": {r"\d+\..*": 3}}}.items():
        folder = base / (label.strip().replace(" ", "-") or "plain")
        _, run = train(folder, base / "model", method, rows, 3, lr=2e-2)
        engine("export", run, "--format", "gguf", "--out", folder / "out")
        file = next((folder / "out").rglob("*.gguf")) if (folder / "out").is_dir() else folder / "out"
        if file.suffix != ".gguf":
            file = file.rename(folder / "adapter.gguf")
        plain = score(base / "model", rows[:4], folder, run / "adapter")
        read = score(base / "model", rows[:4], folder, file)
        check(f"a GGUF adapter gives its folder's logits ({name}{label})", difference(read, plain) < 1e-5, f"{difference(read, plain):.1e} of their deviation")
        halves = [x - y for x, y in zip(score(base / "model", rows[:4], folder, f"{file}:0.5"), score(base / "model", rows[:4], folder, f"{run / 'adapter'}:0.5"))]
        check(f"and half of it half of that ({name}{label})", max(h.abs().max().item() for h in halves) < 1e-4)
        engine("merge", base / "model", "--adapter", file, "--out", folder / "merged")
        merged = score(folder / "merged", rows[:4], folder)
        check(f"merged = unmerged ({name}{label})", difference(merged, read) < 1e-4, f"{difference(merged, read):.1e}")
        engine("export", file, "--model", base / "model", "--format", "peft", "--out", folder / "again")
        ours, theirs = load_file(folder / "again" / "adapter_model.safetensors"), load_file(run / "adapter" / "adapter_model.safetensors")
        same = ours.keys() == theirs.keys() and (bool(label) or all(torch.equal(ours[k], theirs[k]) for k in theirs)) and all(torch.equal(ours[k], theirs[k]) for k in theirs if "lora_A" in k)
        check(f"back in peft's format it holds the same tensors ({name}{label})", same, f"{sorted(ours.keys() ^ theirs.keys())[:3]}")
        loaded = PeftModel.from_pretrained(type(model).from_pretrained(base / "model"), str(folder / "again")).eval()
        figure = difference([logits_of(loaded, row) for row in rows[:4]], plain)
        check(f"and loads in peft with equal logits ({name}{label})", figure < 1e-4, f"{figure:.1e}")
        if not label:
            on_folder, _ = train(folder / "on-folder", base / "model", {**method, "init_from": str(run / "adapter")}, rows, 3)
            on_file, _ = train(folder / "on-file", base / "model", {**method, "init_from": str(file)}, rows, 3)
            check(f"a run goes on from it as from the folder ({name})", worst(on_file, on_folder) == 0, f"{worst(on_file, on_folder):.1e}")


def refusals(base):
    model = make("llama", 0)
    model.save_pretrained(base / "model")
    rows = random_rows(4)
    _, run = train(base / "run", base / "model", PLAIN, rows, 1)
    engine("export", run, "--format", "gguf", "--out", base / "out")
    file = base / "out"
    file = next(file.rglob("*.gguf")) if file.is_dir() else file.rename(base / "adapter.gguf")
    make("qwen2", 0).save_pretrained(base / "qwen2")
    llama(hidden_size=32).save_pretrained(base / "small")
    (base / "torn.gguf").write_bytes(file.read_bytes()[:-100])
    (base / "rows.jsonl").write_text(json.dumps(rows[0]))

    def refused(name, word, *arguments):
        done = engine(*arguments, expect=3)
        check(f"refused: {name}", done.returncode in (2, 3) and word in done.stderr + done.stdout, (done.stderr + done.stdout)[-250:])

    def scored(folder, adapter):
        return ["score", folder, "--data", base / "rows.jsonl", "--out", base / "x.safetensors", "--adapter", adapter]

    # As llama.cpp reads it, an alpha of 0 leaves the matrices as they are: alpha = rank says the same.
    scored_with = {}
    for alpha in (0, json.loads((base / "run" / "run.json").read_text())["method"]["r"]):
        content = bytearray(Path(file).read_bytes())
        at = content.index(b"adapter.lora.alpha") + len(b"adapter.lora.alpha") + 4
        content[at:at + 4] = struct.pack("<f", alpha)
        (base / f"alpha{alpha}.gguf").write_bytes(content)
        engine(*scored(base / "model", base / f"alpha{alpha}.gguf"))
        scored_with[alpha] = (base / "x.safetensors").read_bytes()
    check("an alpha of 0 is a scale of 1", len(set(scored_with.values())) == 1)
    refused("another architecture", "adapter_base", *scored(base / "qwen2", file))
    refused("another size", "does not fit", *scored(base / "small", file))
    refused("a torn file", "gguf", *scored(base / "model", base / "torn.gguf"))
    refused("combining without a base", "only be read beside its base", "combine", "--adapter", f"{file}:1", "--adapter", f"{file}:1", "--method", "cat", "--out", base / "combined")
    document = json.loads((base / "run" / "run.json").read_text())
    for name, change in {"another scale": dict(lora_alpha=16), "another method": dict(type="ia3")}.items():
        method = {**document["method"], **change, "init_from": str(file)}
        if change.get("type"):
            method = dict(type="ia3", init_from=str(file))
        (base / "run" / "other.json").write_text(json.dumps({**document, "method": method}))
        refused(f"going on with {name}", "lora", "train", base / "run" / "other.json", "--workspace", base / "workspace")


def main():
    for name in sys.argv[1:] or FAMILIES:
        with temporary() as base:
            family(name, Path(base))
    if not sys.argv[1:]:
        with temporary() as base:
            refusals(Path(base))
    finish()


if __name__ == "__main__":
    main()
