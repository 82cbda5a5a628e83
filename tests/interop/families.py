# SPDX-License-Identifier: Apache-2.0
"""Every decoder family against transformers: logits, loss and gradients of all parameters, 64 greedy tokens with the cache, LoRA on
every linear layer. Random tiny models, made here; `families.py NAME…` runs a part, `--table` prints a Markdown table of the worst figures."""
import inspect
import json
import math
import subprocess
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file

from common import CLI, VOCABULARY, check, engine, finish, logits_of, random_rows, score, taken, temporary, write_rows

IDS = dict(vocab_size=VOCABULARY, bos_token_id=0, eos_token_id=1, pad_token_id=2)
ROWS = dict(hidden_size=64, num_hidden_layers=3, num_attention_heads=8, intermediate_size=112, max_position_embeddings=256, initializer_range=0.2)
GROUPED = dict(**ROWS, num_key_value_heads=2)
LONG = [1 + 0.1 * i for i in range(4)]

# family: (configuration class, common settings, [changes of each configuration])
FAMILIES = {
    "llama": ("LlamaConfig", GROUPED, [{}, dict(tie_word_embeddings=True, attention_bias=True, mlp_bias=True, num_key_value_heads=8), dict(head_dim=12),
              dict(rope_parameters=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16, rope_theta=1e4))]),
    "gpt2": ("GPT2Config", dict(n_embd=64, n_layer=3, n_head=4, n_positions=256, initializer_range=0.2, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0),
             [{}, dict(activation_function="relu", n_inner=96), dict(tie_word_embeddings=False, n_head=2), dict(scale_attn_by_inverse_layer_idx=True), dict(scale_attn_weights=False),
              dict(scale_attn_weights=False, scale_attn_by_inverse_layer_idx=True, reorder_and_upcast_attn=True)]),
    "gpt_neo": ("GPTNeoConfig", dict(hidden_size=64, num_layers=4, num_heads=4, max_position_embeddings=256, initializer_range=0.15, window_size=8, attention_types=[[["global", "local"], 2]]),
                [{}, dict(intermediate_size=96, num_heads=8), dict(attention_types=[[["local"], 3], [["global"], 1]], window_size=5)]),
    "gptj": ("GPTJConfig", dict(n_embd=64, n_layer=3, n_head=4, n_positions=256, rotary_dim=8, initializer_range=0.2), [{}, dict(rotary_dim=16), dict(n_inner=96, n_head=2, rotary_dim=4)]),
    "gpt_neox": ("GPTNeoXConfig", ROWS, [{}, dict(use_parallel_residual=False, rotary_pct=0.5), dict(attention_bias=False, rotary_pct=1.0, tie_word_embeddings=True), dict(hidden_act="gelu_new")]),
    "opt": ("OPTConfig", dict(hidden_size=64, num_hidden_layers=3, ffn_dim=112, num_attention_heads=4, max_position_embeddings=256, init_std=0.2, word_embed_proj_dim=64, dropout=0.0),
            [{}, dict(do_layer_norm_before=False, word_embed_proj_dim=32), dict(enable_bias=False, layer_norm_elementwise_affine=False), dict(_remove_final_layer_norm=True, activation_function="gelu")]),
    "bloom": ("BloomConfig", dict(hidden_size=64, n_layer=3, n_head=8, initializer_range=0.2), [{}, dict(apply_residual_connection_post_layernorm=True), dict(n_head=4, tie_word_embeddings=False), dict(hidden_size=48, n_head=6)]),
    "falcon": ("FalconConfig", dict(hidden_size=64, num_hidden_layers=3, num_attention_heads=8, initializer_range=0.2),
               [{}, dict(new_decoder_architecture=True, num_kv_heads=2), dict(alibi=True, multi_query=False, parallel_attn=False, bias=True),
                dict(new_decoder_architecture=True, num_kv_heads=4, num_ln_in_parallel_attn=1, ffn_hidden_size=96), dict(multi_query=False, hidden_size=48, num_attention_heads=6, alibi=True)]),
    "mpt": ("MptConfig", dict(d_model=64, n_layers=3, n_heads=8, max_seq_len=256, initializer_range=0.2), [{}, dict(n_heads=4, attn_config=dict(clip_qkv=0.6)), dict(d_model=48, n_heads=6, attn_config=dict(alibi_bias_max=4, softmax_scale=0.2))]),
    "mistral": ("MistralConfig", GROUPED, [dict(sliding_window=None), dict(sliding_window=7), dict(head_dim=12, sliding_window=16, tie_word_embeddings=True)]),
    "mixtral": ("MixtralConfig", {**GROUPED, "num_local_experts": 4}, [{}, dict(num_experts_per_tok=1), dict(sliding_window=9, num_experts_per_tok=3)]),
    "qwen2": ("Qwen2Config", GROUPED, [{}, dict(use_sliding_window=True, sliding_window=7, max_window_layers=1), dict(tie_word_embeddings=True, num_key_value_heads=8)]),
    "qwen2_moe": ("Qwen2MoeConfig", {**GROUPED, "num_experts": 4, "moe_intermediate_size": 40, "shared_expert_intermediate_size": 56, "num_experts_per_tok": 2},
                  [{}, dict(norm_topk_prob=True, mlp_only_layers=[1]), dict(decoder_sparse_step=2, qkv_bias=False)]),
    "qwen3": ("Qwen3Config", {**GROUPED, "head_dim": 16}, [{}, dict(use_sliding_window=True, sliding_window=7, max_window_layers=1, head_dim=8), dict(attention_bias=True, tie_word_embeddings=True)]),
    "qwen3_moe": ("Qwen3MoeConfig", {**GROUPED, "head_dim": 8, "num_experts": 4, "moe_intermediate_size": 40, "num_experts_per_tok": 2}, [{}, dict(norm_topk_prob=True, mlp_only_layers=[0]), dict(use_sliding_window=True, sliding_window=9)]),
    "gemma": ("GemmaConfig", {**GROUPED, "head_dim": 16, "hidden_activation": None}, [{}, dict(num_key_value_heads=1, head_dim=8), dict(attention_bias=True, hidden_act="gelu")]),
    "gemma2": ("Gemma2Config", {**GROUPED, "head_dim": 16, "sliding_window": 7, "query_pre_attn_scalar": 24}, [{}, dict(attn_logit_softcapping=None), dict(final_logit_softcapping=None, attn_logit_softcapping=5.0, num_key_value_heads=8)]),
    "gemma3_text": ("Gemma3TextConfig", {**GROUPED, "head_dim": 16, "sliding_window": 7, "query_pre_attn_scalar": 24, "num_hidden_layers": 4}, [dict(sliding_window_pattern=2), dict(final_logit_softcapping=5.0),
                    dict(rope_parameters=dict(full_attention=dict(rope_type="linear", factor=8.0, rope_theta=1e6), sliding_attention=dict(rope_type="default", rope_theta=1e4)), sliding_window_pattern=3)]),
    "phi": ("PhiConfig", GROUPED, [{}, dict(partial_rotary_factor=1.0, num_key_value_heads=8), dict(qk_layernorm=True)]),
    "phi3": ("Phi3Config", GROUPED, [{}, dict(sliding_window=7, tie_word_embeddings=True),
             dict(rope_parameters=dict(rope_type="longrope", short_factor=LONG, long_factor=[1.5 * x for x in LONG], rope_theta=1e4, partial_rotary_factor=1.0), original_max_position_embeddings=16)]),
    "stablelm": ("StableLmConfig", GROUPED, [{}, dict(use_parallel_residual=True, use_qkv_bias=True), dict(qk_layernorm=True, partial_rotary_factor=0.5)]),
    "olmo": ("OlmoConfig", GROUPED, [{}, dict(clip_qkv=0.8), dict(num_key_value_heads=8, tie_word_embeddings=True)]),
    "olmo2": ("Olmo2Config", GROUPED, [{}, dict(num_key_value_heads=8), dict(attention_bias=True, tie_word_embeddings=True)]),
    "starcoder2": ("Starcoder2Config", GROUPED, [{}, dict(sliding_window=7), dict(use_bias=False, tie_word_embeddings=False)]),
    "granite": ("GraniteConfig", GROUPED, [{}, dict(embedding_multiplier=3.0, logits_scaling=4.0, residual_multiplier=0.4, attention_multiplier=0.2), dict(attention_bias=True, mlp_bias=True)]),
    "smollm3": ("SmolLM3Config", {**GROUPED, "num_hidden_layers": 4}, [{}, dict(no_rope_layer_interval=2, use_sliding_window=True, sliding_window=7), dict(no_rope_layers=[0, 1, 1, 0], attention_bias=True)]),
    "cohere": ("CohereConfig", GROUPED, [{}, dict(attention_bias=True, logit_scale=0.5), dict(tie_word_embeddings=False, num_key_value_heads=8)]),
}


