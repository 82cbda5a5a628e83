// SPDX-License-Identifier: Apache-2.0
// runs list|show|compare|report|verify|delete: the run store, newest first.
#include "command.h"

#include "contract/run_report.h"
#include "contract/run_store.h"
#include "io/atomic.h"
#include "io/manifest.h"

namespace luthier::cli {

namespace {

struct RunsOptions {
    std::string workspace, id, group, out;
    std::vector<std::string> ids;
};

std::string padded(std::string text, std::size_t width) {
    if (text.size() < width) text.append(width - text.size(), ' ');
    return text;
}

/// For a person: what was interrupted before its first event has nothing to resume.
std::string statusText(const RunInfo& info) {
    std::error_code code;
    const RunFolder folder{info.folder};
    if (info.status == RunStatus::Interrupted &&
        (!std::filesystem::exists(folder.events(), code) ||
         std::filesystem::file_size(folder.events(), code) == 0))
        return "did not start";
    return runStatusName(info.status);
}

ExitCode list(const RunsOptions& options, const Context& context) {
    RunStore store(Workspace::choose(options.workspace));
    Json runs = Json::array();
    std::string table;
    for (const RunInfo& info : store.list().orThrow()) {
        const Json json = toJson(info);
        table += padded(printable(info.id), 44) + padded(statusText(info), 15) +
                 padded(printable(info.method), 16) +
                 padded(std::to_string(info.steps) + "/" + std::to_string(info.maxSteps), 12) +
                 "loss " + dumpLine(json["loss"]) + "\n";
        runs.push_back(json);
    }
    report(context, Json{{"runs", std::move(runs)}}, table);
    return ExitCode::Done;
}

ExitCode show(const RunsOptions& options, const Context& context) {
    RunStore store(Workspace::choose(options.workspace));
    const RunFolder folder = store.find(options.id).orThrow();
    const RunInfo info = readRunInfo(folder);
    Json document = toJson(info);
    document["folder"] = folder.path.string();
    Json shown = document;
    shown["status"] = statusText(info);
    std::string table;
    for (const auto& [key, value] : shown.items())
        table += padded(key, 20) +
                 printable(value.is_string() ? value.get<std::string>() : dumpLine(value)) + "\n";
    if (Result<Json> config = readJsonFile(folder.config())) document["config"] = *config;
    report(context, document, table);
    return ExitCode::Done;
}

ExitCode compare(const RunsOptions& options, const Context& context) {
    RunStore store(Workspace::choose(options.workspace));
    std::vector<std::string> ids;
    for (const std::string& text : options.ids) ids.push_back(store.find(text).orThrow().id());
    const Json document = store.compare(ids).orThrow();
    std::string table;
    for (const Json& run : document.at("runs")) {
        table += padded(printable(run["name"].get<std::string>()), 24);
        for (const char* key :
             {"loss", "eval_loss", "best_eval_loss", "trainable", "tokens_per_second"})
            table += std::string(key) + " " + dumpLine(run.value(key, Json())) + "  ";
        table += "\n";
    }
    for (const Json& difference : document.at("differences")) {
        table += padded(printable(difference["key"].get<std::string>()), 32);
        for (const Json& value : difference["values"]) table += padded(dumpLine(value), 20);
        table += "\n";
    }
    report(context, document, table);
    return ExitCode::Done;
}

/// Runs named, or every one of a group, oldest first.
std::vector<std::string> chosenRuns(const RunsOptions& options, RunStore& store) {
    std::vector<std::string> ids;
    for (const std::string& text : options.ids) ids.push_back(store.find(text).orThrow().id());
    if (options.group.empty()) return ids;
    const std::vector<RunInfo> runs = store.list().orThrow();
    for (auto info = runs.rbegin(); info != runs.rend(); ++info)
        if (info->group == options.group) ids.push_back(info->id);
    if (ids.empty())
        throw Failure({"run_not_found",
                       "No run of this workspace has the group \"" + options.group + "\".",
                       "luthier-cli runs list shows them.", "--group", ExitCode::BadUsage});
    return ids;
}

ExitCode makeReportFile(const RunsOptions& options, const Context& context) {
    RunStore store(Workspace::choose(options.workspace));
    const std::vector<std::string> ids = chosenRuns(options, store);
    if (ids.empty())
        throw Failure({"bad_usage", "runs report needs runs or a --group.",
                       "luthier-cli runs report --help", "", ExitCode::BadUsage});
    const RunReport report =
        makeReport(store, ids, options.group.empty() ? "Runs compared" : "Runs of " + options.group)
            .orThrow();
    if (!options.out.empty())
        writeFileAtomically(
            options.out,
            reportText(report, std::filesystem::path(options.out).extension().string()).orThrow())
            .orThrow();
    cli::report(context, toJson(report), toMarkdown(report));
    return ExitCode::Done;
}

/// Holds every checkpoint and the result against their manifests.
ExitCode verify(const RunsOptions& options, const Context& context) {
    RunStore store(Workspace::choose(options.workspace));
    const RunFolder folder = store.find(options.id).orThrow();
    std::vector<std::filesystem::path> places;
    for (const std::int64_t step : folder.checkpointSteps())
        places.push_back(folder.checkpoint(step));
    std::error_code code;
    for (const auto& result : {folder.adapter(), folder.model()})
        if (std::filesystem::is_directory(result, code)) places.push_back(result);
    Json list = Json::array();
    std::string table, damaged;
    for (const std::filesystem::path& place : places) {
        context.progress->phase("hashing", static_cast<std::int64_t>(list.size()),
                                static_cast<std::int64_t>(places.size()));
        const ManifestCheck check = checkManifest(place);
        const std::string name =
            std::filesystem::relative(place, folder.path, code).generic_string();
        const char* state = check.state == ManifestState::Whole     ? "whole"
                            : check.state == ManifestState::Missing ? "without a manifest"
                                                                    : "damaged";
        list.push_back({{"path", name}, {"state", state}, {"problems", check.damaged}});
        table += padded(name, 28) + state +
                 (check.damaged.empty() ? "" : ": " + printable(check.text())) + "\n";
        if (check.state == ManifestState::Damaged)
            damaged += (damaged.empty() ? "" : "; ") + name + ": " + check.text();
    }
    report(context, Json{{"run", folder.id()}, {"whole", damaged.empty()}, {"folders", list}},
           table);
    if (!damaged.empty())
        throw Failure(
            {"checkpoint_damaged", folder.id() + " is damaged: " + printable(damaged) + ".",
             "train --resume goes on from the newest whole checkpoint.", folder.path.string()});
    return ExitCode::Done;
}

ExitCode remove(const RunsOptions& options, const Context& context) {
    RunStore store(Workspace::choose(options.workspace));
    const std::string id = store.find(options.id).orThrow().id();
    store.remove(id).orThrow();
    report(context, Json{{"deleted", id}}, id + " deleted\n");
    return ExitCode::Done;
}

}  // namespace

Command runsCommand() {
    return {[](CLI::App& app, Context& context) {
        auto options = std::make_shared<RunsOptions>();
        CLI::App* command = app.add_subcommand("runs", "Runs of the workspace");
        command->require_subcommand(1);
        command->add_option("--workspace", options->workspace);
        const auto add = [&](const char* name, const char* help,
                             ExitCode (*function)(const RunsOptions&, const Context&)) {
            CLI::App* sub = command->add_subcommand(name, help);
            sub->fallthrough();
            sub->callback([options, &context, function] {
                context.run = [options, &context, function] { return function(*options, context); };
            });
            return sub;
        };
        add("list", "All runs, newest first", &list);
        add("show", "One run", &show)
            ->add_option("id", options->id, "Run id, unique prefix or latest")
            ->required();
        add("compare", "Metrics side by side and the configuration difference", &compare)
            ->add_option("ids", options->ids)
            ->required()
            ->expected(2, 64);
        CLI::App* reporting =
            add("report", "Table and picture of what runs reached and cost", &makeReportFile);
        reporting->add_option("ids", options->ids);
        reporting->add_option("--group", options->group, "Every run of this group");
        reporting->add_option("--out", options->out,
                              "File: .html (table and picture), .md, .csv or .svg");
        add("verify", "Hold checkpoints and result against their manifests", &verify)
            ->add_option("id", options->id, "Run id, unique prefix or latest")
            ->required();
        add("delete", "Delete a run with its files", &remove)
            ->add_option("id", options->id)
            ->required();
    }};
}

}  // namespace luthier::cli
