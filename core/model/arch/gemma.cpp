// SPDX-License-Identifier: Apache-2.0
// Gemma (Gemma Team 2024; Hugging Face `GemmaForCausalLM`): LLaMA with norms around 1, scaled
// embeddings and a GELU gate.
#include "model/arch/families.h"

#include <cmath>

namespace luthier {

Result<ModelDescription> readGemma(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d = llamaLike(read, config, file, 10000, 1.0, 256);
    d.normOffset = 1;
    d.isTied = read.flag("tie_word_embeddings", true);
    d.embeddingScale = std::sqrt(static_cast<double>(d.hidden));
    d.hasQkvBias = d.hasAttentionOutBias = read.flag("attention_bias", false);
    // The first files say "gelu" and mean its tanh form.
    d.activation = read.text("hidden_act", "gelu_pytorch_tanh") == "gelu"
                       ? kernels::GateActivation::GeluTanh
                       : read.activation("hidden_act", "gelu_pytorch_tanh");
    return finished(read, std::move(d));
}

}  // namespace luthier
