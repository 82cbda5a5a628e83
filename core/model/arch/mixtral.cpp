// SPDX-License-Identifier: Apache-2.0
// Mixtral (Jiang et al. 2024; Hugging Face `MixtralForCausalLM`): Mistral with a mixture of experts
// in every block.
#include "io/gguf_names.h"
#include "model/arch/families.h"

namespace luthier {

namespace {

Result<ModelDescription> readMixtral(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d = llamaLike(read, config, file, 1e6);
    d.normEps = read.number("rms_norm_eps", 1e-5);
    readWindows(read, config, d, read.integer("sliding_window", 0),
                [](std::int64_t) { return true; });
    d.mixture = {.experts = read.integer("num_local_experts", 8),
                 .perToken = read.integer("num_experts_per_tok", 2),
                 .intermediate = d.intermediate,
                 .router = "block_sparse_moe.gate",
                 .expert = "block_sparse_moe.experts.",
                 .gate = "w1",
                 .up = "w3",
                 .down = "w2"};
    spreadSwitches(d);
    for (LayerSwitches& layer : d.layerSwitches) layer.isMixture = true;
    return finished(read, std::move(d));
}

}  // namespace

Family mixtralFamily() {
    Family family{.modelType = "mixtral",
                  .title = "Mixtral",
                  .architecture = "MixtralForCausalLM",
                  .classifier = "MixtralForSequenceClassification",
                  .read = &readMixtral};
    family.targets = {.lowRank = {"q_proj", "v_proj"},
                      .scaled = {"k_proj", "v_proj", "w2"},
                      .scaledFeedForward = {"w2"},
                      .adaptive = std::vector<std::string>{}};
    family.gguf = {.architecture = kLlamaArchitecture,
                   .isPermuted = true,
                   .takesLlama3Rope = true,
                   .experts = "num_local_experts"};
    family.gguf.owns = [](const GgufFacts& facts) {
        return facts.whole("expert_count").value_or(0) > 0;
    };
    return family;
}

}  // namespace luthier
