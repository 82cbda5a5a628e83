# SPDX-License-Identifier: Apache-2.0
"""GGUF models as Hugging Face folders: `import FILE.gguf --out FOLDER` gives back the weights of the folder that the file was made of, bit for
bit (F32, F16, BF16), and a configuration and tokenizer from which transformers computes the same logits and ids; Q8_0 as float32 gives the numbers that
the gguf package reads (gguf_quantised.py has the other types). `gguf_models.py FAMILY…` runs a part."""
import json
import sys
from pathlib import Path

try:
    import gguf
except ImportError:
    print("missing: the Python environment has no gguf package")
    sys.exit(78)

import numpy
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from common import check, engine, logits_of, random_rows, temporary, train
from families import make
from gguf_files import DEMO, add_tokenizer, export, run

ROUNDED_NORMS = {"gemma", "gemma2", "gemma3_text"}  # the file holds 1 + weight
# what the file does not say, the family's published models do
UNSAID = {("gpt2", 1), ("gpt_neox", 3)}
TEXTS = ["Once upon a time", "The little dog wasn't happy, because it had 12345 bones &", "  A café\nfor Anna's 3 cats…", "你好，世界 — ¿qué? 🙂 नमस्ते", "a\t\tb \r\n\n c", ""]


def load(folder):
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


def difference(one, other, rows):
    return max(((logits_of(one, row) - logits_of(other, row)).abs().max() / logits_of(other, row).std()).item() for row in rows)


def family(name, index, base):
    label = f"{name} {index}"
    torch.manual_seed(3)
    model = make(name, index)
    model.save_pretrained(base / "model")
    add_tokenizer(base / "model")
    rows = random_rows(3, seed=9, low=6, high=16)
    for kind, dtype in (("f32", torch.float32), ("bf16", torch.bfloat16)):
        if dtype != torch.float32:
            model.to(dtype).save_pretrained(base / "model")
        export(base / "model", "gguf-merged", base / f"{kind}.gguf", "--type", kind)
        said = json.loads(engine("import", base / f"{kind}.gguf", "--out", base / kind, "--json"))
        theirs, ours = load(base / "model"), load(base / kind)
        far = [n for n in theirs if n not in ours or ours[n].shape != theirs[n].shape or (ours[n].float() - theirs[n].float()).abs().max() > (2e-7 if name in ROUNDED_NORMS else 0) or (name not in ROUNDED_NORMS and ours[n].dtype != theirs[n].dtype)]
        count = sum(tensor.numel() for tensor in ours.values())
        check(f"the weights come back ({label}, {kind})", not far and ours.keys() <= theirs.keys() | {"lm_head.weight"} and said["parameters"] == count, f"{len(ours)} tensors, {said['dtype']}; {far[:3]}")
    again = AutoModelForCausalLM.from_pretrained(base / "f32", attn_implementation="eager").eval()
    original = make(name, index).eval()
    figure = difference(again, original, rows)
    check(f"transformers computes the same logits ({label})", figure < 1e-5, f"{type(again).__name__}, {figure:.1e} of their deviation")
    engine("export", base / "f32", "--format", "gguf-merged", "--out", base / "again.gguf", "--type", "f32")
    one, other = gguf.GGUFReader(base / "f32.gguf"), gguf.GGUFReader(base / "again.gguf")
    same = {t.name: t.data.tobytes() for t in one.tensors} == {t.name: t.data.tobytes() for t in other.tensors} or name in ROUNDED_NORMS
    keys = [k for k in one.fields if k not in ("general.name",) and (k not in other.fields or one.fields[k].contents() != other.fields[k].contents())]
    check(f"exported again it is the same file ({label})", same and not keys, str(keys))


def ids_of(folder, text):
    return json.loads(engine("tokenize", folder, "--text", text, "--json"))["ids"]


