// SPDX-License-Identifier: Apache-2.0
// compare-methods RUN.json: one run per method on the same model, data and steps (or time), then
// the table of what each reached and cost. Every run is a process of its own, so that one's peak
// memory says nothing about the next and a failure ends one run only. Runs that the workspace holds
// already, finished and with the same settings, are not taken again: a broken-off comparison goes
// on where it was.
#include "command.h"
#include "run_progress.h"
#include "worker_process.h"

#include "contract/run_report.h"
#include "contract/run_store.h"
#include "contract/shootout.h"
#include "io/atomic.h"
#include "peft/method.h"
#include "train/estimate.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <utility>

namespace luthier::cli {

namespace fs = std::filesystem;

namespace {

struct CompareMethodsOptions {
    std::string config, workspace, out, methods;
    ShootoutOptions shootout;
    std::vector<std::string> overrides, settings;
    std::int64_t steps = 0;
    double seconds = 0;
};

struct Setup {
    RunConfig base;
    std::vector<Contender> contenders;
    std::vector<std::pair<std::string, std::string>> leftOut;  ///< method and why
};

/// Trains one configuration; its progress goes to standard error.
WorkerOutcome train(const Json& config, const fs::path& workspace, const std::string& position,
                    Progress& progress) {
    WorkerOutcome outcome = trainInProcess(config, workspace, [&](const RunSnapshot& run) {
        showRun(progress, run, position);
        return true;
    });
    std::string end = outcome.run.failure ? "failed: " + outcome.run.failure->message
                      : outcome.isStopped ? "stopped"
                                          : "no evaluation";
    if (const std::optional<std::size_t> best = outcome.run.bestEval();
        !outcome.run.failure && !outcome.isStopped && best)
        end = "evaluation loss " + dumpLine(outcome.run.evals[*best].loss);
    progress.say(position + "  " + end);
    return outcome;
}

/// Whether a file there, or of the folder, was written after `time` (seconds since the epoch).
bool hasNewerFile(const fs::path& path, double time) {
    std::error_code code;
    const auto isNewer = [&](const fs::path& file) {
        const auto written =
            std::chrono::file_clock::to_sys(fs::last_write_time(file, code)).time_since_epoch();
        return !code && std::chrono::duration<double>(written).count() > time;
    };
    if (!fs::is_directory(path, code)) return isNewer(path);
    for (const auto& entry : fs::directory_iterator(path, code))
        if (entry.is_regular_file(code) && isNewer(entry.path())) return true;
    return false;
}

/// Id of a finished run with this name and these settings, whose inputs have not been written
/// since; "" without one.
std::string alreadyTrained(const std::vector<RunInfo>& runs, const RunConfig& config) {
    for (const RunInfo& info : runs) {
        if (info.status != RunStatus::Finished || info.name != config.name()) continue;
        const Result<Json> document = readJsonFile(RunFolder{info.folder}.config());
        if (!document || !compareConfigs({*document, config.document}).empty()) continue;
        bool isStale = false;
        for (const char* key : {"model.path", "data.train.path", "data.eval.path"})
            if (const auto path = config.optional<std::string>(key))
                isStale = isStale || hasNewerFile(*path, info.created);
        if (!isStale) return info.id;
    }
    return "";
}

std::vector<std::string> chosenMethods(const std::string& text) {
    std::vector<std::string> chosen;
    for (std::size_t at = 0; at <= text.size() && !text.empty();) {
        const std::size_t end = std::min(text.find(',', at), text.size());
        chosen.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    const MethodSchemas known = methodSchemas();
    for (const std::string& name : chosen)
        if (findMethod(name) == nullptr) {
            const std::string near = nearestName(name, known.names);
            throw Failure({"unknown_method", "\"" + name + "\" is not a method.",
                           near.empty() ? "luthier-cli methods lists them."
                                        : "Did you mean \"" + near + "\"?",
                           "--methods", ExitCode::BadUsage});
        }
    return chosen.empty() ? known.names : chosen;
}

/// "lora.r=4": a setting of one method.
void applySetting(Json& method, const std::string& text) {
    const std::size_t dot = text.find('.'), equals = text.find('=');
    const std::string type = text.substr(0, dot);
    if (dot == std::string::npos || equals == std::string::npos || equals < dot ||
        findMethod(type) == nullptr)
        throw Failure({"bad_usage", "--with " + text + " is not METHOD.KEY=JSON.",
                       "For example --with lora.r=4.", "--with", ExitCode::BadUsage});
    if (type != method.at("type").get<std::string>()) return;
    Result<Json> value = parseJson(text.substr(equals + 1), "--with " + text);
    method[text.substr(dot + 1, equals - dot - 1)] =
        value ? std::move(*value) : Json(text.substr(equals + 1));
}

Json withMethod(const RunConfig& base, const std::string& type,
                const std::vector<std::string>& settings) {
    Json config = base.document;
    if (type != base.methodType()) config["method"] = Json{{"type", type}};
    for (const std::string& setting : settings) applySetting(config["method"], setting);
    return config;
}

/// What takes part: each method that the model allows, at its usual rate in proportion to the rate
/// of the configuration.
Setup setUp(const CompareMethodsOptions& options) {
    Setup setup{
        loadRunConfig(options.config, options.overrides, methodSchemas()).orThrow(), {}, {}};
    const RunConfig& base = setup.base;
    if (!base.optional<std::string>("data.eval.path") && base.get<double>("data.eval.split") <= 0)
        throw Failure({"no_evaluation",
                       options.config +
                           ": data.eval names no rows to evaluate on, so nothing can be compared.",
                       "Set data.eval.path or data.eval.split.", "data.eval", ExitCode::BadUsage});
    const double scale =
        base.get<double>("train.learning_rate") / findMethod(base.methodType())->usualRate.rate;
    const std::int64_t steps = options.steps > 0
                                   ? options.steps
                                   : base.optional<std::int64_t>("train.max_steps").value_or(200);
    for (const std::string& type : chosenMethods(options.methods)) {
        const Json config = withMethod(base, type, options.settings);
        Result<RunConfig> resolved = resolveRunConfig(config, base.directory, methodSchemas());
        const Result<Json> estimate =
            resolved ? estimateRun(*resolved) : Result<Json>(resolved.problems());
        if (!estimate)
            setup.leftOut.emplace_back(type, estimate.problem().message);
        else
            setup.contenders.push_back(
                {config.at("method"), findMethod(type)->usualRate.rate * scale, steps});
    }
    if (setup.contenders.empty())
        throw Failure({"nothing_to_compare",
                       "None of the methods applies to this model: " + setup.leftOut.front().second,
                       "Choose others with --methods.", "--methods", ExitCode::BadUsage});
    return setup;
}

/// Steps that fit the time, from a few that are taken to see; 0 when the user stopped it.
std::int64_t stepsWithin(double seconds, const Json& config, const std::string& position,
                         Progress& progress) {
    progress.show({position + "  measuring a step"});
    const Result<Pace> pace = measurePace(config, [](const RunSnapshot&) { return true; });
    if (!pace)
        return pace.problem().code == "cancelled" ? 0 : 1;  // the run itself will say what is wrong
    return std::max<std::int64_t>(
        1, static_cast<std::int64_t>(seconds / std::max(pace->stepSeconds, 1e-6)));
}

struct Shootout {
    std::vector<std::string> ids;
    std::vector<std::string> failed;
    bool isStopped = false;
};

Shootout trainAll(const std::vector<Json>& configs, RunStore& store, Progress& progress) {
    Shootout shootout;
    const std::vector<RunInfo> before = store.list().orThrow();
    for (std::size_t i = 0; i < configs.size() && !shootout.isStopped; ++i) {
        const std::string name = configs[i].at("name");
        const std::string position =
            std::to_string(i + 1) + "/" + std::to_string(configs.size()) + "  " + name;
        const RunConfig resolved =
            withTask(resolveRunConfig(configs[i], ".", methodSchemas()).orThrow()).orThrow();
        if (const std::string id = alreadyTrained(before, resolved); !id.empty()) {
            progress.say(position + "  taken from " + id);
            shootout.ids.push_back(id);
            continue;
        }
        const WorkerOutcome outcome = train(configs[i], store.workspace().root, position, progress);
        shootout.isStopped = outcome.isStopped;
        if (outcome.run.failure)
            shootout.failed.push_back(name + ": " + outcome.run.failure->message);
        else if (!outcome.isStopped)
            shootout.ids.push_back(outcome.run.id);
    }
    return shootout;
}

ExitCode runCompareMethods(const CompareMethodsOptions& given, const Context& context) {
    CompareMethodsOptions options = given;
    if (options.shootout.seeds < 1 || options.shootout.rateTries < 1 ||
        options.shootout.rateTries % 2 == 0)
        throw Failure({"bad_usage", "--seeds is at least 1 and --rate-tries an odd number.",
                       "luthier-cli compare-methods --help", "", ExitCode::BadUsage});
    const std::string suffix = fs::path(options.out).extension().string();
    if (!options.out.empty()) reportText({}, suffix).orThrow();  // before anything is trained
    Setup setup = setUp(options);
    if (options.shootout.group.empty())
        options.shootout.group = setup.base.group().empty() ? "methods" : setup.base.group();
    RunStore store(Workspace::choose(options.workspace));
    std::signal(SIGINT, SIG_IGN);  // the worker takes it, checkpoints and says that it was stopped
    setup.base.document["train"].erase("epochs");
    bool isStopped = false;
    for (std::size_t i = 0; options.seconds > 0 && i < setup.contenders.size() && !isStopped; ++i) {
        Contender& contender = setup.contenders[i];
        const Json config =
            shootoutConfigs(setup.base.document, {contender}, {options.shootout.group, 1, 1})
                .front();
        contender.steps =
            stepsWithin(options.seconds, config,
                        std::to_string(i + 1) + "/" + std::to_string(setup.contenders.size()) +
                            "  " + contender.method.at("type").get<std::string>(),
                        *context.progress);
        isStopped = contender.steps == 0;
    }
    Shootout shootout;
    if (!isStopped)
        shootout =
            trainAll(shootoutConfigs(setup.base.document, setup.contenders, options.shootout),
                     store, *context.progress);
    RunReport report =
        makeReport(store, shootout.ids, "Methods compared: " + options.shootout.group).orThrow();
    report.failed = shootout.failed;
    for (const auto& [method, why] : setup.leftOut) report.failed.push_back(method + ": " + why);
    report.rows = bestOfEachMethod(report.rows);
    if (options.shootout.rateTries > 1)
        report.same.push_back("learning rate: the best of " +
                              std::to_string(options.shootout.rateTries) +
                              " for each method, a factor of 3 apart around its usual one");
    if (!options.out.empty())
        writeFileAtomically(options.out, reportText(report, suffix).orThrow()).orThrow();
    cli::report(context, toJson(report), toMarkdown(report));
    if (isStopped || shootout.isStopped) return ExitCode::Stopped;
    return shootout.ids.empty() ? ExitCode::RunFailed : ExitCode::Done;
}

}  // namespace

Command compareMethodsCommand() {
    return {[](CLI::App& app, Context& context) {
        auto options = std::make_shared<CompareMethodsOptions>();
        CLI::App* command = app.add_subcommand(
            "compare-methods",
            "One run per method on the same model and data, then what each reached and cost");
        command
            ->add_option("config", options->config,
                         "RUN.json: model, data, steps and the rate to start from")
            ->required();
        command->add_option("--methods", options->methods,
                            "Comma between them; every method that applies without it");
        command
            ->add_option("--with", options->settings,
                         "METHOD.KEY=JSON, a setting of one method; may be repeated")
            ->allow_extra_args(false);
        command
            ->add_option("--steps", options->steps,
                         "Optimiser steps of each run (else train.max_steps)")
            ->check(CLI::PositiveNumber);
        command
            ->add_option("--seconds", options->seconds,
                         "Time for the steps of each run instead of their number")
            ->check(CLI::PositiveNumber);
        command->add_option("--seeds", options->shootout.seeds,
                            "Runs of each, with this many seeds");
        command->add_option(
            "--rate-tries", options->shootout.rateTries,
            "Learning rates tried for each method, a factor of 3 apart; the best counts");
        command->add_option("--group", options->shootout.group,
                            "Group of the runs (else the configuration's, else \"methods\")");
        command->add_option("--workspace", options->workspace, "Folder that holds the runs");
        command->add_option("--out", options->out,
                            "Report: .html (table and picture), .md, .csv or .svg");
        command->add_option("--set", options->overrides, "dotted.key=JSON; may be repeated")
            ->allow_extra_args(false);
        command->callback([options, &context] {
            context.run = [options, &context] { return runCompareMethods(*options, context); };
        });
    }};
}

}  // namespace luthier::cli
