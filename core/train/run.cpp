// SPDX-License-Identifier: Apache-2.0
#include "train/run.h"

#include "data/dataset.h"
#include "data/order.h"
#include "data/tokenizer_encoder.h"
#include "generate/generator.h"
#include "io/atomic.h"
#include "io/manifest.h"
#include "io/sha256.h"
#include "io/weight_folder.h"
#include "model/open.h"
#include "peft/adapter_file.h"
#include "peft/method.h"
#include "peft/targets.h"
#include "task/rows.h"
#include "text/tokenizer.h"
#include "train/estimate.h"
#include "train/memory_probe.h"
#include "train/optimizer.h"
#include "train/trainer.h"

#include <ATen/Parallel.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <exception>
#include <filesystem>
#include <limits>
#include <optional>
#include <thread>

namespace luthier {

namespace fs = std::filesystem;

namespace {

using Clock = std::chrono::steady_clock;

std::vector<Example> examplesOf(const std::vector<DataRow>& rows) {
    std::vector<Example> examples;
    for (const DataRow& row : rows) examples.push_back(exampleOf(row));
    return examples;
}

/// SHA-256 of every file that the run reads: weights, tokenizer and configuration of the model,
/// rows, the adapter it starts from.
Json hashesOf(const RunConfig& config, const std::atomic<bool>& isStopped) {
    Json inputs = Json::object();
    const auto add = [&](const fs::path& file) {
        std::error_code code;
        if (!fs::is_regular_file(file, code)) return;
        if (Result<std::string> hash =
                sha256OfFile(file, [&](std::uint64_t, std::uint64_t) { return !isStopped; }))
            inputs[file.string()] = *hash;
    };
    const fs::path model = config.get<std::string>("model.path");
    for (const char* name : {"config.json", "tokenizer.json", "tokenizer.model",
                             "tokenizer_config.json", "chat_template.jinja"})
        add(model / name);
    if (config.get<std::string>("model.init") == "pretrained")
        if (Result<std::shared_ptr<const WeightFolder>> folder = WeightFolder::open(model))
            for (const fs::path& file : (*folder)->files()) add(file);
    for (const fs::path& file : dataFiles(config)) add(file);
    if (const auto from = config.optional<std::string>("method.init_from")) {
        add(*from);
        for (const char* name :
             {"adapter_config.json", "adapter_model.safetensors", "adapter.safetensors"})
            add(fs::path(*from) / name);
    }
    return inputs;
}

/// Files that differ from, or are not among, those that a run began with. `areRowsOthers`: it was
/// given other evaluation rows on purpose.
std::vector<std::string> changedInputs(const Json& before, const Json& now, bool areRowsOthers) {
    std::vector<std::string> changed;
    for (const auto& [file, hash] : before.items()) {
        const auto found = now.find(file);
        if (found == now.end() && areRowsOthers) continue;
        if (found == now.end())
            changed.push_back(file + " (gone)");
        else if (*found != hash)
            changed.push_back(file);
    }
    for (const auto& [file, hash] : now.items())
        if (!before.contains(file) && !areRowsOthers) changed.push_back(file + " (new)");
    return changed;
}

/// Folders that a killed process left half written or half deleted.
void removeLeftovers(const RunFolder& folder) {
    std::error_code code;
    for (const fs::path& place : {folder.path, folder.path / "checkpoints"})
        for (const auto& entry : fs::directory_iterator(place, code)) {
            const std::string name = entry.path().filename().string();
            if (name.front() == '.' && (name.find(".tmp-") != std::string::npos ||
                                        name.find(".removed") != std::string::npos))
                fs::remove_all(entry.path(), code);
        }
}

class Run {
public:
    explicit Run(const RunRequest& request)
        : m_request(request), m_config(withTask(request.config).orThrow()) {}

