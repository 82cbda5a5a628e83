# SPDX-License-Identifier: Apache-2.0
"""`inspect` on every family (counts, shape of the model, no complaint) and on broken folders (one sentence with file, found and expected)."""
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

import encoders
from common import check, engine, finish, temporary
from contract import case_of
from families import FAMILIES, make


def inspect(folder):
    done = engine("inspect", folder, "--json", expect=None)
    return json.loads(done.stdout) if done.stdout.strip() else {}, done


def tokenizer(folder, size):
    from tokenizers import Tokenizer, models
    Tokenizer(models.WordLevel({f"w{i}": i for i in range(size)}, unk_token="w0")).save(str(folder / "tokenizer.json"))


def number(config, *names):
    return next(value for name in names if (value := getattr(config, name, None)) is not None)


with temporary() as base:
    base = Path(base)
    for family in FAMILIES:
        model = make(family, 0)
        folder = base / family
        model.save_pretrained(folder)
        tokenizer(folder, 99)
        found, done = inspect(folder)
        config = model.config
        check(f"inspect counts the parameters ({family})", found.get("parameters") == model.num_parameters(), f"{found.get('parameters')} of {model.num_parameters()}")
        shape = (found.get("layers"), found.get("heads"), found.get("vocabulary"), found.get("tied"))
        expected = (number(config, "num_hidden_layers"), number(config, "num_attention_heads"), config.vocab_size, config.tie_word_embeddings)
        check(f"inspect tells the shape ({family})", shape == expected and found.get("can_train") and not found.get("problems"), f"{shape} {found.get('problems')} {done.stderr[-200:]}")

    for name in [*encoders.SEQ2SEQ, *encoders.ENCODERS, "llama-classifier"]:
        case = case_of(name)
        model, config = case.model, case.model.config
        folder = base / name
        model.save_pretrained(folder)
        tokenizer(folder, 99)
        found, done = inspect(folder)
        label = case.family if name == case.family else name
        check(f"inspect counts the parameters ({label})", found.get("parameters") == model.num_parameters(), f"{found.get('parameters')} of {model.num_parameters()}")
        layers = number(config, "decoder_layers", "num_decoder_layers", "num_hidden_layers")
        task = "sequence_classification" if name not in encoders.SEQ2SEQ else "seq2seq_lm"
        told = (found.get("layers"), found.get("architecture"), task in found.get("tasks", []))
        check(f"inspect tells shape, class and task ({label})", told == (layers, type(model).__name__, True) and found.get("can_train") and found.get("memory", {}).get("train"), f"{told} {found.get('problems')} {done.stderr[-200:]}")

    def broken(name, codes, change, family="qwen2"):
        folder = base / f"broken-{name.replace(' ', '-')}"
        shutil.copytree(base / family, folder)
        change(folder)
        found, done = inspect(folder)
        problems = found.get("problems", [])
        told = [problem for problem in problems if problem["code"] in codes and problem["message"] and problem["hint"]]
        check(f"broken: {name}", done.returncode == 3 and not found.get("can_train") and told, (told or [{"message": f"exit {done.returncode} {problems} {done.stderr[-200:]}"}])[0]["message"][:160])

    def weights(change):
        def act(folder):
            tensors = load_file(folder / "model.safetensors")
            change(tensors)
            save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return act

    def config(**changes):
        def act(folder):
            document = json.loads((folder / "config.json").read_text())
            document.update(changes)
            (folder / "config.json").write_text(json.dumps({key: value for key, value in document.items() if value is not ...}))
        return act

    def sharded(folder):
        tensors = load_file(folder / "model.safetensors")
        names = sorted(tensors)
        half = len(names) // 2
        save_file({n: tensors[n] for n in names[:half]}, folder / "model-00001-of-00002.safetensors", metadata={"format": "pt"})
        index = {"metadata": {}, "weight_map": {n: f"model-0000{1 if i < half else 2}-of-00002.safetensors" for i, n in enumerate(names)}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        (folder / "model.safetensors").unlink()

    def pickled(folder):
        torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()

    def truncated(folder):
        content = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(content[: len(content) // 2])

    first = "model.layers.0.mlp.down_proj.weight"
    broken("a tensor missing", {"tensor_missing"}, weights(lambda t: t.pop(first)))
    broken("a tensor too many", {"tensor_unexpected"}, weights(lambda t: t.update({"model.layers.0.extra.weight": torch.zeros(2)})))
    broken("a wrong shape", {"tensor_shape"}, weights(lambda t: t.update({first: t[first][:, :-1].contiguous()})))
    broken("a NaN among a norm's weights", {"tensor_not_finite"}, weights(lambda t: t["model.norm.weight"].__setitem__(3, float("nan"))))
    broken("a matrix of NaN", {"tensor_not_finite"}, weights(lambda t: t[first].fill_(float("nan"))))
    broken("a shard absent", {"shard_missing", "file_missing"}, sharded)
    broken("a pickle only", {"pickle_only", "pickle_refused", "pickle", "no_safetensors", "weights_missing"}, pickled)
    broken("half a file", {"safetensors_truncated", "truncated", "safetensors_size", "bad_safetensors"}, truncated)
    broken("a billion layers", {"config_value"}, config(num_hidden_layers=10**9))
    broken("heads that do not divide", {"config_value"}, config(num_key_value_heads=3))
    broken("a key missing", {"config_value"}, config(intermediate_size=...))
    broken("a number as text", {"config_value"}, config(hidden_size="64"))
    broken("an unknown family", {"unknown_family"}, config(model_type="qwen9"))
    broken("a remote family", {"unknown_family"}, config(model_type="chatglm", auto_map={"AutoModel": "modeling_chatglm.ChatGLM"}))
    broken("no model type", {"config_model_type"}, config(model_type=...))
    broken("a rope nobody knows", {"config_rope"}, config(rope_parameters=dict(rope_type="spiral", rope_theta=1e4)))
    shutil.copytree(base / "qwen2", base / "larger")
    tokenizer(base / "larger", 120)
    found = json.loads(engine("inspect", base / "larger", "--json"))
    check("a tokenizer larger than the embedding is a warning", found["can_train"] and [(p["code"], p["level"]) for p in found["problems"]] == [("tokenizer_larger", "warning")], str(found["problems"]))
    broken("windows for other layers", {"config_value"}, config(use_sliding_window=True, sliding_window=8, layer_types=["full_attention"]))
finish()