def same_ids(label, original, imported):
    reference, loaded = AutoTokenizer.from_pretrained(original), AutoTokenizer.from_pretrained(imported)
    wanted = [ids_of(original, text) for text in TEXTS]
    check(f"the tokenizer gives the same ids ({label})", [ids_of(imported, text) for text in TEXTS] == wanted, f"{sum(map(len, wanted))} ids")
    mine = [loaded(text)["input_ids"] for text in TEXTS]
    theirs = [reference(text)["input_ids"] for text in TEXTS]
    check(f"and in transformers ({label})", mine == theirs, str([(a, b) for a, b in zip(mine, theirs) if a != b])[:200])
    check(f"and names the same tokens ({label})", all(getattr(loaded, f"{key}_token") == getattr(reference, f"{key}_token") for key in ("bos", "eos")), f"{loaded.bos_token} {loaded.eos_token}")


def demo(base):
    """The demo model with its own tokenizer, in every type of values; training goes on from it."""
    for kind in ("f32", "f16", "bf16", "q8_0"):
        export(DEMO, "gguf-merged", base / f"{kind}.gguf", "--type", kind)
        # Blocks become bfloat16 unless told; the numbers that they stand for are exact in float32 only.
        engine("import", base / f"{kind}.gguf", "--out", base / kind, *(("--dtype", "float32") if kind == "q8_0" else ()))
        reader = {t.name: t for t in gguf.GGUFReader(base / f"{kind}.gguf").tensors}
        tensor = reader["blk.2.ffn_up.weight"]
        wanted = tensor.data if kind in ("f32", "f16") else gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        ours = load(base / kind)["model.layers.2.mlp.up_proj.weight"]
        check(f"values equal the gguf package's reading ({kind})", numpy.array_equal(ours.float().numpy(), numpy.asarray(wanted, dtype=numpy.float32)), str(ours.dtype))
    same_ids("demo", DEMO, base / "f32")
    losses, _ = train(base / "run", base / "f32", dict(type="lora", r=4, lora_alpha=8, target_modules="all-linear"), random_rows(8, low=12), 3, lr=1e-3)
    theirs, _ = train(base / "run-original", DEMO, dict(type="lora", r=4, lora_alpha=8, target_modules="all-linear"), random_rows(8, low=12), 3, lr=1e-3)
    check("a run on it takes the original's steps", losses == theirs, f"{losses}")


def sentencepiece(base):
    """A tokenizer of LLaMA's kind."""
    import io
    import sentencepiece as spm
    model = make("llama", 0)
    folder = base / "model"
    stream = io.BytesIO()
    corpus = [word for text in TEXTS for word in [text] * 3] + ["the cat sat on the mat", "once more, once again"] * 20
    spm.SentencePieceTrainer.train(sentence_iterator=iter(corpus), model_writer=stream, model_type="bpe", vocab_size=360, character_coverage=0.98, byte_fallback=True, normalization_rule_name="identity", add_dummy_prefix=True,
                                   remove_extra_whitespaces=False, hard_vocab_limit=False, minloglevel=2)
    from transformers import LlamaConfig, LlamaForCausalLM
    config = model.config.to_dict() | dict(vocab_size=384, bos_token_id=1, eos_token_id=2)
    LlamaForCausalLM(LlamaConfig(**config)).save_pretrained(folder)
    (folder / "tokenizer.model").write_bytes(stream.getvalue())
    (folder / "tokenizer_config.json").write_text(json.dumps(dict(tokenizer_class="LlamaTokenizer", bos_token="<s>", eos_token="</s>", unk_token="<unk>", legacy=True, add_bos_token=True, add_eos_token=False,
                                                                  chat_template="{% for m in messages %}{{ m['content'] }}{% endfor %}")))
    export(folder, "gguf-merged", base / "a.gguf", "--type", "f16")
    engine("import", base / "a.gguf", "--out", base / "again")
    same_ids("sentencepiece", folder, base / "again")
    check("and the chat template", json.loads((base / "again/tokenizer_config.json").read_text())["chat_template"].startswith("{% for"))


