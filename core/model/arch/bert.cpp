// SPDX-License-Identifier: Apache-2.0
// BERT (Devlin et al. 2019; Hugging Face `BertForSequenceClassification`): a post-LayerNorm encoder
// with learned positions and token types.
#include "model/arch/families.h"

namespace luthier {

namespace {

Result<ModelDescription> readBert(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d = readBertLike(read, "bert.");
    d.classifier = {.pooling = Pooling::FirstToken,
                    .dense = "bert.pooler.dense",
                    .isDenseOfModel = true,
                    .activation = PoolActivation::Tanh,
                    .head = "classifier",
                    .hasHeadBias = true};
    return finished(read, std::move(d));
}

}  // namespace

Family bertFamily() {
    Family family{.modelType = "bert",
                  .title = "BERT",
                  .architecture = nullptr,
                  .classifier = "BertForSequenceClassification",
                  .read = &readBert};
    family.targets = {.lowRank = {"query", "value"},
                      .scaled = {"key", "value", "output.dense"},
                      .scaledFeedForward = {"output.dense"}};
    return family;
}

}  // namespace luthier
