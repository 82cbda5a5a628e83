// SPDX-License-Identifier: Apache-2.0
// Gemma (Gemma Team 2024; Hugging Face `GemmaForCausalLM`): LLaMA with norms around 1, scaled
// embeddings and a GELU gate.
#include "model/arch/families.h"

#include <cmath>

namespace luthier {

namespace {

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

}  // namespace

Family gemmaFamily() {
    Family family{.modelType = "gemma",
                  .title = "Gemma",
                  .architecture = "GemmaForCausalLM",
                  .classifier = "GemmaForSequenceClassification",
                  .read = &readGemma};
    family.targets = {.lowRank = {"q_proj", "v_proj"},
                      .scaled = {"q_proj", "v_proj", "down_proj"},
                      .scaledFeedForward = {"down_proj"},
                      .norms = {"input_layernorm", "post_attention_layernorm", "norm"}};
    family.gguf = {.architecture = "gemma", .isGelu = true};
    family.gguf.lacks = [](const ModelDescription& d) -> std::string {
        return d.isTied ? "" : "a head that is not the embedding";
    };
    family.gguf.toConfig = [](Json& config, GgufFacts&) {
        config["hidden_activation"] = "gelu_pytorch_tanh";
        config["hidden_act"] = "gelu_pytorch_tanh";
    };
    return family;
}

}  // namespace luthier