def make(family, index):
    kind, settings, variants = FAMILIES[family]
    torch.manual_seed(100 + index)
    config = getattr(transformers, kind)(**{**IDS, **settings, **variants[index]})
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager" if family in ("gemma2", "gemma3_text") else None).eval()
    with torch.no_grad():  # norms and biases away from ones and zeros, so that a forgotten one shows
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def generated(model, prompt, count):
    """Greedy tokens without a cache and with transformers' own; they must agree before ours is compared."""
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(count):
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(prompt):]


def gap(model, prompt, expected, ours):
    """Where two greedy texts part: how much better the reference likes its own token, over the logits' deviation. Below the tolerance of
    the logits themselves neither choice is wrong."""
    place = next(i for i, (a, b) in enumerate(zip(expected, ours)) if a != b)
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + expected[:place]])).logits[0, -1]
    return ((logits[expected[place]] - logits[ours[place]]) / logits.std()).item()


def gradients(model, rows):
    """Names and gradients of the mean loss over all labels, one row at a time."""
    model.zero_grad()
    count = sum(sum(label != -100 for label in row["labels"][1:]) for row in rows)
    total = 0.0
    for row in rows:
        logits = model(input_ids=torch.tensor([row["input_ids"]]), use_cache=False).logits[0]
        loss = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(row["labels"][1:]), ignore_index=-100, reduction="sum") / count
        loss.backward()
        total += loss.item()
    return total, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def main():
    wanted = [name for name in sys.argv[1:] if not name.startswith("-")] or list(FAMILIES)
    figures = {}
    for family in wanted:
        worst = figures.setdefault(family, dict(logits=0.0, loss=0.0, gradient=0.0, tokens=0, configurations=0))
        for index, changes in enumerate(FAMILIES[family][2]):
            label = f"{family} {json.dumps(changes)[:90]}"
            if index > 0 and not taken(f"families {label}"):
                continue
            with temporary() as base:
                base = Path(base)
                model = make(family, index)
                folder = base / "model"
                model.save_pretrained(folder)
                rows = random_rows(3, seed=index + 1, low=20, high=40)
                try:
                    ours = score(folder, rows, base)
                except RuntimeError as error:
                    check(f"opens and scores ({label})", False, str(error)[-300:])
                    continue
                theirs = [logits_of(model, row) for row in rows]
                figure = max(((a - b).abs().max() / a.std()).item() for a, b in zip(theirs, ours))
                worst["logits"] = max(worst["logits"], figure)
                worst["configurations"] += 1
                check(f"logits ({label})", figure < 1e-4, f"max difference / std {figure:.1e}")

                prompt = rows[0]["input_ids"][:9]
                write_rows(base / "prompt.jsonl", [{"input_ids": prompt}])
                reply = json.loads(engine("generate", folder, "--ids", ",".join(map(str, prompt)), "--max-new-tokens", 64, "--temperature", 0, "--ignore-eos", "--dtype", "float32", "--json"))
                expected = generated(model, prompt, 64)
                same = sum(1 for a, b in zip(reply["ids"], expected) if a == b)
                worst["tokens"] = same if worst["configurations"] == 1 else min(worst["tokens"], same)
                tie = reply["ids"] != expected and gap(model, prompt, expected, reply["ids"])
                check(f"64 greedy tokens ({label})", reply["ids"] == expected or tie < 1e-4, f"{same} of 64" + (f", the two best differ by {tie:.1e} where they part" if tie else ""))
                if index == 0 or "scale_attn" in label:
                    loss, expected = gradients(model, rows)
                    write_rows(base / "rows.jsonl", rows)
                    engine("score", folder, "--data", base / "rows.jsonl", "--out", base / "gradients.safetensors", "--what", "gradients")
                    found = load_file(base / "gradients.safetensors")
                    worst["loss"] = abs(found.pop("loss").item() - loss) / abs(loss)
                    names = {name: fused(model, family, name, found) for name in expected}
                    # Some gradients vanish (a bias on keys shifts a whole row of scores): those are measured against the others.
                    floor = 1e-3 * max(g.norm() for g in expected.values())
                    worst["gradient"] = max(((names[n] - g).norm() / max(g.norm(), floor)).item() for n, g in expected.items())
                    check(f"loss ({label})", worst["loss"] < 1e-4, f"relative {worst['loss']:.1e}")
                    check(f"gradients of all parameters ({label})", worst["gradient"] < 1e-4, f"worst relative {worst['gradient']:.1e} of {len(expected)}")
    if "--table" in sys.argv:
        print("| family | configurations | logits, max difference / std | loss, relative | gradients, worst relative | greedy tokens equal |\n| --- | --- | --- | --- | --- | --- |")
        for family, f in figures.items():
            print(f"| {family} | {f['configurations']} | {f['logits']:.1e} | {f['loss']:.1e} | {f['gradient']:.1e} | {f['tokens']} of 64 |")
    finish()


def fused(model, family, name, found):
    """The gradient under transformers' name; its mixtures hold all experts in one tensor, the files hold one an expert."""
    if name in found:
        return found[name]
    if name == "lm_head.weight":  # the file of GPT-NeoX says embed_out
        return found["embed_out.weight"]
    path, last = name.rsplit(".", 1)
    up, gate, down = ("w3", "w1", "w2") if family == "mixtral" else ("up_proj", "gate_proj", "down_proj")
    path = path.replace(".mlp.", ".block_sparse_moe.") if family == "mixtral" else path
    if not path.endswith("experts"):
        return found[f"{path}.{last}"]
    experts = range(next(p for n, p in model.named_parameters() if n == name).shape[0])
    if last == "down_proj":
        return torch.stack([found[f"{path}.{e}.{down}.weight"] for e in experts])
    return torch.stack([torch.cat([found[f"{path}.{e}.{gate}.weight"], found[f"{path}.{e}.{up}.weight"]]) for e in experts])


if __name__ == "__main__":
    main()
