// SPDX-License-Identifier: Apache-2.0
// BLOOM (BigScience 2022; Hugging Face `BloomForCausalLM`): ALiBi, a norm on the embeddings, fused
// q-k-v by head.
#include "model/arch/families.h"

namespace luthier {

namespace {

Result<ModelDescription> readBloom(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d;
    d.vocabulary = read.integer("vocab_size");
    d.hidden = read.eitherInteger("hidden_size", "n_embed");
    d.layers = read.eitherInteger("n_layer", "num_hidden_layers");
    d.heads = d.keyValueHeads = read.eitherInteger("n_head", "num_attention_heads");
    d.intermediate = 4 * d.hidden;
    d.maxPositions = read.integer("seq_length", 2048);
    d.headSize = d.heads > 0 ? d.hidden / d.heads : 0;
    d.norm = NormKind::LayerNorm;
    d.normEps = read.number("layer_norm_epsilon", 1e-5);
    d.feedForward = FeedForwardKind::Plain;
    d.position = PositionKind::Alibi;
    d.alibi = AlibiKind::Bloom;
    d.activation = kernels::GateActivation::GeluTanh;
    d.isResidualNormed = read.flag("apply_residual_connection_post_layernorm", false);
    d.hasQkvBias = d.hasAttentionOutBias = d.hasFeedForwardBias = d.hasNormBias = true;
    d.isTied = read.flag("tie_word_embeddings", true);
    d.initializerRange = read.number("initializer_range", 0.02);
    d.qkvLayout = QkvLayout::Grouped;
    d.learnsPadding = true;
    d.names = {.embedding = "transformer.word_embeddings",
               .embeddingNorm = "transformer.word_embeddings_layernorm",
               .finalNorm = "transformer.ln_f",
               .head = "lm_head",
               .layers = "transformer.h.",
               .attentionNorm = "input_layernorm",
               .fusedQkv = "self_attention.query_key_value",
               .attentionOut = "self_attention.dense",
               .feedForwardNorm = "post_attention_layernorm",
               .up = "mlp.dense_h_to_4h",
               .down = "mlp.dense_4h_to_h"};
    d.prefixes = {"transformer."};
    return finished(read, std::move(d));
}

}  // namespace

Family bloomFamily() {
    Family family{.modelType = "bloom",
                  .title = "BLOOM",
                  .architecture = "BloomForCausalLM",
                  .classifier = "BloomForSequenceClassification",
                  .read = &readBloom};
    family.targets = {.lowRank = {"query_key_value"},
                      .scaled = {"query_key_value", "mlp.dense_4h_to_h"},
                      .scaledFeedForward = {"mlp.dense_4h_to_h"},
                      .norms = {"input_layernorm", "post_attention_layernorm", "ln_f"}};
    family.gguf = {.architecture = "bloom",
                   .takesBiases = true,
                   .isGelu = true,
                   .layers = "n_layer",
                   .heads = "n_head",
                   .keyValueHeads = "",
                   .intermediate = "",
                   .positions = "seq_length",
                   .normEps = "layer_norm_epsilon",
                   .headSize = ""};
    return family;
}

}  // namespace luthier
