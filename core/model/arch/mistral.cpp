// SPDX-License-Identifier: Apache-2.0
// Mistral (Jiang et al. 2023; Hugging Face `MistralForCausalLM`): LLaMA with a sliding window.
#include "io/gguf_names.h"
#include "model/arch/families.h"

namespace luthier {

namespace {

Result<ModelDescription> readMistral(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d = llamaLike(read, config, file);
    readWindows(read, config, d, read.integer("sliding_window", 0),
                [](std::int64_t) { return true; });
    return finished(read, std::move(d));
}

}  // namespace

Family mistralFamily() {
    Family family{.modelType = "mistral",
                  .title = "Mistral",
                  .architecture = "MistralForCausalLM",
                  .classifier = "MistralForSequenceClassification",
                  .read = &readMistral};
    family.targets = {.lowRank = {"q_proj", "v_proj"},
                      .scaled = {"k_proj", "v_proj", "down_proj"},
                      .scaledFeedForward = {"down_proj"},
                      .adaptive = std::vector<std::string>{},
                      .norms = {"input_layernorm", "post_attention_layernorm", "norm"}};
    family.gguf = {.architecture = kLlamaArchitecture, .isPermuted = true, .takesLlama3Rope = true};
    family.gguf.owns = [](const GgufFacts&) { return false; };
    return family;
}

}  // namespace luthier