    ExitCode execute() {
        removeLeftovers(m_request.folder);
        // Every input is read once more for its hash, beside the work of opening it.
        std::thread hashing([this] {
            try {
                m_hashes = hashesOf(m_config, m_stopsHashing);
            } catch (...) {
                m_hashFailure = std::current_exception();
            }
            m_areHashesDone = true;
        });
        const auto stop = [this](std::thread* thread) {
            m_stopsHashing = true;
            if (thread->joinable()) thread->join();
        };
        const std::unique_ptr<std::thread, decltype(stop)> stopped(&hashing, stop);
        announce();
        openModelAndRows();
        attach();
        BatchPlan& plan = *m_plan;
        Trainer trainer(*m_model, m_adapter,
                        createOptimizer(m_config.get<std::string>("train.optimizer"),
                                        m_adapter->parameters(), optimizerSettings(m_config)),
                        trainerSettings(plan), ports(plan));
        m_optimizer = &trainer.optimizer();
        tellEvaluationShare(plan);
        if (!m_areHashesDone) emit(event::phase("hashing", 0, 1));
        hashing.join();
        if (m_hashFailure) std::rethrow_exception(m_hashFailure);
        if (m_request.start == RunStart::Resume) checkInputs();
        writeConfig(m_hashes);
        if (m_request.start == RunStart::Resume) resume(trainer);
        const TrainEnd end = trainer.run();
        emit(event::phase("exporting", 0, 1));
        return finish(trainer, end);
    }

private:
    void emit(const Json& event) { m_request.events.write(event).orThrow(); }

    void writeConfig(const Json& hashes) {
        Json document = m_config.document;
        document["versions"] = Json{{"luthier", LUTHIER_VERSION}, {"torch", "2.11.0"}};
        document["hardware"] = describeDevice(m_config.device());
        if (!hashes.is_null()) document["inputs"] = hashes;
        writeJsonAtomically(m_request.folder.config(), document).orThrow();
    }

    void announce() {
        if (m_request.start == RunStart::New) {
            writeConfig(nullptr);
            emit({{"type", "run_started"},
                  {"config", m_config.document},
                  {"device", describeDevice(m_config.device())}});
        }
    }

    void openModelAndRows() {
        if (const std::optional<Problem> warning = lengthWarning(m_request.config))
            emit(event::warning(warning->code, warning->message, warning->hint));
        emit(event::phase("loading", 0, 1));
        ModelRequest request{m_config.get<std::string>("model.path"),
                             m_config.get<std::string>("model.dtype"), m_config.device(),
                             m_config.get<std::string>("model.init"),
                             m_config.get<std::uint64_t>("train.seed")};
        request.task = taskOf(m_config);
        request.mayDrawHead = true;
        request.hasNewHead = wantsNewHead(m_config);
        m_model = openModel(request).orThrow();
        emit({{"type", "model_loaded"},
              {"architecture", m_model->description().architecture},
              {"parameters", m_model->weights().parameterCount()},
              {"bytes", m_model->weights().bytes()},
              {"dtype", m_model->dtype() == at::kBFloat16 ? "bfloat16" : "float32"}});
        Result<std::unique_ptr<Tokenizer>> tokenizer =
            openTokenizer(request.folder, m_model->description());
        if (tokenizer) m_tokenizer = std::move(*tokenizer);
        if (const std::optional<Problem> larger =
                m_tokenizer ? warningOf(*m_tokenizer) : std::nullopt)
            emit(event::warning(larger->code, larger->message, larger->hint));
        if (m_tokenizer)
            m_encoder = std::make_unique<TokenizerEncoder>(*m_tokenizer);
        else
            m_encoder = std::make_unique<MissingTokenizer>(tokenizer.problem(),
                                                           m_model->description().vocabulary);
        auto lastReport = Clock::now() - std::chrono::hours(1);
        m_data =
            Dataset::build(
                m_config, *m_encoder,
                [&](const std::string& name, std::int64_t done, std::int64_t total) {
                    if (done != total && Clock::now() - lastReport < std::chrono::milliseconds(200))
                        return;
                    lastReport = Clock::now();
                    emit(event::phase(name, done, total));
                })
                .orThrow();
        checkVocabulary();
        fitLabels(m_data, m_model->description()).orThrow();
        const std::size_t most =
            static_cast<std::size_t>(m_config.optional<std::int64_t>("data.eval.max_rows")
                                         .value_or(static_cast<std::int64_t>(m_data.eval.size())));
        for (const std::uint32_t row : drawnRows(
                 m_data.eval.size(), most, m_config.get<std::uint64_t>("train.seed"), "evaluation"))
            m_evalRows.push_back(m_data.eval[row]);
        m_taskOptions = taskOptions(m_config, m_data, m_model->description()).orThrow();
        if (m_model->description().isClassifier()) m_model->setClassNames(m_data.classNames);
        m_plan.emplace(m_data.trainLengths(), planOptions());
        emit({{"type", "data"},
              {"max_steps", m_plan->totalSteps()},
              {"rows", m_data.facts.rows},
              {"train_rows", m_data.train.size()},
              {"eval_rows", m_data.eval.size()},
              {"tokens", m_data.facts.tokens},
              {"supervised_tokens", m_data.facts.supervisedTokens},
              {"truncated_rows", m_data.facts.truncatedRows},
              {"skipped_rows", m_data.facts.skippedRows},
              {"unusable_rows", m_data.facts.unusableRows},
              {"left_out", m_data.facts.leftOut},
              {"unused_columns", m_data.facts.unusedColumns}});
        for (const DataProblem& problem : m_data.problems)
            if (problem.level != DataLevel::Note)
                emit(event::warning(problem.code, problem.message, problem.hint));
    }

