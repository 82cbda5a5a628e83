// SPDX-License-Identifier: Apache-2.0
#include "model/arch/families.h"

#include <cmath>

namespace luthier {

const std::vector<Family>& families() {
    static const std::vector<Family> list{
        {"llama", "LlamaForCausalLM", &readLlama},
        {"gpt2", "GPT2LMHeadModel", &readGpt2},
    };
    return list;
}

Result<DecoderDescription> describeModel(const Json& config, const std::string& file) {
    const std::string type = config.is_object() && config.contains("model_type") && config["model_type"].is_string()
                                 ? config["model_type"].get<std::string>() : "";
    if (type.empty())
        return Problem{"config_model_type", file + " has no model_type.", "Use the config.json that came with the model.", file};
    std::vector<std::string> known;
    for (const Family& family : families()) {
        known.push_back(family.modelType);
        if (type != family.modelType) continue;
        Result<DecoderDescription> description = family.read(config, file);
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

void ConfigReader::complain(const char* key, const std::string& wanted) {
    const auto found = m_config.find(key);
    const std::string value = found == m_config.end() ? "missing" : dumpLine(*found).substr(0, 60);
    m_problems.push_back({"config_value", m_file + ": " + key + " is " + value + "; it must be " + wanted + ".",
                          "Use the config.json that came with the model.", m_file});
}

std::int64_t ConfigReader::integer(const char* key) {
    const auto found = m_config.find(key);
    if (found != m_config.end() && found->is_number_integer()) return found->get<std::int64_t>();
    complain(key, "a whole number");
    return 0;
}

std::int64_t ConfigReader::integer(const char* key, std::int64_t fallback) {
    const auto found = m_config.find(key);
    return found == m_config.end() || found->is_null() ? fallback : integer(key);
}

double ConfigReader::number(const char* key, double fallback) {
    const auto found = m_config.find(key);
    if (found == m_config.end() || found->is_null()) return fallback;
    if (found->is_number() && std::isfinite(found->get<double>())) return found->get<double>();
    complain(key, "a number");
    return fallback;
}

bool ConfigReader::flag(const char* key, bool fallback) {
    const auto found = m_config.find(key);
    if (found == m_config.end() || found->is_null()) return fallback;
    if (found->is_boolean()) return found->get<bool>();
    complain(key, "true or false");
    return fallback;
}

std::string ConfigReader::text(const char* key, const std::string& fallback) {
    const auto found = m_config.find(key);
    if (found == m_config.end() || found->is_null()) return fallback;
    if (found->is_string()) return found->get<std::string>();
    complain(key, "a string");
    return fallback;
}

kernels::GateActivation ConfigReader::activation(const char* key, const std::string& fallback) {
    const std::string name = text(key, fallback);
    if (name == "silu" || name == "swish") return kernels::GateActivation::Silu;
    if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast") return kernels::GateActivation::GeluTanh;
    if (name == "gelu") return kernels::GateActivation::Gelu;
    if (name == "relu") return kernels::GateActivation::Relu;
    complain(key, "one of silu, gelu, gelu_new, gelu_pytorch_tanh, relu");
    return kernels::GateActivation::Silu;
}

}  // namespace luthier
