// SPDX-License-Identifier: Apache-2.0
// DeBERTa v2 and v3 (He et al. 2021; Hugging Face `DebertaV2ForSequenceClassification`): a
// post-LayerNorm encoder whose scores come from contents and bucketed relative positions apart. The
// convolution of the largest v2 checkpoints is not built.
#include "model/arch/families.h"

#include <algorithm>

namespace luthier {

namespace {

/// "c2p|p2c" or ["p2c", "c2p"].
bool hasTerm(const Json& config, const std::string& term) {
    const auto found = config.find("pos_att_type");
    if (found == config.end()) return false;
    if (found->is_string()) return found->get<std::string>().find(term) != std::string::npos;
    return found->is_array() && std::find(found->begin(), found->end(), Json(term)) != found->end();
}

void readPositions(ConfigReader& read, const Json& config, ModelDescription& d) {
    d.hasPositionTable = read.flag("position_biased_input", true);
    if (!read.flag("relative_attention", false)) {
        d.position = PositionKind::None;
        return;
    }
    d.position = PositionKind::Disentangled;
    d.relative.buckets = std::max<std::int64_t>(read.integer("position_buckets", -1), 0);
    d.relative.distance = read.integer("max_relative_positions", -1);
    if (d.relative.distance < 1) d.relative.distance = d.maxPositions;
    d.relative.hasContentToPosition = hasTerm(config, "c2p");
    d.relative.hasPositionToContent = hasTerm(config, "p2c");
    d.names.relative = "deberta.encoder.rel_embeddings";
    if (read.text("norm_rel_ebd", "none").find("layer_norm") != std::string::npos)
        d.names.relativeNorm = "deberta.encoder.LayerNorm";
    if (read.flag("share_att_key", false)) return;
    if (d.relative.hasContentToPosition) d.names.relativeKey = "attention.self.pos_key_proj";
    if (d.relative.hasPositionToContent) d.names.relativeQuery = "attention.self.pos_query_proj";
}

PoolActivation poolActivation(ConfigReader& read) {
    const std::string name = read.text("pooler_hidden_act", "gelu");
    read.require("pooler_hidden_act", name == "gelu" || name == "tanh" || name == "relu",
                 "gelu, tanh or relu");
    return name == "tanh"   ? PoolActivation::Tanh
           : name == "relu" ? PoolActivation::Relu
                            : PoolActivation::Gelu;
}

Result<ModelDescription> readDebertaV2(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d = bertLike();
    d.vocabulary = read.integer("vocab_size");
    d.hidden = read.integer("hidden_size");
    d.layers = read.integer("num_hidden_layers");
    d.heads = d.keyValueHeads = read.integer("num_attention_heads");
    d.headSize = read.integer("attention_head_size", d.heads > 0 ? d.hidden / d.heads : 0);
    d.intermediate = read.integer("intermediate_size");
    d.maxPositions = read.integer("max_position_embeddings", 512);
    d.tokenTypes = read.integer("type_vocab_size", 0);
    d.normEps = read.number("layer_norm_eps", 1e-7);
    d.activation = read.activation("hidden_act", "gelu");
    d.initializerRange = read.number("initializer_range", 0.02);
    read.require("conv_kernel_size", read.integer("conv_kernel_size", 0) == 0,
                 "0: the convolution is not built yet");
    read.require("embedding_size", read.integer("embedding_size", d.hidden) == d.hidden,
                 "hidden_size");
    d.names = {.embedding = "deberta.embeddings.word_embeddings",
               .positions = "deberta.embeddings.position_embeddings",
               .tokenTypes = "deberta.embeddings.token_type_embeddings",
               .embeddingNorm = "deberta.embeddings.LayerNorm",
               .head = "classifier",
               .layers = "deberta.encoder.layer.",
               .attentionNorm = "attention.output.LayerNorm",
               .query = "attention.self.query_proj",
               .key = "attention.self.key_proj",
               .value = "attention.self.value_proj",
               .attentionOut = "attention.output.dense",
               .feedForwardNorm = "output.LayerNorm",
               .up = "intermediate.dense",
               .down = "output.dense"};
    readPositions(read, config, d);
    d.prefixes = {"deberta."};
    d.ignoredSuffixes = {"embeddings.position_ids"};
    d.ignoredPrefixes = {"lm_head.", "mask_predictions."};
    d.classifier = {.pooling = Pooling::FirstToken,
                    .dense = "pooler.dense",
                    .isDenseOfModel = true,
                    .activation = poolActivation(read),
                    .head = "classifier",
                    .hasHeadBias = true};
    return finished(read, std::move(d));
}

}  // namespace

Family debertaV2Family() {
    Family family{.modelType = "deberta-v2",
                  .title = "DeBERTa",
                  .architecture = nullptr,
                  .classifier = "DebertaV2ForSequenceClassification",
                  .read = &readDebertaV2};
    family.targets = {
        .lowRank = {"query_proj", "value_proj"},
        .scaled = {"key_proj", "value_proj", "output.dense"},
        .scaledFeedForward = {"output.dense"},
        .adaptive = std::vector<std::string>{"query_proj", "key_proj", "value_proj", "dense"}};
    return family;
}

}  // namespace luthier