    /// An id beyond the embedding would read foreign memory.
    void checkVocabulary() const {
        const auto vocabulary = static_cast<std::int32_t>(m_model->description().vocabulary);
        for (const RowList* rows : {&m_data.train, &m_data.eval})
            for (const DataRow& row : *rows) {
                std::int32_t worst = 0;
                for (const std::int32_t id : row.ids)
                    worst = id < 0 ? std::numeric_limits<std::int32_t>::max() : std::max(worst, id);
                for (const std::int32_t label : row.labels) worst = std::max(worst, label);
                for (const std::vector<std::int32_t>& choice : row.choices)
                    for (const std::int32_t id : choice) worst = std::max(worst, id);
                if (worst >= vocabulary)
                    throw Failure(
                        {"id_out_of_range",
                         "Row " + std::to_string(row.sourceRow) +
                             " of the data holds the token id " + std::to_string(worst) +
                             "; the model knows ids below " + std::to_string(vocabulary) + ".",
                         "Use the tokenizer that belongs to the model.", "data.train.path"});
            }
    }

    void attach() {
        const Method* method = findMethod(m_config.methodType());
        const auto tokenize = [this](const std::string& text) {
            if (!m_tokenizer) return std::vector<std::int64_t>{};
            const std::vector<int> ids = m_tokenizer->encode(text);
            m_tokenizer
                ->checkIds(ids, "The text that the prompt starts from",
                           "method.prompt_tuning_init_text")
                .orThrow();
            return std::vector<std::int64_t>(ids.begin(), ids.end());
        };
        m_adapter = createAdapter(*method, {*m_model, m_config.method(),
                                            m_config.get<std::uint64_t>("train.seed"), tokenize})
                        .orThrow();
        if (const auto from = m_config.optional<std::string>("method.init_from");
            from && m_request.start == RunStart::New)
            loadInto(*m_adapter, *from, *m_model).orThrow();
        m_activations = chooseActivations(m_config, *m_model, *m_adapter);
        std::int64_t trainable = 0;
        for (const TrainedParameter& parameter : m_adapter->parameters())
            trainable += parameter.tensor.numel();
        const std::int64_t base = m_model->weights().parameterCount();
        const std::int64_t total = m_adapter->trainsBase() ? base : base + trainable;
        m_trainable = trainable;
        m_total = total;
        std::vector<std::string> names;
        for (const TrainedParameter& parameter : m_adapter->parameters())
            names.push_back(parameter.name);
        const MatchCounts matches = countMatches(m_model->sites(), m_config.method(), names);
        if (m_request.start == RunStart::New)
            for (const Problem& unmatched : matches.unmatched)
                emit(event::warning(unmatched.code, unmatched.message, unmatched.hint));
        for (const auto& [expression, matched] :
             matchedByNoDecay(optimizerSettings(m_config).noDecay, m_adapter->parameters())
                 .orThrow())
            if (matched.empty() && m_request.start == RunStart::New)
                emit(event::warning("setting_matches_nothing",
                                    "train.no_decay names \"" + expression +
                                        "\", which is found in no trained parameter.",
                                    "They are called like " + names.front() + "."));
        emit({{"type", "parameters"},
              {"matched", matches.counts},
              {"trainable", trainable},
              {"frozen", total - trainable},
              {"percent", 100.0 * static_cast<double>(trainable) / static_cast<double>(total)},
              {"by_part", countByPart(*m_adapter)},
              {"gradient_checkpointing", m_activations == Activations::Recompute}});
    }

