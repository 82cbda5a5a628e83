// SPDX-License-Identifier: Apache-2.0
// Granite (IBM 2024; Hugging Face `GraniteForCausalLM`): LLaMA with four scaling factors.
#include "model/arch/families.h"

namespace luthier {

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

}  // namespace luthier
