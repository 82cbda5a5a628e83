// SPDX-License-Identifier: Apache-2.0
#include "contract/json.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <numeric>

namespace luthier {

namespace {

constexpr int kMaxDepth = 64;

std::string positionOf(std::string_view text, std::size_t byte) {
    std::size_t line = 1;
    std::size_t column = 1;
    for (std::size_t i = 0; i + 1 < byte && i < text.size(); ++i) {
        if (text[i] == '\n') {
            ++line;
            column = 1;
        } else {
            ++column;
        }
    }
    return "line " + std::to_string(line) + ", column " + std::to_string(column);
}

std::size_t editDistance(const std::string& a, const std::string& b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = row[j];
            row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
        }
    }
    return row.back();
}

}  // namespace

Result<Json> parseJson(std::string_view text, const std::string& name, JsonComments comments) {
    bool tooDeep = false;
    const Json::parser_callback_t guard = [&tooDeep](int depth, Json::parse_event_t, Json&) {
        if (depth > kMaxDepth) {
            tooDeep = true;
            throw std::length_error("depth");
        }
        return true;
    };
    try {
        return Json::parse(text, guard, true, comments == JsonComments::Allowed);
    } catch (const Json::parse_error& error) {
        return Problem{"json_syntax", name + " is not valid JSON at " + positionOf(text, error.byte) + ".",
                       "Correct the text there; strings need double quotes and lists no trailing comma.", name};
    } catch (const Json::out_of_range&) {
        return Problem{"json_number", name + " holds a number that no 64-bit float can hold.", "Numbers lie within 1.8e308 of 0.", name};
    } catch (const Json::exception&) {
        return Problem{"json_syntax", name + " cannot be read as JSON.", "Use a file written by a known tool.", name};
    } catch (const std::length_error&) {
        return Problem{"json_depth", name + " nests deeper than " + std::to_string(kMaxDepth) + " levels.",
                       "Use a file written by a known tool.", name};
    }
}

Result<Json> readJsonFile(const std::filesystem::path& path, std::size_t maxBytes, JsonComments comments) {
    std::error_code code;
    const auto size = std::filesystem::file_size(path, code);
    if (code) {
        return Problem{"file_missing", path.string() + " does not exist or is not a file.", "Check the path.", path.string()};
    }
    if (size > maxBytes) {
        return Problem{"file_too_large", path.string() + " has " + std::to_string(size) + " bytes; at most " +
                           std::to_string(maxBytes) + " are accepted for this kind of file.", "", path.string()};
    }
    std::ifstream stream(path, std::ios::binary);
    std::string text(static_cast<std::size_t>(size), '\0');
    if (!stream.read(text.data(), static_cast<std::streamsize>(size))) {
        return Problem{"file_unreadable", path.string() + " could not be read.", "Check its permissions.", path.string()};
    }
    return parseJson(text, path.string(), comments);
}

void setNumber(Json& object, const std::string& key, double value) {
    if (std::isfinite(value)) {
        object[key] = value;
        return;
    }
    object[key] = nullptr;
    object[key + "_state"] = std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

double numberOr(const Json& object, const std::string& key, double fallback) {
    const auto found = object.find(key);
    if (found == object.end()) return fallback;
    if (found->is_number()) return found->get<double>();
    const auto state = object.find(key + "_state");
    if (state == object.end() || !state->is_string()) return fallback;
    if (*state == "nan") return std::numeric_limits<double>::quiet_NaN();
    const double infinity = std::numeric_limits<double>::infinity();
    return *state == "-inf" ? -infinity : infinity;
}

std::string dumpLine(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string nearestName(const std::string& name, const std::vector<std::string>& known) {
    std::string best;
    std::size_t bestDistance = std::max<std::size_t>(2, name.size() / 3) + 1;
    for (const std::string& candidate : known) {
        const std::size_t distance = editDistance(name, candidate);
        if (distance < bestDistance) {
            bestDistance = distance;
            best = candidate;
        }
    }
    return best;
}

}  // namespace luthier
