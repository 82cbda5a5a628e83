# SPDX-License-Identifier: Apache-2.0
"""Writes the golden models and numbers that tests/model, peft, generate, train and export read without any Python. Run by hand, with the
Python that packaging/bootstrap --tests makes:

    ~/.cache/luthier/interop-venv/bin/python tests/golden/make_golden.py [FOLDER]

FOLDER is this one unless named. Everything is drawn from fixed seeds on one thread, so that the same versions of torch, transformers and peft
write the same bytes; others may round differently in the last places, which the tests' tolerances cover. Nothing is downloaded or copied:
every model is random, tiny and made here.

  models/NAME/config.json, model.safetensors   as transformers saves them
  models/NAME/golden.json         rows, loss over all of them (per label), prompt and 24 greedy tokens of language models
  models/NAME/golden.safetensors  logits.ROW, gradient.PARAMETER (of that loss, under the file's names)
  peft/NAME.json                  rows, steps, batch and for each method its RUN.json settings, learning rate, start, losses and gradient norms
  peft/NAME.safetensors           METHOD/start/TENSOR, METHOD/end/TENSOR, METHOD/logits (of row 0, after the last step)
  optimizers.json, .safetensors   CASE/start, CASE/gradient.STEP, CASE/after.STEP; "adamw_8bit/after": every seventh value after three steps from
                                  numbers that a formula gives (write_8bit)

A method's "start" is "file" (what peft saved, with its adapter_config.json in "config"), "parameters" (of a network that no file holds, by their
names) or "none" (base weights). Training: AdamW with epsilon 1e-6, no decay, a linear schedule without warm-up, clipping at 1, no dropout.
Bottleneck adapters are trained by a few lines of torch below, as the `adapters` library wants another transformers.
"""
import copy
import json
import re
import sys
import tempfile
from pathlib import Path

import peft
import torch
import transformers
from peft import (AdaLoraConfig, IA3Config, LNTuningConfig, LoHaConfig, LoKrConfig, LoraConfig, OFTConfig, PeftModel, PrefixTuningConfig,
                  PromptEncoderConfig, PromptTuningConfig, VeraConfig, get_peft_model)
from peft.optimizers import create_loraplus_optimizer
from safetensors.torch import load_file, save_file
from transformers.utils import logging

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "interop"))
from optimizer_rules import Lion, dynamic_map  # noqa: E402

logging.set_verbosity_error()
logging.disable_progress_bar()
torch.set_num_threads(1)

VOCABULARY = 50
CLASSES = 3
NEW_TOKENS = 24
IDS = dict(vocab_size=VOCABULARY, bos_token_id=0, eos_token_id=1, pad_token_id=2)
ROWS = dict(**IDS, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=28, max_position_embeddings=48, initializer_range=0.25)
GROUPED = dict(**ROWS, num_key_value_heads=2)
ZERO = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
BERT = dict(vocab_size=VOCABULARY, pad_token_id=0, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=28, max_position_embeddings=32,
            initializer_range=0.25, num_labels=CLASSES, **ZERO)
LM, SEQ2SEQ, CLASSIFIER = "ForCausalLM", "ForConditionalGeneration", "ForSequenceClassification"

