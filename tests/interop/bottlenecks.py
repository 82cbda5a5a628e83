# SPDX-License-Identifier: Apache-2.0
"""Bottleneck adapters against the real `adapters` library (1.2.0, which wants transformers 4.51), in a Python of its own that
$LUTHIER_ADAPTERS_PYTHON names, else ~/.cache/luthier/adapters-venv: exports load there with every tensor and equal logits; folders that it
saves score as it does; names, shapes and config fields are peft-golden/adapterhub.json's. 78 when there is no such Python."""
import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from common import check, engine, finish, gpt2, llama, random_rows, score, temporary, train

PYTHON = Path(os.environ.get("LUTHIER_ADAPTERS_PYTHON", Path.home() / ".cache/luthier/adapters-venv/bin/python"))
GOLDEN = Path(os.environ.get("LUTHIER_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "peft-golden/adapterhub.json"
CASES = {"houlsby": ("double_seq_bn(houlsby)", 16), "pfeiffer": ("seq_bn(pfeiffer)", 16), "parallel": ("par_bn", 2)}
LIBRARY = """
import json, sys, torch, adapters
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
job = json.load(open(sys.argv[1]))
model = AutoModelForCausalLM.from_pretrained(job["model"], attn_implementation="eager").eval()
ids = torch.tensor([job["rows"][0]])
plain = model(input_ids=ids).logits
adapters.init(model)
# adapters 1.2.0 transposes LLaMA's attention output twice: its base is not LLaMA any more, and no logits can be compared.
is_sound = (model(input_ids=ids).logits - plain).abs().max().item() < 1e-4
if job.get("make"):
    torch.manual_seed(4)
    model.add_adapter("task1", config=job["make"])
    for name, parameter in model.named_parameters():
        if "adapters.task1" in name:
            parameter.data.normal_(0, 0.1)
    name = "task1"
    model.save_adapter(job["folder"], name, use_safetensors=True)
else:
    before = {n for n, _ in model.named_parameters()}
    name, info = model.load_adapter(job["folder"], use_safetensors=True), None
model.set_active_adapters(name)
own = {n: p.detach().contiguous() for n, p in model.named_parameters() if ".adapters." + name + "." in n}
out = {}
with torch.no_grad():
    for i, ids in enumerate(job["rows"]):
        out[f"logits.{i}"] = model(input_ids=torch.tensor([ids])).logits[0].float().contiguous()
save_file({**out, **own}, job["out"])
print(name, is_sound)
"""


def library(base, **job):
    (base / "library.py").write_text(LIBRARY)
    (base / "job.json").write_text(json.dumps({**job, "out": str(base / "library.safetensors")}))
    done = subprocess.run([PYTHON, base / "library.py", base / "job.json"], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-400:])
    name, is_sound = done.stdout.split()[-2:]
    return name, is_sound == "True", load_file(base / "library.safetensors")


def compared(ours, theirs):
    return max((a - theirs[f"logits.{i}"]).abs().max().item() for i, a in enumerate(ours))


def one(base, family, make, placement):
    label = f"{family} {placement}"
    make().save_pretrained(base / "model")
    rows = random_rows(3)
    ids = [row["input_ids"] for row in rows]
    golden_name, reduction = CASES[placement]
    method = dict(type="bottleneck", placement=placement, reduction_factor=reduction)
    _, run = train(base / "run", base / "model", method, random_rows(8), 5, lr=1e-2)
    engine("export", run, "--format", "peft", "--out", base / "export")
    ours = score(base / "model", rows, base, base / "export")
    name, is_sound, theirs = library(base, model=str(base / "model"), folder=str(base / "export"), rows=ids)
    check(f"the library's own base is known to be right or wrong ({label})", is_sound == (family != "llama"))
    if is_sound:
        check(f"our export gives the library's logits ({label})", compared(ours, theirs) < 1e-4, f"max difference {compared(ours, theirs):.1e}")
    file = load_file(base / "export/adapter.safetensors")
    loaded = {key.replace(f".adapters.{name}.", ".adapters.luthier."): value for key, value in theirs.items() if not key.startswith("logits.")}
    check(f"every tensor arrives in the library ({label})", file.keys() == loaded.keys() and all(torch.equal(file[key], loaded[key]) for key in file), f"{len(file)} tensors")
    name, _, theirs = library(base, model=str(base / "model"), make=golden_name.split("(")[0], folder=str(base / "theirs"), rows=ids)
    ours = score(base / "model", rows, base, base / "theirs")
    if is_sound:
        check(f"the library's folder scores as there ({label})", compared(ours, theirs) < 1e-4, f"max difference {compared(ours, theirs):.1e}")
    if GOLDEN.exists():
        written = json.loads((base / "export/adapter_config.json").read_text())
        wanted = json.loads(GOLDEN.read_text())[family][golden_name]["adapter_config"]
        differing = {key for key in written["config"] if written["config"][key] != wanted["config"].get(key)}
        check(f"config fields are the library's ({label})", not differing and written["model_class"] == wanted["model_class"], str(differing))


if not PYTHON.exists():
    print(f"missing: {PYTHON} does not exist (it needs adapters 1.2.0 and transformers 4.51.3)")
    sys.exit(78)
def changed(base):
    """A folder of the library whose config says null, or another way through the norms."""
    gpt2().save_pretrained(base / "model")
    rows = random_rows(2)
    _, run = train(base / "run", base / "model", dict(type="bottleneck", placement="pfeiffer"), random_rows(8), 1)
    engine("export", run, "--format", "peft", "--out", base / "export")
    config = json.loads((base / "export/adapter_config.json").read_text())
    plain = score(base / "model", rows, base, base / "export")
    for key in config["config"]:
        if key in ("mh_adapter", "is_parallel", "output_adapter", "reduction_factor", "non_linearity", "scaling") or config["config"][key]:
            continue
        (base / "export/adapter_config.json").write_text(json.dumps({**config, "config": {**config["config"], key: None}}))
        check(f"null is the library's default ({key})", all(torch.equal(a, b) for a, b in zip(plain, score(base / "model", rows, base, base / "export"))))
    for key, value in dict(original_ln_before=False, residual_before_ln=False, use_gating=True, residual_before_ln_=None, reduction_factor="wide", non_linearity=3).items():
        key = key.rstrip("_")
        (base / "export/adapter_config.json").write_text(json.dumps({**config, "config": {**config["config"], key: "post_add" if value is None else value}}))
        done = engine("inspect", base / "export", expect=3)
        check(f"another network is refused ({key} {value})", done.returncode == 3 and '"code":"adapter_feature"' in done.stderr.replace(" ", "") and key in done.stderr, done.stderr[-200:])


with temporary() as base:
    changed(Path(base))
for family, make in {"gpt2": gpt2, "llama": llama}.items():
    for placement in CASES:
        with temporary() as base:
            one(Path(base), family, make, placement)
finish()
