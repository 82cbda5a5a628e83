# SPDX-License-Identifier: Apache-2.0
"""Models and adapters as people have them, against transformers and PEFT on tiny models of several families: weights quantised by others, a shared matrix under
either of its names, adapters that were started or stored in other ways, files that were never fetched, vocabularies that grew, merged heads, tokens beyond the
embedding. `models.py PART` runs a part."""
import io
import json
import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "interop"))
import torch  # noqa: E402
from peft import LoraConfig, PeftModel, get_peft_model  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast  # noqa: E402

from common import check, engine, finish, llama, logits_of, random_rows, score, temporary, train, write_rows  # noqa: E402
from families import make  # noqa: E402

PART = sys.argv[1] if len(sys.argv) > 1 else ""
ROWS = random_rows(3, seed=11, low=8, high=14)
REMEDY = ("original", "dequant", "16-bit", "full precision")


def furthest(some, others):
    """The largest difference, over the logits' deviation where that is above 1: a LoRA on an embedding of 1 makes logits of hundreds."""
    return max(((a - b).abs().max() / a.std().clamp(min=1)).item() for a, b in zip(some, others))


def failure_of(done):
    lines = [line for line in done.stderr.splitlines() if line.startswith('{"type":"failed"')]
    return json.loads(lines[0]) if len(lines) == 1 else {}


def refused(label, done, code, *words):
    failure = failure_of(done)
    said = f"{failure.get('message', '')} {failure.get('hint', '')}"
    check(f"refused: {label}", done.returncode == code and all(any(one in said for one in (word if isinstance(word, tuple) else (word,))) for word in words), f"exit {done.returncode}, {done.stderr.strip()[-300:]}")


def scores(folder, base, *adapters):
    """Logits of ROWS, or the process that refused them."""
    write_rows(base / "rows.jsonl", ROWS)
    done = engine("score", folder, "--data", base / "rows.jsonl", "--out", base / "out.safetensors", *[word for one in adapters for word in ("--adapter", one)], expect=None)
    if done.returncode != 0:
        return done, None
    found = load_file(base / "out.safetensors")
    return done, [found[f"logits.{i}"] for i in range(len(ROWS))]


def equal(label, reference, folder, base, *adapters, tolerance=1e-4):
    done, found = scores(folder, base, *adapters)
    figure = furthest([logits_of(reference, row) for row in ROWS], found) if found else float("inf")
    check(label, figure < tolerance, f"max difference {figure:.1e}" if found else done.stderr.strip()[-300:])


def changed(folder, new, change):
    shutil.copytree(folder, new)
    tensors = load_file(new / "model.safetensors")
    change(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, new / "model.safetensors", metadata={"format": "pt"})
    return new


def configured(folder, **keys):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))
    return folder


def lora(model, seed=1, **settings):
    torch.manual_seed(seed)
    chosen = {**dict(r=4, lora_alpha=8, init_lora_weights=False, task_type="CAUSAL_LM", target_modules=["q_proj", "v_proj"]), **settings}
    adapted = get_peft_model(model, LoraConfig(**chosen)).eval()
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    return adapted


