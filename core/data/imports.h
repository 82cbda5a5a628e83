// SPDX-License-Identifier: Apache-2.0
#pragma once
// Settings of other programs as a RUN.json: PEFT's adapter_config.json, Axolotl's and
// LLaMA-Factory's YAML, TRL's SFTConfig. What has a counterpart is translated, defaults of the
// other program that differ from ours included; everything else that is set is named with the
// reason. The result passes our own schemas: what they refuse is named as well, and left out.

#include "contract/run_config.h"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace luthier {

enum class SettingsKind { Peft, Axolotl, LlamaFactory, Trl };

/// "peft", "axolotl", "llama-factory", "trl"
const char* settingsKindName(SettingsKind kind);
std::optional<SettingsKind> settingsKindFromName(const std::string& name);
/// By the keys that only one of them has; nullopt when none is there.
std::optional<SettingsKind> settingsKindOf(const Json& document);

struct TakenSetting {
    std::string key;      ///< in the other file
    std::string setting;  ///< dotted, in RUN.json
    Json value;           ///< there
};

struct IgnoredSetting {
    std::string key;
    Json value;
    std::string why;
};

/// What a run needs and the other file does not say, with what stands in for it.
struct MissingSetting {
    std::string key;
    std::string why;
};

struct ImportedSettings {
    Json run;
    std::vector<TakenSetting> taken;
    std::vector<IgnoredSetting> ignored;
    std::vector<MissingSetting> missing;

    Json toJson() const;
};

/// The document in a .json file, or in a file of YAML. Problem codes: file_missing, file_too_large,
/// import_damaged.
Result<Json> readSettingsFile(const std::filesystem::path& path);

/// Problem codes: import_kind (a training stage or method that Luthier does not have at all).
Result<ImportedSettings> importSettings(const Json& document, SettingsKind kind,
                                        const MethodSchemas& methods);

}  // namespace luthier
