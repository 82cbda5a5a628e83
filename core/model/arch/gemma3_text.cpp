// SPDX-License-Identifier: Apache-2.0
// Gemma 3, text (Gemma Team 2025; Hugging Face `Gemma3ForCausalLM`): Gemma 2 with norms on queries
// and keys instead of caps, and a faster rotation in the layers with a window.
#include "model/arch/families.h"

#include <cmath>

namespace luthier {

namespace {

/// llama.cpp scales the scores of the largest published size, told by its layers, by the width.
constexpr std::int64_t kLargestGemma3 = 62;

Result<ModelDescription> readGemma3Text(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    // Two rotations: nested in rope_parameters, or in older files rope_theta with rope_scaling and
    // rope_local_base_freq.
    Json global = config;
    Json local{{"rope_theta", config.value("rope_local_base_freq", Json(10000.0))}};
    if (const auto both = config.find("rope_parameters");
        both != config.end() && both->is_object()) {
        global["rope_parameters"] = both->value("full_attention", Json::object());
        local = Json{{"rope_parameters", both->value("sliding_attention", Json::object())}};
    }
    ModelDescription d = llamaLike(read, global, file, 1e6, 1.0, 256);
    if (!read.problems().empty()) return read.problems();
    Result<RopeSpec> localRope = readRope(local, file, d.headSize, 10000);
    if (!localRope) return localRope.problems();
    d.localRope = *localRope;
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
    d.queryKeyNorm = QueryKeyNorm::PerHead;
    d.names.queryNorm = "self_attn.q_norm";
    d.names.keyNorm = "self_attn.k_norm";
    d.attentionSoftCap = read.number("attn_logit_softcapping", 0);
    d.logitSoftCap = read.number("final_logit_softcapping", 0);
    const std::int64_t pattern = read.integer(
        read.has("sliding_window_pattern") ? "sliding_window_pattern" : "_sliding_window_pattern",
        6);
    read.require("sliding_window_pattern", pattern >= 1, "at least 1");
    readWindows(
        read, config, d, read.integer("sliding_window", 4096),
        [pattern](std::int64_t layer) { return pattern > 0 && (layer + 1) % pattern != 0; });
    for (LayerSwitches& layer : d.layerSwitches) layer.usesLocalRope = layer.window > 0;
    return finished(read, std::move(d));
}

}  // namespace

Family gemma3TextFamily() {
    Family family{.modelType = "gemma3_text",
                  .title = "Gemma 3",
                  .architecture = "Gemma3ForCausalLM",
                  .classifier = "Gemma3TextForSequenceClassification",
                  .read = &readGemma3Text};
    family.targets = {.lowRank = {"q_proj", "v_proj"},
                      .scaled = {"q_proj", "v_proj", "down_proj"},
                      .scaledFeedForward = {"down_proj"},
                      .norms = {"input_layernorm", "post_attention_layernorm",
                                "pre_feedforward_layernorm", "post_feedforward_layernorm", "norm"}};
    family.gguf = {.architecture = "gemma3",
                   .isGelu = true,
                   .widthScaledLayers = kLargestGemma3,
                   .windowPeriod = 6};
    family.gguf.lacks = [](const ModelDescription& d) -> std::string {
        return d.attentionSoftCap > 0 ? "attn_logit_softcapping" : "";
    };
    family.gguf.toConfig = [](Json& config, GgufFacts& facts) {
        config["hidden_activation"] = "gelu_pytorch_tanh";
        config["hidden_act"] = "gelu_pytorch_tanh";
        cappedConfig(config, facts, kLargestGemma3);
    };
    return family;
}

}  // namespace luthier
