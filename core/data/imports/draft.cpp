// SPDX-License-Identifier: Apache-2.0
#include "data/imports/draft.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace luthier::imports {

namespace {

/// Why settings without a counterpart have none, by the beginning of their names.
constexpr std::pair<const char*, const char*> kReasons[] = {
    {"load_in_4bit", "frozen weights are not quantised yet"},
    {"load_in_8bit", "frozen weights are not quantised yet"},
    {"bnb_", "frozen weights are not quantised yet"},
    {"quantization", "frozen weights are not quantised yet"},
    {"deepspeed", "one device trains"},
    {"fsdp", "one device trains"},
    {"ddp_", "one device trains"},
    {"wandb", "the run folder keeps every event; nothing is reported elsewhere"},
    {"report_to", "the run folder keeps every event; nothing is reported elsewhere"},
    {"mlflow", "the run folder keeps every event; nothing is reported elsewhere"},
    {"logging", "every step is logged"},
    {"output_dir", "results lie in the workspace (--workspace)"},
    {"overwrite", "results lie in the workspace (--workspace)"},
    {"push_to_hub", "nothing is uploaded"},
    {"hub_", "nothing is uploaded"},
    {"flash_attn", "attention is chosen by the engine"},
    {"flash_attention", "attention is chosen by the engine"},
    {"sdp_attention", "attention is chosen by the engine"},
    {"xformers", "attention is chosen by the engine"},
    {"attn_implementation", "attention is chosen by the engine"},
    {"trust_remote_code", "code of models is never run"},
    {"dataloader", "reading needs no workers"},
    {"preprocessing_num_workers", "tokenising takes the cores there are"},
    {"dataset_num_proc", "tokenising takes the cores there are"},
    {"dataset_prepared_path", "tokenised data is cached by itself"},
    {"overwrite_cache", "tokenised data is cached by itself"},
    {"tf32", "precision is model.dtype"},
    {"pad_to", "rows are padded to the longest of their batch"},
};

std::string reasonFor(const std::string& key) {
    for (const auto& [begin, why] : kReasons)
        if (key.rfind(begin, 0) == 0) return why;
    return "Luthier has no such setting";
}

/// Set to nothing: leaving it out loses nothing.
bool isOff(const Json& value) {
    return value.is_null() || value == false || (value.is_structured() && value.empty()) ||
           value == "" || value == "none";
}

bool eraseDotted(Json& object, const std::string& dotted) {
    const std::size_t dot = dotted.find('.');
    if (dot == std::string::npos) return object.erase(dotted) > 0;
    const auto inner = object.find(dotted.substr(0, dot));
    return inner != object.end() && inner->is_object() &&
           eraseDotted(*inner, dotted.substr(dot + 1));
}

}  // namespace

const Json* Draft::take(const std::string& key) {
    m_taken.insert(key);
    const auto found = m_source.find(key);
    return found == m_source.end() || found->is_null() ? nullptr : &*found;
}

bool Draft::takeFlag(const std::string& key, bool fallback) {
    const Json* value = take(key);
    if (value == nullptr) return fallback;
    if (value->is_boolean()) return value->get<bool>();
    return *value == "true" || *value == "True" || *value == "yes" || *value == "on" ||
           *value == "auto" || *value == "full";
}

std::string Draft::takeText(const std::string& key) {
    const Json* value = take(key);
    return value == nullptr ? "" : value->is_string() ? value->get<std::string>() : value->dump();
}

const Setting* Draft::settingOf(const std::string& dotted) const {
    const std::size_t dot = dotted.find('.');
    const std::string section = dotted.substr(0, dot), key = dotted.substr(dot + 1);
    if (section == "train") return trainSchema().find(key);
    if (section == "data") return dataSchema().find(key);
    if (section == "model") return modelSchema().find(key);
    const Json* type = findDotted(m_run, "method.type");
    const Schema* schema = type == nullptr ? nullptr : m_methods.find(type->get<std::string>());
    return schema == nullptr ? nullptr : schema->find(key);
}