# How each maker of quantised weights stores one matrix.
def packed_by(method, tensors, name, weight):
    rows, columns = weight.shape
    if method == "bitsandbytes":
        tensors[f"{name}.weight"] = torch.zeros(weight.numel() // 2, 1, dtype=torch.uint8)
        tensors[f"{name}.weight.absmax"] = torch.ones(weight.numel() // 64)
        tensors[f"{name}.weight.quant_map"] = torch.zeros(16)
    elif method in ("gptq", "awq"):
        tensors[f"{name}.qweight"] = torch.zeros(max(1, columns // 8), rows, dtype=torch.int32)
        tensors[f"{name}.qzeros"] = torch.zeros(1, max(1, rows // 8), dtype=torch.int32)
        tensors[f"{name}.scales"] = torch.ones(1, rows, dtype=torch.float16)
    else:
        tensors[f"{name}.weight"] = weight.clamp(-400, 400).to(torch.float8_e4m3fn)
        tensors[f"{name}.weight_scale_inv"] = torch.ones(1, 1)


def quantised(base):
    for family in ("llama", "qwen3", "gpt2"):
        model = make(family, 0)
        model.save_pretrained(base / family)
        for label, leftover in (("a leftover", dict(quant_method="gptq", bits=4)), ("null", None)):
            folder = configured(shutil.copytree(base / family, base / f"{family}-{label}".replace(" ", "-")), quantization_config=leftover)
            equal(f"float weights under {label} quantization_config ({family})", model, folder, base)
        ending = "c_attn.weight" if family == "gpt2" else "up_proj.weight"
        for method in ("bitsandbytes", "gptq", "awq", "fp8"):
            def change(tensors):
                for name in [one for one in tensors if one.endswith(ending)]:
                    packed_by(method, tensors, name.removesuffix(".weight"), tensors.pop(name))
            folder = configured(changed(base / family, base / f"{family}-{method}", change), quantization_config=dict(quant_method=method))
            done, _ = scores(folder, base)
            refused(f"weights by {method}, with their cause ({family})", done, 3, "quantization_config", method, REMEDY)
            check(f"the download is not blamed ({family}, {method})", not any(word in failure_of(done).get("message", "") for word in ("incomplete", "belong")), failure_of(done).get("message"))
            seen = engine("inspect", folder, "--json", expect=None)
            check(f"inspect lists it ({family}, {method})", "quantization_config" in str(json.loads(seen.stdout)["problems"]) and failure_of(seen))


def shared_names(base):
    """Either name of a matrix that embedding and head share serves for both."""
    for family, changes in (("gemma", {}), ("qwen2", dict(index=2)), ("gpt2", {}), ("opt", {}), ("bloom", {})):
        model = make(family, changes.get("index", 0))
        model.save_pretrained(base / family)
        tensors = load_file(base / family / "model.safetensors")
        if "lm_head.weight" in tensors:
            continue
        table = next(name for name in tensors if any(name.endswith(end) for end in ("embed_tokens.weight", "wte.weight", "word_embeddings.weight")))
        moved = changed(base / family, base / f"{family}-moved", lambda one: one.update({"lm_head.weight": one.pop(table)}))
        both = changed(base / family, base / f"{family}-both", lambda one: one.update({"lm_head.weight": one[table].clone()}))
        equal(f"the head's name alone ({family})", AutoModelForCausalLM.from_pretrained(moved).eval(), moved, base)
        equal(f"both names ({family})", model, both, base)
        values, _ = train(base / f"{family}-run", moved, dict(type="full"), ROWS, 1)
        check(f"the head's name alone trains ({family})", len(values) == 1)
        engine("merge", moved, "--adapter", adapter_for(base, family, moved), "--out", base / f"{family}-merged")
        done, _ = scores(base / f"{family}-merged", base)
        check(f"and merges ({family})", done.returncode == 0, done.stderr[-200:])


def adapter_for(base, family, folder):
    targets = dict(gpt2=["c_attn"], bloom=["query_key_value"]).get(family, ["q_proj"])
    lora(AutoModelForCausalLM.from_pretrained(folder), target_modules=targets).save_pretrained(base / f"{family}-lora")
    return base / f"{family}-lora"


def starts(base):
    """Adapters that were started otherwise: what leaves the base alone is plain LoRA, what changes it is computed or refused by key."""
    def tied():
        return llama(tie_word_embeddings=True)

    cases = {"gaussian": (llama, dict(init_lora_weights="gaussian"), {}, None), "orthogonal": (llama, dict(init_lora_weights="orthogonal"), {}, None), "eva": (llama, {}, dict(init_lora_weights="eva", eva_config=dict(rho=2.0)), None),
             "in qwen2": (lambda: make("qwen2", 0), {}, dict(init_lora_weights="eva"), None), "the embedding saved and tied": (tied, dict(modules_to_save=["embed_tokens"], ensure_weight_tying=True), {}, None),
             "embedding and head apart": (tied, dict(modules_to_save=["embed_tokens", "lm_head"]), {}, None), "pissa": (llama, dict(init_lora_weights="pissa"), {}, "init_lora_weights"),
             "olora": (llama, dict(init_lora_weights="olora"), {}, "init_lora_weights"), "trainable tokens": (llama, dict(trainable_token_indices=[4, 40]), {}, "trainable_token_indices"),
             "trainable tokens of a tied model": (tied, dict(trainable_token_indices=[4, 40]), {}, "trainable_token_indices"), "parameters as targets": (llama, dict(target_parameters=["mlp.up_proj.weight"]), {}, "target_parameters"),
             "an embedding's LoRA tied to the head": (tied, dict(target_modules=["q_proj", "embed_tokens"], ensure_weight_tying=True), {}, "ensure_weight_tying"),
             "activated by tokens": (llama, dict(alora_invocation_tokens=[7, 80]), {}, "alora_invocation_tokens")}
    for number, (label, (base_of, settings, written, key)) in enumerate(cases.items()):
        folder, adapter = base / f"base-{number}", base / f"adapter-{number}"
        base_of().save_pretrained(folder)
        lora(base_of(), **settings).save_pretrained(adapter)
        if written:
            path = adapter / "adapter_config.json"
            path.write_text(json.dumps({**json.loads(path.read_text()), **written}))
        reference = PeftModel.from_pretrained(base_of(), adapter).eval()
        done, found = scores(folder, base, adapter)
        figure = furthest([logits_of(reference, row) for row in ROWS], found) if found else None
        said = f"{failure_of(done).get('message', '')} {failure_of(done).get('hint', '')}" if not found else ""
        check(f"a start by {label} opens as in peft" + (" or is refused by key" if key else ""), figure < 1e-4 if found else key is not None and done.returncode == 3 and key in said, f"max difference {figure:.1e}" if found else done.stderr.strip()[-250:])


def files(base):
    """A file that git never fetched, and tokens added before training."""
    llama().save_pretrained(base / "model")
    pointer = base / "pointer"
    lora(llama()).save_pretrained(pointer)
    (pointer / "adapter_model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:" + "ab" * 32 + "\nsize 123456\n")
    weights = shutil.copytree(base / "model", base / "weights-pointer")
    (weights / "model.safetensors").write_text((pointer / "adapter_model.safetensors").read_text())
    write_rows(base / "rows.jsonl", ROWS)
    for label, arguments in {"score": ("score", base / "model", "--data", base / "rows.jsonl", "--out", base / "o", "--adapter", pointer), "merge": ("merge", base / "model", "--adapter", pointer, "--out", base / "m"),
                             "export": ("export", pointer, "--model", base / "model", "--format", "peft", "--out", base / "e"), "combine": ("combine", "--adapter", pointer, "--adapter", pointer, "--out", base / "c"),
                             "generate": ("generate", base / "model", "--adapter", pointer, "--ids", "5,6", "--max-new-tokens", 1), "eval": ("eval", base / "model", "--adapter", pointer, "--data", base / "rows.jsonl"),
                             "score of a model": ("score", weights, "--data", base / "rows.jsonl", "--out", base / "o")}.items():
        refused(f"a Git LFS pointer, by {label}", engine(*arguments, expect=None), 3, "git lfs pull")
    seen = engine("inspect", pointer, expect=None)
    check("and by inspect", seen.returncode == 3 and "git lfs pull" in seen.stdout + seen.stderr)

    for family in ("llama", "qwen2"):
        def grown():
            model = make(family, 0)
            model.resize_token_embeddings(model.config.vocab_size + 5, mean_resizing=False)
            return model.eval()
        grown().save_pretrained(base / f"{family}-grown")
        make(family, 0).save_pretrained(base / family)
        for label, settings, keep in (("saved whole", dict(modules_to_save=["embed_tokens", "lm_head"]), {}), ("saved beside", {}, dict(save_embedding_layers=True))):
            trained = lora(grown(), **settings)
            folder = base / f"{family}-{label}".replace(" ", "-")
            trained.save_pretrained(folder, **keep)
            equal(f"a grown vocabulary {label} on the base that grew ({family})", trained, base / f"{family}-grown", base, folder)
            refused(f"on the one that did not ({family}, {label})", scores(base / family, base, folder)[0], 3, "vocabulary", ("resize", "Add the same tokens"))


def merged_heads(base):
    """Whatever was trained of a tied model, merged it gives in transformers what it gave in PEFT, with the head apart where it came apart."""
    for family in ("llama", "gemma", "qwen2"):
        def tied():
            return llama(tie_word_embeddings=True) if family == "llama" else make(family, 0 if family == "gemma" else 2)
        tied().save_pretrained(base / family)
        for number, (label, settings) in enumerate({"q and v": {}, "both ends": dict(modules_to_save=["embed_tokens", "lm_head"]), "the head": dict(modules_to_save=["lm_head"]), "the embedding": dict(modules_to_save=["embed_tokens"]),
                                                    "LoRA on the head": dict(target_modules=["q_proj", "lm_head"]), "LoRA on the embedding": dict(target_modules=["q_proj", "embed_tokens"]), "DoRA": dict(use_dora=True)}.items()):
            if family == "gemma" and label == "LoRA on the embedding":
                continue  # peft 0.21 leaves Gemma's scale of the embedding out of the term, and merges it
            trained = lora(tied(), **settings)
            trained.save_pretrained(base / f"{family}-{number}")
            equal(f"opens as in peft ({family}, {label})", trained, base / family, base, base / f"{family}-{number}")
            for dtype, tolerance in (("f32", 1e-3), ("auto", 1e-3)):
                out = base / f"{family}-{number}-{dtype}"
                engine("merge", base / family, "--adapter", base / f"{family}-{number}", "--out", out, "--out-type", dtype)
                again = AutoModelForCausalLM.from_pretrained(out).eval()
                figure = furthest([logits_of(trained, row) for row in ROWS], [logits_of(again, row) for row in ROWS])
                apart = label not in ("q and v", "DoRA")
                check(f"merged equals unmerged in transformers ({family}, {label}, {dtype})", figure < tolerance and (json.loads((out / "config.json").read_text()).get("tie_word_embeddings", True) is False) == apart, f"max difference {figure:.1e}")


def bytes_tokenizer(size, added=()):
    """One token a byte, and tokens behind them; `size` ids before those in `added`."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {token: n for n, token in enumerate(["<s>", "</s>", "<pad>", *alphabet, *[f"<unused{n}>" for n in range(size - 3 - len(alphabet))]])}
    core = Tokenizer(models.BPE(vocab=words, merges=[]))
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    core.add_special_tokens([AddedToken(token, normalized=False) for token in ("<s>", "</s>", "<pad>", *added)])
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


def beyond(base):
    """A tokenizer with more ids than the embedding has rows: wrong only where a row holds one. Gemma 3 is published so."""
    for family in ("llama", "gemma3_text", "qwen3"):
        torch.manual_seed(3)
        kind = type(make(family, 0))
        config = make(family, 0).config
        config.vocab_size = 300
        model = kind(config).eval()
        folder = base / family
        model.save_pretrained(folder)
        bytes_tokenizer(300, ["<extra>", "<more>"]).save_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        assert tokenizer.convert_tokens_to_ids("<extra>") == 300
        ids = tokenizer("a cat sat")["input_ids"] + [1]
        logits = logits_of(model, {"input_ids": ids})
        right = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:])).item()
        write_rows(base / "texts.jsonl", [{"text": "a cat sat"}] * 2)
        document = dict(model=dict(path=str(folder), dtype="float32"), method=dict(type="lora", r=2, target_modules=["q_proj"]), data=dict(train=dict(path="texts.jsonl"), eval=dict(split=0)), train=dict(max_steps=1, batch_size=2, sample_prompts=[]))
        (base / "run.json").write_text(json.dumps(document))
        run = Path(json.loads(engine("train", base / "run.json", "--workspace", base / "w", "--json"))["folder"])
        first = next(json.loads(line)["loss"] for line in (run / "events.jsonl").read_text().splitlines() if '"type":"step"' in line)
        check(f"a token beyond that no row holds: trains as in transformers ({family})", abs(first - right) < 1e-4, f"{first:.5f} against {right:.5f}")
        found = json.loads(engine("eval", folder, "--data", base / "texts.jsonl", "--json"))["metrics"]["loss"]
        check(f"and is measured ({family})", abs(found - right) < 1e-4, f"{found:.5f}")
        prompt = tokenizer("a cat", return_tensors="pt")["input_ids"]
        greedy = model.generate(prompt, do_sample=False, max_new_tokens=5, attention_mask=torch.ones_like(prompt), eos_token_id=1, pad_token_id=2)[0, prompt.shape[1]:].tolist()
        reply = json.loads(engine("generate", folder, "--prompt", "a cat", "--temperature", 0, "--max-new-tokens", 5, "--dtype", "float32", "--json"))["ids"]
        check(f"and writes transformers' tokens ({family})", reply == greedy or [*reply, 1] == greedy, f"{reply} against {greedy}")
        check(f"inspect finds nothing wrong ({family})", json.loads(engine("inspect", folder, "--json"))["can_train"] is True)
        write_rows(base / "ids.jsonl", [{"input_ids": [5, 6, 7], "labels": [5, 6, 7]}, {"input_ids": [5, 300, 7], "labels": [5, 300, 7]}])
        document["data"]["train"] = dict(path="ids.jsonl", format="tokenized")
        (base / "run.json").write_text(json.dumps(document))
        done = engine("train", base / "run.json", "--workspace", base / "w", "--events", "-", "--detached", expect=None)
        events = [json.loads(line) for line in done.stdout.splitlines()]
        left_out = done.returncode == 0 and any(event["type"] == "warning" for event in events) and any(event.get("train_rows") == 1 for event in events)
        check(f"a row that holds it costs itself, or is refused by its id ({family})", left_out or done.returncode == 3 and "300" in json.dumps(events[-1]), f"exit {done.returncode}")


def pieces(base):
    """A sentencepiece model with tokens behind its last piece, in the two places where they are written."""
    try:
        import sentencepiece
    except ImportError:
        print("skip sentencepiece is not installed")
        return
    words = "the cat sat on a mat and saw the sun rise over hills where birds sang songs of rain wind and snow".split()
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(" ".join(words[n * k % len(words)] for k in range(1, 9)) for n in range(1, 60)), model_writer=out, vocab_size=300, model_type="bpe", byte_fallback=True,
                                             hard_vocab_limit=False, normalization_rule_name="identity", add_dummy_prefix=True, remove_extra_whitespaces=False, minloglevel=2, num_threads=1)
    count = sentencepiece.SentencePieceProcessor(model_proto=out.getvalue()).vocab_size()
    settings = dict(tokenizer_class="LlamaTokenizer", bos_token="<s>", eos_token="</s>", unk_token="<unk>", add_bos_token=True, add_eos_token=False, legacy=False)
    decoder = {str(count + n): dict(content=token, special=True, lstrip=False, rstrip=False, normalized=False, single_word=False) for n, token in enumerate(("<new>", "<|turn|>"))}
    for number, (label, (added, more)) in enumerate({"none": ({}, {}), "added_tokens.json": ({"<new>": count, "<|turn|>": count + 1}, {}), "tokenizer_config.json": ({}, dict(added_tokens_decoder=decoder))}.items()):
        folder = base / f"pieces-{number}"
        llama(vocab_size=count + 2).save_pretrained(folder)
        (folder / "tokenizer.model").write_bytes(out.getvalue())
        (folder / "tokenizer_config.json").write_text(json.dumps({**settings, **more}))
        if added:
            (folder / "added_tokens.json").write_text(json.dumps(added))
        reference = AutoTokenizer.from_pretrained(folder)
        for text in ("the cat", *(["the<new>cat<|turn|>", "<|turn|>the sun"] if label != "none" else [])):
            found = json.loads(engine("tokenize", folder, "--text", text, "--json"))["ids"]
            check(f"ids of {text!r} with tokens in {label}", found == reference(text)["input_ids"], f"{found} against {reference(text)['input_ids']}")
        check(f"a model with tokens in {label} generates", engine("generate", folder, "--prompt", "the cat", "--max-new-tokens", 2) != "")


os.environ.setdefault("LUTHIER_DEVICE", "cpu")
for name, part in dict(quantised=quantised, shared=shared_names, starts=starts, files=files, merged=merged_heads, beyond=beyond, pieces=pieces).items():
    if PART in name:
        with temporary() as base:
            part(Path(base))
finish()
