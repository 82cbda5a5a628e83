// SPDX-License-Identifier: Apache-2.0
// DistilBERT (Sanh et al. 2019; Hugging Face `DistilBertForSequenceClassification`): BERT without
// token types, under names of its own.
#include "model/arch/families.h"

namespace luthier {

namespace {

Result<ModelDescription> readDistilBert(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d = bertLike();
    d.vocabulary = read.integer("vocab_size");
    d.hidden = read.integer("dim");
    d.layers = read.integer("n_layers");
    d.heads = d.keyValueHeads = read.integer("n_heads");
    d.headSize = d.heads > 0 ? d.hidden / d.heads : 0;
    d.intermediate = read.integer("hidden_dim");
    d.maxPositions = read.integer("max_position_embeddings", 512);
    d.normEps = 1e-12;
    d.activation = read.activation("activation", "gelu");
    d.initializerRange = read.number("initializer_range", 0.02);
    d.names = {.embedding = "distilbert.embeddings.word_embeddings",
               .positions = "distilbert.embeddings.position_embeddings",
               .embeddingNorm = "distilbert.embeddings.LayerNorm",
               .head = "classifier",
               .layers = "distilbert.transformer.layer.",
               .attentionNorm = "sa_layer_norm",
               .query = "attention.q_lin",
               .key = "attention.k_lin",
               .value = "attention.v_lin",
               .attentionOut = "attention.out_lin",
               .feedForwardNorm = "output_layer_norm",
               .up = "ffn.lin1",
               .down = "ffn.lin2"};
    d.prefixes = {"distilbert."};
    d.classifier = {.pooling = Pooling::FirstToken,
                    .dense = "pre_classifier",
                    .activation = PoolActivation::Relu,
                    .head = "classifier",
                    .hasHeadBias = true};
    return finished(read, std::move(d));
}

}  // namespace

Family distilbertFamily() {
    Family family{.modelType = "distilbert",
                  .title = "DistilBERT",
                  .architecture = nullptr,
                  .classifier = "DistilBertForSequenceClassification",
                  .read = &readDistilBert};
    return family;
}

}  // namespace luthier
