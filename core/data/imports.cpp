// SPDX-License-Identifier: Apache-2.0
#include "data/imports.h"

#include "data/imports/draft.h"

#include <array>

namespace luthier {

namespace {

struct Kind {
    SettingsKind kind;
    const char* name;
    std::vector<const char*> signs;  ///< keys that only its files have
    Result<void> (*translate)(imports::Draft&);
};

const std::array<Kind, 4>& kinds() {
    static const std::array<Kind, 4> list{{
        {SettingsKind::Peft, "peft", {"peft_type"}, imports::fromPeft},
        {SettingsKind::Axolotl, "axolotl", {"base_model", "micro_batch_size", "sequence_len"}, imports::fromAxolotl},
        {SettingsKind::LlamaFactory, "llama-factory", {"finetuning_type", "stage", "cutoff_len"}, imports::fromLlamaFactory},
        {SettingsKind::Trl, "trl", {"use_peft", "dataset_name", "model_name_or_path", "per_device_train_batch_size", "num_train_epochs"}, imports::fromTrl},
    }};
    return list;
}

}  // namespace

const char* settingsKindName(SettingsKind kind) { return kinds()[static_cast<std::size_t>(kind)].name; }

std::optional<SettingsKind> settingsKindFromName(const std::string& name) {
    for (const Kind& kind : kinds())
        if (name == kind.name) return kind.kind;
    return std::nullopt;
}

std::optional<SettingsKind> settingsKindOf(const Json& document) {
    for (const Kind& kind : kinds())
        for (const char* sign : kind.signs)
            if (document.contains(sign)) return kind.kind;
    return std::nullopt;
}

Result<ImportedSettings> importSettings(const Json& document, SettingsKind kind, const MethodSchemas& methods) {
    imports::Draft draft(document, methods);
    if (Result<void> done = kinds()[static_cast<std::size_t>(kind)].translate(draft); !done) return done.problems();
    const std::string type = draft.value("method.type")->get<std::string>();
    if (methods.find(type) == nullptr)
        return Problem{"import_kind", "The file trains with \"" + type + "\", which Luthier does not have.", "luthier-cli methods lists what there is.", "method.type", ExitCode::BadUsage};
    return draft.finish();
}

Json ImportedSettings::toJson() const {
    Json json{{"run", run}, {"ignored", Json::array()}, {"missing", Json::array()}};
    for (const IgnoredSetting& setting : ignored) json["ignored"].push_back({{"key", setting.key}, {"value", setting.value}, {"why", setting.why}});
    for (const MissingSetting& setting : missing) json["missing"].push_back({{"key", setting.key}, {"why", setting.why}});
    return json;
}

}  // namespace luthier