def foreign(base):
    """A file of the gguf package's own writer, with keys as llama.cpp's converter sets them and 64-bit numbers among them."""
    model = make("llama", 0)
    config, state = model.config, model.state_dict()
    writer = gguf.GGUFWriter(base / "a.gguf", "llama")
    writer.add_type("model")
    writer.add_uint64("general.parameter_count", 1 << 40)
    for add, value in ((writer.add_block_count, config.num_hidden_layers), (writer.add_context_length, config.max_position_embeddings), (writer.add_embedding_length, config.hidden_size), (writer.add_feed_forward_length, config.intermediate_size),
                       (writer.add_head_count, config.num_attention_heads), (writer.add_head_count_kv, config.num_key_value_heads), (writer.add_layer_norm_rms_eps, config.rms_norm_eps), (writer.add_vocab_size, config.vocab_size),
                       (writer.add_rope_dimension_count, config.hidden_size // config.num_attention_heads), (writer.add_rope_freq_base, 10000.0)):
        add(value)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in state.items():
        value = tensor
        if "q_proj" in name or "k_proj" in name:  # as convert_hf_to_gguf.py's LlamaModel.permute
            heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
            value = value.reshape(heads, 2, value.shape[0] // heads // 2, *value.shape[1:]).swapaxes(1, 2).reshape(value.shape)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), value.contiguous().numpy())
    for part in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        part()
    engine("import", base / "a.gguf", "--out", base / "again")
    ours = load(base / "again")
    check("a file of the gguf package", all(torch.equal(ours[n], t) for n, t in state.items()) and len(ours) == len(state), f"{len(ours)} tensors")


def refusals(base):
    model = make("llama", 0)
    model.save_pretrained(base / "model")
    export(base / "model", "gguf-merged", base / "a.gguf", "--type", "f32")
    whole = (base / "a.gguf").read_bytes()

    def refused(label, change, code, *words):
        (base / "b.gguf").write_bytes(change(whole))
        done = engine("import", base / "b.gguf", "--out", base / "bad", expect=None)
        left = [p.name for p in base.iterdir() if "bad" in p.name]
        check(f"refused with nothing left: {label}", done.returncode != 0 and code in done.stderr and all(w in done.stderr for w in words) and not left, done.stderr.strip()[-240:])

    refused("cut off", lambda b: b[:-1000], "gguf_damaged", "b.gguf")
    refused("another architecture", lambda b: b.replace(b"\5\0\0\0\0\0\0\0llama", b"\5\0\0\0\0\0\0\0lamma", 1), "gguf_family", "lamma", "qwen2")
    refused("an unknown key", lambda b: b.replace(b"llama.attention.key_length", b"llama.attention.key_lengtX", 1), "gguf_feature", "key_lengtX")
    refused("a missing key", lambda b: b.replace(b"llama.block_count", b"other.block_count", 1), "gguf_damaged", "llama.block_count")
    refused("a missing tensor", lambda b: b.replace(b"blk.1.ffn_up.weight", b"blk.1.ffn_uq.weight", 1), "gguf_damaged", "blk.1.ffn_up.weight")
    done = engine("import", base / "a.gguf", expect=2)
    check("the folder's name is asked for", done.returncode == 2 and "--out" in done.stderr)
    (base / "there").mkdir()
    done = engine("import", base / "a.gguf", "--out", base / "there", expect=2)
    check("an existing folder is left alone", done.returncode == 2 and "target_exists" in done.stderr and not list((base / "there").iterdir()))
    _, trained = train(base / "run", base / "model", dict(type="lora", r=4, lora_alpha=8, target_modules="all-linear"), random_rows(4), 1)
    engine("export", trained, "--format", "gguf", "--out", base / "adapter.gguf")
    done = engine("import", base / "adapter.gguf", "--out", base / "x", expect=2)
    check("an adapter is no model", done.returncode == 2 and "gguf_kind" in done.stderr and "--adapter" in done.stderr, done.stderr.strip()[-200:])


if __name__ == "__main__":
    run(dict(demo=demo, sentencepiece=sentencepiece, foreign=foreign, refusals=refusals), family, UNSAID)
