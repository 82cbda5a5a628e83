# SPDX-License-Identifier: Apache-2.0
"""Bad input ends in one sentence with a code, a place and a remedy, the right exit code, and nothing half-written."""
import json
import os
import struct
from pathlib import Path

from common import check, engine, finish, llama, random_rows, temporary, write_rows


def refused(name, code, exit_code, *arguments):
    done = engine(*arguments, expect=exit_code)
    try:
        failed = json.loads(done.stderr.strip().splitlines()[-1])
    except (ValueError, IndexError):
        failed = {}
    passed = done.returncode == exit_code and failed.get("code") == code and failed.get("message")
    check(name, bool(passed), "" if passed else f"exit {done.returncode}, {done.stderr[-300:]}")


with temporary() as base:
    base = Path(base)
    good = base / "good"
    llama().save_pretrained(good)
    write_rows(base / "rows.jsonl", random_rows(6))
    weights = (good / "model.safetensors").read_bytes()

    def model(name, change):
        folder = base / name
        folder.mkdir()
        (folder / "config.json").write_bytes((good / "config.json").read_bytes())
        (folder / "model.safetensors").write_bytes(weights)
        change(folder)
        return folder

    def run_file(name, **changes):
        run = dict(model=dict(path=str(good)), method=dict(type="lora"), data=dict(train=dict(path=str(base / "rows.jsonl")), eval=dict(split=0)), train=dict(max_steps=2))
        for key, value in changes.items():
            run[key] = {**run.get(key, {}), **value} if isinstance(value, dict) else value
        (base / name).write_text(json.dumps(run))
        return base / name

    def trains(path):
        return ("train", path, "--workspace", base / "workspace")

    refused("a folder that is not there", "folder_missing", 3, *trains(run_file("a.json", model=dict(path=str(base / "nowhere")))))
    empty = base / "empty"
    empty.mkdir()
    refused("a folder without config.json", "config_missing", 3, *trains(run_file("b.json", model=dict(path=str(empty)))))
    half = model("half", lambda folder: (folder / "model.safetensors").write_bytes(weights[:len(weights) // 2]))
    refused("a truncated safetensors file", "safetensors_truncated", 3, *trains(run_file("c.json", model=dict(path=str(half)))))
    header = struct.unpack("<Q", weights[:8])[0]
    lying = model("lying", lambda folder: (folder / "model.safetensors").write_bytes(struct.pack("<Q", 1 << 60) + weights[8:]))
    refused("a safetensors header that lies", "safetensors_header", 3, *trains(run_file("d.json", model=dict(path=str(lying)))))
    pickle = model("pickle", lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"))
    refused("a pickle", "pickle_refused", 3, *trains(run_file("e.json", model=dict(path=str(pickle)))))

    def other_width(folder):
        config = json.loads((folder / "config.json").read_text())
        config["intermediate_size"] = 200
        (folder / "config.json").write_text(json.dumps(config))

    refused("a config that does not fit the weights", "tensor_shape", 3, *trains(run_file("f.json", model=dict(path=str(model("width", other_width))))))

    def other_family(folder):
        config = json.loads((folder / "config.json").read_text())
        config["model_type"] = "lama"
        (folder / "config.json").write_text(json.dumps(config))

    refused("an unknown family", "unknown_family", 3, *trains(run_file("g.json", model=dict(path=str(model("family", other_family))))))
    refused("an unknown key", "unknown_key", 2, *trains(run_file("h.json", train=dict(learning_rat=1e-3))))
    refused("a rank of 0", "out_of_range", 2, *trains(run_file("i.json", method=dict(type="lora", r=0))))
    refused("a rank above the layer", "rank_too_large", 2, *trains(run_file("j.json", method=dict(type="lora", r=500))))
    refused("targets that match nothing", "no_target_matches", 2, *trains(run_file("k.json", method=dict(type="lora", target_modules=["query"]))))
    refused("an unknown method", "unknown_method", 2, *trains(run_file("l.json", method=dict(type="loar"))))
    write_rows(base / "ids.jsonl", [{"input_ids": [5, 6, 400], "labels": [5, 6, 400]}] * 3)
    refused("ids beyond the vocabulary", "bad_row", 3, *trains(run_file("m.json", data=dict(train=dict(path=str(base / "ids.jsonl"))))))
    broken = llama()
    broken.model.norm.weight.data[0] = float("nan")
    broken.save_pretrained(base / "nan-norm")
    refused("a NaN among the weights", "tensor_not_finite", 3, *trains(run_file("o.json", model=dict(path=str(base / "nan-norm")))))
    broken = llama()
    broken.model.embed_tokens.weight.data[50] = float("nan")
    broken.save_pretrained(base / "nan-hidden")
    write_rows(base / "fifty.jsonl", [{"input_ids": [5, 50, 6], "labels": [5, 50, 6]}] * 3)
    refused("a NaN in the middle of a matrix, once it is met", "tensor_not_finite", 3, *trains(run_file("p.json", model=dict(path=str(base / "nan-hidden")), data=dict(train=dict(path=str(base / "fifty.jsonl"))))))
    broken = llama()
    broken.model.norm.weight.data.fill_(1e38)  # finite, and too large for a finite loss
    broken.save_pretrained(base / "nan-weights")
    done = engine("train", run_file("n.json", model=dict(path=str(base / "nan-weights"))), "--workspace", base / "nan", expect=1)
    events = [json.loads(line) for file in (base / "nan").glob("runs/*/events.jsonl") for line in file.read_text().splitlines()]
    check("a loss that is not finite ends the run in its step", done.returncode == 1 and events[-1].get("code") == "non_finite_loss" and any(event["type"] == "step" and event["loss"] is None and event["loss_state"] == "nan" for event in events), done.stderr[-200:])
    leftovers = [path for path in (base / "workspace").rglob("*") if ".tmp-" in path.name]
    check("nothing half-written is left", not leftovers, str(leftovers))
finish()
