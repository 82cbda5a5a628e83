// SPDX-License-Identifier: Apache-2.0
// Qwen 2 and 2.5 (Yang et al. 2024; Hugging Face `Qwen2ForCausalLM`): LLaMA with q, k, v biases and
// a window in the upper layers.
#include "model/arch/families.h"

namespace luthier {

namespace {

Result<ModelDescription> readQwen2(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d = llamaLike(read, config, file);
    d.hasQkvBias = true;
    const std::int64_t first = read.integer("max_window_layers", 28);
    readWindows(read, config, d,
                read.flag("use_sliding_window", false) ? read.integer("sliding_window", 0) : 0,
                [first](std::int64_t layer) { return layer >= first; });
    return finished(read, std::move(d));
}

}  // namespace

Family qwen2Family() {
    Family family{.modelType = "qwen2",
                  .title = "Qwen 2",
                  .architecture = "Qwen2ForCausalLM",
                  .classifier = "Qwen2ForSequenceClassification",
                  .read = &readQwen2};
    family.targets = {.lowRank = {"q_proj", "v_proj"},
                      .scaled = {"q_proj", "v_proj", "down_proj"},
                      .scaledFeedForward = {"down_proj"},
                      .norms = {"post_attention_layernorm"}};
    family.gguf = {.architecture = "qwen2", .takesBiases = true};
    return family;
}

}  // namespace luthier
