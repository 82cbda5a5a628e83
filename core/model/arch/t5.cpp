// SPDX-License-Identifier: Apache-2.0
// T5, T0 and Flan-T5 (Raffel et al. 2020; Hugging Face `T5ForConditionalGeneration`), mT5 (Xue et
// al. 2021): encoder-decoder, pre-RMSNorm, one table of bucketed relative positions a stack,
// unscaled scores, no biases. T5 1.1 and later gate the feed-forward part.
#include "model/arch/families.h"

namespace luthier {

namespace {

/// "relu", "gated-gelu" (which means gelu_new), "gated-silu".
void readFeedForward(ConfigReader& read, ModelDescription& d, const std::string& fallback) {
    const std::string kind = read.text("feed_forward_proj", fallback);
    const bool isGated = kind.starts_with("gated-");
    d.feedForward = isGated ? FeedForwardKind::Gated : FeedForwardKind::Plain;
    d.activation = read.activationNamed("feed_forward_proj", kind == "gated-gelu" ? "gelu_new"
                                                             : isGated            ? kind.substr(6)
                                                                                  : kind);
}

ModelDescription stackOf(const ModelDescription& shared, const std::string& stack,
                         std::int64_t layers, bool isDecoder) {
    ModelDescription d = shared;
    d.layers = layers;
    d.isCausal = isDecoder;
    const std::string feedForward = isDecoder ? "layer.2." : "layer.1.";
    d.names = {.embedding = "shared",
               .relative = stack + ".block.0.layer.0.SelfAttention.relative_attention_bias",
               .finalNorm = stack + ".final_layer_norm",
               .head = "lm_head",
               .layers = stack + ".block.",
               .attentionNorm = "layer.0.layer_norm",
               .query = "layer.0.SelfAttention.q",
               .key = "layer.0.SelfAttention.k",
               .value = "layer.0.SelfAttention.v",
               .attentionOut = "layer.0.SelfAttention.o",
               .feedForwardNorm = feedForward + "layer_norm"};
    const std::string dense = feedForward + "DenseReluDense.";
    d.names.up = dense + "wi";
    if (d.feedForward == FeedForwardKind::Gated) {
        d.names.gate = dense + "wi_0";
        d.names.up = dense + "wi_1";
    }
    d.names.down = dense + "wo";
    if (isDecoder) {
        d.names.crossNorm = "layer.1.layer_norm";
        d.names.crossQuery = "layer.1.EncDecAttention.q";
        d.names.crossKey = "layer.1.EncDecAttention.k";
        d.names.crossValue = "layer.1.EncDecAttention.v";
        d.names.crossOut = "layer.1.EncDecAttention.o";
    }
    return d;
}

enum class HeadInput { ScaledWhenTied, Plain };

Result<ModelDescription> readFamily(const Json& config, const std::string& file,
                                    const std::string& feedForward, HeadInput headInput) {
    ConfigReader read(config, file);
    ModelDescription shared;
    shared.vocabulary = read.integer("vocab_size");
    shared.hidden = read.integer("d_model");
    shared.heads = shared.keyValueHeads = read.integer("num_heads");
    shared.headSize = read.integer("d_kv");
    shared.intermediate = read.integer("d_ff");
    shared.maxPositions = read.integer("n_positions", 512);
    shared.normEps = read.number("layer_norm_epsilon", 1e-6);
    shared.attentionScale = 1;
    shared.learnsPadding = true;
    shared.position = PositionKind::Buckets;
    shared.relative.buckets = read.integer("relative_attention_num_buckets", 32);
    shared.relative.distance = read.integer("relative_attention_max_distance", 128);
    readFeedForward(read, shared, feedForward);
    const std::int64_t layers = read.integer("num_layers");
    ModelDescription d =
        stackOf(shared, "decoder", read.integer("num_decoder_layers", layers), true);
    d.encoder = std::make_shared<const ModelDescription>(stackOf(shared, "encoder", layers, false));
    d.isTied = read.flag("tie_word_embeddings", true);
    // Files before transformers 5 do not say whether a tied head scales its input: T5's does, mT5's
    // is never tied.
    if (read.flag("scale_decoder_outputs", d.isTied && headInput == HeadInput::ScaledWhenTied) &&
        d.hidden > 0)
        d.logitScale = 1.0 / std::sqrt(static_cast<double>(d.hidden));
    d.decoderStart = read.integer("decoder_start_token_id", read.integer("pad_token_id", 0));
    d.initializerRange = 0.05;
    d.ignoredSuffixes = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight",
                         "EncDecAttention.relative_attention_bias.weight"};
    d.classifier = {.pooling = Pooling::LastEnd,
                    .dense = "classification_head.dense",
                    .activation = PoolActivation::Tanh,
                    .head = "classification_head.out_proj",
                    .hasHeadBias = true,
                    .prefix = "transformer."};
    return finished(read, std::move(d));
}

Result<ModelDescription> readT5(const Json& config, const std::string& file) {
    return readFamily(config, file, "relu", HeadInput::ScaledWhenTied);
}
Result<ModelDescription> readMt5(const Json& config, const std::string& file) {
    return readFamily(config, file, "gated-gelu", HeadInput::Plain);
}

}  // namespace

Family t5Family() {
    Family family{.modelType = "t5",
                  .title = "T5",
                  .architecture = "T5ForConditionalGeneration",
                  .classifier = "T5ForSequenceClassification",
                  .read = &readT5};
    family.targets = {.lowRank = {"q", "v"},
                      .scaled = {"k", "v", "wo"},
                      .scaledFeedForward = {"wo"},
                      .adaptive = std::vector<std::string>{"q", "k", "v", "o", "wi", "wo"}};
    return family;
}

Family mt5Family() {
    Family family{.modelType = "mt5",
                  .title = "mT5",
                  .architecture = "MT5ForConditionalGeneration",
                  .classifier = "MT5ForSequenceClassification",
                  .read = &readMt5};
    family.targets = {
        .lowRank = {"q", "v"},
        .scaled = {"k", "v", "wi_1"},
        .adaptive = std::vector<std::string>{"q", "k", "v", "o", "wi_0", "wi_1", "wo"}};
    return family;
}

}  // namespace luthier
