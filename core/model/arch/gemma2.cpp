// SPDX-License-Identifier: Apache-2.0
// Gemma 2 (Gemma Team 2024; Hugging Face `Gemma2ForCausalLM`): norms before and after each part,
// capped scores and logits, a window in every other layer.
#include "model/arch/families.h"

#include <cmath>

namespace luthier {

namespace {

/// llama.cpp scales the scores of the largest published size, told by its layers, by the width.
constexpr std::int64_t kLargestGemma2 = 46;

Result<ModelDescription> readGemma2(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d = llamaLike(read, config, file, 10000, 1.0, 256);
    d.normOffset = 1;
    d.isTied = read.flag("tie_word_embeddings", true);
    d.embeddingScale = std::sqrt(static_cast<double>(d.hidden));
    d.hasQkvBias = d.hasAttentionOutBias = read.flag("attention_bias", false);
    d.names.attentionPostNorm = "post_attention_layernorm";
    d.names.feedForwardNorm = "pre_feedforward_layernorm";
    d.names.feedForwardPostNorm = "post_feedforward_layernorm";
    d.activation = read.activation("hidden_activation", "gelu_pytorch_tanh");
    const double scalar = read.number("query_pre_attn_scalar", 256);
    read.require("query_pre_attn_scalar", scalar > 0, "positive");
    d.attentionScale = 1.0 / std::sqrt(scalar);
    read.require("use_bidirectional_attention", !read.flag("use_bidirectional_attention", false),
                 "false");
    // null switches a cap off; a missing key means its default.
    const auto cap = [&](const char* key, double fallback) {
        return read.number(key, config.contains(key) ? 0 : fallback);
    };
    d.attentionSoftCap = cap("attn_logit_softcapping", 50);
    d.logitSoftCap = cap("final_logit_softcapping", 30);
    readWindows(read, config, d,
                read.integer("sliding_window", config.contains("sliding_window") ? 0 : 4096),
                [](std::int64_t layer) { return layer % 2 == 0; });
    return finished(read, std::move(d));
}

}  // namespace

Family gemma2Family() {
    Family family{.modelType = "gemma2",
                  .title = "Gemma 2",
                  .architecture = "Gemma2ForCausalLM",
                  .classifier = "Gemma2ForSequenceClassification",
                  .read = &readGemma2};
    family.targets = {.lowRank = {"q_proj", "v_proj"},
                      .scaled = {"q_proj", "v_proj", "down_proj"},
                      .scaledFeedForward = {"down_proj"},
                      .norms = {"input_layernorm", "post_attention_layernorm",
                                "pre_feedforward_layernorm", "post_feedforward_layernorm", "norm"}};
    family.gguf = {.architecture = "gemma2",
                   .isGelu = true,
                   .widthScaledLayers = kLargestGemma2,
                   .windowPeriod = 2};
    family.gguf.lacks = [](const ModelDescription& d) -> std::string {
        if (!d.isTied) return "a head that is not the embedding";
        return d.attentionSoftCap <= 0 || d.logitSoftCap <= 0 ? "no soft caps" : "";
    };
    family.gguf.toConfig = [](Json& config, GgufFacts& facts) {
        config["hidden_activation"] = "gelu_pytorch_tanh";
        config["hidden_act"] = "gelu_pytorch_tanh";
        cappedConfig(config, facts, kLargestGemma2);
    };
    return family;
}

}  // namespace luthier
