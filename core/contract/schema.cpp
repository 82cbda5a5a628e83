// SPDX-License-Identifier: Apache-2.0
#include "contract/schema.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <sstream>
#include <utility>

namespace luthier {

namespace {

constexpr std::array<std::pair<SettingType, const char*>, 11> kTypeNames{{
    {SettingType::Integer, "integer"},
    {SettingType::Real, "real"},
    {SettingType::Boolean, "boolean"},
    {SettingType::Text, "text"},
    {SettingType::Path, "path"},
    {SettingType::Choice, "choice"},
    {SettingType::Names, "names"},
    {SettingType::Texts, "texts"},
    {SettingType::Integers, "integers"},
    {SettingType::NumberMap, "number_map"},
    {SettingType::BooleanOrChoice, "boolean_or_choice"},
}};

std::string typeName(SettingType type) {
    for (const auto& [value, name] : kTypeNames)
        if (value == type) return name;
    return "text";
}

SettingType typeFromName(const std::string& name) {
    for (const auto& [value, text] : kTypeNames)
        if (name == text) return value;
    return SettingType::Text;
}

std::string numberText(double value) {
    std::ostringstream stream;
    stream << value;
    return stream.str();
}

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
    return text;
}

bool isListOf(const Json& value, bool (Json::*test)() const noexcept) {
    return value.is_array() && std::all_of(value.begin(), value.end(),
                                           [test](const Json& item) { return (item.*test)(); });
}

bool isIntegral(const Json& value) {
    return value.is_number_integer() ||
           (value.is_number_float() && value.get<double>() == std::floor(value.get<double>()));
}

/// What the type wants, in words; empty when `value` fits.
std::string typeMismatch(const Setting& setting, const Json& value) {
    switch (setting.type) {
        case SettingType::Integer:
            return isIntegral(value) ? "" : "a whole number";
        case SettingType::Real:
            return value.is_number() ? "" : "a number";
        case SettingType::Boolean:
            return value.is_boolean() ? "" : "true or false";
        case SettingType::Text:
        case SettingType::Path:
            return value.is_string() ? "" : "a string";
        case SettingType::Choice:
            return value.is_string() ? "" : "one of " + joined(setting.choices);
        case SettingType::Names:
            return value.is_string() || isListOf(value, &Json::is_string)
                       ? ""
                       : "a list of names or one string";
        case SettingType::Texts:
            return isListOf(value, &Json::is_string) ? "" : "a list of strings";
        case SettingType::Integers:
            return value.is_number_integer() || isListOf(value, &Json::is_number_integer)
                       ? ""
                       : "a whole number or a list of them";
        case SettingType::NumberMap:
            return value.is_object() &&
                           std::all_of(value.begin(), value.end(),
                                       [](const Json& item) { return item.is_number(); })
                       ? ""
                       : "an object of names to numbers";
        case SettingType::BooleanOrChoice:
            return value.is_boolean() || value.is_string()
                       ? ""
                       : "true, false or one of " + joined(setting.choices);
    }
    return "";
}

/// What a number may be whatever its setting: 64 bits of a whole number, and of others what float32
/// computes with.
bool isComputable(const Setting& setting, const Json& number) {
    if (number.is_number_unsigned())
        return number.get<std::uint64_t>() <=
               static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    const bool isWhole =
        setting.type == SettingType::Integer || setting.type == SettingType::Integers;
    return number.is_number_integer() ||
           std::abs(number.get<double>()) <= (isWhole ? 9007199254740992.0 : 1e30);
}

Problems checkRange(const Setting& setting, const Json& value, const std::string& field) {
    if (value.is_structured()) {
        for (const Json& item : value)
            if (item.is_number() && !isComputable(setting, item))
                return {Problem{
                    "out_of_range",
                    field + " holds " + dumpLine(item) + ", which is too large to compute with.",
                    setting.help, field, ExitCode::BadUsage}};
        return {};
    }
    if (!value.is_number()) return {};
    const double number = value.get<double>();
    if (!isComputable(setting, value))
        return {Problem{"out_of_range",
                        field + " is " + dumpLine(value) + ", which is too large to compute with.",
                        setting.help, field, ExitCode::BadUsage}};
    const bool below = setting.minimum && (setting.minimumExclusive ? number <= *setting.minimum
                                                                    : number < *setting.minimum);
    const bool above = setting.maximum && number > *setting.maximum;
    if (!below && !above && std::isfinite(number)) return {};
    std::string allowed;
    if (setting.minimum)
        allowed =
            (setting.minimumExclusive ? "more than " : "at least ") + numberText(*setting.minimum);
    if (setting.maximum)
        allowed += (allowed.empty() ? "" : " and ") + std::string("at most ") +
                   numberText(*setting.maximum);
    return {Problem{"out_of_range",
                    field + " is " + numberText(number) + "; it must be " + allowed + ".",
                    setting.help, field, ExitCode::BadUsage}};
}

Problems checkValue(const Setting& setting, const Json& value, const std::string& field) {
    if (value.is_null() && (setting.isNullable || setting.defaultValue.is_null())) return {};
    if (const std::string wanted = typeMismatch(setting, value); !wanted.empty()) {
        return {
            Problem{"wrong_type",
                    field + " is " + dumpLine(value).substr(0, 80) + "; it must be " + wanted + ".",
                    setting.help, field, ExitCode::BadUsage}};
    }
    const bool mustBeChoice =
        setting.type == SettingType::Choice || setting.type == SettingType::BooleanOrChoice;
    if (mustBeChoice && value.is_string() && !setting.choices.empty()) {
        const std::string text = value.get<std::string>();
        if (std::find(setting.choices.begin(), setting.choices.end(), text) ==
            setting.choices.end()) {
            const std::string near = nearestName(text, setting.choices);
            return {Problem{
                "unknown_choice",
                field + " is \"" + text + "\"; it must be one of " + joined(setting.choices) + ".",
                near.empty() ? "" : "Did you mean \"" + near + "\"?", field, ExitCode::BadUsage}};
        }
    }
    return checkRange(setting, value, field);
}

void checkObject(const Json& object, const Schema& schema, const std::string& path,
                 const std::string& prefix, const std::vector<std::string>& ignored,
                 Problems& problems) {
    for (const auto& [key, value] : object.items()) {
        const std::string dotted = path.empty() ? key : path + "." + key;
        if (std::find(ignored.begin(), ignored.end(), dotted) != ignored.end()) continue;
        const std::string field = prefix.empty() ? dotted : prefix + "." + dotted;
        if (const Setting* setting = schema.find(dotted)) {
            for (Problem& problem : checkValue(*setting, value, field))
                problems.push_back(std::move(problem));
            continue;
        }
        const bool isGroup =
            std::any_of(schema.settings.begin(), schema.settings.end(),
                        [&](const Setting& s) { return s.key.rfind(dotted + ".", 0) == 0; });
        if (isGroup && value.is_object()) {
            checkObject(value, schema, dotted, prefix, ignored, problems);
            continue;
        }
        std::vector<std::string> known;
        for (const Setting& setting : schema.settings) known.push_back(setting.key);
        const std::string near = nearestName(dotted, known);
        problems.push_back(
            {isGroup ? "wrong_type" : "unknown_key",
             isGroup ? field + " must be an object." : field + " is not a known key.",
             near.empty() ? "Known keys: " + joined(known) + "." : "Did you mean \"" + near + "\"?",
             field, ExitCode::BadUsage});
    }
}

}  // namespace

