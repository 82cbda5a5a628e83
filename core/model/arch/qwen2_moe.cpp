// SPDX-License-Identifier: Apache-2.0
// Qwen 1.5 and 2 MoE (Hugging Face `Qwen2MoeForCausalLM`): Qwen 2 with routed experts and one that
// every token passes.
#include "model/arch/families.h"

namespace luthier {

namespace {

Result<ModelDescription> readQwen2Moe(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d = llamaLike(read, config, file);
    d.hasQkvBias = read.flag("qkv_bias", true);
    const std::int64_t last = read.integer("max_window_layers", 28);
    readWindows(read, config, d,
                read.flag("use_sliding_window", false) ? read.integer("sliding_window", 0) : 0,
                [last](std::int64_t layer) { return layer % 2 == 0 && layer < last; });
    d.mixture = {.experts = read.integer("num_experts", 60),
                 .perToken = read.integer("num_experts_per_tok", 4),
                 .intermediate = read.integer("moe_intermediate_size", 1408),
                 .sharedIntermediate = read.integer("shared_expert_intermediate_size", 5632),
                 .isNormalised = read.flag("norm_topk_prob", false),
                 .router = "mlp.gate",
                 .expert = "mlp.experts.",
                 .gate = "gate_proj",
                 .up = "up_proj",
                 .down = "down_proj",
                 .shared = "mlp.shared_expert.",
                 .sharedGate = "mlp.shared_expert_gate"};
    readSparseLayers(read, config, d);
    return finished(read, std::move(d));
}

}  // namespace

Family qwen2MoeFamily() {
    Family family{.modelType = "qwen2_moe",
                  .title = "Qwen 2 MoE",
                  .architecture = "Qwen2MoeForCausalLM",
                  .classifier = "Qwen2MoeForSequenceClassification",
                  .read = &readQwen2Moe};
    family.gguf = {.architecture = "qwen2moe", .takesBiases = true, .normalisesExperts = false};
    family.gguf.toConfig = [](Json& config, GgufFacts& facts) {
        config["qkv_bias"] = facts.hasQkvBias();
    };
    return family;
}

}  // namespace luthier
