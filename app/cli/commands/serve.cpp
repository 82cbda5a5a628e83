// SPDX-License-Identifier: Apache-2.0
// serve: the window's session (core/contract/PROTOCOL.md). One thread reads requests, this one
// works on them in order; a cancel takes effect at the next token or phase. Models stay open
// between requests, so columns of a playground share one base.
#include "command.h"
#include "explain.h"
#include "exporting.h"
#include "importing.h"
#include "loaded.h"
#include "model_list.h"
#include "playground.h"
#include "survey.h"
#include "worker_process.h"

#include "contract/events.h"
#include "contract/fields.h"
#include "contract/run_store.h"
#include "io/command_server.h"
#include "model/open.h"
#include "peft/method.h"
#include "train/estimate.h"

#include <atomic>
#include <mutex>
#include <set>
#include <thread>

namespace luthier::cli {

namespace {

class Session {
public:
    Session(const Context& context, std::string workspace)
        : m_context(context), m_workspace(std::move(workspace)) {}

    ExitCode serve() {
        CommandServer server(m_incoming, true, "");
        std::thread sorter([this] { sortIncoming(); });
        while (const std::optional<Json> request = nextRequest()) handle(*request);
        sorter.join();
        return ExitCode::Done;
    }

private:
    /// Moves requests on to the working queue and notes cancellations at once.
    void sortIncoming() {
        while (true) {
            const std::optional<Json> request = m_incoming.wait(1000);
            if (!request) continue;
            const std::string command = textOr(*request, "command");
            if (command == "cancel") {
                const auto target = request->find("target");
                const std::lock_guard lock(m_mutex);
                if (target != request->end() && target->is_number_integer())
                    m_cancelled.insert(target->get<std::int64_t>());
                continue;
            }
            // A cancellation is for a request that came before it: the number may be used again.
            if (const auto own = request->find("id");
                own != request->end() && own->is_number_integer()) {
                const std::lock_guard lock(m_mutex);
                m_cancelled.erase(own->get<std::int64_t>());
            }
            m_work.push(*request);
            if (command == "input_closed") return;
        }
    }

    std::optional<Json> nextRequest() {
        while (true) {
            std::optional<Json> request = m_work.wait(1000);
            if (!request) continue;
            if (textOr(*request, "command") == "input_closed") return std::nullopt;
            return request;
        }
    }

    bool isCancelled(const Json& id) {
        const std::lock_guard lock(m_mutex);
        return id.is_number_integer() && m_cancelled.contains(id.get<std::int64_t>());
    }

    void send(const Json& id, const char* type, const Json& fields) {
        Json message{{"type", type}, {"id", id}};
        for (const auto& [key, value] : fields.items()) message[key] = value;
        printLine(m_context, dumpLine(message));
    }

    void handle(const Json& request) {
        const auto found = request.find("id");
        const Json id = found == request.end() ? Json() : *found;
        const auto fail = [&](const Problems& problems) {
            Json failed = event::failed(problems);
            failed.erase("type");
            send(id, "failed", failed);
        };
        try {
            if (isCancelled(id)) return fail({{"cancelled", "The request was cancelled.", "", ""}});
            send(id, "result", Json{{"value", answer(Fields(request, "request"), id)}});
        } catch (const Failure& failure) {
            fail(m_problems.empty() ? Problems{failure.problem()} : m_problems);
        } catch (...) {
            fail({explain(std::current_exception())});
        }
        m_problems.clear();
    }

