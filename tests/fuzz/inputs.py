# SPDX-License-Identifier: Apache-2.0
"""What is mutated: a seed of every kind of input, written here or taken from the demo and tests/data/arrow, and the requests that open it.
In requests `@` stands for the folder of the input and `~` for the folder with the tiny model that is whole."""
import json
import os
import random
import struct
from pathlib import Path

import mutate

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "resources" / "demo"
HIDDEN, VOCABULARY, LAYERS = 16, 96, 2

CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": HIDDEN, "intermediate_size": 24, "num_hidden_layers": LAYERS,
          "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "hidden_act": "silu", "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
          "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32},
          "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": True, "bos_token_id": 0, "eos_token_id": 1, "torch_dtype": "float32"}
# Of other families the configuration alone is read (inspect, estimate).
FAMILIES = [
    {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": 96, "n_embd": 16, "n_head": 2, "n_layer": 2, "n_positions": 64, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5},
    {"architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "vocab_size": 96, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
     "head_dim": 8, "sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"], "query_pre_attn_scalar": 8, "rope_local_base_freq": 10000.0},
    {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "vocab_size": 96, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
     "num_local_experts": 4, "num_experts_per_tok": 2},
    {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "vocab_size": 96, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "use_sliding_window": False},
    {"architectures": ["T5ForConditionalGeneration"], "model_type": "t5", "vocab_size": 96, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 2,
     "relative_attention_num_buckets": 8, "relative_attention_max_distance": 16, "feed_forward_proj": "gated-gelu", "is_encoder_decoder": True, "decoder_start_token_id": 0},
    {"architectures": ["BertForSequenceClassification"], "model_type": "bert", "vocab_size": 96, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
     "max_position_embeddings": 64, "type_vocab_size": 2, "id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}},
    {"architectures": ["DebertaV2ForSequenceClassification"], "model_type": "deberta-v2", "vocab_size": 96, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
     "relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"], "max_relative_positions": -1, "num_labels": 3},
    {"architectures": ["BloomForCausalLM"], "model_type": "bloom", "vocab_size": 96, "hidden_size": 16, "n_layer": 2, "n_head": 2},
    {"architectures": ["FalconForCausalLM"], "model_type": "falcon", "vocab_size": 96, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_kv_heads": 1, "new_decoder_architecture": True},
]

RUN = {"name": "fuzz", "group": "g", "model": {"path": "~", "dtype": "float32", "task": "causal_lm"},
       "method": {"type": "lora", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], "rank_pattern": {"q_proj": 2}, "alpha_pattern": {}, "use_rslora": False, "init_from": None},
       "data": {"train": {"path": "@/rows.jsonl", "format": "auto"}, "eval": {"path": None, "split": 0.25, "max_rows": 10}, "max_length": 32, "packing": False, "shuffle": True, "loss_on": "completion",
                "columns": {"prompt": "prompt", "completion": "completion"}},
       "train": {"max_steps": 3, "epochs": None, "batch_size": 2, "gradient_accumulation_steps": 1, "optimizer": "adamw", "learning_rate": 2e-4, "weight_decay": 0.0, "lr_scheduler_type": "linear", "warmup_steps": 0,
                 "max_grad_norm": 1.0, "seed": 42, "loss": {"unlikelihood": 0.0, "length_normalized": 0.0}, "gradient_checkpointing": "auto", "eval_every": 2, "save_every": 2, "sample_prompts": ["a b"]},
       "device": "auto"}
METHODS = ["full", "freeze", "bottleneck", "lora", "adalora", "vera", "loha", "lokr", "oft", "ia3", "prefix_tuning", "p_tuning", "p_tuning_v2", "prompt_tuning", "ln_tuning", "bitfit"]
PATTERNS = ["(a+)+$", "(.*.*.*.*)*z", "q_proj", ".*", "[", "(?i)q", "(?<=a)b", "(?P<n>a)(?P=n)", "a{1000000}", "(a{1000}){1000}", "\\d+", "[^\\W\\d]+", "x*" * 50, "(" * 300 + ")" * 300, "\\", "(?s).", "^$", "\\p{L}+",
            "model\\.layers\\.(0|1)\\..*(q|v)_proj", "a|b|" * 100, "[a-\\d]", "(?x) a # c", "\\1", "(?(1)a|b)", "🙂+"]
RUN_WORDS = [*METHODS, *PATTERNS[:8], "all-linear", "layers_to_transform", "layers_pattern", "modules_to_save", "exclude_modules", "target_modules", "feedforward_modules", "bias", "use_dora", "loraplus_lr_ratio", "init_lora_weights",
             "pissa", "TEXT", "num_virtual_tokens", "prompt_tuning_init_text", "trainable_layers", "placement", "early_stopping_patience", "unfreeze_every", "sequence_classification", "seq2seq_lm", "assistant", "tokenized", "chat",
             "cosine", "adafactor", "sgd", "bfloat16", "num_labels", "{prompt}", "{a}{b", "}", "@/rows.csv", "@", "quantization", "nf4"]

