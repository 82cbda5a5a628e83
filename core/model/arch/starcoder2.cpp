// SPDX-License-Identifier: Apache-2.0
// StarCoder 2 (Lozhkov et al. 2024; Hugging Face `Starcoder2ForCausalLM`): LayerNorm, a plain
// feed-forward part, biases, a window.
#include "model/arch/families.h"

namespace luthier {

namespace {

Result<ModelDescription> readStarcoder2(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d = llamaLike(read, config, file);
    d.norm = NormKind::LayerNorm;
    d.hasNormBias = true;
    d.normEps = read.number("norm_epsilon", 1e-5);
    d.feedForward = FeedForwardKind::Plain;
    d.activation = read.activation("hidden_act", "gelu_pytorch_tanh");
    d.hasQkvBias = d.hasAttentionOutBias = d.hasFeedForwardBias = read.flag("use_bias", true);
    d.isTied = read.flag("tie_word_embeddings", true);
    d.names.gate = "";
    d.names.up = "mlp.c_fc";
    d.names.down = "mlp.c_proj";
    readWindows(read, config, d, read.integer("sliding_window", 0),
                [](std::int64_t) { return true; });
    return finished(read, std::move(d));
}

}  // namespace

Family starcoder2Family() {
    Family family{.modelType = "starcoder2",
                  .title = "StarCoder 2",
                  .architecture = "Starcoder2ForCausalLM",
                  .classifier = "Starcoder2ForSequenceClassification",
                  .read = &readStarcoder2};
    family.gguf = {.architecture = "starcoder2",
                   .takesBiases = true,
                   .isGelu = true,
                   .normEps = "norm_epsilon"};
    family.gguf.lacks = [](const ModelDescription& d) -> std::string {
        return d.hasQkvBias ? "" : "projections without biases";
    };
    family.gguf.toConfig = [](Json& config, GgufFacts& facts) {
        config["use_bias"] = facts.hasQkvBias();
    };
    return family;
}

}  // namespace luthier
