// SPDX-License-Identifier: Apache-2.0
// Granite (IBM 2024; Hugging Face `GraniteForCausalLM`): LLaMA with four scaling factors.
#include "model/arch/families.h"

namespace luthier {

namespace {

Result<ModelDescription> readGranite(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d = llamaLike(read, config, file);
    d.hasQkvBias = d.hasAttentionOutBias = read.flag("attention_bias", false);
    d.hasFeedForwardBias = read.flag("mlp_bias", false);
    d.inputScale = read.number("embedding_multiplier", 1);
    d.residualScale = read.number("residual_multiplier", 1);
    d.attentionScale = read.number("attention_multiplier", 1);
    const double divisor = read.number("logits_scaling", 1);
    read.require("logits_scaling", divisor != 0, "other than 0");
    d.logitScale = 1.0 / divisor;
    return finished(read, std::move(d));
}

}  // namespace

Family graniteFamily() {
    Family family{.modelType = "granite",
                  .title = "Granite",
                  .architecture = "GraniteForCausalLM",
                  .classifier = nullptr,
                  .read = &readGranite};
    family.gguf = {.architecture = "granite",
                   .isPermuted = true,
                   .takesBiases = true,
                   .takesLlama3Rope = true,
                   .saysScoreScale = true};
    family.gguf.ownKeys = [](const ModelDescription& d) {
        return GgufKeys{{"attention.scale", static_cast<float>(d.scoreScale())},
                        {"embedding_scale", static_cast<float>(d.inputScale)},
                        {"residual_scale", static_cast<float>(d.residualScale)},
                        {"logit_scale", static_cast<float>(1 / d.logitScale)}};
    };
    family.gguf.toConfig = [](Json& config, GgufFacts& facts) {
        config["attention_bias"] = facts.hasQkvBias();
        config["mlp_bias"] = facts.hasUpBias();
        facts.copyNumber(config, "attention_multiplier", "attention.scale");
        facts.copyNumber(config, "embedding_multiplier", "embedding_scale");
        facts.copyNumber(config, "residual_multiplier", "residual_scale");
        facts.copyNumber(config, "logits_scaling", "logit_scale");
    };
    return family;
}

}  // namespace luthier
