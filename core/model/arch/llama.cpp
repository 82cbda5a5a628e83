// SPDX-License-Identifier: Apache-2.0
// LLaMA 1, 2, 3.x (Touvron et al. 2023; Hugging Face `LlamaForCausalLM`): pre-RMSNorm, rotary positions, grouped heads, SwiGLU.
#include "model/arch/families.h"

namespace luthier {

Result<DecoderDescription> readLlama(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    DecoderDescription d;
    d.vocabulary = read.integer("vocab_size");
    d.hidden = read.integer("hidden_size");
    d.layers = read.integer("num_hidden_layers");
    d.heads = read.integer("num_attention_heads");
    d.keyValueHeads = read.integer("num_key_value_heads", d.heads);
    d.intermediate = read.integer("intermediate_size");
    d.maxPositions = read.integer("max_position_embeddings", 2048);
    d.headSize = read.integer("head_dim", d.heads > 0 ? d.hidden / d.heads : 0);
    d.normEps = read.number("rms_norm_eps", 1e-6);
    d.activation = read.activation("hidden_act", "silu");
    d.hasQkvBias = d.hasAttentionOutBias = read.flag("attention_bias", false);
    d.hasFeedForwardBias = read.flag("mlp_bias", false);
    d.isTied = read.flag("tie_word_embeddings", false);
    d.initializerRange = read.number("initializer_range", 0.02);
    if (!read.problems().empty()) return read.problems();
    Result<RopeSpec> rope = readRope(config, file, d.headSize, 10000);
    if (!rope) return rope.problems();
    d.rope = *rope;
    d.names = {.embedding = "model.embed_tokens", .positions = "", .finalNorm = "model.norm", .head = "lm_head",
               .layers = "model.layers.", .attentionNorm = "input_layernorm",
               .query = "self_attn.q_proj", .key = "self_attn.k_proj", .value = "self_attn.v_proj", .fusedQkv = "",
               .attentionOut = "self_attn.o_proj", .feedForwardNorm = "post_attention_layernorm",
               .gate = "mlp.gate_proj", .up = "mlp.up_proj", .down = "mlp.down_proj"};
    d.prefixes = {"model."};
    d.ignoredSuffixes = {".rotary_emb.inv_freq"};
    return d;
}

}  // namespace luthier
