// SPDX-License-Identifier: Apache-2.0
// export RUN|ADAPTER|MODEL --format FORMAT --out PATH: written, read back and
// compared.
#include "exporting.h"

#include "command.h"
#include "loaded.h"
#include "model_stores.h"

#include "contract/fields.h"
#include "contract/run_config.h"
#include "contract/run_store.h"
#include "contract/schema.h"
#include "data/dataset.h"
#include "data/tokenizer_encoder.h"
#include "export/exporter.h"
#include "model/open.h"
#include "peft/gguf_adapter.h"
#include "peft/method.h"
#include "train/estimate.h"
#include "text/tokenizer.h"

#include <algorithm>
#include <chrono>

namespace luthier::cli {

namespace fs = std::filesystem;

namespace {

struct ExportOptions {
    std::string source, model, format, type, out, workspace;
};

/// The base that an adapter's own configuration names, where it is here: a folder, or a model of
/// the hub in the cache; else empty.
fs::path baseOfAdapter(const fs::path& adapter) {
    const Result<Json> config = readJsonFile(adapter / "adapter_config.json");
    const std::string name = config ? textOr(*config, "base_model_name_or_path") : "";
    std::error_code code;
    if (name.empty()) return {};
    if (fs::exists(fs::path(name) / "config.json", code)) return name;
    return downloadedModel(name).value_or(fs::path());
}

/// The model that a run's configuration names; empty where it does not say.
std::string modelOfRun(const fs::path& config) {
    const Result<Json> document = readJsonFile(config);
    const Json* path = document ? findDotted(*document, "model.path") : nullptr;
    return path != nullptr && path->is_string() ? path->get<std::string>() : "";
}

/// The adapter folder and base model that `source` names; of some formats also a model folder or a
/// run that trained base weights.
ExportRequest requestFor(const std::string& source, const std::string& model,
                         const Exporter& exporter, const std::string& workspace) {
    ExportRequest request;
    std::error_code code;
    request.model = model;
    if (isGgufAdapter(source)) {
        request.adapter = source;
    } else if (fs::exists(fs::path(source) / "adapter_config.json", code)) {
        request.adapter = source;
        const fs::path runConfig = fs::path(source).parent_path() / "run.json";
        if (model.empty() && fs::exists(runConfig, code)) request.model = modelOfRun(runConfig);
        if (request.model.empty()) request.model = baseOfAdapter(source);
    } else if (exporter.takesModels && fs::exists(fs::path(source) / "config.json", code)) {
        request.model = source;
    } else {
        RunFolder folder{source};
        if (!fs::exists(folder.config(), code))
            folder = RunStore(Workspace::choose(workspace)).find(source).orThrow();
        if (exporter.takesModels && !fs::exists(folder.adapter(), code) &&
            fs::exists(folder.model(), code)) {
            request.model = folder.model();
            return request;
        }
        if (!fs::exists(folder.adapter(), code))
            throw Failure({"no_adapter", "The run " + folder.id() + " has no adapter.",
                           fs::exists(folder.model(), code)
                               ? "It trained base weights; its result is the folder " +
                                     folder.model().string() + "."
                               : "Let it finish first, or resume it.",
                           source});
        request.adapter = folder.adapter();
        if (model.empty()) request.model = modelOfRun(folder.config());
    }
    if (request.model.empty())
        throw Failure({"missing_model", "The base model of " + source + " is not known.",
                       "Name it with --model DIR.", "--model", ExitCode::BadUsage});
    return request;
}

/// Up to kProbes evaluation rows of the run that made the adapter; empty when its data cannot be
/// read any more.
std::vector<Probe> evaluationRows(const fs::path& runConfig, const fs::path& model) {
    constexpr std::size_t kProbes = 16;
    constexpr std::size_t kProbeTokens = 256;
    Result<Json> document = readJsonFile(runConfig);
    if (!document) return {};
    (*document)["model"]["path"] = model.string();
    Result<RunConfig> config =
        resolveRunConfig(*document, runConfig.parent_path(), methodSchemas());
    if (!config) return {};
    Result<std::unique_ptr<Tokenizer>> tokenizer = openTokenizer(model);
    if (!tokenizer) return {};
    config = withTask(std::move(*config));
    if (!config) return {};
    Result<Dataset> data = Dataset::build(*config, TokenizerEncoder(**tokenizer));
    if (!data) return {};
    std::vector<Probe> probes;
    for (const DataRow& row : data->eval.empty() ? data->train : data->eval) {
        if (probes.size() == kProbes) break;
        if (row.ids.size() < 2) continue;
        const auto length = static_cast<std::ptrdiff_t>(std::min(row.ids.size(), kProbeTokens));
        const auto labels = static_cast<std::ptrdiff_t>(std::min(row.labels.size(), kProbeTokens));
        probes.push_back({{row.ids.begin(), row.ids.begin() + length},
                          {row.labels.begin(), row.labels.begin() + labels}});
    }
    return probes;
}

}  // namespace

Json listExportFormats() { return describeExporters(); }

Json exportResult(
    const std::string& source, const std::string& model, const std::string& format,
    const std::string& type, const std::string& out, const std::string& workspace,
    const std::function<void(const std::string&, std::int64_t, std::int64_t)>& progress) {
    const Exporter* exporter = findExporter(format);
    if (exporter == nullptr) {
        std::string known;
        for (const Exporter& each : exporters()) known += (known.empty() ? "" : ", ") + each.format;
        throw Failure({"unknown_format", "\"" + format + "\" is not an export format.",
                       "Known: " + known + ".", "--format", ExitCode::BadUsage});
    }
    ExportRequest request = requestFor(source, model, *exporter, workspace);
    request.type = type;
    request.out = out;
    request.progress = progress;
    std::error_code code;
    if (fs::exists(request.out, code))
        throw Failure({"target_exists", out + " exists already.",
                       "Choose a new folder; Luthier does not overwrite one.", "--out",
                       ExitCode::BadUsage});
    const auto start = std::chrono::steady_clock::now();
    const fs::path run = (request.adapter.empty() ? request.model : request.adapter).parent_path();
    if (progress) progress("reading probe rows", 0, 4);
    request.probes = evaluationRows(run / "run.json", request.model);
    request.provenance =
        Json{{"run", fs::exists(run / "run.json", code) ? run.filename().string() : ""},
             {"adapter", request.adapter.string()},
             {"base_model", request.model.string()},
             {"probes_from", request.probes.empty() ? "drawn token ids" : "evaluation rows"}};
    const SmallModelThreads threads(weightBytesIn(request.model));
    const ExportResult result = exporter->write(request).orThrow();
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return Json{{"path", result.path.string()},
                {"files", result.certificate["files"]},
                {"certificate", result.certificate},
                {"seconds", seconds}};
}

namespace {

ExitCode runExport(const ExportOptions& options, const Context& context) {
    const Json document =
        exportResult(options.source, options.model, options.format, options.type, options.out,
                     options.workspace, context.progress->callback());
    std::string table = document["path"].get<std::string>() + "\n";
    for (const Json& file : document["files"])
        table += "  " + file["name"].get<std::string>() + "  " +
                 bytesText(file["bytes"].get<std::int64_t>()) + "\n";
    const Json& certificate = document["certificate"];
    table += "read back and compared: largest logit difference " +
             dumpLine(certificate["max_abs_difference"]) + ", allowed " +
             dumpLine(certificate["tolerance"]) +
             (numberOr(certificate, "rounding", 0) > 0
                  ? ", of it " + dumpLine(certificate["rounding"]) + " by the format's rounding\n"
                  : "\n");
    report(context, document, table);
    return ExitCode::Done;
}

}  // namespace

Command exportCommand() {
    return {[](CLI::App& app, Context& context) {
        auto options = std::make_shared<ExportOptions>();
        CLI::App* command =
            app.add_subcommand("export", "Write a result for other tools, and prove it");
        command
            ->add_option("source", options->source,
                         "Run or adapter folder; " + usualExporter(true).format +
                             " takes a model folder as well")
            ->required();
        std::string formats;
        for (const Exporter& each : exporters())
            formats += (formats.empty() ? "" : " | ") + each.format;
        command->add_option("--format", options->format, formats)->required();
        command
            ->add_option("--type,--out-type", options->type,
                         "Values of a GGUF file, else f32 for an adapter and f16 for a model; of a "
                         "merged folder, else as the base is stored")
            ->check(CLI::IsMember({"f32", "f16", "bf16", "q8_0"}));
        command->add_option("--out", options->out, "Folder to make, or a file name ending in .gguf")
            ->required();
        command->add_option("--model", options->model, "Base model, when the source does not say");
        command->add_option("--workspace", options->workspace);
        command->callback([options, &context] {
            context.run = [options, &context] { return runExport(*options, context); };
        });
    }};
}

}  // namespace luthier::cli