# name: (class, settings). Which switches of core/model/description.h each one is there for stands behind it.
MODELS = {
    "llama": ("LlamaForCausalLM", dict(**GROUPED)),  # Sequential, RmsNorm, Rope by halves, Gated Silu, grouped heads, untied
    "gpt2": ("GPT2LMHeadModel", dict(**IDS, n_embd=16, n_layer=2, n_head=4, n_positions=48, initializer_range=0.25, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
                                     scale_attn_by_inverse_layer_idx=True)),  # Conv1D, Blocks, Learned, LayerNorm, Plain, dividesScoresByLayer, tied
    "gptj": ("GPTJForCausalLM", dict(**IDS, n_embd=16, n_layer=2, n_head=2, n_positions=48, rotary_dim=4, initializer_range=0.25, resid_pdrop=0.0, embd_pdrop=0.0,
                                     attn_pdrop=0.0)),  # Parallel with one norm, Rope by neighbours, of a part, bias of the head
    "gpt_neox": ("GPTNeoXForCausalLM", dict(**{**ROWS, "num_attention_heads": 2}, rope_parameters=dict(rope_type="default", rope_theta=1e4, partial_rotary_factor=0.5),
                                            hidden_dropout=0.0, attention_dropout=0.0)),  # Parallel with two norms, Grouped of single heads
    "falcon": ("FalconForCausalLM", dict(**IDS, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, initializer_range=0.25, new_decoder_architecture=True, num_kv_heads=2,
                                         ffn_hidden_size=28)),  # Grouped of several query heads
    "falcon_alibi": ("FalconForCausalLM", dict(**IDS, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, initializer_range=0.25, alibi=True, multi_query=False,
                                               parallel_attn=False, bias=True, ffn_hidden_size=28)),  # AlibiKind::Falcon
    "phi": ("PhiForCausalLM", dict(**{**GROUPED, "num_attention_heads": 2, "num_key_value_heads": 1}, qk_layernorm=True, resid_pdrop=0.0, embd_pdrop=0.0,
                                   attention_dropout=0.0)),  # QueryKeyNorm::PerHead with biases
    "bloom": ("BloomForCausalLM", dict(**IDS, hidden_size=12, n_layer=2, n_head=6, initializer_range=0.25, apply_residual_connection_post_layernorm=True,
                                       hidden_dropout=0.0, attention_dropout=0.0)),  # AlibiKind::Bloom of 6 heads, embeddingNorm, isResidualNormed
    "mpt": ("MptForCausalLM", dict(**IDS, d_model=16, n_layers=2, n_heads=4, max_seq_len=48, expansion_ratio=2, initializer_range=0.25,
                                   attn_config=dict(clip_qkv=0.8))),  # AlibiKind::Mpt, clipQkv, norms without bias
    "gemma2": ("Gemma2ForCausalLM", dict(**GROUPED, head_dim=8, sliding_window=5, query_pre_attn_scalar=24, attn_logit_softcapping=5.0,
                                         final_logit_softcapping=8.0)),  # normOffset, post norms, soft caps, window, embeddingScale, attentionScale
    "gemma3": ("Gemma3ForCausalLM", dict(**GROUPED, head_dim=8, sliding_window=5, query_pre_attn_scalar=24, layer_types=["sliding_attention", "full_attention"],
                                         rope_parameters=dict(full_attention=dict(rope_type="linear", factor=4.0, rope_theta=1e4),
                                                              sliding_attention=dict(rope_type="default", rope_theta=1e2)))),  # localRope, a linear scaling
    "mixtral": ("MixtralForCausalLM", dict(**{**GROUPED, "intermediate_size": 12}, num_local_experts=3, num_experts_per_tok=2, sliding_window=5)),  # isNormalised
    "qwen2_moe": ("Qwen2MoeForCausalLM", dict(**GROUPED, num_experts=4, moe_intermediate_size=12, shared_expert_intermediate_size=20, num_experts_per_tok=2,
                                              mlp_only_layers=[0])),  # a shared expert, not normalised, one dense layer, biases of qkv
    "opt": ("OPTForCausalLM", dict(**IDS, hidden_size=16, num_hidden_layers=2, ffn_dim=28, num_attention_heads=4, max_position_embeddings=48, init_std=0.25,
                                   word_embed_proj_dim=8, do_layer_norm_before=False, dropout=0.0)),  # PostNorm, projectIn and Out, positionOffset, Relu
    "granite": ("GraniteForCausalLM", dict(**GROUPED, embedding_multiplier=3.0, logits_scaling=4.0, residual_multiplier=0.4, attention_multiplier=0.2)),  # the scales
    "olmo2": ("Olmo2ForCausalLM", dict(**GROUPED)),  # norms after the sub-layers alone, QueryKeyNorm::AllHeads
    "phi3": ("Phi3ForCausalLM", dict(**GROUPED, rope_parameters=dict(rope_type="longrope", short_factor=[1.0, 1.3], long_factor=[1.5, 2.2], rope_theta=1e4, partial_rotary_factor=1.0,
                                                                       original_max_position_embeddings=16), original_max_position_embeddings=16, resid_pdrop=0.0,
                                     embd_pdrop=0.0)),  # gateUp, LongRoPE
    "stablelm": ("StableLmForCausalLM", dict(**GROUPED, qk_layernorm=True, use_qkv_bias=True, rope_parameters=dict(rope_type="default", rope_theta=1e4, partial_rotary_factor=0.5),
                                             hidden_dropout=0.0)),  # QueryKeyNorm::OwnPerHead
    "smollm3": ("SmolLM3ForCausalLM", dict(**GROUPED, no_rope_layer_interval=2,
                                           rope_parameters=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16,
                                                                rope_theta=1e4))),  # a layer without Rope, Llama 3's scaling
    "t5": ("T5ForConditionalGeneration", dict(vocab_size=VOCABULARY, pad_token_id=0, eos_token_id=1, d_model=16, d_kv=4, d_ff=28, num_layers=2, num_heads=4, decoder_start_token_id=0,
                                              dropout_rate=0.0, relative_attention_num_buckets=8, relative_attention_max_distance=12, feed_forward_proj="gated-gelu",
                                              tie_word_embeddings=False, scale_decoder_outputs=False)),  # an encoder, Buckets both ways and causal
    "bart": ("BartForConditionalGeneration", dict(vocab_size=VOCABULARY, pad_token_id=0, eos_token_id=1, bos_token_id=2, decoder_start_token_id=1, forced_eos_token_id=None, d_model=16,
                                                  encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=28, decoder_ffn_dim=24,
                                                  max_position_embeddings=40, init_std=0.25, dropout=0.0, scale_embedding=True)),  # PostNorm with cross attention
    "bert": ("BertForSequenceClassification", dict(**BERT)),  # both ways, token types, a pooler with Tanh
    "deberta": ("DebertaV2ForSequenceClassification", dict(**BERT, relative_attention=True, max_relative_positions=-1, type_vocab_size=0, pos_att_type=["p2c", "c2p"],
                                                           position_buckets=6, norm_rel_ebd="layer_norm", share_att_key=False, position_biased_input=False,
                                                           pooler_dropout=0.0)),  # Disentangled with projections of its own
    "llama_classifier": ("LlamaForSequenceClassification", dict(**GROUPED, num_labels=CLASSES, rope_parameters=dict(
        rope_type="yarn", factor=4.0, original_max_position_embeddings=8, rope_theta=1e4))),  # Pooling::LastToken, YaRN
}
LENGTHS = {"phi3": (18, 21, 19)}  # its factors go by the longest row of a pass: all of them beyond 16


