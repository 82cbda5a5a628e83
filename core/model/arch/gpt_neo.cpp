// SPDX-License-Identifier: Apache-2.0
// GPT-Neo (Black et al. 2021; Hugging Face `GPTNeoForCausalLM`): GPT-2 with plain layers, unscaled
// scores and a window in every other layer.
#include "model/arch/families.h"

namespace luthier {

namespace {

Result<ModelDescription> readGptNeo(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d;
    d.vocabulary = read.integer("vocab_size");
    d.hidden = read.integer("hidden_size");
    d.layers = read.integer("num_layers");
    d.heads = d.keyValueHeads = read.integer("num_heads");
    d.intermediate = read.integer("intermediate_size", 4 * d.hidden);
    d.maxPositions = read.integer("max_position_embeddings", 2048);
    d.headSize = d.heads > 0 ? d.hidden / d.heads : 0;
    d.norm = NormKind::LayerNorm;
    d.normEps = read.number("layer_norm_epsilon", 1e-5);
    d.feedForward = FeedForwardKind::Plain;
    d.position = PositionKind::Learned;
    d.attentionScale = 1;
    d.activation = read.activation("activation_function", "gelu_new");
    d.hasAttentionOutBias = d.hasFeedForwardBias = d.hasNormBias = true;
    d.isTied = read.flag("tie_word_embeddings", true);
    d.initializerRange = read.number("initializer_range", 0.02);
    // attention_types: [[["global", "local"], repeats], …]
    std::vector<std::string> types;
    if (const auto groups = config.find("attention_types");
        groups != config.end() && groups->is_array()) {
        for (const Json& group : *groups) {
            if (!group.is_array() || group.size() != 2 || !group[0].is_array() ||
                !group[1].is_number_integer() || group[1] > 1024)
                continue;
            for (std::int64_t i = 0; i < group[1].get<std::int64_t>(); ++i)
                for (const Json& type : group[0])
                    types.push_back(type.is_string() ? type.get<std::string>() : "");
        }
    } else {
        for (std::int64_t i = 0; i < d.layers && i < 1024; ++i)
            types.push_back(i % 2 == 0 ? "global" : "local");
    }
    read.require("attention_types", static_cast<std::int64_t>(types.size()) == d.layers,
                 "a pattern of as many entries as there are layers");
    if (!read.problems().empty()) return read.problems();
    spreadSwitches(d);
    const std::int64_t window = read.integer("window_size", 256);
    for (std::size_t layer = 0; layer < d.layerSwitches.size(); ++layer)
        if (types[layer] == "local") d.layerSwitches[layer].window = window;
    d.learnsPadding = true;
    d.names = {.embedding = "transformer.wte",
               .positions = "transformer.wpe",
               .finalNorm = "transformer.ln_f",
               .head = "lm_head",
               .layers = "transformer.h.",
               .attentionNorm = "ln_1",
               .query = "attn.attention.q_proj",
               .key = "attn.attention.k_proj",
               .value = "attn.attention.v_proj",
               .attentionOut = "attn.attention.out_proj",
               .feedForwardNorm = "ln_2",
               .up = "mlp.c_fc",
               .down = "mlp.c_proj"};
    d.prefixes = {"transformer."};
    d.ignoredSuffixes = {".attn.attention.bias", ".attn.attention.masked_bias"};
    return finished(read, std::move(d));
}

}  // namespace

Family gptNeoFamily() {
    Family family{.modelType = "gpt_neo",
                  .title = "GPT-Neo",
                  .architecture = "GPTNeoForCausalLM",
                  .classifier = "GPTNeoForSequenceClassification",
                  .read = &readGptNeo};
    family.targets = {.lowRank = {"q_proj", "v_proj"},
                      .scaled = {"q_proj", "v_proj", "c_proj"},
                      .scaledFeedForward = {"c_proj"}};
    return family;
}

}  // namespace luthier