    /// Before the first step: a run that would do little but measure says so.
    void tellEvaluationShare(const BatchPlan& plan) {
        double evalTokens = 0;
        for (const DataRow& row : m_evalRows) evalTokens += static_cast<double>(row.ids.size());
        const double rowsPerStep = m_config.get<double>("train.batch_size") *
                                   m_config.get<double>("train.gradient_accumulation_steps");
        const double perRow = m_config.get<bool>("data.packing")
                                  ? m_config.get<double>("data.max_length")
                                  : static_cast<double>(m_data.facts.tokens) /
                                        static_cast<double>(m_data.train.size());
        const EvaluationShare share = evaluationShare(
            m_config, plan.totalSteps(), m_activations,
            static_cast<std::int64_t>(m_evalRows.size()),
            static_cast<std::int64_t>(m_data.eval.size()),
            perRow * rowsPerStep * static_cast<double>(plan.totalSteps()), evalTokens);
        if (const std::optional<Problem> heavy = heavyEvaluation(share))
            emit(event::warning(heavy->code, heavy->message, heavy->hint));
    }

    PlanOptions planOptions() const {
        PlanOptions options;
        options.batchSize = m_config.get<std::int64_t>("train.batch_size");
        options.accumulation = m_config.get<std::int64_t>("train.gradient_accumulation_steps");
        options.maxSteps = m_config.optional<std::int64_t>("train.max_steps").value_or(0);
        options.epochs = m_config.optional<double>("train.epochs").value_or(1);
        options.seed = m_config.get<std::uint64_t>("train.seed");
        options.shuffle = m_config.get<bool>("data.shuffle");
        options.packing = m_config.get<bool>("data.packing");
        options.maxLength = m_config.get<std::int64_t>("data.max_length");
        options.groupByLength = m_config.get<bool>("train.group_by_length");
        return options;
    }

    TrainerSettings trainerSettings(const BatchPlan& plan) const {
        TrainerSettings settings;
        settings.totalSteps = plan.totalSteps();
        settings.microBatches = m_config.get<std::int64_t>("train.gradient_accumulation_steps");
        settings.schedule = scheduleOf(m_config, settings.totalSteps);
        settings.patience =
            m_config.optional<std::int64_t>("train.early_stopping_patience").value_or(0);
        settings.smallestGain = m_config.get<double>("train.early_stopping_threshold");
        settings.keepsBest = m_config.get<bool>("train.load_best_model_at_end");
        settings.learningRate = m_config.get<double>("train.learning_rate");
        settings.maxGradNorm = m_config.optional<double>("train.max_grad_norm").value_or(0);
        settings.seed = m_config.get<std::uint64_t>("train.seed");
        settings.evalEvery = m_config.get<std::int64_t>("train.eval_every");
        settings.evaluatesAtStart = m_config.get<bool>("train.eval_at_start");
        settings.saveEvery = m_config.get<std::int64_t>("train.save_every");
        settings.activations = m_activations;
        settings.task = m_taskOptions;
        settings.evalBatch =
            static_cast<std::size_t>(m_config.get<std::int64_t>("train.batch_size"));
        return settings;
    }