def config_of(kind, settings):
    return getattr(transformers, kind).config_class(**settings)


def make(name):
    kind, settings = MODELS[name]
    torch.manual_seed(1000 + list(MODELS).index(name))
    config = config_of(kind, settings)
    # (Falcon's eager one adds ALiBi twice in transformers 5: in its mask and to its scores.)
    config._attn_implementation = "sdpa" if name == "falcon_alibi" else "eager"
    model = getattr(transformers, kind)(config).eval()
    with torch.no_grad():  # norms and biases away from ones and zeros, so that a forgotten one shows
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
        if config.model_type == "t5":  # its scores are not scaled: queries and keys are small in every trained one
            for key, parameter in model.named_parameters():
                if parameter.dim() == 2:
                    parameter.normal_(0, 1.0 if "relative" in key else 0.1 if key.endswith((".q.weight", ".k.weight")) else 0.3)
    return model


def task_of(model):
    return CLASSIFIER if "Classification" in type(model).__name__ else SEQ2SEQ if model.config.is_encoder_decoder else LM


def drawn(generator, count):
    return torch.randint(3, VOCABULARY, (count,), generator=generator).tolist()


def rows_for(model, lengths, seed):
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for i, length in enumerate(lengths):
        row = {"input_ids": drawn(generator, length)}
        if task_of(model) == CLASSIFIER:
            row["label"] = (i + 1) % CLASSES
            if getattr(model.config, "type_vocab_size", 0) > 1:
                row["token_type_ids"] = [int(place > length // 2) for place in range(length)]
        elif task_of(model) == SEQ2SEQ:
            row["labels"] = drawn(generator, length // 2 + 2)
        else:
            row["labels"] = [-100 if place < 2 or (place + i) % 5 == 0 else token for place, token in enumerate(row["input_ids"])]
        rows.append(row)
    return rows


def inputs_of(model, row):
    ids = torch.tensor([row["input_ids"]])
    inputs = dict(input_ids=ids, attention_mask=torch.ones_like(ids))
    if "token_type_ids" in row:
        inputs["token_type_ids"] = torch.tensor([row["token_type_ids"]])
    if task_of(plain(model)) == SEQ2SEQ:  # not labels, which a loaded AdaLoRA of PEFT 0.21 cannot take
        start = torch.tensor([model.config.decoder_start_token_id])
        inputs["decoder_input_ids"] = torch.cat([start, torch.tensor(row["labels"][:-1])])[None]
    return inputs


def plain(model):
    return model.get_base_model() if isinstance(model, PeftModel) else model


def loss_sum(model, row):
    """Sum of the cross entropies of a row and their number. Where virtual tokens stand in front, the last of them predicts the first label."""
    inputs = inputs_of(model, row)
    if task_of(plain(model)) == LM:
        inputs["use_cache"] = False if not isinstance(model, PeftModel) else None
        inputs = {key: value for key, value in inputs.items() if value is not None}
    logits = model(**inputs).logits[0].float()
    if "label" in row:
        return torch.nn.functional.cross_entropy(logits[None], torch.tensor([row["label"]]), reduction="sum"), 1
    labels = torch.tensor(row["labels"])
    if task_of(plain(model)) == LM:
        virtual = logits.shape[0] - labels.shape[0]
        logits, labels = (logits[virtual - 1:-1], labels) if virtual else (logits[:-1], labels[1:])
    return torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100, reduction="sum"), int((labels != -100).sum())


def mean_loss(model, rows):
    parts = [loss_sum(model, row) for row in rows]
    return sum(part for part, _ in parts) / sum(count for _, count in parts)


def logits_of(model, row):
    with torch.no_grad():
        logits = model(**inputs_of(model, row)).logits[0].float()
    return logits if "label" in row or task_of(plain(model)) == SEQ2SEQ else logits[-len(row["input_ids"]):]


def in_file_names(model, values):
    """`values` by the names that a saved model's file has: the model is saved with them in place of its weights. BART's file has a buffer besides."""
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            parameter.copy_(values[name])
    with tempfile.TemporaryDirectory() as folder:
        twin.save_pretrained(folder)
        return {name: value for name, value in load_file(Path(folder) / "model.safetensors").items() if name != "final_logits_bias"}


def greedy(model, prompt):
    """Most probable tokens without a cache, or None where two are so near that rounding could choose."""
    isSeq2Seq = task_of(model) == SEQ2SEQ
    ids = [model.config.decoder_start_token_id] if isSeq2Seq else list(prompt)
    new = []
    with torch.no_grad():
        for _ in range(NEW_TOKENS):
            logits = (model(input_ids=torch.tensor([prompt]), decoder_input_ids=torch.tensor([ids])) if isSeq2Seq else model(input_ids=torch.tensor([ids]), use_cache=False)).logits[0, -1]
            best = logits.topk(2)
            if best.values[0] - best.values[1] < 0.01 * logits.std():
                return None
            ids.append(int(best.indices[0]))
            new.append(ids[-1])
    return new


def write_json(path, value):
    path.write_text(json.dumps(value, separators=(",", ":")) + "\n")


def write_tensors(path, tensors):
    save_file({name: value.detach().float().contiguous().clone() for name, value in sorted(tensors.items())}, path, metadata={"format": "pt"})


def write_model(name, folder):
    model = make(name)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    rows = rows_for(model, LENGTHS.get(name, (11, 7, 14)), 17)
    golden = {"rows": rows}
    tensors = {f"logits.{i}": logits_of(model, row) for i, row in enumerate(rows)}
    loss = mean_loss(model, rows)
    loss.backward()
    golden["loss"] = loss.item()
    gradients = {key: torch.zeros_like(p) if p.grad is None else p.grad for key, p in model.named_parameters()}
    tensors |= {f"gradient.{key}": value for key, value in in_file_names(model, gradients).items()}
    if task_of(model) != CLASSIFIER:
        texts = []
        for seed in range(60):
            prompt = drawn(torch.Generator().manual_seed(seed), 6)
            text = greedy(model, prompt)
            if text is not None:
                texts.append((len(set(text)), -seed, prompt, text))
            if len(set(text or [])) > 8:
                break
        _, _, golden["prompt"], golden["generated"] = max(texts)  # random models repeat themselves: the one that does so least
    write_json(folder / "golden.json", golden)
    write_tensors(folder / "golden.safetensors", tensors)


# Methods. name: (peft's configuration, Luthier's type, settings that both spell alike, settings of Luthier's alone)
STEPS = 5
BATCH = 2
EPSILON = 1e-6  # gradients that are rounding noise shall not become steps of full size, which differ from CPU to CPU
PEFT_MODELS = ("llama", "gpt2", "t5", "bert", "gemma2", "bloom")
# Of these two only what their attention makes different: a window and capped scores, ALiBi.
PARTS = dict.fromkeys(("gemma2", "bloom"), ("lora", "ia3", "ln_tuning", "prompt_tuning", "prefix_tuning"))
TASK = {"t5": "SEQ_2_SEQ_LM", "bert": "SEQ_CLS"}
LAYERS = {"llama": ["q_proj", "v_proj", "up_proj", "down_proj"], "gpt2": ["c_attn", "c_fc"], "t5": ["q", "v", "wo"], "bert": ["query", "value", "intermediate.dense"],
          "gemma2": ["q_proj", "v_proj"], "bloom": ["query_key_value", "dense_h_to_4h"]}
NORMS = {"llama": ["input_layernorm", "post_attention_layernorm", "norm"], "gpt2": ["ln_1", "ln_2", "ln_f"], "t5": ["layer_norm", "final_layer_norm"], "bert": ["LayerNorm"],
         "gemma2": ["input_layernorm", "pre_feedforward_layernorm", "norm"], "bloom": ["input_layernorm", "post_attention_layernorm", "ln_f"]}
LORA = dict(r=2, lora_alpha=4)
TABLE = dict(encoder_hidden_size=12, num_virtual_tokens=3)
ON_LAYERS = {
    "lora": (LoraConfig, "lora", LORA, {}),
    "rslora": (LoraConfig, "lora", dict(r=3, lora_alpha=4, use_rslora=True), {}),
    "dora": (LoraConfig, "lora", dict(**LORA, use_dora=True), {}),
    "pissa": (LoraConfig, "lora", dict(**LORA, init_lora_weights="pissa"), {}),
    "lora+": (LoraConfig, "lora", LORA, dict(loraplus_lr_ratio=8)),
    "adalora": (AdaLoraConfig, "adalora", dict(init_r=4, target_r=2, lora_alpha=8, tinit=1, tfinal=1, deltaT=1, orth_reg_weight=0.4), {}),
    "vera": (VeraConfig, "vera", dict(r=4, d_initial=0.3), {}),
    "loha": (LoHaConfig, "loha", dict(r=2, alpha=3), {}),
    "lokr": (LoKrConfig, "lokr", dict(r=2, alpha=3, decompose_both=True, decompose_factor=4), {}),
    "oft": (OFTConfig, "oft", dict(oft_block_size=4), {}),
    "oft exact": (OFTConfig, "oft", dict(oft_block_size=4, use_cayley_neumann=False, block_share=True), {}),
}
OTHERS = {
    "ia3": (IA3Config, "ia3", {}, {}),
    "ln_tuning": (LNTuningConfig, "ln_tuning", {}, {}),
    "prompt_tuning": (PromptTuningConfig, "prompt_tuning", dict(num_virtual_tokens=3), {}),
    "p_tuning mlp": (PromptEncoderConfig, "p_tuning", TABLE, {}),
    "p_tuning lstm": (PromptEncoderConfig, "p_tuning", dict(**TABLE, encoder_reparameterization_type="LSTM"), {}),
    "prefix_tuning": (PrefixTuningConfig, "prefix_tuning", dict(num_virtual_tokens=3), {}),
    "prefix projection": (PrefixTuningConfig, "prefix_tuning", dict(**TABLE, prefix_projection=True), {}),
    "p_tuning_v2": (PrefixTuningConfig, "p_tuning_v2", dict(num_virtual_tokens=2), {}),
}
THROUGH_A_NETWORK = {"p_tuning mlp", "p_tuning lstm", "prefix projection"}  # which the file does not hold
BASE_WEIGHTS = {  # a classifier's head is trained beside them
    "bitfit": (dict(type="bitfit"), re.compile(r".*\.bias|classifier\..*")),
    "full": (dict(type="full"), re.compile(".*")),
    "freeze": (dict(type="freeze", trainable_layers=1),
               re.compile(r"(model\.layers|transformer\.h|decoder\.block|bert\.encoder\.layer)\.1\..*|(model\.norm|transformer\.ln_f|decoder\.final_layer_norm|classifier)\..*")),
}
REFUSED = {("loha", "gpt2"), ("lokr", "gpt2"), ("oft", "gpt2"), ("oft exact", "gpt2"), ("bitfit", "llama"), ("bitfit", "t5")}  # Conv1D; no biases


def settings_of(name, family):
    kind, ours, shared, own = {**ON_LAYERS, **OTHERS}[name]
    where = dict(target_modules=LAYERS[family]) if name in ON_LAYERS else dict(target_modules=NORMS[family]) if name == "ln_tuning" else {}
    more = dict(total_step=STEPS) if name == "adalora" else {}
    return kind(task_type=TASK.get(family, "CAUSAL_LM"), **shared, **where, **more), dict(type=ours, **shared, **where, **own)


def trained(model):
    return [p for p in model.parameters() if p.requires_grad]


def regularisation(model):
    """AdaLoRA's distance of P and Q from orthogonal matrices (Zhang et al. 2023, eq. 4), the mean over all of them, times its weight."""
    found = [(key, p) for key, p in model.named_parameters() if re.search(r"lora_[AB]\.default$", key)]
    squares = [p @ p.T if "lora_A" in key else p.T @ p for key, p in found]
    return model.peft_config["default"].orth_reg_weight * sum(torch.norm(square - torch.eye(len(square))) for square in squares) / len(squares)


def train(model, rows, lr, optimizer=None):
    """@returns losses and gradient norms before clipping"""
    optimizer = optimizer or torch.optim.AdamW(trained(model), lr=lr, eps=EPSILON, weight_decay=0.0)
    rates = [group["lr"] for group in optimizer.param_groups]
    isAdaLora = isinstance(model, PeftModel) and model.peft_type == "ADALORA"
    losses, norms = [], []
    for step in range(STEPS):
        for group, rate in zip(optimizer.param_groups, rates):
            group["lr"] = rate * (STEPS - step) / STEPS
        loss = mean_loss(model, [rows[(step * BATCH + i) % len(rows)] for i in range(BATCH)])
        if isAdaLora:
            loss = loss + regularisation(model)
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(trained(model), 1.0)))
        optimizer.step()
        if isAdaLora:
            model.base_model.update_and_allocate(step + 1)
        losses.append(loss.item())
    return losses, norms


