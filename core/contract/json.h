// SPDX-License-Identifier: Apache-2.0
#pragma once
// The one JSON type of the project (insertion order kept, so files read as they were written) and
// the few helpers that every reader of foreign JSON needs: depth and size limits, comments where
// a person writes them, numbers that are not finite written as null with a sibling
// `<key>_state`.

#include "contract/problem.h"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace luthier {

using Json = nlohmann::ordered_json;

enum class JsonComments { Forbidden, Allowed };

/// Parses `text`; `name` is the file (or other source) that messages mention. Depth is limited
/// to 64. Problem codes: json_syntax (with line and column), json_depth.
Result<Json> parseJson(std::string_view text, const std::string& name,
                       JsonComments comments = JsonComments::Forbidden);

/// Reads and parses a file of at most `maxBytes`. Problem codes: file_missing, file_unreadable,
/// file_too_large, json_*.
Result<Json> readJsonFile(const std::filesystem::path& path, std::size_t maxBytes = 64u << 20,
                          JsonComments comments = JsonComments::Forbidden);

/// Sets object[key] to value, or to null with key_state "nan" | "inf" | "-inf" when it is not
/// finite.
void setNumber(Json& object, const std::string& key, double value);

/// The inverse of setNumber: the number under `key`, NaN or infinity restored; `fallback` when
/// absent.
double numberOr(const Json& object, const std::string& key, double fallback);

/// One line, never throwing: invalid UTF-8 becomes U+FFFD.
std::string dumpLine(const Json& value);

/// Compares two names by edit distance and returns the nearest of `known`, or "" when none is near.
std::string nearestName(const std::string& name, const std::vector<std::string>& known);

}  // namespace luthier
