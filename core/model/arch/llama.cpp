// SPDX-License-Identifier: Apache-2.0
// LLaMA 1, 2, 3.x (Touvron et al. 2023; Hugging Face `LlamaForCausalLM`): pre-RMSNorm, rotary
// positions, grouped heads, SwiGLU.
#include "model/arch/families.h"

namespace luthier {

Result<ModelDescription> readLlama(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d = llamaLike(read, config, file);
    d.hasQkvBias = d.hasAttentionOutBias = read.flag("attention_bias", false);
    d.hasFeedForwardBias = read.flag("mlp_bias", false);
    return finished(read, std::move(d));
}

}  // namespace luthier