def shaken(model):
    """Small random values in every trained tensor, so that no part is silently zero."""
    torch.manual_seed(7)
    for parameter in trained(model):
        parameter.data.add_(torch.randn_like(parameter) * 0.05)
    return model


def saved(model):
    """Tensors and configuration as peft writes them."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        config = json.loads((Path(folder) / "adapter_config.json").read_text())
        return load_file(Path(folder) / "adapter_model.safetensors"), config


def products(tensors):
    return {key: tensors[key.replace("lora_A", "lora_B")] @ value for key, value in tensors.items() if "lora_A" in key}


def with_adapter(name, family, make_model, rows):
    config, settings = settings_of(name, family)
    torch.manual_seed(5)
    model = get_peft_model(make_model(), config).eval()
    lr = 1e-3 if name in THROUGH_A_NETWORK or name in ("lora+", "pissa") else 5e-3
    entry = dict(settings=settings, learning_rate=lr, start="parameters" if name in THROUGH_A_NETWORK else "file")
    if name != "pissa":
        model = shaken(model)
    if name in THROUGH_A_NETWORK:
        start = dict(model.prompt_encoder["default"].state_dict())
        if family == "bert":  # its head starts as peft's, which was shaken too
            start |= {f"classifier.{part}": value for part, value in model.base_model.classifier.modules_to_save["default"].state_dict().items()}
        start = {key: value.clone() for key, value in start.items()}
    else:
        start, entry["config"] = saved(model)
        entry["config"]["base_model_name_or_path"] = ""
        for key, value in entry["config"].items():  # sets of names come in any order
            if isinstance(value, list) and all(isinstance(part, str) for part in value):
                entry["config"][key] = sorted(value)
    optimizer = create_loraplus_optimizer(model, torch.optim.AdamW, lr=lr, loraplus_lr_ratio=8, loraplus_weight_decay=0.0, eps=EPSILON) if name == "lora+" else None
    entry["losses"], entry["gradient_norms"] = train(model, rows, lr, optimizer)
    end, _ = saved(model)
    logits = logits_of(model, rows[0])
    if name == "pissa":  # its vectors have signs of their own: what is compared is the change of B A
        entry["compares"] = "products"
        before, after = products(start), products(end)
        end = {**{key: value for key, value in end.items() if "lora_" not in key}, **{key: after[key] - before[key] for key in before}}
    return entry, start, end, logits


def with_base_weights(name, family, make_model, rows):
    settings, wanted = BASE_WEIGHTS[name]
    settings = {**settings, "train_head": True} if (name, family) == ("freeze", "bert") else settings
    model = make_model()
    for key, parameter in model.named_parameters():
        parameter.requires_grad = bool(wanted.fullmatch(key))
    entry = dict(settings=settings, learning_rate=1e-3, start="none")
    entry["losses"], entry["gradient_norms"] = train(model, rows, 1e-3)
    end = {key: p.detach() for key, p in model.named_parameters() if p.requires_grad}
    return entry, {}, end, logits_of(model, rows[0])


class Bottleneck(torch.nn.Module):
    """scale (U act(D z + b_D) + b_U)"""

    def __init__(self, hidden, width, activation, scale):
        super().__init__()
        self.down, self.up, self.activation, self.scale = torch.nn.Linear(hidden, width), torch.nn.Linear(width, hidden), activation, scale

    def forward(self, z):
        return self.scale * self.up(self.activation(self.down(z)))


def with_bottlenecks(name, family, make_model, rows):
    """Houlsby et al. 2019: h + f(h) behind attention and feed-forward; Pfeiffer et al. 2020: h + f(h + r) behind feed-forward, r the residual;
    parallel (He et al. 2022): h + f(r)."""
    placement = name.split()[1]
    model = make_model()
    model.requires_grad_(False)
    prefix, blocks, norm, attention = ("model.layers", model.model.layers, "post_attention_layernorm", "self_attn") if family == "llama" else ("transformer.h", model.transformer.h, "ln_2", "attn")
    activation, scale = torch.nn.functional.silu if placement == "houlsby" else torch.relu, 4.0 if placement == "parallel" else 1.0
    torch.manual_seed(6)
    own = {}

    def added(place, part):
        net = own[f"{prefix}.{place}.{part}.adapters.luthier"] = Bottleneck(16, 4, activation, scale)
        blocks[place].add_module(part, net)
        return net

    for place, block in enumerate(blocks):
        residual = {}
        block.get_submodule(norm).register_forward_pre_hook(lambda _, inputs, residual=residual: residual.update(r=inputs[0]))
        if placement == "houlsby":
            after = added(place, "attention_adapters")
            block.get_submodule(attention).register_forward_hook(lambda _, __, out, after=after: (out[0] + after(out[0]), *out[1:]))
        net = added(place, "output_adapters")
        reads = {"houlsby": lambda h, r: h, "pfeiffer": lambda h, r: h + r, "parallel": lambda h, r: r}[placement]
        block.mlp.register_forward_hook(lambda _, __, h, net=net, residual=residual, reads=reads: h + net(reads(h, residual["r"])))

    def tensors():
        return {f"{path}.{theirs}.{part}": getattr(getattr(net, ours), part).detach().clone()
                for path, net in own.items() for ours, theirs in (("down", "adapter_down.0"), ("up", "adapter_up")) for part in ("weight", "bias")}

    entry = dict(settings=dict(type="bottleneck", placement=placement, reduction_factor=4), learning_rate=5e-3, start="parameters")
    start = tensors()
    entry["losses"], entry["gradient_norms"] = train(model, rows, 5e-3)
    return entry, start, tensors(), logits_of(model, rows[0])


def write_peft(family, folder):
    def make_model():
        return make(family)

    rows = rows_for(make_model(), (9, 6, 12, 7, 10, 8), 23)
    for row in rows:
        row.pop("token_type_ids", None)
    golden = dict(model=family, rows=rows, steps=STEPS, batch=BATCH, epsilon=EPSILON, methods={})
    tensors = {}
    bottlenecks = ["bottleneck houlsby", "bottleneck pfeiffer", "bottleneck parallel"] if family in ("llama", "gpt2") else []
    for name in [*ON_LAYERS, *OTHERS, *BASE_WEIGHTS, *bottlenecks]:
        if (name, family) in REFUSED or name not in PARTS.get(family, [name]):
            continue
        make_entry = with_base_weights if name in BASE_WEIGHTS else with_bottlenecks if name in bottlenecks else with_adapter
        entry, start, end, logits = make_entry(name, family, make_model, rows)
        golden["methods"][name] = entry
        tensors |= {f"{name}/start/{key}": value for key, value in start.items()}
        tensors |= {f"{name}/end/{key}": value for key, value in end.items()}
        tensors[f"{name}/logits"] = logits
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{family}.json", golden)
    write_tensors(folder / f"{family}.safetensors", tensors)


# Optimisers
def adafactor(**settings):
    return lambda p: transformers.Adafactor(p, **{**dict(lr=0.01, scale_parameter=False, relative_step=False, warmup_init=False), **settings})


# case: (Luthier's kind, its settings, maker)
OPTIMIZERS = {
    "adamw": ("adamw", dict(weight_decay=0.01, beta1=0.8), lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.01, betas=(0.8, 0.999))),
    "sgd": ("sgd", {}, lambda p: torch.optim.SGD(p, lr=0.01)),
    "sgd momentum": ("sgd", dict(momentum=0.9, weight_decay=0.02), lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, weight_decay=0.02)),
    "sgd nesterov": ("sgd", dict(momentum=0.9, nesterov=True), lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True)),
    "adafactor": ("adafactor", dict(scale_parameter=True), adafactor(scale_parameter=True)),
    "adafactor beta1": ("adafactor", dict(weight_decay=0.01, adafactor_beta1=0.9), adafactor(weight_decay=0.01, beta1=0.9)),
    "adafactor relative": ("adafactor", dict(scale_parameter=True, relative_step=True, warmup_init=True), adafactor(lr=None, scale_parameter=True, relative_step=True, warmup_init=True)),
    "lion": ("lion", dict(beta1=0.9, beta2=0.99, weight_decay=0.1), lambda p: Lion(p, lr=0.01, betas=(0.9, 0.99), weight_decay=0.1)),
}


def coded(values, codes):
    """Values as the nearest codes of each 256, over their largest magnitude, and back."""
    blocks = torch.nn.functional.pad(values, (0, -len(values) % 256)).view(-1, 256)
    largest = blocks.abs().amax(1, keepdim=True)
    nearest = ((blocks / largest.clamp(min=1e-38))[..., None] - codes).abs().argmin(-1)
    return (codes[nearest] * largest).view(-1)[:len(values)]


def write_8bit(tensors, count=4200, rate=0.01, decay=0.01):
    """AdamW with moments of 8 bits, three steps."""
    i = torch.arange(count)
    p = ((i * 31) % 257 - 128) / 256
    m, v = torch.zeros(count), torch.zeros(count)
    for step in range(1, 4):
        g = ((i * 7919 * step) % 1013 - 506) / 512
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        c1, c2 = 1 - 0.9**step, (1 - 0.999**step) ** 0.5
        p = p * (1 - rate * decay) - rate * c2 / c1 * m / (v.sqrt() + 1e-8 * c2)
        m, v = coded(m, dynamic_map(True)), coded(v, dynamic_map(False))
    tensors["adamw_8bit/after"] = p[::7]


def write_optimizers(folder):
    golden, tensors = [], {}
    write_8bit(tensors)
    for name, (kind, settings, maker) in OPTIMIZERS.items():
        for shape in ([19], [6, 9], [2, 3, 5]):
            generator = torch.Generator().manual_seed(3)
            parameter = torch.nn.Parameter(torch.randn(shape, generator=generator))
            case = f"{name} {shape}"
            golden.append(dict(case=case, kind=kind, settings=settings, rate=0.01, steps=3))
            tensors[f"{case}/start"] = parameter.detach().clone()
            optimizer = maker([parameter])
            for step in range(3):
                parameter.grad = torch.randn(shape, generator=generator)
                tensors[f"{case}/gradient.{step}"] = parameter.grad.clone()
                optimizer.step()
                tensors[f"{case}/after.{step}"] = parameter.detach().clone()
    write_json(folder / "optimizers.json", golden)
    write_tensors(folder / "optimizers.safetensors", tensors)


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent
    for name in MODELS:
        write_model(name, folder / "models" / name)
    for family in PEFT_MODELS:
        write_peft(family, folder / "peft")
    write_optimizers(folder)
    write_json(folder / "versions.json", dict(torch=torch.__version__, transformers=transformers.__version__, peft=peft.__version__))


if __name__ == "__main__":
    main()
