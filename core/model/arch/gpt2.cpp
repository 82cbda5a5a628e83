// SPDX-License-Identifier: Apache-2.0
// GPT-2 (Radford et al. 2019; Hugging Face `GPT2LMHeadModel`): pre-LayerNorm, learned positions,
// fused q-k-v in Conv1D layout.
#include "model/arch/families.h"

namespace luthier {

namespace {

Result<ModelDescription> readGpt2(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d;
    d.vocabulary = read.integer("vocab_size");
    d.hidden = read.integer("n_embd");
    d.layers = read.integer("n_layer");
    d.heads = d.keyValueHeads = read.integer("n_head");
    d.intermediate = read.integer("n_inner", 4 * d.hidden);
    d.maxPositions = read.integer("n_positions", 1024);
    d.headSize = d.heads > 0 ? d.hidden / d.heads : 0;
    d.norm = NormKind::LayerNorm;
    d.normEps = read.number("layer_norm_epsilon", 1e-5);
    d.feedForward = FeedForwardKind::Plain;
    d.position = PositionKind::Learned;
    d.activation = read.activation("activation_function", "gelu_new");
    d.hasQkvBias = d.hasAttentionOutBias = d.hasFeedForwardBias = d.hasNormBias = true;
    d.isConv1D = true;
    d.isTied = read.flag("tie_word_embeddings", true);
    d.initializerRange = read.number("initializer_range", 0.02);
    read.require("add_cross_attention", !read.flag("add_cross_attention", false), "false");
    if (!read.flag("scale_attn_weights", true)) d.attentionScale = 1;
    d.dividesScoresByLayer = read.flag("scale_attn_by_inverse_layer_idx", false);
    (void)read.flag("reorder_and_upcast_attn",
                    false);  // a way to compute the same scores that half precision does not
                             // overflow: they are float32 here
    d.learnsPadding = true;
    d.names = {.embedding = "transformer.wte",
               .positions = "transformer.wpe",
               .finalNorm = "transformer.ln_f",
               .head = "lm_head",
               .layers = "transformer.h.",
               .attentionNorm = "ln_1",
               .fusedQkv = "attn.c_attn",
               .attentionOut = "attn.c_proj",
               .feedForwardNorm = "ln_2",
               .up = "mlp.c_fc",
               .down = "mlp.c_proj"};
    d.prefixes = {"transformer."};
    d.ignoredSuffixes = {".attn.bias", ".attn.masked_bias"};
    return finished(read, std::move(d));
}

}  // namespace

Family gpt2Family() {
    Family family{.modelType = "gpt2",
                  .title = "GPT-2",
                  .architecture = "GPT2LMHeadModel",
                  .classifier = "GPT2ForSequenceClassification",
                  .read = &readGpt2};
    family.targets = {.lowRank = {"c_attn"},
                      .scaled = {"c_attn", "mlp.c_proj"},
                      .scaledFeedForward = {"mlp.c_proj"},
                      .norms = {"ln_1", "ln_2", "ln_f"}};
    family.gguf = {.architecture = "gpt2",
                   .takesBiases = true,
                   .isGelu = true,
                   .hidden = "n_embd",
                   .layers = "n_layer",
                   .heads = "n_head",
                   .keyValueHeads = "",
                   .intermediate = "n_inner",
                   .positions = "n_positions",
                   .normEps = "layer_norm_epsilon",
                   .headSize = ""};
    return family;
}

}  // namespace luthier