    TrainerPorts ports(BatchPlan& plan) {
        TrainerPorts ports;
        ports.batch = [this, &plan](std::int64_t step, std::int64_t microStep) {
            std::vector<Example> rows;
            if (m_plannedStep != step) {
                m_planned = plan.step(step + 1);
                m_plannedStep = step;
                m_stepRows.clear();
            }
            if (microStep >= static_cast<std::int64_t>(m_planned.microBatches.size())) return rows;
            for (const Sequence& sequence :
                 m_planned.microBatches[static_cast<std::size_t>(microStep)])
                for (const std::uint32_t row : sequence)
                    rows.push_back(exampleOf(m_stepRows.emplace_back(m_data.train[row])));
            return rows;
        };
        ports.epochAt = [this](std::int64_t) { return m_planned.epoch; };
        ports.evalRows = examplesOf(m_evalRows);
        ports.ofEvalRows = static_cast<std::int64_t>(m_data.eval.size());
        ports.emit = [this](const Json& event) { emit(event); };
        ports.bytesWaiting = [this] {
            return m_request.events.catchUp()
                       ? std::int64_t{0}
                       : static_cast<std::int64_t>(m_request.events.waitingBytes());
        };
        ports.saveCheckpoint = [this](const TrainState& state) { return saveCheckpoint(state); };
        if (m_tokenizer && !m_config.train().at("sample_prompts").empty())
            ports.sample = [this](std::int64_t step, const std::function<bool()>& goOn) {
                sample(step, goOn);
            };
        ports.commands = &m_request.commands;
        return ports;
    }

    Result<void> saveCheckpoint(const TrainState& state) {
        const RunFolder& folder = m_request.folder;
        Result<std::int64_t> bytes =
            writeCheckpoint(folder.checkpoint(state.step), *m_adapter, *m_optimizer, state);
        if (!bytes) return bytes.problems();
        Result<void> synced = m_request.events.sync();
        if (!synced) return synced;
        emit(event::checkpoint(
            state.step, fs::relative(folder.checkpoint(state.step), folder.path).string(), *bytes));
        const std::vector<std::int64_t> steps = folder.checkpointSteps();
        const auto keep =
            static_cast<std::size_t>(m_config.get<std::int64_t>("train.keep_checkpoints"));
        std::error_code code;
        for (std::size_t i = 0; i + keep < steps.size(); ++i) {
            if (steps[i] == state.bestEvalStep) continue;
            // Out of its name first: what is deleted half is no checkpoint.
            const fs::path whole = folder.checkpoint(steps[i]),
                           hidden =
                               whole.parent_path() / ("." + whole.filename().string() + ".removed");
            fs::rename(whole, hidden, code);
            fs::remove_all(code ? whole : hidden, code);
        }
        return {};
    }

