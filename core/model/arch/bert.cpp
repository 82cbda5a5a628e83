// SPDX-License-Identifier: Apache-2.0
// BERT (Devlin et al. 2019; Hugging Face `BertForSequenceClassification`) and RoBERTa (Liu et al.
// 2019), XLM-R: post-LayerNorm encoders with learned positions and token types. RoBERTa's positions
// start behind the padding id, and its classifier brings its own dense layer.
#include "model/arch/families.h"

namespace luthier {

namespace {

ModelDescription encoder(ConfigReader& read, const std::string& prefix) {
    ModelDescription d = bertLike();
    d.vocabulary = read.integer("vocab_size");
    d.hidden = read.integer("hidden_size");
    d.layers = read.integer("num_hidden_layers");
    d.heads = d.keyValueHeads = read.integer("num_attention_heads");
    d.headSize = d.heads > 0 ? d.hidden / d.heads : 0;
    d.intermediate = read.integer("intermediate_size");
    d.maxPositions = read.integer("max_position_embeddings", 512);
    d.tokenTypes = read.integer("type_vocab_size", 2);
    d.normEps = read.number("layer_norm_eps", 1e-12);
    d.activation = read.activation("hidden_act", "gelu");
    d.initializerRange = read.number("initializer_range", 0.02);
    read.require("position_embedding_type",
                 read.text("position_embedding_type", "absolute") == "absolute", "\"absolute\"");
    read.require("is_decoder", !read.flag("is_decoder", false), "false");
    const std::string embeddings = prefix + "embeddings.";
    d.names = {.embedding = embeddings + "word_embeddings",
               .positions = embeddings + "position_embeddings",
               .tokenTypes = embeddings + "token_type_embeddings",
               .embeddingNorm = embeddings + "LayerNorm",
               .head = "classifier",
               .layers = prefix + "encoder.layer.",
               .attentionNorm = "attention.output.LayerNorm",
               .query = "attention.self.query",
               .key = "attention.self.key",
               .value = "attention.self.value",
               .attentionOut = "attention.output.dense",
               .feedForwardNorm = "output.LayerNorm",
               .up = "intermediate.dense",
               .down = "output.dense"};
    d.prefixes = {prefix};
    d.ignoredSuffixes = {"embeddings.position_ids"};
    return d;
}

}  // namespace

Result<ModelDescription> readBert(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d = encoder(read, "bert.");
    d.classifier = {.pooling = Pooling::FirstToken,
                    .dense = "bert.pooler.dense",
                    .activation = PoolActivation::Tanh,
                    .head = "classifier",
                    .hasHeadBias = true};
    return finished(read, std::move(d));
}

Result<ModelDescription> readRoberta(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d = encoder(read, "roberta.");
    d.positionOffset = read.integer("pad_token_id", 1) + 1;
    d.maxPositions -= d.positionOffset;  // the file counts the rows before the first position too
    d.ignoredPrefixes = {"roberta.pooler.", "pooler."};
    d.classifier = {.pooling = Pooling::FirstToken,
                    .dense = "classifier.dense",
                    .activation = PoolActivation::Tanh,
                    .head = "classifier.out_proj",
                    .hasHeadBias = true};
    return finished(read, std::move(d));
}

}  // namespace luthier
