// SPDX-License-Identifier: Apache-2.0
// Qwen 3 MoE (Yang et al. 2025; Hugging Face `Qwen3MoeForCausalLM`): Qwen 3 with routed experts.
#include "model/arch/families.h"

namespace luthier {

namespace {

Result<ModelDescription> readQwen3Moe(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d = llamaLike(read, config, file);
    d.hasQkvBias = d.hasAttentionOutBias = read.flag("attention_bias", false);
    d.queryKeyNorm = QueryKeyNorm::PerHead;
    d.names.queryNorm = "self_attn.q_norm";
    d.names.keyNorm = "self_attn.k_norm";
    readWindows(read, config, d,
                read.flag("use_sliding_window", false) ? read.integer("sliding_window", 0) : 0,
                [](std::int64_t) { return true; });
    d.mixture = {.experts = read.integer(
                     read.has("num_local_experts") ? "num_local_experts" : "num_experts", 128),
                 .perToken = read.integer("num_experts_per_tok", 8),
                 .intermediate = read.integer("moe_intermediate_size", 768),
                 .isNormalised = read.flag("norm_topk_prob", false),
                 .router = "mlp.gate",
                 .expert = "mlp.experts.",
                 .gate = "gate_proj",
                 .up = "up_proj",
                 .down = "down_proj"};
    readSparseLayers(read, config, d);
    return finished(read, std::move(d));
}

}  // namespace

Family qwen3MoeFamily() {
    Family family{.modelType = "qwen3_moe",
                  .title = "Qwen 3 MoE",
                  .architecture = "Qwen3MoeForCausalLM",
                  .classifier = "Qwen3MoeForSequenceClassification",
                  .read = &readQwen3Moe};
    family.gguf = {.architecture = "qwen3moe", .needsHead = true, .normalisesExperts = true};
    return family;
}

}  // namespace luthier
