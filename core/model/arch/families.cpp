// SPDX-License-Identifier: Apache-2.0
#include "model/arch/families.h"

namespace luthier {

const std::vector<Family>& families() {
    static const std::vector<Family> list{
        {"llama", "LlamaForCausalLM", &readLlama},
        {"gpt2", "GPT2LMHeadModel", &readGpt2},
        {"gpt_neo", "GPTNeoForCausalLM", &readGptNeo},
        {"gptj", "GPTJForCausalLM", &readGptJ},
        {"gpt_neox", "GPTNeoXForCausalLM", &readGptNeoX},
        {"opt", "OPTForCausalLM", &readOpt},
        {"bloom", "BloomForCausalLM", &readBloom},
        {"falcon", "FalconForCausalLM", &readFalcon},
        {"mpt", "MptForCausalLM", &readMpt},
        {"mistral", "MistralForCausalLM", &readMistral},
        {"mixtral", "MixtralForCausalLM", &readMixtral},
        {"qwen2", "Qwen2ForCausalLM", &readQwen2},
        {"qwen2_moe", "Qwen2MoeForCausalLM", &readQwen2Moe},
        {"qwen3", "Qwen3ForCausalLM", &readQwen3},
        {"qwen3_moe", "Qwen3MoeForCausalLM", &readQwen3Moe},
        {"gemma", "GemmaForCausalLM", &readGemma},
        {"gemma2", "Gemma2ForCausalLM", &readGemma2},
        {"gemma3_text", "Gemma3ForCausalLM", &readGemma3Text},
        {"phi", "PhiForCausalLM", &readPhi},
        {"phi3", "Phi3ForCausalLM", &readPhi3},
        {"stablelm", "StableLmForCausalLM", &readStableLm},
        {"olmo", "OlmoForCausalLM", &readOlmo},
        {"olmo2", "Olmo2ForCausalLM", &readOlmo2},
        {"starcoder2", "Starcoder2ForCausalLM", &readStarcoder2},
        {"granite", "GraniteForCausalLM", &readGranite},
        {"smollm3", "SmolLM3ForCausalLM", &readSmolLm3},
        {"cohere", "CohereForCausalLM", &readCohere},
    };
    return list;
}

Result<ModelDescription> describeModel(const Json& config, const std::string& file) {
    const std::string type = config.is_object() && config.contains("model_type") && config["model_type"].is_string()
                                 ? config["model_type"].get<std::string>() : "";
    if (type.empty())
        return Problem{"config_model_type", file + " has no model_type.", "Use the config.json that came with the model.", file};
    std::vector<std::string> known;
    for (const Family& family : families()) {
        known.push_back(family.modelType);
        if (type != family.modelType) continue;
        Result<ModelDescription> description = family.read(config, file);
        if (!description) return description;
        description->family = family.modelType;
        description->architecture = family.architecture;
        Problems problems = checkDescription(*description, file);
        if (!problems.empty()) return problems;
        return description;
    }
    std::string all;
    for (const std::string& name : known) all += (all.empty() ? "" : ", ") + name;
    const std::string near = nearestName(type, known);
    const bool isRemote = config.contains("auto_map");
    return Problem{"unknown_family",
                   file + " describes a model of the family \"" + type + "\", which Luthier does not know yet" +
                       (isRemote ? " and which brings its own Python code; Luthier never runs code from a model folder." : "."),
                   near.empty() ? "Known families: " + all + "." : "Its name is nearest to \"" + near + "\". Known families: " + all + ".",
                   file};
}

}  // namespace luthier
