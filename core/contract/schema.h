// SPDX-License-Identifier: Apache-2.0
#pragma once
// Settings are declared once. A Schema lists the keys of one JSON object (a method, the `train`
// section, an exporter) with type, default, range, unit, help and when each applies. The check of
// RUN.json, `luthier-cli methods`, the forms in the window and the documentation all read the same
// list. Keys may be dotted: "loss.unlikelihood" lies in the object "loss".

#include "contract/json.h"
#include "contract/problem.h"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace luthier {

enum class SettingType {
    Integer,
    Real,
    Boolean,
    Text,
    Path,
    Choice,     ///< one of `choices`
    Names,      ///< list of strings, or one string (module names: a list of suffixes, or a regular
                ///< expression)
    Texts,      ///< list of strings
    Integers,   ///< list of integers, or one integer
    NumberMap,  ///< object of string to number (rank_pattern, alpha_pattern)
    BooleanOrChoice,  ///< true, false or one of `choices` (init_lora_weights)
};

/// "applies when `key` equals one of `values`"; empty key = always.
struct AppliesWhen {
    std::string key;
    std::vector<Json> values;
};

struct Setting {
    std::string key;
    SettingType type = SettingType::Text;
    Json defaultValue;              ///< null = no value
    std::string label;              ///< "Rank", sentence case, for forms
    std::string help;               ///< one line
    std::optional<double> minimum;  ///< inclusive
    std::optional<double> maximum;  ///< inclusive
    bool minimumExclusive = false;
    std::string unit;  ///< "steps", "tokens", …; empty for none
    std::vector<std::string> choices;
    AppliesWhen appliesWhen;
    std::string group;        ///< heading in forms
    bool isUsual = true;      ///< shown under "Usual", else only under "All"
    bool isNullable = false;  ///< null is accepted
};

struct Schema {
    std::string name;  ///< "lora", "train", …
    std::vector<Setting> settings;
    /// Of a method: virtual tokens stand before a text, and the last of them predicts its first.
    bool putsTokensBeforeText = false;
    /// Defaults that depend on what was given beside them; empty for none.
    std::function<void(const Json& given, Json& resolved)> settle = {};

    const Setting* find(const std::string& key) const;
};

/// The schema as `luthier-cli methods --json` prints it, and back.
Json toJson(const Schema& schema);
Schema schemaFromJson(const Json& json);

/// Checks every key of `object` (nested objects by dotted keys) and reports all problems; `prefix`
/// is put before field names. Keys in `ignored` are left to the caller. Problem codes: unknown_key,
/// wrong_type, out_of_range, unknown_choice.
Problems check(const Json& object, const Schema& schema, const std::string& prefix,
               const std::vector<std::string>& ignored = {});

/// `object` with every missing key set to its default; dotted keys become nested objects.
Json withDefaults(const Json& object, const Schema& schema);

/// The value under a dotted key, or nullptr.
const Json* findDotted(const Json& object, const std::string& dottedKey);
void setDotted(Json& object, const std::string& dottedKey, Json value);

}  // namespace luthier
