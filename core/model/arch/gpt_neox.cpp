// SPDX-License-Identifier: Apache-2.0
// GPT-NeoX, Pythia, Dolly (Black et al. 2022; Hugging Face `GPTNeoXForCausalLM`): parallel parts
// with a LayerNorm each, fused q-k-v by head.
#include "model/arch/families.h"

namespace luthier {

namespace {

Result<ModelDescription> readGptNeoX(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    Json known = config;  // older files spell the rotation differently
    if (config.contains("rotary_pct") && !config.contains("partial_rotary_factor"))
        known["partial_rotary_factor"] = config["rotary_pct"];
    if (config.contains("rotary_emb_base") && !config.contains("rope_theta"))
        known["rope_theta"] = config["rotary_emb_base"];
    ModelDescription d = llamaLike(read, known, file, 10000, 0.25);
    d.norm = NormKind::LayerNorm;
    d.hasNormBias = true;
    d.normEps = read.number("layer_norm_eps", 1e-5);
    d.flow = read.flag("use_parallel_residual", true) ? BlockFlow::Parallel : BlockFlow::Sequential;
    d.feedForward = FeedForwardKind::Plain;
    d.activation = read.activation("hidden_act", "gelu");
    d.hasQkvBias = d.hasAttentionOutBias = read.flag("attention_bias", true);
    d.hasFeedForwardBias = true;
    d.qkvLayout = QkvLayout::Grouped;
    d.learnsPadding = true;
    d.names = {.embedding = "gpt_neox.embed_in",
               .finalNorm = "gpt_neox.final_layer_norm",
               .head = "embed_out",
               .layers = "gpt_neox.layers.",
               .attentionNorm = "input_layernorm",
               .fusedQkv = "attention.query_key_value",
               .attentionOut = "attention.dense",
               .feedForwardNorm = "post_attention_layernorm",
               .up = "mlp.dense_h_to_4h",
               .down = "mlp.dense_4h_to_h"};
    d.prefixes = {"gpt_neox."};
    d.ignoredSuffixes = {".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq"};
    return finished(read, std::move(d));
}

}  // namespace

Family gptNeoxFamily() {
    Family family{.modelType = "gpt_neox",
                  .title = "GPT-NeoX",
                  .architecture = "GPTNeoXForCausalLM",
                  .classifier = "GPTNeoXForSequenceClassification",
                  .read = &readGptNeoX};
    family.targets = {.lowRank = {"query_key_value"},
                      .scaled = {"query_key_value", "dense_4h_to_h"},
                      .scaledFeedForward = {"dense_4h_to_h"}};
    family.gguf = {.architecture = "gptneox",
                   .needsHead = true,
                   .takesBiases = true,
                   .isGelu = true,
                   .keyValueHeads = "",
                   .normEps = "layer_norm_eps",
                   .headSize = "",
                   .ropeTheta = "rotary_emb_base",
                   .rotaryShare = "rotary_pct",
                   .saysRotaryShare = true};
    family.gguf.lacks = [](const ModelDescription& d) -> std::string {
        return d.hasQkvBias ? "" : "projections without biases";
    };
    family.gguf.ownKeys = [](const ModelDescription& d) {
        return GgufKeys{{"use_parallel_residual", d.flow == BlockFlow::Parallel}};
    };
    family.gguf.toConfig = [](Json& config, GgufFacts& facts) {
        config["use_parallel_residual"] = facts.isSet("use_parallel_residual");
    };
    return family;
}

}  // namespace luthier
