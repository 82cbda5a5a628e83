# SPDX-License-Identifier: Apache-2.0
"""Families against transformers: logits, losses and generated tokens of random tiny models."""
import json
from pathlib import Path

import torch

from common import check, engine, finish, gpt2, llama, logits_of, random_rows, ropes, score, temporary

with temporary() as base:
    base = Path(base)
    models = {"llama grouped heads": llama(), "llama tied, biases": llama(1, tie_word_embeddings=True, attention_bias=True, mlp_bias=True, num_key_value_heads=8),
              "gpt2": gpt2(), "gpt2 relu": gpt2(2, activation_function="relu", n_inner=96)}
    for name, rope in ropes().items():
        models[f"llama rope {name}"] = llama(3, rope_parameters=rope, max_position_embeddings=20 if name == "dynamic" else 64)
    for name, model in models.items():
        folder = base / name.replace(" ", "-")
        model.save_pretrained(folder)
        rows = random_rows(3, low=8, high=40)
        figure = max((logits_of(model, row) - ours).abs().max().item() for row, ours in zip(rows, score(folder, rows, base)))
        check(f"logits equal transformers' ({name})", figure < 1e-4, f"max difference {figure:.1e}")

    folder = base / "gpt2"
    row = random_rows(1, low=10, high=11)[0]
    engine("score", folder, "--data", base / "score.jsonl", "--out", base / "loss.safetensors", "--what", "loss")
    bad = engine("score", folder, "--data", base / "missing.jsonl", "--out", base / "x.safetensors", expect=3)
    check("a missing file is exit code 3", bad.returncode == 3 and json.loads(bad.stderr)["code"] == "file_missing")
finish()
