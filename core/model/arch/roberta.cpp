// SPDX-License-Identifier: Apache-2.0
// RoBERTa (Liu et al. 2019; Hugging Face `RobertaForSequenceClassification`) and XLM-R (Conneau et
// al. 2020): BERT whose positions start behind the padding id and whose classifier brings its own
// dense layer.
#include "model/arch/families.h"

namespace luthier {

namespace {

Result<ModelDescription> readRoberta(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d = readBertLike(read, "roberta.");
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

}  // namespace

Family robertaFamily() {
    Family family{.modelType = "roberta",
                  .title = "RoBERTa",
                  .architecture = nullptr,
                  .classifier = "RobertaForSequenceClassification",
                  .read = &readRoberta};
    family.targets = {.lowRank = {"query", "value"},
                      .scaled = {"key", "value", "output.dense"},
                      .scaledFeedForward = {"output.dense"},
                      .adaptive = std::vector<std::string>{"query", "key", "value", "dense"}};
    return family;
}

Family xlmRobertaFamily() {
    Family family{.modelType = "xlm-roberta",
                  .title = "XLM-R",
                  .architecture = nullptr,
                  .classifier = "XLMRobertaForSequenceClassification",
                  .read = &readRoberta};
    family.targets = {.lowRank = {"query", "value"}, .adaptive = std::vector<std::string>{}};
    return family;
}

}  // namespace luthier