    void sample(std::int64_t step, const std::function<bool()>& goOn) {
        AdapterStack stack(*m_model);
        stack.add(m_adapter);
        SamplingSettings settings;
        settings.maxNewTokens = m_config.get<std::int64_t>("train.sample_max_new_tokens");
        const std::vector<int> ends = m_tokenizer->endIds();
        for (const Json& prompt : m_config.train().at("sample_prompts")) {
            std::vector<int> ids = m_tokenizer->encode(prompt.get<std::string>());
            if (ids.size() > 1 && m_tokenizer->eosId() && ids.back() == *m_tokenizer->eosId())
                ids.pop_back();
            if (ids.empty()) continue;
            m_tokenizer->checkIds(ids, "A prompt to sample", "train.sample_prompts").orThrow();
            const Generated generated =
                generate(*m_model, stack, {ids.begin(), ids.end()}, {ends.begin(), ends.end()},
                         settings, [&](const GeneratedToken&) { return goOn(); });
            if (generated.finishReason == "cancelled") return;
            const std::vector<int> out(generated.ids.begin(), generated.ids.end());
            emit(event::sample(step, prompt, m_tokenizer->decode(out)));
        }
    }

    /// A run goes on as it began: model, data and start are held against the hashes in its
    /// run.json.
    void checkInputs() {
        const Result<Json> before = readJsonFile(m_request.folder.config());
        const auto inputs =
            before && before->is_object() ? before->find("inputs") : Json::const_iterator();
        if (!before || !before->is_object() || inputs == before->end() || !inputs->is_object())
            return;  // ended before its first step
        std::string names;
        const bool areRowsOthers =
            std::any_of(m_request.changed.begin(), m_request.changed.end(),
                        [](const std::string& key) { return key.rfind("data.eval.", 0) == 0; });
        for (const std::string& file : changedInputs(*inputs, m_hashes, areRowsOthers))
            names += (names.empty() ? "" : ", ") + file;
        if (names.empty()) return;
        if (!m_request.acceptsChangedInputs)
            throw Failure(
                {"inputs_changed",
                 "Since the run began these of its inputs changed (model, data or start): " +
                     names + ".",
                 "Put them back as they were, or go on all the same with --accept-changed-inputs.",
                 "inputs"});
        emit(event::warning(
            "inputs_changed",
            "The run goes on with inputs that changed since it began: " + names + ".", ""));
    }

    /// The newest checkpoint that is whole; those before it are told of.
    std::optional<TrainState> newestWhole(Trainer& trainer) {
        std::vector<std::int64_t> steps = m_request.folder.checkpointSteps();
        const bool hadAny = !steps.empty();
        Problem last;
        for (; !steps.empty(); steps.pop_back()) {
            const fs::path folder = m_request.folder.checkpoint(steps.back());
            const ManifestCheck check = checkManifest(folder);
            if (check.state == ManifestState::Missing)
                emit(event::warning("checkpoint_unverified",
                                    folder.filename().string() +
                                        " has no MANIFEST.json, so damage to it would not show.",
                                    "An earlier version wrote it."));
            Result<TrainState> state =
                check.state == ManifestState::Damaged
                    ? Result<TrainState>(Problem{"checkpoint_damaged", check.text(), "", ""})
                    : readCheckpoint(folder, *m_adapter, trainer.optimizer());
            if (state) return *state;
            last = state.problem();
            if (steps.size() < 2) break;
            emit(event::warning(
                "checkpoint_damaged",
                folder.filename().string() + " is damaged (" + last.message + ").",
                "The run goes on from " +
                    m_request.folder.checkpoint(steps[steps.size() - 2]).filename().string() +
                    "."));
        }
        if (hadAny)
            throw Failure({last.code, "No checkpoint of the run is whole: " + last.message,
                           last.hint.empty() ? "Begin the run anew." : last.hint,
                           m_request.folder.path.string()});
        return {};
    }

    void resume(Trainer& trainer) {
        if (std::optional<TrainState> state = newestWhole(trainer)) {
            trainer.state() = *state;
            const int threads = trainer.state().threads;
            if (threads > 0 && threads != at::get_num_threads()) at::set_num_threads(threads);
            if (m_request.changed.contains("train.learning_rate"))
                trainer.state().learningRate = m_config.get<double>("train.learning_rate");
        } else if (const auto from = m_config.optional<std::string>("method.init_from")) {
            loadInto(*m_adapter, *from, *m_model).orThrow();
        }
        emit({{"type", "resumed"}, {"step", trainer.state().step}});
    }

