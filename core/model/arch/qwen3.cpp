// SPDX-License-Identifier: Apache-2.0
// Qwen 3 (Yang et al. 2025; Hugging Face `Qwen3ForCausalLM`): LLaMA with RMSNorm on each head's
// query and key.
#include "model/arch/families.h"

namespace luthier {

namespace {

Result<ModelDescription> readQwen3(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d = llamaLike(read, config, file, 10000, 1.0, 128);
    d.hasQkvBias = d.hasAttentionOutBias = read.flag("attention_bias", false);
    d.queryKeyNorm = QueryKeyNorm::PerHead;
    d.names.queryNorm = "self_attn.q_norm";
    d.names.keyNorm = "self_attn.k_norm";
    const std::int64_t first = read.integer("max_window_layers", 28);
    readWindows(read, config, d,
                read.flag("use_sliding_window", false) ? read.integer("sliding_window", 0) : 0,
                [first](std::int64_t layer) { return layer >= first; });
    return finished(read, std::move(d));
}

}  // namespace

Family qwen3Family() {
    Family family{.modelType = "qwen3",
                  .title = "Qwen 3",
                  .architecture = "Qwen3ForCausalLM",
                  .classifier = "Qwen3ForSequenceClassification",
                  .read = &readQwen3};
    family.targets = {.lowRank = {"q_proj", "v_proj"},
                      .scaled = {"q_proj", "v_proj", "down_proj"},
                      .scaledFeedForward = {"down_proj"},
                      .norms = {"post_attention_layernorm"}};
    family.gguf = {.architecture = "qwen3"};
    return family;
}

}  // namespace luthier
