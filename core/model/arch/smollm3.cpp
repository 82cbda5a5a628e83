// SPDX-License-Identifier: Apache-2.0
// SmolLM 3 (Hugging Face 2025, `SmolLM3ForCausalLM`): LLaMA with some layers that do not rotate.
#include "model/arch/families.h"

namespace luthier {

namespace {

Result<ModelDescription> readSmolLm3(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d = llamaLike(read, config, file, 2e6);
    d.isTied = read.flag("tie_word_embeddings", true);
    d.hasQkvBias = d.hasAttentionOutBias = read.flag("attention_bias", false);
    d.hasFeedForwardBias = read.flag("mlp_bias", false);
    const std::int64_t interval = read.integer("no_rope_layer_interval", 4);
    read.require("no_rope_layer_interval", interval >= 1, "at least 1");
    spreadSwitches(d);
    const auto list = config.find("no_rope_layers");
    const bool hasList = list != config.end() && list->is_array();
    if (hasList)
        read.require("no_rope_layers", list->size() >= d.layerSwitches.size(),
                     "a list of one entry a layer");
    if (!read.problems().empty()) return read.problems();
    for (std::size_t layer = 0; layer < d.layerSwitches.size(); ++layer)
        d.layerSwitches[layer].isRotated =
            hasList ? (*list)[layer] != 0 : (static_cast<std::int64_t>(layer) + 1) % interval != 0;
    readWindows(read, config, d,
                read.flag("use_sliding_window", false) ? read.integer("sliding_window", 0) : 0,
                [&](std::int64_t layer) {
                    return !d.layerSwitches[static_cast<std::size_t>(layer)].isRotated;
                });
    return finished(read, std::move(d));
}

}  // namespace

Family smollm3Family() {
    Family family{.modelType = "smollm3",
                  .title = "SmolLM 3",
                  .architecture = "SmolLM3ForCausalLM",
                  .classifier = "SmolLM3ForSequenceClassification",
                  .read = &readSmolLm3};
    family.gguf = {.architecture = "smollm3", .isPermuted = true};
    family.gguf.lacks = [](const ModelDescription& d) -> std::string {
        for (std::int64_t layer = 0; layer < d.layers; ++layer)
            if (d.layer(layer).isRotated != ((layer + 1) % 4 != 0))
                return "another choice of layers without rotation than every fourth";
        return "";
    };
    family.gguf.toConfig = [](Json& config, GgufFacts& facts) {
        config["attention_bias"] = facts.hasQkvBias();
        config["mlp_bias"] = facts.hasUpBias();
    };
    return family;
}

}  // namespace luthier
