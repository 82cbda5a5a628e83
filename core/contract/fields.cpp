// SPDX-License-Identifier: Apache-2.0
#include "contract/fields.h"

#include <algorithm>
#include <limits>

namespace luthier {

namespace {

bool isWhole(const Json& value) {
    return value.is_number_integer() &&
           !(value.is_number_unsigned() &&
             value.get<std::uint64_t>() >
                 static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()));
}

}  // namespace

Fields::Fields(const Json& object, std::string what) : m_object(object), m_what(std::move(what)) {
    if (!object.is_object())
        throw Failure({"bad_request", "A " + m_what + " must be an object, {\"key\": value, …}.",
                       "", m_what, ExitCode::BadUsage});
}

const Json* Fields::find(const char* key) const {
    const auto found = m_object.find(key);
    return found == m_object.end() || found->is_null() ? nullptr : &*found;
}

const Json& Fields::at(const char* key) const {
    const Json* found = find(key);
    if (found == nullptr)
        throw Failure({"bad_request", "The " + m_what + " lacks the key \"" + key + "\".", "", key,
                       ExitCode::BadUsage});
    return *found;
}

void Fields::refuse(const char* key, const char* wanted) const {
    throw Failure({"bad_request",
                   "\"" + std::string(key) + "\" of the " + m_what + " must be " + wanted +
                       ", not " + dumpLine(*find(key)).substr(0, 80) + ".",
                   "", key, ExitCode::BadUsage});
}

template <>
std::string Fields::need<std::string>(const char* key) const {
    const Json& value = at(key);
    if (!value.is_string()) refuse(key, "text");
    return value.get<std::string>();
}

template <>
bool Fields::need<bool>(const char* key) const {
    const Json& value = at(key);
    if (!value.is_boolean()) refuse(key, "true or false");
    return value.get<bool>();
}

template <>
std::int64_t Fields::need<std::int64_t>(const char* key) const {
    const Json& value = at(key);
    if (!isWhole(value)) refuse(key, "a whole number");
    return value.get<std::int64_t>();
}

template <>
std::uint64_t Fields::need<std::uint64_t>(const char* key) const {
    const Json& value = at(key);
    if (!value.is_number_unsigned()) refuse(key, "a whole number of at least 0");
    return value.get<std::uint64_t>();
}

template <>
double Fields::need<double>(const char* key) const {
    const Json& value = at(key);
    if (!value.is_number()) refuse(key, "a number");
    return value.get<double>();
}

template <>
std::vector<std::string> Fields::need<std::vector<std::string>>(const char* key) const {
    const Json& value = at(key);
    if (!value.is_array() ||
        !std::all_of(value.begin(), value.end(), [](const Json& each) { return each.is_string(); }))
        refuse(key, "a list of texts");
    return value.get<std::vector<std::string>>();
}

template <>
std::vector<std::int64_t> Fields::need<std::vector<std::int64_t>>(const char* key) const {
    const Json& value = at(key);
    if (!value.is_array() || !std::all_of(value.begin(), value.end(), isWhole))
        refuse(key, "a list of whole numbers");
    return value.get<std::vector<std::int64_t>>();
}

const Json& Fields::object(const char* key) const {
    const Json& value = at(key);
    if (!value.is_object()) refuse(key, "an object");
    return value;
}

const Json& Fields::list(const char* key) const {
    static const Json empty = Json::array();
    if (!has(key)) return empty;
    const Json& value = at(key);
    if (!value.is_array()) refuse(key, "a list");
    return value;
}

std::string textOr(const Json& object, const char* key) {
    if (!object.is_object()) return "";
    const auto found = object.find(key);
    return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

}  // namespace luthier