    ExitCode finish(Trainer& trainer, TrainEnd end) {
        const TrainState& state = trainer.state();
        const RunFolder& folder = m_request.folder;
        const bool isBestUsed = m_config.get<bool>("train.load_best_model_at_end") &&
                                state.bestEvalStep >= 0 && state.bestEvalStep < state.step;
        if (isBestUsed)
            (void)readCheckpoint(folder.checkpoint(state.bestEvalStep), *m_adapter, *m_optimizer)
                .orThrow();
        const fs::path target = m_adapter->trainsBase() ? folder.model() : folder.adapter();
        AtomicDir result = AtomicDir::begin(target).orThrow();
        const fs::path source = m_config.get<std::string>("model.path");
        const std::int64_t bytes =
            m_adapter->trainsBase()
                ? writeModel(*m_model, source, result.path(),
                             writtenTypes(*m_model, source, at::kFloat).orThrow())
                      .orThrow()
                : writeAdapter(*m_adapter, result.path(), baseNameOf(source)).orThrow();
        writeManifest(result.path()).orThrow();
        result.commit(Existing::Replace).orThrow();
        Json summary{{"status", end == TrainEnd::Finished ? "finished" : "stopped"},
                     {"steps", state.step},
                     {"tokens", state.tokens}};
        for (const auto& [key, value] : {std::pair{"first_loss", state.firstLoss},
                                         {"loss", state.lastLoss},
                                         {"eval_loss", state.lastEvalLoss}})
            if (value) setNumber(summary, key, *value);
        if (state.bestEvalStep >= 0) {
            setNumber(summary, "best_eval_loss", state.bestEvalLoss);
            summary["best_eval_step"] = state.bestEvalStep;
        }
        if (trainer.isPatienceOver()) summary["early_stopped"] = true;
        if (m_config.get<bool>("train.load_best_model_at_end"))
            summary["result_step"] = isBestUsed ? state.bestEvalStep : state.step;
        summary["trainable"] = m_trainable;
        summary["total"] = m_total;
        summary["adapter_bytes"] = bytes;
        summary["seconds"] = state.seconds;
        setNumber(summary, "tokens_per_second",
                  state.seconds > 0 ? static_cast<double>(state.tokens) / state.seconds : 0);
        summary["peak_bytes"] = peakHostBytes();
        summary["result"] = target.filename().string();
        writeJsonAtomically(folder.summary(), summary).orThrow();
        emit({{"type", "finished"}, {"summary", summary}});
        m_request.events.sync().orThrow();
        return end == TrainEnd::Finished ? ExitCode::Done : ExitCode::Stopped;
    }

    const RunRequest& m_request;
    const RunConfig m_config;
    std::unique_ptr<Model> m_model;
    std::unique_ptr<Tokenizer> m_tokenizer;
    std::unique_ptr<TextEncoder> m_encoder;
    Dataset m_data;
    std::deque<DataRow> m_stepRows;   // of the step that is being taken: examples are views
    std::vector<DataRow> m_evalRows;  // of each evaluation
    std::optional<BatchPlan> m_plan;
    TaskOptions m_taskOptions;
    std::shared_ptr<Adapter> m_adapter;
    Optimizer* m_optimizer = nullptr;  // the trainer's; checkpoints hold its moments
    PlannedStep m_planned;
    std::int64_t m_plannedStep = -1;
    Activations m_activations = Activations::Keep;
    std::int64_t m_trainable = 0;
    std::int64_t m_total = 0;
    Json m_hashes;
    std::exception_ptr m_hashFailure;
    std::atomic<bool> m_areHashesDone = false;
    std::atomic<bool> m_stopsHashing = false;
};

}  // namespace

ExitCode trainRun(const RunRequest& request) { return Run(request).execute(); }

}  // namespace luthier