const Setting* Schema::find(const std::string& key) const {
    const auto found = std::find_if(settings.begin(), settings.end(),
                                    [&](const Setting& s) { return s.key == key; });
    return found == settings.end() ? nullptr : &*found;
}

Json toJson(const Schema& schema) {
    Json list = Json::array();
    for (const Setting& setting : schema.settings) {
        Json item{{"key", setting.key},
                  {"type", typeName(setting.type)},
                  {"default", setting.defaultValue},
                  {"label", setting.label},
                  {"help", setting.help}};
        if (setting.minimum) item["minimum"] = *setting.minimum;
        if (setting.maximum) item["maximum"] = *setting.maximum;
        if (setting.minimumExclusive) item["minimum_exclusive"] = true;
        if (!setting.unit.empty()) item["unit"] = setting.unit;
        if (!setting.choices.empty()) item["choices"] = setting.choices;
        if (!setting.appliesWhen.key.empty())
            item["applies_when"] = {{"key", setting.appliesWhen.key},
                                    {"values", setting.appliesWhen.values}};
        if (!setting.group.empty()) item["group"] = setting.group;
        item["usual"] = setting.isUsual;
        if (setting.isNullable) item["nullable"] = true;
        list.push_back(std::move(item));
    }
    return Json{{"name", schema.name}, {"fields", std::move(list)}};
}

