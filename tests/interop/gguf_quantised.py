# SPDX-License-Identifier: Apache-2.0
"""GGUF files of every type of blocks, put together by the gguf package with arbitrary bytes: `import --dtype float32` gives the package's numbers bit
for bit, without a type they are those rounded to bfloat16; stacked experts, files in several parts, another alignment, keys that say nothing; what
cannot be read is refused by tensor and type, with nothing left behind."""
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

try:
    import gguf
except ImportError:
    print("skipped: the Python environment has no gguf package")
    sys.exit(77)

import numpy
import torch
from gguf import GGMLQuantizationType as T
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM

from common import CLI, check, engine, finish, temporary

# Where the halves of a block stand; every other byte is arbitrary.
SCALES = {T.Q8_0: [0], T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q2_K: [80, 82], T.Q3_K: [108], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208], T.IQ4_NL: [0], T.IQ4_XS: [0], T.MXFP4: []}
NAMES = {"q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output", "gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down"}
SETTINGS = dict(vocab_size=288, hidden_size=256, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=False)


def blocks(kind, rows, width, generator):
    """Rows of arbitrary blocks, scales of usual size and either sign."""
    values, size = gguf.GGML_QUANT_SIZES[kind]
    raw = generator.integers(0, 256, (rows * width // values, size), dtype=numpy.uint8)
    for place in SCALES[kind]:
        raw[:, place:place + 2] = (generator.normal(0, 1e-3, len(raw))).astype(numpy.float16).view(numpy.uint8).reshape(-1, 2)
    if kind == T.MXFP4:
        raw[:, 0] = generator.integers(110, 130, len(raw))
    return raw.reshape(rows, width // values * size)


def permuted(rows, heads):
    """As convert_hf_to_gguf.py's LlamaModel.permute; acting on whole rows it serves for bytes as well."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def unpermuted(rows, heads):
    return rows.reshape(heads, rows.shape[0] // heads // 2, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def keys(writer, config, experts=0):
    writer.add_type("model")
    writer.add_quantization_version(2)
    for add, value in ((writer.add_block_count, config.num_hidden_layers), (writer.add_context_length, config.max_position_embeddings), (writer.add_embedding_length, config.hidden_size), (writer.add_feed_forward_length, config.intermediate_size),
                       (writer.add_head_count, config.num_attention_heads), (writer.add_layer_norm_rms_eps, config.rms_norm_eps), (writer.add_vocab_size, config.vocab_size), (writer.add_rope_dimension_count, 64), (writer.add_rope_freq_base, 10000.0)):
        add(value)
    writer.add_array("llama.attention.head_count_kv", [config.num_key_value_heads] * config.num_hidden_layers)  # some converters write one for each layer
    writer.add_string("llama.rope.scaling.type", "none")
    writer.add_bool("llama.attention.causal", True)
    writer.add_string("general.quantized_by", "someone")
    writer.add_array("general.languages", ["en", "de"])
    if experts:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(2)


def finish_file(writer):
    for part in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        part()


def write(path, kinds, state, config, experts=0, **options):
    """A file whose matrices take the kinds in turn; returns what each Hugging Face tensor is by the package's reading."""
    generator = numpy.random.default_rng(5)
    writer = gguf.GGUFWriter(path, "llama", **{key: value for key, value in options.items() if key != "alignment"})
    if "alignment" in options:
        writer.add_custom_alignment(options["alignment"])
    keys(writer, config, experts)
    expected, used = {}, []
    turn = 0

    def add(name, rows, width, sources, heads=0):
        nonlocal turn
        kind = kinds[turn % len(kinds)]
        turn += 1
        used.append(kind.name)
        raw = blocks(kind, rows, width, generator)
        shape = (len(sources), rows // len(sources)) if len(sources) > 1 else (rows,)
        writer.add_tensor(name, raw.reshape(*shape, -1), raw_dtype=kind)
        values = gguf.quants.dequantize(raw, kind).reshape(rows, width)
        if heads:
            values = unpermuted(values, heads)
        for i, source in enumerate(sources):
            part = rows // len(sources)
            expected[source] = values[i * part:(i + 1) * part]

    for name, tensor in state.items():
        value = tensor.float().numpy()
        if name in ("model.embed_tokens.weight", "lm_head.weight"):
            add("token_embd.weight" if "embed" in name else "output.weight", *value.shape, [name])
        elif name.endswith("norm.weight"):
            layer = name.split(".")[2] if "layers" in name else None
            writer.add_tensor("output_norm.weight" if layer is None else f"blk.{layer}.{'attn_norm' if 'input' in name else 'ffn_norm'}.weight", value)
            expected[name] = value
        elif ".mlp." in name and experts:
            continue
        else:
            layer, part = name.split(".")[2], name.split(".")[-2]
            heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(part, 0)
            add(f"blk.{layer}.{NAMES[part]}.weight", *value.shape, [name], heads)
    for layer in range(config.num_hidden_layers if experts else 0):
        router = generator.normal(0, 1, (experts, config.hidden_size)).astype(numpy.float32)
        writer.add_tensor(f"blk.{layer}.ffn_gate_inp.weight", router)
        expected[f"model.layers.{layer}.block_sparse_moe.gate.weight"] = router
        for part, own, rows, width in (("ffn_gate_exps", "w1", config.intermediate_size, config.hidden_size), ("ffn_down_exps", "w2", config.hidden_size, config.intermediate_size), ("ffn_up_exps", "w3", config.intermediate_size, config.hidden_size)):
            add(f"blk.{layer}.{part}.weight", experts * rows, width, [f"model.layers.{layer}.block_sparse_moe.experts.{e}.{own}.weight" for e in range(experts)])
    finish_file(writer)
    return expected, used


def load(folder):
    return {name: tensor for file in Path(folder).glob("*.safetensors") for name, tensor in load_file(file).items()}


def same(folder, expected, dtype=torch.float32):
    ours = load(folder)
    off = [name for name, value in expected.items() if name not in ours or not torch.equal(ours[name].to(dtype).view(torch.int32 if dtype == torch.float32 else torch.int16), torch.from_numpy(numpy.ascontiguousarray(value)).to(dtype).view(torch.int32 if dtype == torch.float32 else torch.int16))]
    return off or sorted(ours.keys() - expected.keys())


def dense(base):
    config = LlamaConfig(**SETTINGS)
    state = LlamaForCausalLM(config).state_dict()
    for kind in SCALES:
        file = base / f"{kind.name}.gguf"
        expected, _ = write(file, [kind], state, config)
        said = json.loads(engine("import", file, "--out", base / f"{kind.name}-f32", "--dtype", "float32", "--json"))
        off = same(base / f"{kind.name}-f32", expected)
        check(f"the numbers of the gguf package, bit for bit ({kind.name})", not off and said["dtype"] == "float32", f"{said['types']}; {off[:3]}")
        said = json.loads(engine("import", file, "--out", base / f"{kind.name}-auto", "--json"))
        ours = load(base / f"{kind.name}-auto")
        rounded = {name: value for name, value in expected.items() if "norm" not in name}
        matrices = {ours[name].dtype for name in rounded}
        off = [name for name, value in rounded.items() if not torch.equal(ours[name], torch.from_numpy(numpy.ascontiguousarray(value)).bfloat16())]
        check(f"rounded to bfloat16 unless told ({kind.name})", not off and matrices == {torch.bfloat16} and said["dtype"] == "bfloat16", f"{off[:3]}")
    expected, used = write(base / "mixed.gguf", list(SCALES), state, config)
    engine("import", base / "mixed.gguf", "--out", base / "mixed", "--dtype", "float32")
    check("a file of all types", not same(base / "mixed", expected), f"{len(set(used))} types")
    found = json.loads(engine("inspect", base / "mixed.gguf", "--json"))
    check("inspect says what the file is", found["architecture"] == "llama" and found["can_import"] and found["context"] == 64 and {k.name.lower() for k in SCALES} <= set(found["values"]), str(found["values"]))
    model = LlamaForCausalLM.from_pretrained(base / "mixed").eval()
    check("transformers opens the folder", model.config.num_key_value_heads == 2 and torch.isfinite(model(torch.tensor([[1, 2, 3]])).logits).all().item())


def parts(base):
    config = LlamaConfig(**SETTINGS)
    state = LlamaForCausalLM(config).state_dict()
    expected, _ = write(base / "big.gguf", [T.Q4_K, T.Q6_K], state, config, split_max_tensors=8)
    files = sorted(base.glob("big-*.gguf"))
    for number, file in enumerate(files):
        engine("import", file, "--out", base / f"part-{number}", "--dtype", "float32")
        check(f"any part opens them all (part {number + 1} of {len(files)})", len(files) > 1 and not same(base / f"part-{number}", expected))
    files[1].unlink()
    done = engine("import", files[0], "--out", base / "missing", expect=3)
    check("a missing part is named", done.returncode == 3 and files[1].name in done.stderr and not list(base.glob("*missing*")), done.stderr.strip()[-200:])
    expected, _ = write(base / "aligned.gguf", [T.Q5_0], state, config, alignment=256)
    engine("import", base / "aligned.gguf", "--out", base / "aligned", "--dtype", "float32")
    check("another alignment", not same(base / "aligned", expected))


def experts(base):
    config = MixtralConfig(**{**SETTINGS, "hidden_size": 256, "intermediate_size": 256, "num_local_experts": 4})
    state = {name: tensor for name, tensor in MixtralForCausalLM(config).state_dict().items()}
    for kind in (T.Q4_K, T.Q6_K, T.MXFP4):
        expected, _ = write(base / f"{kind.name}.gguf", [kind], state, config, experts=4)
        engine("import", base / f"{kind.name}.gguf", "--out", base / kind.name, "--dtype", "float32")
        off = same(base / kind.name, expected)
        check(f"stacked experts ({kind.name})", not off, str(off[:3]))


def refusals(base):
    config = LlamaConfig(**SETTINGS)
    state = LlamaForCausalLM(config).state_dict()
    write(base / "a.gguf", [T.Q4_K], state, config)
    whole = (base / "a.gguf").read_bytes()

    def refused(label, content, code, *words):
        (base / "b.gguf").write_bytes(content)
        done = engine("import", base / "b.gguf", "--out", base / "bad", expect=3)
        left = [path.name for path in base.iterdir() if "bad" in path.name]
        check(f"refused with nothing left: {label}", done.returncode == 3 and code in done.stderr and all(word in done.stderr for word in words) and not left, done.stderr.strip()[-300:])

    refused("cut short", whole[:-5000], "gguf_damaged", "Q4_K", "download it again")
    place = whole.index(b"blk.0.attn_v.weight") + 19 + 4 + 16
    refused("a type of values that nobody reads here", whole[:place] + b"\x10" + whole[place + 1:], "gguf_unsupported", "blk.0.attn_v.weight", "IQ2_XXS", "Q4_K")
    tensor = next(t for t in gguf.GGUFReader(base / "a.gguf").tensors if t.name == "blk.1.ffn_up.weight")
    at = int(tensor.data_offset) + 144 * 7
    refused("a block whose scale is no number", whole[:at] + b"\x00\x7e" + whole[at + 2:], "tensor_not_finite", "blk.1.ffn_up.weight", "block 7")
    huge = whole[:at] + b"\xff\x7b\xff\x7b" + b"\xff" * 140 + whole[at + 144:]
    (base / "huge.gguf").write_bytes(huge)
    done = engine("import", base / "huge.gguf", "--out", base / "bad", "--dtype", "float16", expect=3)
    check("refused with nothing left: numbers that float16 does not have", done.returncode == 3 and "dtype_too_narrow" in done.stderr and "bfloat16" in done.stderr and not (base / "bad").exists(), done.stderr.strip()[-200:])

    # A model large enough to be interrupted while it is written.
    wide = LlamaConfig(**{**SETTINGS, "vocab_size": 120_000, "hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 8})
    wide.head_dim = 64
    write(base / "wide.gguf", [T.Q4_K], LlamaForCausalLM(wide).state_dict(), wide)
    process = subprocess.Popen([CLI, "import", base / "wide.gguf", "--out", base / "cancelled", "--dtype", "float32"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not any(".safetensors" in path.name for folder in base.glob(".cancelled*") for path in folder.iterdir()):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    error = process.communicate()[1]
    left = [path.name for path in base.iterdir() if "cancelled" in path.name]
    check("an interrupted import leaves nothing", process.returncode == 5 and not left and "cancelled" in error, f"exit {process.returncode}, {left} {error.strip()[-200:]}")


if __name__ == "__main__":
    for name, part in dict(dense=dense, parts=parts, experts=experts, refusals=refusals).items():
        if len(sys.argv) < 2 or name in sys.argv[1:]:
            with temporary() as base:
                part(Path(base))
    finish()
