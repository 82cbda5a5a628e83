# SPDX-License-Identifier: Apache-2.0
"""GGUF files against the `gguf` package and the real llama.cpp (node-llama-cpp's built binaries, in $LUTHIER_LLAMA_CPP or
~/.cache/luthier/node-llama; llama_cpp/package.json pins them): greedy tokens of the base, of base + GGUF adapter and of the merged GGUF equal transformers' and peft's, which
Luthier equals. `gguf_files.py FAMILY…` runs a part; 78 when neither is installed."""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

try:
    import gguf
except ImportError:
    print("missing: the Python environment has no gguf package")
    sys.exit(78)

import numpy
import torch
from peft import LoraConfig, get_peft_model

from common import check, engine, finish, random_rows, taken, temporary
from families import FAMILIES, make

LLAMA = Path(os.environ.get("LUTHIER_LLAMA_CPP", Path.home() / ".cache/luthier/node-llama"))
NODE = os.environ.get("LUTHIER_NODE", "node")  # 20 or newer
GOLDEN = Path(os.environ.get("LUTHIER_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "peft-golden/gguf_lora.json"
DEMO = Path(__file__).resolve().parents[2] / "resources/demo/story-2m"
COUNT = 24
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
# family: the configurations of families.py that llama.cpp can express
CONFIGURATIONS = {"llama": [0, 1, 2, 3], "gpt2": [0, 2], "gpt_neox": [0, 1], "bloom": [0], "falcon": [0, 1], "mpt": [0], "mistral": [0], "mixtral": [0], "qwen2": [0, 2], "qwen2_moe": [0],
                  "qwen3": [0], "qwen3_moe": [3], "gemma": [0], "gemma2": [3], "gemma3_text": [3], "phi": [0], "phi3": [0, 2], "stablelm": [0, 1, 2], "olmo": [0, 1], "olmo2": [0, 1], "starcoder2": [0],
                  "granite": [1], "smollm3": [0], "cohere": [0]}
# llama.cpp knows one norm_topk_prob and one scale of the scores
for added, change in {"qwen3_moe": dict(norm_topk_prob=True), "gemma2": dict(query_pre_attn_scalar=16), "gemma3_text": dict(query_pre_attn_scalar=16, num_hidden_layers=7)}.items():
    FAMILIES[added][2].append(change)
INEXACT_GELU = {"gpt_neox", "falcon", "mpt"}  # transformers takes the exact GELU there, llama.cpp its tanh form
REFUSED = {"opt": 0, "gptj": 0, "gpt_neo": 0, "bloom": 1, "falcon": 2, "phi": 2, "gemma2": 1, "smollm3": 2}


def llama_cpp(folder, model, jobs, lora=None):
    """Greedy tokens of each prompt from llama.cpp."""
    shutil.copy(Path(__file__).resolve().parent / "llama_cpp/greedy.mjs", LLAMA / "greedy.mjs")
    (folder / "jobs.json").write_text(json.dumps(dict(model=str(model), lora=str(lora) if lora else None, jobs=jobs)))
    done = subprocess.run([NODE, LLAMA / "greedy.mjs", folder / "jobs.json"], capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        return done.stderr[-500:] + done.stdout[-200:]
    return json.loads(done.stdout.strip().splitlines()[-1])["results"]


def follows(model, prompt, ids, tolerance):
    """Each token is the most probable one, or less probable by rounding only: its logit is within `tolerance` deviations of the best."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + ids])).logits[0, len(prompt) - 1:-1].float()
    behind = (logits.max(-1).values - logits.gather(-1, torch.tensor(ids).unsqueeze(-1)).squeeze(-1)) / logits.std(-1)
    return behind.max().item() <= tolerance, behind.max().item()


def check_tokens(label, model, prompts, results, tolerance):
    if isinstance(results, str):
        check(label, False, results)
        return
    worst = [follows(model, prompt, result["ids"], tolerance) for prompt, result in zip(prompts, results)]
    count = sum(len(result["ids"]) for result in results)
    check(label, all(passed for passed, _ in worst) and count >= COUNT, f"{count} tokens, at most {max(figure for _, figure in worst):.1e} deviations behind the best")


def export(source, format, out, *more):
    return json.loads(engine("export", source, "--format", format, "--out", out, "--json", *more))


def add_tokenizer(folder):
    """Some byte-level vocabulary: llama.cpp wants one, though the prompts are ids."""
    letters = [chr(code) for code in range(33, 33 + 94)]
    tokens = ["<s>", "</s>", "<pad>", *letters, "ab", "cd"]
    document = dict(version="1.0", added_tokens=[dict(id=i, content=tokens[i], special=True, single_word=False, lstrip=False, rstrip=False, normalized=False) for i in range(3)],
                    pre_tokenizer=dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True), decoder=dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True),
                    model=dict(type="BPE", vocab={token: i for i, token in enumerate(tokens)}, merges=[["a", "b"], ["c", "d"]]))
    (folder / "tokenizer.json").write_text(json.dumps(document))
    (folder / "tokenizer_config.json").write_text(json.dumps(dict(bos_token="<s>", eos_token="</s>", pad_token="<pad>")))


def family(name, index, base):
    label = f"{name} {index}"
    torch.manual_seed(3)
    model = make(name, index)
    model.save_pretrained(base / "model")
    add_tokenizer(base / "model")
    adapted = get_peft_model(make(name, index), LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=6, use_rslora=True, target_modules=ATTENTION if "moe" in name or name == "mixtral" else "all-linear", rank_pattern={"down_proj|dense|c_proj|fc2": 7}))
    for parameter_name, parameter in adapted.named_parameters():
        if "lora_B" in parameter_name:
            parameter.data.normal_(0, 0.1)
    adapted.eval().save_pretrained(base / "adapter")
    export(base / "model", "gguf-merged", base / "base.gguf", "--type", "f32")
    certificate = export(base / "adapter", "gguf", base / "adapter.gguf", "--model", base / "model")["certificate"]
    check(f"adapter read back with equal logits ({label})", certificate["passed"], f"{certificate['max_abs_difference']:.1e}")
    merged = export(base / "adapter", "gguf-merged", base / "merged.gguf", "--model", base / "model", "--type", "f32")["certificate"]
    check(f"merged model read back with equal logits ({label})", merged["passed"], f"{merged['max_abs_difference']:.1e}")
    reader, original = gguf.GGUFReader(base / "adapter.gguf"), gguf.GGUFReader(base / "base.gguf")
    shapes = {tensor.name: tensor.shape.tolist() for tensor in original.tensors}
    pairs = {tensor.name: tensor.shape.tolist() for tensor in reader.tensors}
    fits = all(pairs[n][0] == shapes[n[:-7]][0] and pairs[n[:-1] + "b"][1] == shapes[n[:-7]][1] and pairs[n][1] == pairs[n[:-1] + "b"][0] for n in pairs if n.endswith(".lora_a"))
    check(f"every pair fits its tensor in the gguf package's reading ({label})", fits and len(pairs) % 2 == 0 and len(pairs) > 4, f"{len(pairs)} tensors")
    prompts = [row["input_ids"] for row in random_rows(3, seed=9, low=6, high=16)]
    jobs = [dict(prompt=prompt, count=COUNT) for prompt in prompts]
    tolerance = 0.05 if name in INEXACT_GELU else 5e-3  # llama.cpp keeps keys and values in half precision
    check_tokens(f"llama.cpp's greedy tokens of the base ({label})", model, prompts, llama_cpp(base, base / "base.gguf", jobs), tolerance)
    check_tokens(f"llama.cpp's greedy tokens of the merged GGUF ({label})", adapted, prompts, llama_cpp(base, base / "merged.gguf", jobs), tolerance)
    check_tokens(f"llama.cpp's greedy tokens of base + GGUF adapter ({label})", adapted, prompts, llama_cpp(base, base / "base.gguf", jobs, base / "adapter.gguf"), tolerance)


def refusals(base):
    for name, index in REFUSED.items():
        model = make(name, index)
        model.save_pretrained(base / f"{name}-refused")
        done = engine("export", base / f"{name}-refused", "--format", "gguf-merged", "--out", base / "refused.gguf", expect=2)
        left = [path.name for path in base.iterdir() if "refused.gguf" in path.name]
        check(f"refused before a byte is written ({name} {index})", done.returncode == 2 and "gguf_f" in done.stderr and not left, done.stderr.strip()[-220:])


def demo(base):
    """The demo model with its own tokenizer: text in, text out, in every type of values."""
    adapter = base / "adapter"
    from transformers import AutoModelForCausalLM
    torch.manual_seed(1)
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(DEMO), LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules=["q_proj", "k_proj", "v_proj", "down_proj"]))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.02)
    adapted.save_pretrained(adapter)
    texts = ["Once upon a time", "The little dog wasn't happy, because it had 12 bones &", "  A café\nfor Anna's 3 cats…"]
    export(DEMO, "gguf-merged", base / "base.gguf", "--type", "f32")
    export(adapter, "gguf", base / "folder", "--model", DEMO)
    check("a folder holds the file and its certificate", sorted(p.name for p in (base / "folder").iterdir()) == ["adapter.gguf", "luthier-export.json"])
    jobs = [dict(text=text, bos=True, count=COUNT) for text in texts]
    ours = [json.loads(engine("generate", DEMO, "--adapter", adapter, "--prompt", text, "--max-new-tokens", COUNT, "--temperature", 0, "--dtype", "float32", "--json"))["ids"] for text in texts]
    prompts = [json.loads(engine("tokenize", DEMO, "--text", text, "--json"))["ids"] for text in texts]
    results = llama_cpp(base, base / "base.gguf", jobs, base / "folder/adapter.gguf")
    check("llama.cpp's tokenizer gives Luthier's ids", [r["prompt"] for r in results] == prompts, f"{[r['prompt'] for r in results]} against {prompts}")
    check("greedy text of base + GGUF adapter equals Luthier's", [r["ids"][:len(o)] for r, o in zip(results, ours)] == ours, f"{sum(map(len, ours))} tokens")
    sizes = {}
    for kind in ("f32", "f16", "bf16", "q8_0"):
        file = base / f"merged-{kind}.gguf"
        certificate = export(adapter, "gguf-merged", file, "--model", DEMO, "--type", kind)["certificate"]
        sizes[kind] = file.stat().st_size
        results = llama_cpp(base, file, jobs)
        same = [r["ids"][:len(o)] == o for r, o in zip(results, ours)]
        if kind in ("f32", "f16"):
            check(f"greedy text of the merged GGUF equals Luthier's ({kind})", all(same), f"{same}, KL {certificate['mean_kl']:.1e}")
        else:  # llama.cpp rounds what goes through such weights as well, to 8 bits of mantissa: near ties fall either way from CPU to CPU
            check(f"the merged GGUF keeps the greedy tokens ({kind})", certificate["greedy_agreement"] > 0.97, f"{certificate['greedy_agreement']:.3f}, KL {certificate['mean_kl']:.1e}")
            check_tokens(f"llama.cpp's greedy text of the merged GGUF ({kind})", adapted, prompts, results, 0.1)
        if kind in ("bf16", "q8_0"):
            reader = gguf.GGUFReader(file)
            tensor = next(t for t in reader.tensors if t.name == "blk.2.ffn_up.weight")
            merged = adapted.merge_and_unload() if kind == "bf16" else merged
            reference = merged.state_dict()["model.layers.2.mlp.up_proj.weight"].numpy()
            wanted = gguf.quants.quantize(reference, tensor.tensor_type)
            check(f"bytes equal the gguf package's ({kind})", numpy.array_equal(numpy.asarray(tensor.data).view(numpy.uint8).reshape(-1), wanted.view(numpy.uint8).reshape(-1)), tensor.tensor_type.name)
    check("smaller types make smaller files", sizes["f32"] > 1.9 * sizes["f16"] and sizes["q8_0"] < 0.7 * sizes["f16"] and sizes["bf16"] == sizes["f16"], str(sizes))


def golden(base):
    """Names, shapes, keys and row order as llama.cpp's converter wrote them."""
    if not GOLDEN.exists():
        return
    recorded = json.loads(GOLDEN.read_text())
    from transformers import LlamaConfig, LlamaForCausalLM
    config = LlamaConfig(vocab_size=128, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
    model = LlamaForCausalLM(config)
    model.save_pretrained(base / "model")
    targets = "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj".split()
    adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules=targets))
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            parameter.data.normal_()
    adapted.save_pretrained(base / "adapter")
    export(base / "adapter", "gguf", base / "a.gguf", "--model", base / "model")
    reader = gguf.GGUFReader(base / "a.gguf")
    case = recorded["cases"]["llama"]
    mine = {t.name: [t.tensor_type.name, t.shape.tolist()] for t in reader.tensors}
    check("names, types and shapes equal the converter's", mine == {k: list(v) for k, v in case["tensors"].items()}, f"{len(mine)} tensors")
    wanted = {k: v for k, v in case["kv"].items() if k not in ("general.name", "general.tags")}
    found = {k: [reader.fields[k].types[-1].name, reader.fields[k].contents()] for k in wanted if k in reader.fields}
    check("keys equal the converter's", found == {k: list(v) for k, v in wanted.items()}, str(found))
    for module, key in (("q_proj", "llama q_proj 4 heads d=8"), ("k_proj", "llama k_proj 2 heads d=8")):
        stored = next(t for t in reader.tensors if t.name == f"blk.1.attn_{module[0]}.weight.lora_b").data
        original = adapted.state_dict()[f"base_model.model.model.layers.1.self_attn.{module}.lora_B.default.weight"].numpy()
        check(f"rows in the converter's order ({module})", numpy.array_equal(stored, original[recorded["lora_B_row_source_index"][key]]))


def run(parts, family, skipped=()):
    """The named parts and each configuration of `family`, those that the command line names or all."""
    wanted = sys.argv[1:]
    for name, part in parts.items():
        if not wanted or name in wanted:
            with temporary() as base:
                part(Path(base))
    for name, index in [(name, index) for name, indices in CONFIGURATIONS.items() for index in indices]:
        if (name, index) in skipped or (wanted and name not in wanted) or not taken(f"gguf {name} {index}"):
            continue
        with temporary() as base:
            try:
                family(name, index, Path(base))
            except RuntimeError as error:
                check(f"runs ({name} {index})", False, str(error)[-300:])
    finish()


if __name__ == "__main__":
    if not (LLAMA / "node_modules/node-llama-cpp").exists():
        print(f"missing: {LLAMA} holds no node-llama-cpp")
        sys.exit(78)
    run(dict(golden=golden, refusals=refusals, demo=demo), family)