Schema schemaFromJson(const Json& json) {
    Schema schema;
    schema.name = json.value("name", "");
    for (const Json& item : json.value("fields", Json::array())) {
        Setting setting;
        setting.key = item.value("key", "");
        setting.type = typeFromName(item.value("type", "text"));
        setting.defaultValue = item.value("default", Json());
        setting.label = item.value("label", "");
        setting.help = item.value("help", "");
        if (item.contains("minimum")) setting.minimum = item["minimum"].get<double>();
        if (item.contains("maximum")) setting.maximum = item["maximum"].get<double>();
        setting.minimumExclusive = item.value("minimum_exclusive", false);
        setting.unit = item.value("unit", "");
        setting.choices = item.value("choices", std::vector<std::string>{});
        if (item.contains("applies_when"))
            setting.appliesWhen = {item["applies_when"].value("key", ""),
                                   item["applies_when"].value("values", std::vector<Json>{})};
        setting.group = item.value("group", "");
        setting.isUsual = item.value("usual", true);
        setting.isNullable = item.value("nullable", false);
        schema.settings.push_back(std::move(setting));
    }
    return schema;
}

Problems check(const Json& object, const Schema& schema, const std::string& prefix,
               const std::vector<std::string>& ignored) {
    Problems problems;
    if (!object.is_object()) {
        problems.push_back(
            {"wrong_type", prefix + " must be an object.", "", prefix, ExitCode::BadUsage});
        return problems;
    }
    checkObject(object, schema, "", prefix, ignored, problems);
    return problems;
}

Json withDefaults(const Json& object, const Schema& schema) {
    Json complete = object.is_object() ? object : Json::object();
    for (const Setting& setting : schema.settings)
        if (findDotted(complete, setting.key) == nullptr)
            setDotted(complete, setting.key, setting.defaultValue);
    return complete;
}

const Json* findDotted(const Json& object, const std::string& dottedKey) {
    const Json* node = &object;
    std::size_t begin = 0;
    while (begin <= dottedKey.size()) {
        const std::size_t end = std::min(dottedKey.find('.', begin), dottedKey.size());
        if (!node->is_object()) return nullptr;
        const auto found = node->find(dottedKey.substr(begin, end - begin));
        if (found == node->end()) return nullptr;
        node = &*found;
        begin = end + 1;
    }
    return node;
}

void setDotted(Json& object, const std::string& dottedKey, Json value) {
    Json* node = &object;
    std::size_t begin = 0;
    while (true) {
        const std::size_t end = std::min(dottedKey.find('.', begin), dottedKey.size());
        if (!node->is_object()) *node = Json::object();
        node = &(*node)[dottedKey.substr(begin, end - begin)];
        if (end == dottedKey.size()) break;
        begin = end + 1;
    }
    *node = std::move(value);
}

}  // namespace luthier
