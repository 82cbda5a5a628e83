// SPDX-License-Identifier: Apache-2.0
#include "data/imports.h"

#include "contract/system_error.h"
#include "data/imports/draft.h"
#include "io/recognise.h"
#include "text/bridge/luthier_text.h"

#include <array>
#include <fstream>

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
        {SettingsKind::Axolotl,
         "axolotl",
         {"base_model", "micro_batch_size", "sequence_len"},
         imports::fromAxolotl},
        {SettingsKind::LlamaFactory,
         "llama-factory",
         {"finetuning_type", "stage", "cutoff_len"},
         imports::fromLlamaFactory},
        {SettingsKind::Trl,
         "trl",
         {"use_peft", "dataset_name", "model_name_or_path", "per_device_train_batch_size",
          "num_train_epochs"},
         imports::fromTrl},
    }};
    return list;
}

constexpr std::uintmax_t kMaxBytes = 4u << 20;

Problem damaged(const std::filesystem::path& path, const std::string& what) {
    return {"import_damaged", path.string() + " " + what + ".",
            "Give adapter_config.json, or a YAML file of Axolotl, LLaMA-Factory or TRL.",
            path.string()};
}

}  // namespace

Result<Json> readSettingsFile(const std::filesystem::path& path) {
    std::error_code code;
    const std::uintmax_t size = std::filesystem::file_size(path, code);
    if (code)
        return Problem{"file_missing",
                       path.string() + (std::filesystem::exists(path, code) ? " is no file."
                                                                            : " does not exist."),
                       "Check the path.", path.string()};
    if (size > kMaxBytes)
        return Problem{"file_too_large",
                       path.string() + " is larger than 4 MiB, more than settings need.",
                       "Check that this is the right file.", path.string()};
    if (const std::optional<Problem> foreign = looksLike(path, "settings")) return *foreign;
    std::string text(size, '\0');
    errno = 0;
    if (!std::ifstream(path, std::ios::binary)
             .read(text.data(), static_cast<std::streamsize>(size)))
        return unreadable(path, errno);
    // JSON is YAML as well, but for tabs between its values.
    if (Result<Json> json = parseJson(text, path.string()); json && json->is_object()) return json;
    const LuthierBuffer answer =
        luthier_yaml_to_json(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
    const std::string bytes(reinterpret_cast<const char*>(answer.data), answer.size);
    luthier_buffer_free(answer);
    if (answer.status != LUTHIER_TEXT_OK)
        return damaged(path, "is neither JSON nor YAML: " + bytes);
    const Result<Json> parsed = parseJson(bytes, path.string());
    if (!parsed) return parsed.problems();
    Json document = *parsed;
    if (!document.is_object())
        return damaged(path, "holds no settings: at its top there must be keys with values");
    return document;
}

const char* settingsKindName(SettingsKind kind) {
    return kinds()[static_cast<std::size_t>(kind)].name;
}

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

Result<ImportedSettings> importSettings(const Json& document, SettingsKind kind,
                                        const MethodSchemas& methods) {
    imports::Draft draft(document, methods);
    if (Result<void> done = kinds()[static_cast<std::size_t>(kind)].translate(draft); !done)
        return done.problems();
    const std::string type = draft.value("method.type")->get<std::string>();
    if (methods.find(type) == nullptr)
        return Problem{"import_kind",
                       (type.empty() ? std::string("The file names no method")
                                     : "The file trains with \"" + type + "\"") +
                           ", which Luthier does not have.",
                       "luthier-cli methods lists what there is.", "method.type",
                       ExitCode::BadUsage};
    return draft.finish();
}

Json ImportedSettings::toJson() const {
    Json json{{"run", run},
              {"taken", Json::array()},
              {"ignored", Json::array()},
              {"missing", Json::array()}};
    for (const TakenSetting& setting : taken)
        json["taken"].push_back(
            {{"key", setting.key}, {"setting", setting.setting}, {"value", setting.value}});
    for (const IgnoredSetting& setting : ignored)
        json["ignored"].push_back(
            {{"key", setting.key}, {"value", setting.value}, {"why", setting.why}});
    for (const MissingSetting& setting : missing)
        json["missing"].push_back({{"key", setting.key}, {"why", setting.why}});
    return json;
}

}  // namespace luthier
