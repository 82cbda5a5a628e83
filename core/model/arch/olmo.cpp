// SPDX-License-Identifier: Apache-2.0
// OLMo (Groeneveld et al. 2024; Hugging Face `OlmoForCausalLM`): LLaMA with LayerNorms that have no
// weights, and clamped projections.
#include "model/arch/families.h"

namespace luthier {

namespace {

Result<ModelDescription> readOlmo(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d = llamaLike(read, config, file);
    d.norm = NormKind::LayerNorm;
    d.normEps = 1e-5;
    d.hasNormWeight = false;
    d.clipQkv = read.number("clip_qkv", 0);
    d.hasQkvBias = d.hasAttentionOutBias = read.flag("attention_bias", false);
    return finished(read, std::move(d));
}

}  // namespace

Family olmoFamily() {
    Family family{.modelType = "olmo",
                  .title = "OLMo",
                  .architecture = "OlmoForCausalLM",
                  .classifier = "OlmoForSequenceClassification",
                  .read = &readOlmo};
    family.gguf = {.architecture = "olmo", .isPermuted = true, .normEps = ""};
    family.gguf.toConfig = [](Json& config, GgufFacts& facts) {
        facts.copyNumber(config, "clip_qkv", "attention.clamp_kqv");
    };
    return family;
}

}  // namespace luthier
