// SPDX-License-Identifier: Apache-2.0
// LLaMA 1, 2, 3.x (Touvron et al. 2023; Hugging Face `LlamaForCausalLM`): pre-RMSNorm, rotary
// positions, grouped heads, SwiGLU.
#include "io/gguf_names.h"
#include "model/arch/families.h"

namespace luthier {

namespace {

Result<ModelDescription> readLlama(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d = llamaLike(read, config, file);
    d.hasQkvBias = d.hasAttentionOutBias = read.flag("attention_bias", false);
    d.hasFeedForwardBias = read.flag("mlp_bias", false);
    return finished(read, std::move(d));
}

}  // namespace

Family llamaFamily() {
    Family family{.modelType = "llama",
                  .title = "Llama",
                  .architecture = "LlamaForCausalLM",
                  .classifier = "LlamaForSequenceClassification",
                  .read = &readLlama};
    family.targets = {.lowRank = {"q_proj", "v_proj"},
                      .scaled = {"k_proj", "v_proj", "down_proj"},
                      .scaledFeedForward = {"down_proj"},
                      .norms = {"input_layernorm", "post_attention_layernorm", "norm"}};
    family.gguf = {.architecture = kLlamaArchitecture,
                   .isPermuted = true,
                   .takesBiases = true,
                   .takesLlama3Rope = true};
    family.gguf.toConfig = [](Json& config, GgufFacts& facts) {
        config["attention_bias"] = facts.hasQkvBias();
        config["mlp_bias"] = facts.hasUpBias();
    };
    return family;
}

}  // namespace luthier
