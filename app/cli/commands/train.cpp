// SPDX-License-Identifier: Apache-2.0
// train RUN.json: the worker. The event log comes first, then the pipe; commands come from stdin
// and the run's socket.
#include "command.h"
#include "explain.h"
#include "last_words.h"
#include "run_progress.h"

#include "contract/events.h"
#include "contract/fields.h"
#include "contract/schema.h"
#include "contract/run_store.h"
#include "io/atomic.h"
#include "peft/method.h"
#include "train/run.h"

#include <chrono>
#include <cstdlib>
#include <fcntl.h>
#include <iostream>
#include <set>
#include <sys/stat.h>
#include <unistd.h>

namespace luthier::cli {

namespace {

struct TrainOptions {
    std::string config, workspace, resume, events, runId;
    std::vector<std::string> overrides;
    bool isDetached = false;
    bool acceptsChangedInputs = false;
};

/// The run's configuration and folder, before anything is loaded.
struct Prepared {
    RunConfig config;
    RunFolder folder;
    RunStart start = RunStart::New;
    std::set<std::string>
        changed;  ///< keys that --set gave another value than the run has, of a resumed run
};

/// What may be set anew when a run goes on: what is taken from the configuration at each step, and
/// where the end is.
bool mayChange(const std::string& key) {
    static const std::set<std::string> keys{
        "train.learning_rate", "train.max_steps",
        "train.epochs",        "train.eval_every",
        "train.save_every",    "train.sample_prompts",
        "train.eval_at_start", "device",
        "train.batch_size",    "train.gradient_accumulation_steps"};
    return keys.contains(key) || key.rfind("data.eval.", 0) == 0;
}

/// The keys of `overrides` that change what the run has; refuses those that would make another run
/// of it.
std::set<std::string> changedSettings(const RunFolder& folder, const RunConfig& config,
                                      const std::vector<std::string>& overrides) {
    const RunConfig before = loadRunConfig(folder.config(), {}, methodSchemas()).orThrow();
    std::set<std::string> changed;
    for (const std::string& text : overrides) {
        const std::string key = text.substr(0, text.find('='));
        const Json* was = findDotted(before.document, key);
        const Json* is = findDotted(config.document, key);
        if (was != nullptr && is != nullptr && *was == *is) continue;
        if (!mayChange(key))
            throw Failure({"not_resumable_setting",
                           key + " cannot change when a run is resumed; it is " +
                               (was != nullptr ? dumpLine(*was) : std::string("not set")) + " in " +
                               folder.id() + ".",
                           "Start a new run with it, or resume without --set " + key + ".", key,
                           ExitCode::BadUsage});
        changed.insert(key);
    }
    const auto rows = [](const RunConfig& each) {
        return each.get<std::int64_t>("train.batch_size") *
               each.get<std::int64_t>("train.gradient_accumulation_steps");
    };
    if (rows(before) != rows(config))
        throw Failure(
            {"not_resumable_setting",
             "train.batch_size times train.gradient_accumulation_steps is " +
                 std::to_string(rows(before)) + " rows a step in " + folder.id() + "; with " +
                 std::to_string(rows(config)) + " the rows already seen could not be told.",
             "Change both so that their product stays.", "train.batch_size", ExitCode::BadUsage});
    return changed;
}

Prepared prepare(const TrainOptions& options, RunStore& store) {
    Prepared prepared;
    if (!options.resume.empty()) {
        prepared.folder = store.find(options.resume).orThrow();
        prepared.start = RunStart::Resume;
        prepared.config =
            loadRunConfig(prepared.folder.config(), options.overrides, methodSchemas()).orThrow();
        prepared.changed = changedSettings(prepared.folder, prepared.config, options.overrides);
        return prepared;
    }
    if (options.config.empty())
        throw Failure({"bad_usage", "train needs a RUN.json, or --resume RUN_ID.",
                       "luthier-cli train --help", "", ExitCode::BadUsage});
    Result<RunConfig> config = loadRunConfig(options.config, options.overrides, methodSchemas());
    if (!config) {
        // Every problem of the document is told at once.
        Failure failure(config.problem());
        if (config.problems().size() > 1)
            for (const Problem& problem : config.problems())
                std::cerr << describe({problem}) << "\n";
        throw failure;
    }
    prepared.config = *config;
    prepared.folder = store.create(prepared.config.name(), options.runId).orThrow();
    return prepared;
}

/// Which descriptor receives the stream; -1 for none.
int openEventPipe(const std::string& target, const Context& context) {
    if (target.empty()) return -1;
    if (target == "-") return context.stdoutDescriptor;
    const int descriptor = ::open(target.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (descriptor < 0)
        throw Failure({"file_not_writable", target + " could not be opened for the events.",
                       "Check the folder.", "--events", ExitCode::BadUsage});
    return descriptor;
}

/// Runs the work and writes its one `failed` event, whatever ended it.
ExitCode supervised(const RunRequest& request) {
    try {
        return trainRun(request);
    } catch (...) {
        const Problem problem = explain(std::current_exception());
        // A full disk can also keep this event from being written; the exit code and stderr still
        // tell.
        if (Result<void> written = request.events.write(event::failed(problem)); written)
            static_cast<void>(request.events.sync());
        throw Failure(problem);
    }
}

/// The summary of a run that came to its end, unless it is to go further now; null else.
Json finishedSummary(const Prepared& prepared) {
    if (prepared.start == RunStart::New || prepared.changed.contains("train.max_steps") ||
        prepared.changed.contains("train.epochs"))
        return nullptr;
    const Result<Json> summary = readJsonFile(prepared.folder.summary());
    return summary && textOr(*summary, "status") == "finished" ? *summary : Json();
}

/// Nothing of the run is touched.
ExitCode tellFinished(const RunFolder& folder, const Json& summary, const TrainOptions& options,
                      const Context& context) {
    if (options.events == "-") {
        printLine(context, eventLine({{"type", "finished"}, {"summary", summary}}, folder.id(),
                                     std::chrono::duration<double>(
                                         std::chrono::system_clock::now().time_since_epoch())
                                         .count()));
        return ExitCode::Done;
    }
    context.progress->say("The run is finished already, at step " +
                          withThousands(summary.value("steps", std::int64_t{0})) +
                          ". To train further: --set train.max_steps=…");
    report(context, {{"run", folder.id()}, {"folder", folder.path.string()}, {"summary", summary}},
           folder.id() + "\n" + folder.path.string() + "\n");
    return ExitCode::Done;
}

/// What the stream of `--events -` has got so far.
struct Stream {
    std::string run;
    bool isOpen = false;  ///< the log writes it: its last event is on it
};

ExitCode train(const TrainOptions& options, const Context& context, Stream& stream) {
    ::umask(077);  // what a run holds is its owner's
    RunStore store(Workspace::choose(options.workspace));
    Prepared prepared = prepare(options, store);
    const RunFolder& folder = prepared.folder;
    if (const Json summary = finishedSummary(prepared); !summary.is_null())
        return tellFinished(folder, summary, options, context);
    RunLock lock = RunLock::acquire(folder).orThrow();
    const int pipe = openEventPipe(options.events, context);
    const std::unique_ptr<EventLog> events =
        EventLog::open(folder.events(), folder.id(), pipe).orThrow();
    events->alsoAsText(folder.log());
    stream = {folder.id(), true};
    alsoTell([&events](const Problem& problem) {
        if (Result<void> written = events->write(event::failed(problem)); written)
            static_cast<void>(events->sync());
    });
    struct Deaf {
        ~Deaf() { alsoTell({}); }
    } const deaf;
    CommandQueue commands;
    CommandServer server(commands, options.events == "-" && !options.isDetached, folder.id());
    const double now =
        std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
    writeJsonAtomically(
        folder.worker(),
        Json{{"pid", ::getpid()}, {"socket", server.socketPath()}, {"started", now}})
        .orThrow();

    const RunRequest request{
        prepared.config,  folder,  prepared.start, options.acceptsChangedInputs,
        prepared.changed, *events, commands};
    // The stream's last line is `finished`; a window or a job that reads it wants nothing else.
    if (options.events == "-") return supervised(request);
    RunProgress progress(*context.progress);
    progress.begin(folder.id(), prepared.config.document);
    const auto start = std::chrono::steady_clock::now();
    events->observe([&progress](const Json& event) { progress.apply(event); });
    const ExitCode code = supervised(request);
    const Json& summary = progress.run().summary;
    if (!context.progress->isSilent()) {
        context.progress->clear();
        std::cerr << runEndText(
            progress.run(), summary, folder.path.string(),
            std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
            options.workspace);
    }
    report(context, {{"run", folder.id()}, {"folder", folder.path.string()}, {"summary", summary}},
           folder.id() + "\n" + folder.path.string() + "\n");
    return code;
}

ExitCode runTrain(const TrainOptions& options, const Context& context) {
    Stream stream;
    try {
        return train(options, context, stream);
    } catch (...) {
        const Problem problem = explain(std::current_exception());
        // The stream always ends with `finished` or `failed`, also of a run that never began.
        if (options.events == "-" && !stream.isOpen)
            printLine(context, eventLine(event::failed(problem), stream.run,
                                         std::chrono::duration<double>(
                                             std::chrono::system_clock::now().time_since_epoch())
                                             .count()));
        throw;
    }
}

}  // namespace

Command trainCommand() {
    return {[](CLI::App& app, Context& context) {
        auto options = std::make_shared<TrainOptions>();
        CLI::App* command = app.add_subcommand("train", "Train a run");
        command->add_option("config", options->config, "RUN.json");
        command->add_option("--set", options->overrides, "dotted.key=JSON; may be repeated")
            ->allow_extra_args(false);
        command->add_option("--workspace", options->workspace, "Folder that holds the runs");
        command->add_option("--resume", options->resume, "Run to continue, or \"latest\"");
        command->add_option("--events", options->events,
                            "File for the event stream, or - for standard output");
        command->add_option("--run-id", options->runId, "Id of the new run");
        command->add_flag("--accept-changed-inputs", options->acceptsChangedInputs,
                          "With --resume: go on though model or data changed since the run began");
        command->add_flag("--detached", options->isDetached,
                          "Keep training when standard input closes");
        command->callback([options, &context] {
            context.run = [options, &context] { return runTrain(*options, context); };
        });
    }};
}

}  // namespace luthier::cli