    Json answer(const Fields& request, const Json& id) {
        const auto command = request.need<std::string>("command");
        const auto progress = [&](const std::string& phase, std::int64_t done, std::int64_t total) {
            if (isCancelled(id)) throw Failure({"cancelled", "The request was cancelled.", "", ""});
            send(id, "phase", Json{{"name", phase}, {"done", done}, {"total", total}});
        };
        if (command == "methods") return listMethods();
        if (command == "inspect") return inspectPath(request.need<std::string>("path"));
        if (command == "models")
            return listModels(request.get("folders", std::vector<std::string>{}),
                              Workspace::choose(m_workspace).root);
        if (command == "estimate") return estimateRun(configOf(request)).orThrow();
        if (command == "measure") {
            const Pace pace = measurePace(configOf(request).document, [&](const RunSnapshot& run) {
                                  send(id, "phase",
                                       Json{{"name", run.phase.name},
                                            {"done", run.lastStep()},
                                            {"total", run.maxSteps}});
                                  return !isCancelled(id);
                              }).orThrow();
            return Json{{"step_seconds", pace.stepSeconds}, {"peak_bytes", pace.peakBytes}};
        }
        if (command == "preview")
            return m_previews.page(
                configOf(request, wholeMethod().type), request.get("first", std::int64_t{0}),
                request.get("count", std::int64_t{50}), request.get("filter", "all"), progress,
                [&](const Json& document) { send(id, "beginning", Json{{"value", document}}); });
        if (command == "export")
            return exportResult(request.need<std::string>("source"), request.get("model", ""),
                                request.need<std::string>("format"), request.get("type", ""),
                                request.need<std::string>("out"), m_workspace, progress);
        if (command == "formats") return listExportFormats();
        if (command == "import")
            return importedModel(request.need<std::string>("path"),
                                 request.need<std::string>("out"), request.get("dtype", "auto"),
                                 progress);
        if (command == "generate" || command == "perplexity") {
            const auto folder = request.need<std::string>("model");
            const std::string dtype = request.get("dtype", "auto");
            if (!isLoaded(folder, dtype)) progress("opening the model", 0, 1);
            const Loaded& base = loaded(folder, dtype);
            return command == "generate" ? generateColumns(request, base, replyTo(id))
                                         : scoreColumns(request, base, replyTo(id));
        }
        if (command == "tokenize")
            return tokenizePrompt(request, tokenizer(request.need<std::string>("model")));
        throw Failure({"unknown_command", "\"" + command + "\" is not a request.",
                       "inspect, models, methods, estimate, measure, preview, generate, "
                       "perplexity, tokenize, formats, export, import.",
                       "command"});
    }

    /// @param method taken where the request names none and none matters
    RunConfig configOf(const Fields& request, const std::string& method = "") {
        Json document = request.object("config");
        if (!method.empty() && !document.contains("method")) document["method"]["type"] = method;
        Result<RunConfig> config =
            resolveRunConfig(document, request.get("directory", "."), methodSchemas());
        if (!config) m_problems = config.problems();
        return std::move(config).orThrow();
    }

    bool isLoaded(const std::string& folder) const {
        return m_loaded.model && m_loaded.folder == folder;
    }
    bool isLoaded(const std::string& folder, const std::string& dtype) const {
        return isLoaded(folder) && m_loadedDtype == dtype;
    }

    /// Of the open model, else opened alone: tokenising needs no weights.
    const Tokenizer& tokenizer(const std::string& folder) {
        if (isLoaded(folder)) return m_loaded.needTokenizer();
        if (!m_tokenizer || m_tokenizerFolder != folder) {
            m_tokenizer = openTokenizer(folder).orThrow();
            m_tokenizerFolder = folder;
        }
        return *m_tokenizer;
    }

    Loaded& loaded(const std::string& folder, const std::string& dtype) {
        if (!isLoaded(folder, dtype)) {
            m_loaded = {};
            m_loaded = loadModel(folder, dtype, "auto");
            m_loadedDtype = dtype;
        }
        return m_loaded;
    }

    Reply replyTo(const Json& id) {
        return {[this, id](const char* type, const Json& fields) { send(id, type, fields); },
                [this, id] { return isCancelled(id); }};
    }

    const Context& m_context;
    std::string m_workspace;
    CommandQueue m_incoming;
    CommandQueue m_work;
    std::mutex m_mutex;
    std::set<std::int64_t> m_cancelled;
    Loaded m_loaded;
    std::string m_loadedDtype;
    std::unique_ptr<Tokenizer> m_tokenizer;
    std::string m_tokenizerFolder;
    DataPreviews m_previews;
    Problems m_problems;  // all problems of a configuration, when there are several
};

}  // namespace

Command serveCommand() {
    return {[](CLI::App& app, Context& context) {
        auto workspace = std::make_shared<std::string>();
        CLI::App* command = app.add_subcommand(
            "serve", "A session for the window: requests on stdin, answers on stdout");
        command->add_option("--workspace", *workspace);
        command->callback([workspace, &context] {
            context.run = [workspace, &context] { return Session(context, *workspace).serve(); };
        });
    }};
}

}  // namespace luthier::cli