Json Draft::converted(const std::string& dotted, Json value) const {
    const Setting* setting = settingOf(dotted);
    if (setting == nullptr) return value;
    const bool isInteger = setting->type == SettingType::Integer;
    if (value.is_string() && (isInteger || setting->type == SettingType::Real)) {
        const std::string text = value;
        double number = 0;
        const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
        if (code == std::errc() && end == text.data() + text.size()) value = number;
    }
    if (isInteger && value.is_number_float() &&
        value.get<double>() == std::floor(value.get<double>()) &&
        std::abs(value.get<double>()) < 9e15)
        value = static_cast<std::int64_t>(value.get<double>());
    return value;
}

void Draft::put(const std::string& dotted, Json value, const std::string& key) {
    setDotted(m_run, dotted, converted(dotted, std::move(value)));
    m_origin[dotted] = key;
}

void Draft::same(const std::string& key, const std::string& dotted) {
    if (const Json* value = take(key)) put(dotted, *value, key);
}

void Draft::methodField(const std::string& name) {
    if (settingOf("method." + name) != nullptr) same(name, "method." + name);
}

void Draft::otherwise(const std::string& dotted, Json value) {
    if (!has(dotted)) setDotted(m_run, dotted, std::move(value));
}

void Draft::ignore(const std::string& key, const std::string& why) {
    const Json* value = take(key);
    if (value != nullptr) m_ignored.push_back({key, *value, why});
}

std::vector<std::string> Draft::leftOver() const {
    std::vector<std::string> keys;
    for (const auto& [key, value] : m_source.items())
        if (!m_taken.contains(key)) keys.push_back(key);
    return keys;
}

void Draft::model(const std::string& key) {
    const std::string path = takeText(key);
    if (path.empty()) {
        put("model.path", "model", key);
        miss("model.path", "the file names no model; \"model\" stands in for the folder of one");
        return;
    }
    put("model.path", path, key);
    const bool isHubName =
        path[0] != '.' && path[0] != '/' && std::count(path.begin(), path.end(), '/') <= 1;
    if (isHubName)
        miss("model.path", "\"" + path +
                               "\" looks like a name on the Hugging Face hub; give the folder it "
                               "was downloaded to");
}

ImportedSettings Draft::finish() {
    if (!has("data.train.path")) {
        put("data.train.path", "train.jsonl", "");
        miss("data.train.path", "the file names no data; \"train.jsonl\" stands in for it");
    }
    const Json* type = value("method.type");
    const Schema* method = type == nullptr ? nullptr : m_methods.find(type->get<std::string>());
    for (const auto& [section, schema] : {std::pair{"model", &modelSchema()},
                                          {"method", method},
                                          {"data", &dataSchema()},
                                          {"train", &trainSchema()}}) {
        if (schema == nullptr || !m_run.contains(section)) continue;
        for (const Problem& problem : check(m_run[section], *schema, section, {"type"})) {
            const Json* refused = value(problem.field);
            const std::string origin =
                m_origin.contains(problem.field) ? m_origin[problem.field] : problem.field;
            m_ignored.push_back(
                {origin, refused == nullptr ? Json() : *refused,
                 problem.code == "unknown_key" ? reasonFor(origin) : problem.message});
            eraseDotted(m_run, problem.field);
        }
    }
    for (const std::string& key : leftOver())
        if (!isOff(m_source[key])) m_ignored.push_back({key, m_source[key], reasonFor(key)});
    Json run = Json::object();  // in the order people read it
    for (const char* section : {"name", "model", "method", "data", "train"})
        if (m_run.contains(section)) run[section] = m_run[section];
    std::vector<TakenSetting> taken;
    for (const auto& [dotted, key] : m_origin)
        if (const Json* kept = value(dotted);
            kept != nullptr && m_source.contains(key.substr(0, key.find_first_of(".["))))
            taken.push_back({key, dotted, *kept});
    return {std::move(run), std::move(taken), std::move(m_ignored), std::move(m_missing)};
}

}  // namespace luthier::imports
