// SPDX-License-Identifier: Apache-2.0
// import FILE: settings of another program (PEFT, Axolotl, LLaMA-Factory, TRL) as a RUN.json, with
// a word on each that is taken, left out or missing; a GGUF model, also by the name that Ollama or
// LM Studio has for it, as a Hugging Face folder.
#include "command.h"
#include "importing.h"
#include "interrupt.h"
#include "model_stores.h"

#include "contract/number_text.h"
#include "data/imports.h"
#include "export/gguf_importer.h"
#include "io/atomic.h"
#include "io/gguf.h"
#include "peft/method.h"

namespace luthier::cli {

namespace {

struct ImportOptions {
    std::string file, kind = "auto", out, dtype = "auto";
};

SettingsKind kindOf(const ImportOptions& options, const Json& document) {
    const std::optional<SettingsKind> kind =
        options.kind == "auto" ? settingsKindOf(document) : settingsKindFromName(options.kind);
    if (kind) return *kind;
    throw Failure({"import_kind", options.file + " has no key that tells which program it is for.",
                   "Say it with --from peft, axolotl, llama-factory or trl.", "--from",
                   ExitCode::BadUsage});
}

/// A name on the hub becomes the folder it was downloaded to.
void findModel(ImportedSettings& settings) {
    Json& path = settings.run["model"]["path"];
    const std::optional<std::filesystem::path> folder =
        path.is_string() ? downloadedModel(path.get<std::string>()) : std::nullopt;
    if (!folder) return;
    path = folder->string();
    for (TakenSetting& setting : settings.taken)
        if (setting.setting == "model.path") setting.value = path;
    std::erase_if(settings.missing,
                  [](const MissingSetting& setting) { return setting.key == "model.path"; });
}

std::string tableOf(const ImportedSettings& settings, SettingsKind kind) {
    std::string table = std::string("from  ") + settingsKindName(kind) + "\n";
    for (const TakenSetting& setting : settings.taken)
        table += "taken  " + setting.key + " -> " + setting.setting + " = " +
                 dumpLine(setting.value) + "\n";
    for (const IgnoredSetting& setting : settings.ignored)
        table += "left out  " + setting.key + " = " + dumpLine(setting.value) + ": " + setting.why +
                 "\n";
    for (const MissingSetting& setting : settings.missing)
        table += "missing  " + setting.key + ": " + setting.why + "\n";
    return table;
}

ExitCode runGguf(const ImportOptions& options, const Context& context) {
    if (options.out.empty())
        throw Failure({"option_missing", "A GGUF model becomes a folder, whose name is missing.",
                       "Say it with --out FOLDER.", "--out", ExitCode::BadUsage});
    const Interrupt interrupt;
    const Json result =
        importedModel(options.file, options.out, options.dtype,
                      [&](const std::string& phase, std::int64_t done, std::int64_t total) {
                          interrupt.check();
                          context.progress->phase(phase, done, total);
                      });
    report(context, result,
           options.out + "  " + result["family"].get<std::string>() + ", " +
               withThousands(result["parameters"]) + " parameters in " +
               result["dtype"].get<std::string>() + ", " + bytesText(result["bytes"]) +
               (result["tokenizer"] == true ? "" : ", without a tokenizer") + "\n");
    return ExitCode::Done;
}

ExitCode runImport(const ImportOptions& options, const Context& context) {
    if (std::error_code code; !options.out.empty() && std::filesystem::exists(options.out, code))
        throw Failure({"target_exists", options.out + " exists already.",
                       "Choose another name or delete it.", "--out", ExitCode::BadUsage});
    if (options.file.rfind("ollama:", 0) == 0 || options.file.rfind("lmstudio:", 0) == 0 ||
        isGguf(options.file))
        return runGguf(options, context);
    if (std::error_code code; !std::filesystem::exists(options.file, code))
        throw Failure({"file_missing", options.file + " does not exist.",
                       "Check the path; luthier-cli models lists the models on this machine.",
                       options.file});
    const Json source = readSettingsFile(options.file).orThrow();
    const SettingsKind kind = kindOf(options, source);
    ImportedSettings settings = importSettings(source, kind, methodSchemas()).orThrow();
    findModel(settings);
    if (!options.out.empty()) writeJsonAtomically(options.out, settings.run).orThrow();
    Json document{{"path", options.file},
                  {"from", settingsKindName(kind)},
                  {"out", options.out.empty() ? Json() : Json(options.out)}};
    document.update(settings.toJson());
    report(context, document,
           tableOf(settings, kind) +
               (options.out.empty() ? settings.run.dump(2) : "written  " + options.out) + "\n");
    return ExitCode::Done;
}

}  // namespace

Json importedModel(
    const std::string& path, const std::string& out, const std::string& dtype,
    const std::function<void(const std::string&, std::int64_t, std::int64_t)>& progress) {
    const std::filesystem::path file = pathOfModelName(path).orThrow();
    const GgufImported result = importGguf({file, out, dtype, progress}).orThrow();
    return {{"path", path},
            {"file", file.string()},
            {"types", result.types},
            {"from", "gguf"},
            {"out", out},
            {"family", result.family},
            {"parameters", result.parameters},
            {"bytes", result.bytes},
            {"dtype", result.dtype},
            {"tokenizer", result.hasTokenizer}};
}

Command importCommand() {
    return {[](CLI::App& app, Context& context) {
        auto options = std::make_shared<ImportOptions>();
        CLI::App* command = app.add_subcommand(
            "import",
            "A RUN.json from another program's settings, or a model folder from a GGUF file");
        command
            ->add_option("file", options->file,
                         "adapter_config.json of PEFT, YAML of Axolotl, LLaMA-Factory or TRL, or a "
                         "GGUF model: "
                         "its file (any part of several), ollama:NAME[:TAG] or lmstudio:NAME")
            ->required();
        command->add_option("--from", options->kind, "The program, where its keys do not tell")
            ->check(CLI::IsMember({"auto", "peft", "axolotl", "llama-factory", "trl"}));
        command->add_option(
            "--out", options->out,
            "File (of a GGUF model: folder) to write; without it the document is shown");
        command
            ->add_option(
                "--dtype", options->dtype,
                "Of a GGUF model's weights; auto: a file of F32, F16 or BF16 exactly as it "
                "is, quantised values as bfloat16")
            ->check(CLI::IsMember({"auto", "float32", "float16", "bfloat16"}));
        command->callback([options, &context] {
            context.run = [options, &context] { return runImport(*options, context); };
        });
    }};
}

}  // namespace luthier::cli