ROWS = {
    "jsonl": b"".join(json.dumps(row).encode() + b"\n" for row in [
        {"prompt": "a b", "completion": "c d"}, {"prompt": "e", "completion": "f", "extra": [1, {"x": None}]}, {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
        {"text": "abc", "label": 1}, {"instruction": "a", "input": "", "output": "b"}, {"input_ids": [1, 2, 3], "labels": [-100, 2, 3]}, {"question": "q", "choices": ["a", "b"], "label": 0}]),
    "json": json.dumps([{"prompt": "a b", "completion": "c"}, {"prompt": "d", "completion": "e f"}], indent=1).encode(),
    "data.json": json.dumps({"version": "1", "data": [{"instruction": "a", "output": "b"}, {"instruction": "c", "output": "d"}]}).encode(),
    "csv": 'prompt,completion,note\n"a ""b""",c,1\n"two\nlines",d,\n;,x,"y"\n'.encode(),
    "tsv": b"text\tlabel\na b\t0\nc d\t1\n",
    "txt": b"One paragraph\nof two lines.\n\nAnother.\n\n\n\nThird \xc3\xa9.\n",
}
ROW_WORDS = ["prompt", "completion", "messages", "role", "content", "assistant", "system", "tool", "tool_calls", "text", "label", "input_ids", "labels", "choices", "chosen", "rejected", "instruction", "output",
             "image", "file://x", "\u2028", "a" * 70000]

BPE = {"version": "1.0", "truncation": None, "padding": None,
       "added_tokens": [{"id": 0, "content": "<s>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True},
                        {"id": 1, "content": "</s>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}],
       "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
       "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "\\s+|\\w+"}, "behavior": "Isolated", "invert": False}, {"type": "Digits", "individual_digits": True}]},
       "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                          "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}},
       "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]},
       "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                 "vocab": {"<s>": 0, "</s>": 1, "<unk>": 2, "▁": 3, **{chr(97 + i): 4 + i for i in range(26)}, "ab": 30, "▁a": 31, "abc": 32}, "merges": [["a", "b"], ["▁", "a"], ["ab", "c"]]}}
TOKENIZERS = [
    BPE,
    {**BPE, "normalizer": None, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}, "decoder": {"type": "ByteLevel"}, "post_processor": {"type": "ByteLevel", "trim_offsets": True}},
    {**BPE, "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}, "pre_tokenizer": {"type": "BertPreTokenizer"}, "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
     "post_processor": {"type": "BertProcessing", "sep": ["</s>", 1], "cls": ["<s>", 0]}, "model": {"type": "WordPiece", "unk_token": "<unk>", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
                                                                                              "vocab": {"<s>": 0, "</s>": 1, "<unk>": 2, "a": 3, "##b": 4, "the": 5, "##s": 6}}},
    {**BPE, "normalizer": {"type": "Precompiled", "precompiled_charsmap": ""}, "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}, "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
     "model": {"type": "Unigram", "unk_id": 2, "byte_fallback": False, "vocab": [["<s>", 0.0], ["</s>", 0.0], ["<unk>", 0.0], ["▁", -2.0], ["a", -3.0], ["b", -3.1], ["▁ab", -4.0], ["abc", -5.5]]}},
]
TOKENIZER_WORDS = ["NFD", "NFKC", "Lowercase", "Strip", "StripAccents", "Prepend", "Whitespace", "WhitespaceSplit", "Punctuation", "CharDelimiterSplit", "UnicodeScripts", "CTC", "BPEDecoder", "RobertaProcessing", "Removed",
                   "MergedWithNext", "Contiguous", "<0x0A>", "<0xFF>", *PATTERNS]
TEXTS = ["", "a b abc", "hello <s> world</s>", "é\u0301 🙂👩‍👩‍👧 ﷺ", "a" * 3000, "\0\x01\r\n\t", "\u202eabc", "<0x41><unk>", " " * 500, "ab " * 700]

PIECES = [(1, [(1, "<unk>"), (2, 0.0), (3, 2)]), (1, [(1, "<s>"), (2, 0.0), (3, 3)]), (1, [(1, "</s>"), (2, 0.0), (3, 3)]),
          *[(1, [(1, "<0x%02X>" % i), (2, 0.0), (3, 6)]) for i in range(0, 256, 16)],
          *[(1, [(1, piece), (2, -float(i))]) for i, piece in enumerate(["▁", "a", "b", "c", "▁a", "ab", "▁abc", "d", "e"])]]
SENTENCEPIECE = [*PIECES, (2, [(3, 2), (4, len(PIECES)), (40, 0), (41, 1), (42, 2), (43, -1), (35, 1), (45, "<unk>"), (46, "<s>"), (47, "</s>")]), (3, [(1, "identity"), (3, 1), (4, 1), (5, 1)])]

TEMPLATES = [
    "{% for m in messages %}<|{{ m.role }}|>{{ m['content'] | trim }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
    "{{ bos_token }}{% set ns = namespace(found=false) %}{% for message in messages if message['role'] != 'system' %}{% set ns.found = true %}{{ message.content }}{{ loop.index }}{% else %}none{% endfor %}",
    "{% macro one(m) -%}[{{ m.role|upper }}] {{ m.content }}{%- endmacro %}{% for m in messages %}{{ one(m) }}{% endfor %}{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}",
    "{% generation %}{{ messages | tojson }}{% endgeneration %}{{ strftime_now('%Y') }}",
]
TEMPLATE_WORDS = ['{{ "%99999999999d"|format(1) }}', "{{ [0] * 1073741824 }}", "{{ 'a' * 99999999999 }}", "{% set ns = namespace(s='ab') %}{% for i in range(40) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}", "{% for i in range(10**12) %}x{% endfor %}",
                  "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "{{ messages.__class__ }}", "{% include 'x' %}", "{% extends 'x' %}", "{% raw %}", "{{ ", "}}", "{% if", "{{ messages[99999999999] }}", "{{ messages[-1:0:-1] }}",
                  "{{ 1 // 0 }}", "{{ 2 ** 100000 }}", "{{ range(0, 10**9)|list|length }}", "{{ 'x'|center(10**9) }}", "{{ 'x'|indent(10**9) }}", "{{ ''.join(range(10**8)) }}", "{{ dict(a=1)|tojson(indent=10**8) }}",
                  "(" * 500, "not " * 5000, "{{ - - - - 1 }}", "|trim" * 2000, "{{ [[[[1]]]] | sum }}", "{{ 'a'.replace('', 'b' * 10**6) }}", "{{ 'é'[0:1] }}", "|safe", "|sort", "|batch(0)", "|slice(0)", "{{ range(1, 5, 0) }}", "{{ ''.split('') }}",
                  "{% set x = [] %}{{ x.append(x) }}{{ x }}", "{{ 'a' ~ 'b' * (10**7) }}", "{% call f() %}{% endcall %}", "{% filter upper %}", "{{ '%s' % messages }}", "{{ '{}'.format(1) }}"]
MESSAGES = [{"role": "system", "content": "s"}, {"role": "user", "content": "a b"}, {"role": "assistant", "content": "c", "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}]}]

ADAPTER = {"peft_type": "LORA", "base_model_name_or_path": "~", "r": 2, "lora_alpha": 4, "lora_dropout": 0.0, "target_modules": ["q_proj", "v_proj"], "rank_pattern": {}, "alpha_pattern": {}, "use_rslora": False, "use_dora": False, "bias": "none",
           "modules_to_save": None, "layers_to_transform": None, "layers_pattern": None, "fan_in_fan_out": False, "inference_mode": True, "task_type": "CAUSAL_LM", "init_lora_weights": True, "exclude_modules": None}
ADAPTER_WORDS = ["IA3", "LOHA", "LOKR", "OFT", "VERA", "ADALORA", "PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING", "LN_TUNING", "num_virtual_tokens", "token_dim", "num_layers", "feedforward_modules", "SEQ_CLS", "all-linear", "trainable_token_indices", *PATTERNS]

EVENTS = [
    {"type": "run_started", "time": 1.0, "run": "fuzz", "config": RUN}, {"type": "phase", "time": 2, "name": "loading", "done": 1, "total": 2}, {"type": "model_loaded", "architecture": "LlamaForCausalLM", "parameters": 100, "bytes": 400},
    {"type": "parameters", "trainable": 10, "frozen": 90, "percent": 10.0, "by_part": {"q_proj": 10}}, {"type": "data", "rows": 5, "tokens": 50, "truncated_rows": 0, "skipped_rows": 1},
    {"type": "step", "step": 1, "epoch": 0.1, "loss": 3.0, "learning_rate": 1e-4, "grad_norm": 0.5, "tokens": 10, "supervised_tokens": 5, "tokens_per_second": 100.0, "step_seconds": 0.1, "memory": {"device_bytes": 0, "host_bytes": 1000}},
    {"type": "step", "step": 2, "loss": None, "loss_state": "nan", "tokens": 10}, {"type": "eval", "step": 2, "loss": 2.5, "metrics": {"perplexity": 12.0, "accuracy": 0.5}, "rows": 5, "of_rows": 10},
    {"type": "sample", "step": 2, "prompt": "a", "text": "b", "seed": 1}, {"type": "checkpoint", "step": 2, "path": "checkpoints/step-000002", "bytes": 100}, {"type": "warning", "code": "w", "message": "m", "hint": "h"}, {"type": "paused"},
    {"type": "resumed", "step": 1}, {"type": "early_stopped", "step": 2}, {"type": "finished", "summary": {"status": "finished", "loss": 2.0, "steps": 2, "seconds": 1.0}}]
SUMMARY = {"status": "finished", "steps": 2, "tokens": 20, "first_loss": 3.0, "loss": 2.0, "eval_loss": 2.5, "best_eval_loss": 2.5, "best_eval_step": 2, "trainable": 10, "total": 100, "adapter_bytes": 500, "seconds": 1.0, "tokens_per_second": 20.0, "peak_bytes": 1000, "result": "adapter"}
STATE = {"step": 2, "learning_rate": 1e-4, "tokens": 20, "supervised_tokens": 10, "seconds": 1.0, "best_eval_loss": 2.5, "best_eval_step": 2, "threads": 1}
NOTES = {"note": "n", "tags": ["a"], "name": "fuzz", "star": True}

YAMLS = ["base_model: ~\nadapter: lora\nlora_r: 8\nlora_target_modules: [q_proj, v_proj]\ndatasets:\n  - path: rows.jsonl\n    type: alpaca\nlearning_rate: 2e-4\nnum_epochs: 3\nmicro_batch_size: 2\n",
         "model_name_or_path: ~\nstage: sft\nfinetuning_type: lora\nlora_target: all\ndataset: x\ncutoff_len: 512\nlearning_rate: 1.0e-4\nnum_train_epochs: 3.0\nper_device_train_batch_size: 1\n"]
YAML_WORDS = ["&a [*a]", "<<: *x", "!!binary x", "? [a]\n: b", "|\n  x", ">-\n y", "'", '"\\u12', "- " * 300, "[" * 30000, "{a: " * 20000, "%YAML 9.9\n---\n", "...\n---\n", "\t", "&x" * 2000, "1e400", ".nan", "0o17", "2026-11-30T25:61:61Z", "a: &a [x]\nb: &b [*a,*a]\nc: [*b,*b]\n"]


def tensors(names, rng):
    """A safetensors header and body of float32 tensors {name: shape}."""
    header, body = {}, b""
    for name, shape in names.items():
        count = 1
        for size in shape:
            count *= size
        values = b"".join(struct.pack("<f", rng.uniform(-0.1, 0.1)) for _ in range(count))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(body), len(body) + len(values)]}
        body += values
    return header, body


def safetensors(header, body, length=None):
    text = mutate.dump(header)
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", (len(text) if length is None else length) % 2**64) + text + body


def model_shapes():
    shapes = {"model.embed_tokens.weight": [VOCABULARY, HIDDEN], "model.norm.weight": [HIDDEN]}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        for name, shape in {"self_attn.q_proj": [16, 16], "self_attn.k_proj": [8, 16], "self_attn.v_proj": [8, 16], "self_attn.o_proj": [16, 16], "mlp.gate_proj": [24, 16], "mlp.up_proj": [24, 16], "mlp.down_proj": [16, 24],
                            "input_layernorm": [16], "post_attention_layernorm": [16]}.items():
            shapes[prefix + name + ".weight"] = shape
    return shapes


def adapter_shapes():
    shapes = {}
    for layer in range(LAYERS):
        for module, out in (("q_proj", 16), ("v_proj", 8)):
            prefix = f"base_model.model.model.layers.{layer}.self_attn.{module}."
            shapes[prefix + "lora_A.weight"], shapes[prefix + "lora_B.weight"] = [2, 16], [out, 2]
    return shapes


class Inputs:
    """Writes inputs. `base`: a folder for the model that is whole, made here; `run(arguments)` runs luthier-cli."""

    def __init__(self, base, run):
        self.base = Path(base)
        self.base.mkdir(parents=True, exist_ok=True)
        fixed = random.Random(0)
        self.model = tensors(model_shapes(), fixed)
        self.adapter = tensors(adapter_shapes(), fixed)
        (self.base / "config.json").write_text(json.dumps(CONFIG))
        (self.base / "model.safetensors").write_bytes(safetensors(*self.model))
        (self.base / "tokenizer.json").write_text(json.dumps(BPE))
        (self.base / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "chat_template": TEMPLATES[0]}))
        whole = self.base.parent / "adapter"
        whole.mkdir(exist_ok=True)
        (whole / "adapter_config.json").write_text(json.dumps({**ADAPTER, "base_model_name_or_path": str(self.base)}))
        (whole / "adapter_model.safetensors").write_bytes(safetensors(*self.adapter))
        made = self.base.parent / "model.gguf", self.base.parent / "adapter.gguf"
        if not made[0].exists():
            run("export", self.base, "--format", "gguf-merged", "--out", made[0])
            run("export", whole, "--model", self.base, "--format", "gguf", "--out", made[1])
        self.gguf, self.gguf_adapter = (mutate.Gguf(path.read_bytes()) for path in made)
        self.tables = {path.name: path.read_bytes() for path in sorted((ROOT / "tests/data/arrow").glob("*.*")) if path.suffix in (".parquet", ".arrow", ".feather")}
        self.demo_rows = (DEMO / "poems.jsonl").read_bytes()[:3000], (DEMO / "choices.jsonl").read_bytes()[:3000], (DEMO / "reviews.jsonl").read_bytes()[:3000]
        self.requests = self.whole_requests()

    # kind, weight; those that start a process each are rare
    WEIGHTS = {"request": 8, "run": 12, "rows": 16, "table": 8, "safetensors": 10, "gguf": 10, "gguf_adapter": 5, "tokenizer": 14, "sentencepiece": 6, "template": 12, "config": 12, "adapter": 12, "pattern": 8,
               "workspace": 8}
    PROCESS_KINDS = {"yaml": 1, "store": 1}

    def make(self, kind, rng, folder):
        """Writes an input of a kind into an empty folder. @returns requests: objects, or bytes that are sent as they are."""
        return getattr(self, "make_" + kind)(rng, Path(folder))

    # --- helpers --------------------------------------------------------------------------------------------------------------------
    def link(self, folder, *names):
        for name in names:
            os.link(self.base / name, folder / name)

    EXPORT = {"command": "export", "source": "@", "format": "gguf-merged", "out": "@/out"}   # reads tokenizer and configuration in its own way

    def model_requests(self, folder):
        return [{"command": "inspect", "path": "@"}, {"command": "perplexity", "model": "@", "columns": [{"adapters": []}], "ids": [0, 5, 9, 1]}]

    def whole_requests(self):
        return [{"command": "methods"}, {"command": "formats"}, {"command": "inspect", "path": "~"}, {"command": "models", "folders": ["~"]}, {"command": "estimate", "config": RUN, "directory": "@"},
                {"command": "preview", "config": RUN, "directory": "@", "first": 0, "count": 5, "filter": "all"}, {"command": "tokenize", "model": "~", "text": "a b"},
                {"command": "tokenize", "model": "~", "messages": MESSAGES, "generation_prompt": True},
                {"command": "generate", "model": "~", "columns": [{"adapters": []}, {"adapters": [{"path": "~/../adapter", "weight": 0.5}]}], "prompt": "a b", "max_new_tokens": 2, "temperature": 0.7, "top_p": 0.9, "top_k": 5,
                 "repetition_penalty": 1.1, "seed": 1, "stop": ["x"], "alternatives": 3, "compare_base": True, "dtype": "float32"},
                {"command": "perplexity", "model": "~", "columns": [{"adapters": []}], "text": "a b c", "dtype": "float32"}, {"command": "perplexity", "model": "~", "columns": [{"adapters": []}], "ids": [1, 2, 3]},
                {"command": "export", "source": "~/../adapter", "model": "~", "format": "peft", "out": "@/out"}, {"command": "import", "path": "~/../model.gguf", "out": "@/out", "dtype": "auto"}]

    # --- kinds ----------------------------------------------------------------------------------------------------------------------
    def make_request(self, rng, folder):
        (folder / "rows.jsonl").write_bytes(ROWS["jsonl"])
        seed = {"id": 1, **rng.choice(self.requests)}
        line = mutate.dump(mutate.tree(rng, seed, ["id", "command", "target", "cancel", "measure_", *RUN_WORDS[:20]]))
        if rng.random() < 0.25:
            line = mutate.data(rng, line)
        return [line.replace(b"\n", b" ")]

    def make_run(self, rng, folder):
        (folder / "rows.jsonl").write_bytes(ROWS["jsonl"])
        (folder / "rows.csv").write_bytes(ROWS["csv"])
        run = mutate.tree(rng, {**RUN, "method": {**RUN["method"], "type": rng.choice(METHODS)} if rng.random() < 0.5 else {"type": rng.choice(METHODS)}}, RUN_WORDS)
        if rng.random() < 0.6:
            return [{"command": "estimate", "config": run, "directory": "@"}]
        return [{"command": "preview", "config": run, "directory": "@", "first": rng.choice([0, 0, 3, -1, 2**62]), "count": rng.choice([5, 0, -1, 2**62]), "filter": rng.choice(["all", "cut", "longest", "x"])}]

    def rows_requests(self, rng, name):
        run = {**RUN, "data": {"train": {"path": "@/" + name}, "eval": {"split": 0.25}, "max_length": 32}}
        if rng.random() < 0.3:
            run["data"]["columns"] = rng.choice([{"prompt": "prompt", "completion": "{prompt} {note}"}, {"text": "text"}, {"prompt": "{a", "completion": "b"}, {"messages": "messages"}])
        if rng.random() < 0.2:
            run["data"]["train"]["format"] = rng.choice(["text", "chat", "prompt_completion", "alpaca", "tokenized", "classification", "choices"])
        if rng.random() < 0.2:
            run["data"]["packing"] = True
        return [{"command": "inspect", "path": "@/" + name}, {"command": "preview", "config": run, "directory": "@", "first": 0, "count": 5}]

    def make_rows(self, rng, folder):
        name = rng.choice(list(ROWS))
        seed = rng.choice(self.demo_rows) if name == "jsonl" and rng.random() < 0.2 else ROWS[name]
        content = seed
        if name == "jsonl" and rng.random() < 0.6:
            lines = [json.loads(line) for line in seed.splitlines() if line.endswith(b"}")]
            content = b"\n".join(mutate.dump(mutate.tree(rng, line, ROW_WORDS)) if rng.random() < 0.5 else mutate.dump(line) for line in lines)
        elif name.endswith("json") and rng.random() < 0.6:
            content = mutate.dump(mutate.tree(rng, json.loads(seed), ROW_WORDS))
        else:
            for _ in range(rng.randint(1, 3)):
                content = mutate.text(rng, content.decode("utf-8", "surrogateescape"), [",", '"', "\t", "\r\n", "\r", ";", "[", "{", "\ufeff", *ROW_WORDS]).encode("utf-8", "surrogatepass") if rng.random() < 0.4 else mutate.data(rng, content)
        name = "rows." + name.split(".")[-1]
        if rng.random() < 0.05:
            import gzip
            content, name = mutate.data(rng, gzip.compress(content, mtime=0)) if rng.random() < 0.5 else gzip.compress(content, mtime=0), name + ".gz"
        (folder / name).write_bytes(content)
        return self.rows_requests(rng, name)

    def make_table(self, rng, folder):
        name = rng.choice(list(self.tables))
        seed = self.tables[name]
        (folder / name).write_bytes(mutate.data(rng, seed, [(len(seed) - min(len(seed), 900), len(seed)), (0, 64)]))
        return self.rows_requests(rng, name)

    def make_safetensors(self, rng, folder):
        self.link(folder, "config.json", "tokenizer.json", "tokenizer_config.json")
        header, body = self.model
        if rng.random() < 0.7:
            length = rng.choice([0, 1, 7, 2**63, 2**64 - 1, 100_000_001, len(body)]) if rng.random() < 0.05 else None
            seed = {"__metadata__": {"format": "pt"}, **header} if rng.random() < 0.5 else header
            content = safetensors(mutate.tree(rng, seed, ["F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "__metadata__", "data_offsets", "shape", "dtype"]), body, length)
        else:
            content = mutate.data(rng, safetensors(header, body), [(0, 3000)])
        if rng.random() < 0.1:
            names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
            index = {"metadata": {"total_size": 100}, "weight_map": {key: names[i % 2] for i, key in enumerate(header)}}
            (folder / "model.safetensors.index.json").write_bytes(mutate.dump(mutate.tree(rng, index, [*names, "../x"])))
            (folder / names[0]).write_bytes(content)
            (folder / names[1]).write_bytes(safetensors(header, body))
            return self.model_requests(folder)
        (folder / "model.safetensors").write_bytes(content)
        return [*self.model_requests(folder), {"command": "inspect", "path": "@/model.safetensors"}]

    def make_gguf(self, rng, folder):
        (folder / "m.gguf").write_bytes(self.gguf.mutated(rng) if rng.random() < 0.8 else mutate.data(rng, self.gguf.content, [(0, 4000)]))
        return [{"command": "inspect", "path": "@/m.gguf"}, {"command": "import", "path": "@/m.gguf", "out": "@/out", "dtype": rng.choice(["auto", "float32", "bfloat16"])}]

    def make_gguf_adapter(self, rng, folder):
        (folder / "a.gguf").write_bytes(self.gguf_adapter.mutated(rng) if rng.random() < 0.8 else mutate.data(rng, self.gguf_adapter.content, [(0, 2000)]))
        return [{"command": "inspect", "path": "@/a.gguf"}, {"command": "perplexity", "model": "~", "columns": [{"adapters": [{"path": "@/a.gguf", "weight": 1.0}]}], "ids": [0, 5, 9]}]

    def texts(self, rng):
        return [{"command": "tokenize", "model": "@", "text": text} for text in rng.sample(TEXTS, 2)]

    def make_tokenizer(self, rng, folder):
        self.link(folder, "config.json", "model.safetensors")
        seed = rng.choice(TOKENIZERS)
        if rng.random() < 0.9:
            content = mutate.dump(mutate.tree(rng, seed, TOKENIZER_WORDS))
        else:
            content = mutate.data(rng, mutate.dump(seed, ensure_ascii=False))
        (folder / "tokenizer.json").write_bytes(content)
        settings = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "add_bos_token": True, "added_tokens_decoder": {"0": {"content": "<s>", "special": True}}, "model_max_length": 512, "tokenizer_class": "PreTrainedTokenizerFast"}
        (folder / "tokenizer_config.json").write_bytes(mutate.dump(mutate.tree(rng, settings, TOKENIZER_WORDS) if rng.random() < 0.3 else settings))
        return [*self.texts(rng), *([{"command": "inspect", "path": "@"}] if rng.random() < 0.3 else []), *([self.EXPORT] if rng.random() < 0.15 else [])]

    def make_sentencepiece(self, rng, folder):
        self.link(folder, "config.json", "model.safetensors")
        content = mutate.message(rng, SENTENCEPIECE, ["<0x00>", "<0xZZ>", "▁", "", "a" * 500, "\ud800"])
        if rng.random() < 0.3:
            content = mutate.data(rng, content)
        (folder / "tokenizer.model").write_bytes(content)
        (folder / "tokenizer_config.json").write_bytes(mutate.dump({"tokenizer_class": rng.choice(["LlamaTokenizer", "T5Tokenizer", "GemmaTokenizer", "XLMRobertaTokenizer", "DebertaV2Tokenizer", "x"]), "add_bos_token": True, "legacy": rng.random() < 0.5}))
        return [*self.texts(rng), *([self.EXPORT] if rng.random() < 0.15 else [])]

    def make_template(self, rng, folder):
        self.link(folder, "config.json", "model.safetensors", "tokenizer.json")
        template = rng.choice(TEMPLATES)
        for _ in range(rng.randint(1, 3)):
            template = mutate.text(rng, template, TEMPLATE_WORDS)
        messages = mutate.tree(rng, MESSAGES, ["tool", "content", "role"]) if rng.random() < 0.3 else MESSAGES
        settings = {"bos_token": "<s>", "chat_template": template if rng.random() < 0.9 else [{"name": "default", "template": template}, {"name": "tool_use", "template": "x"}]}
        if rng.random() < 0.2:
            (folder / "chat_template.jinja").write_bytes(template.encode("utf-8", "surrogatepass"))
            del settings["chat_template"]
        (folder / "tokenizer_config.json").write_bytes(mutate.dump(settings))
        return [{"command": "tokenize", "model": "@", "messages": messages, "generation_prompt": rng.random() < 0.5}]

    def make_config(self, rng, folder):
        own = rng.random() < 0.4
        self.link(folder, "tokenizer.json", "tokenizer_config.json", "model.safetensors")
        seed = CONFIG if own else rng.choice(FAMILIES)
        content = mutate.dump(mutate.tree(rng, seed, ["qwen3", "phi3", "gemma2", "stablelm", "cohere", "olmo2", "gelu", "relu", "yarn", "dynamic", "linear", "rope_scaling", "sliding_window", "layer_types", "quantization_config", "num_labels",
                                                      "problem_type", "id2label", "text_config"]))
        (folder / "config.json").write_bytes(content if rng.random() < 0.95 else mutate.data(rng, content))
        run = {"model": {"path": "@"}, "method": {"type": rng.choice(METHODS)}, "data": {"train": {"path": "@/rows.jsonl"}, "max_length": 32}}
        return [*self.model_requests(folder), *([self.EXPORT] if rng.random() < 0.15 else [])] if own else [{"command": "inspect", "path": "@"}, {"command": "estimate", "config": run, "directory": "@"}]

    def make_adapter(self, rng, folder):
        header, body = self.adapter
        config = mutate.tree(rng, ADAPTER, ADAPTER_WORDS) if rng.random() < 0.7 else ADAPTER
        (folder / "adapter_config.json").write_bytes(mutate.dump(config))
        (folder / "adapter_model.safetensors").write_bytes(safetensors(mutate.tree(rng, header, ["F16", "lora_A", "dtype", "shape"]), body) if rng.random() < 0.4 else safetensors(header, body))
        return [{"command": "inspect", "path": "@"}, {"command": "perplexity", "model": "~", "columns": [{"adapters": [{"path": "@", "weight": rng.choice([1.0, 0, -1, 1e300])}]}], "ids": [0, 5, 9]}]

    def make_pattern(self, rng, folder):
        pattern = rng.choice(PATTERNS)
        for _ in range(rng.randint(0, 3)):
            pattern = mutate.text(rng, pattern, PATTERNS)
        method = {"type": "lora"}
        place = rng.choice(["target_modules", "exclude_modules", "rank_pattern", "alpha_pattern", "modules_to_save", "layers_pattern"])
        method[place] = {pattern: 3} if place.endswith("k_pattern") or place.startswith("alpha") else pattern if rng.random() < 0.6 else [pattern, "q_proj"]
        if rng.random() < 0.3:
            (folder / "adapter_config.json").write_bytes(mutate.dump({**ADAPTER, **{key: value for key, value in method.items() if key != "type"}}))
            (folder / "adapter_model.safetensors").write_bytes(safetensors(*self.adapter))
            return [{"command": "perplexity", "model": "~", "columns": [{"adapters": [{"path": "@", "weight": 1.0}]}], "ids": [0, 5, 9]}]
        return [{"command": "estimate", "config": {**RUN, "method": method}, "directory": "@"}]

    def write_run(self, rng, run):
        """A run's folder with one or two of its files changed."""
        run.mkdir(parents=True)
        changed = rng.sample(["events.jsonl", "run.json", "summary.json", "notes.json", "worker.json", "job.json", "step"], rng.choice([1, 1, 2]))

        def put(name, value):
            text = mutate.dump(mutate.tree(rng, value, ["finished", "failed", "running", "config", *RUN_WORDS[:10]]) if name in changed else value)
            (run / name).write_bytes(mutate.data(rng, text) if name in changed and rng.random() < 0.2 else text)

        put("run.json", {**RUN, "versions": {"luthier": "0.1"}, "inputs": {"model.path": "0" * 64}, "created": 1.0})
        put("notes.json", NOTES)
        put("worker.json", {"pid": 999999, "socket": "/tmp/none.sock", "started": 1.0})
        if rng.random() < 0.5:
            put("summary.json", SUMMARY)
        if "job.json" in changed:
            put("job.json", {"cluster": "slurm", "id": "1", "state": "PENDING"})
        lines = [mutate.dump(event) for event in EVENTS]
        if "events.jsonl" in changed:
            for _ in range(rng.randint(1, 4)):
                index = rng.randrange(len(lines))
                lines[index] = mutate.dump(mutate.tree(rng, EVENTS[index], ["step", "eval", "checkpoint", "nan"])) if rng.random() < 0.8 else mutate.data(rng, lines[index])
        (run / "events.jsonl").write_bytes(b"\n".join(lines) + b"\n")
        step = run / "checkpoints" / rng.choice(["step-000002", "step-000002", "step-9999999999999999999", "step-x", "step--5"])
        step.mkdir(parents=True)
        state = safetensors(*self.adapter)
        (step / "state.safetensors").write_bytes(mutate.data(rng, state) if "step" in changed and rng.random() < 0.3 else state)
        (step / "state.json").write_bytes(mutate.dump(mutate.tree(rng, STATE, ["step"]) if "step" in changed else STATE))
        manifest = {"files": {"state.safetensors": {"bytes": len(state), "sha256": "0" * 64}, "state.json": {"bytes": 10, "sha256": "1" * 64}}}
        (step / "MANIFEST.json").write_bytes(mutate.dump(mutate.tree(rng, manifest, ["../../run.json", "/etc/passwd", "bytes", "sha256"]) if "step" in changed else manifest))
        adapter = run / "adapter"
        adapter.mkdir()
        (adapter / "adapter_config.json").write_bytes(mutate.dump(ADAPTER))
        (adapter / "adapter_model.safetensors").write_bytes(safetensors(*self.adapter))

    def make_workspace(self, rng, folder):
        self.write_run(rng, folder / "runs" / "fuzz")
        return [{"command": "inspect", "path": "@/runs/fuzz"}, rng.choice([{"command": "models", "folders": ["@"]}, {"command": "export", "source": "@/runs/fuzz", "format": "peft", "out": "@/out"}])]

    # --- one process each: arguments of luthier-cli ----------------------------------------------------------------------------------
    def make_yaml(self, rng, folder):
        text = rng.choice(YAMLS)
        for _ in range(rng.randint(1, 3)):
            text = mutate.text(rng, text, YAML_WORDS)
        (folder / "settings.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
        return [["import", "@/settings.yaml", "--out", "@/RUN.json", "--json"]]

    def make_store(self, rng, folder):
        self.write_run(rng, folder / "runs" / "fuzz")
        return [["runs", "--workspace", "@", *rng.choice([["list", "--json"], ["list"], ["show", "fuzz"], ["verify", "fuzz", "--json"], ["report", "fuzz", "--out", "@/report.html"]])],
                *([["train", "@/runs/fuzz/run.json", "--workspace", "@", "--resume", "fuzz", "--events", "-"]] if rng.random() < 0.3 else [])]
