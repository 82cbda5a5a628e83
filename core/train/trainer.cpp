// SPDX-License-Identifier: Apache-2.0
#include "train/trainer.h"

#include "peft/training_hooks.h"

#include "contract/fields.h"
#include "train/memory_probe.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/isfinite.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

namespace luthier {

namespace {

using Clock = std::chrono::steady_clock;

constexpr double kPhaseSeconds = 0.5;  ///< between reports of an evaluation's progress

double secondsSince(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

/// The randomness of one micro-step: a function of where it stands, not of what ran before.
RandomKey passKey(std::uint64_t seed, std::int64_t step, std::int64_t microStep) {
    std::uint64_t z = seed * 0x9E3779B97F4A7C15ull +
                      static_cast<std::uint64_t>(step) * 0xBF58476D1CE4E5B9ull +
                      static_cast<std::uint64_t>(microStep) + 1;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return {z ^ (z >> 31), true};
}

/// The first weight that holds NaN or infinity; empty when all are finite. Looked for only once a
/// loss is not.
std::string notFiniteWeight(const Weights& weights) {
    for (const std::string& name : weights.names())
        if (!at::isfinite(weights.at(name)).all().item<bool>()) return name;
    return "";
}

}  // namespace

Trainer::Trainer(Model& model, std::shared_ptr<Adapter> adapter,
                 std::unique_ptr<Optimizer> optimizer, TrainerSettings settings, TrainerPorts ports)
    : m_model(model),
      m_adapter(std::move(adapter)),
      m_stack(model),
      m_optimizer(std::move(optimizer)),
      m_settings(std::move(settings)),
      m_ports(std::move(ports)) {
    m_stack.add(m_adapter);
    m_settings.task.hasPrompt = m_stack.hooks().promptLength() > 0;
    m_task = makeTask(model, m_settings.task);
    m_state.learningRate = m_settings.learningRate;
    m_state.threads = at::get_num_threads();
}

double Trainer::rate() const {
    return m_state.learningRate * m_settings.schedule.factor(m_state.step);
}

bool Trainer::isEvaluationStep() const {
    if (m_state.step == 0) return m_settings.evalEvery > 0 && m_settings.evaluatesAtStart;
    return m_state.step == m_settings.totalSteps ||
           (m_settings.evalEvery > 0 && m_state.step % m_settings.evalEvery == 0);
}

Trainer::Wish Trainer::afterStep() {
    const bool isLast = m_state.step == m_settings.totalSteps;
    if ((isEvaluationStep() || m_state.isEvaluationDue) && evaluate() == Wish::Stop)
        return Wish::Stop;
    if (isLast || isPatienceOver() ||
        (m_state.step > 0 && m_settings.saveEvery > 0 && m_state.step % m_settings.saveEvery == 0))
        save();
    if (!isLast && isPatienceOver())
        m_ports.emit({{"type", "early_stopped"},
                      {"step", m_state.step},
                      {"best_step", m_state.bestEvalStep},
                      {"evaluations", m_state.evalsWithoutGain}});
    return Wish::GoOn;
}

TrainEnd Trainer::run() {
    const auto stopped = [this] {
        save();
        return TrainEnd::Stopped;
    };
    // A run that goes on behind its first step has what was due there behind it, but for an
    // evaluation that was broken off.
    if ((m_state.step == 0 || m_state.isEvaluationDue) && afterStep() == Wish::Stop)
        return stopped();
    while (m_state.step < m_settings.totalSteps && !isPatienceOver()) {
        if (obey() == Wish::Stop) return stopped();
        // Events that find no room wait in memory; taking more steps would only let them grow.
        if (const std::int64_t waiting = m_ports.bytesWaiting ? m_ports.bytesWaiting() : 0;
            waiting > 0) {
            const auto isWritten = [this] {
                return m_ports.bytesWaiting() == 0
                           ? Result<void>()
                           : Result<void>(Problem{"disk_full", "The disk is full.", "", ""});
            };
            if (waitForDisk(waiting, isWritten) == Wish::Stop) return stopped();
        }
        step();
        if (afterStep() == Wish::Stop) return stopped();
    }
    return TrainEnd::Finished;
}

void Trainer::step() {
    const Clock::time_point start = Clock::now();
    std::vector<std::vector<Example>> batches;
    LossCounts counts;
    for (std::int64_t micro = 0; micro < m_settings.microBatches; ++micro) {
        std::vector<Example> rows = m_ports.batch(m_state.step, micro);
        for (const Example& row : rows) counts += m_task->counts(row);
        if (!rows.empty()) batches.push_back(std::move(rows));
    }
    if (counts.labels == 0)
        throw Failure(
            {"no_labels",
             "Step " + std::to_string(m_state.step + 1) + " has no label that carries loss.",
             "Check data.loss_on and data.max_length.", "data"});

    auto* const hooks = dynamic_cast<TrainingHooks*>(m_adapter.get());
    if (const Json news = hooks != nullptr ? hooks->beforeStep(m_state.step + 1) : Json();
        !news.is_null())
        m_ports.emit(news);

    // Every token weighs the same: the sum over all micro-batches is divided by their labels'
    // count.
    double loss = 0;
    LossTerms terms;
    std::int64_t tokens = 0;
    for (std::size_t micro = 0; micro < batches.size(); ++micro) {
        std::int64_t labels = 0;
        for (const Example& row : batches[micro]) {
            tokens += m_task->tokenCount(row);
            labels += m_task->labelCount(row);
        }
        if (labels == 0) continue;
        const RandomKey key =
            passKey(m_settings.seed, m_state.step, static_cast<std::int64_t>(micro));
        m_stack.beginPass(key);
        const Loss part = m_task->loss(m_model, batches[micro], counts,
                                       {m_stack.hooks(), m_settings.activations, key});
        loss += part.value.item<double>();
        part.value.backward();
        if (terms.empty()) {
            terms = part.terms;
        } else {
            for (std::size_t i = 0; i < terms.size(); ++i) terms[i].second += part.terms[i].second;
        }
    }
    if (const at::Tensor extra = hooks != nullptr ? hooks->regularisation() : at::Tensor();
        extra.defined()) {
        loss += extra.item<double>();
        extra.backward();
    }

    StepFacts facts;
    facts.gradNorm = m_optimizer->clipGradients(m_settings.maxGradNorm);
    facts.learningRate = m_optimizer->usedRate(rate());
    const bool isFinite = std::isfinite(loss) && std::isfinite(facts.gradNorm);
    if (isFinite) {
        m_optimizer->step(rate());
        if (hooks != nullptr) hooks->afterUpdate(m_state.step + 1, m_settings.totalSteps);
    }
    m_optimizer->clearGradients();

    const double seconds = secondsSince(start);
    ++m_state.step;
    m_state.tokens += tokens;
    m_state.supervisedTokens += counts.labels;
    m_state.seconds += seconds;
    m_state.lastLoss = loss;
    if (!m_state.firstLoss) m_state.firstLoss = loss;
    facts.step = m_state.step;
    facts.epoch = m_ports.epochAt(m_state.step);
    facts.loss = loss;
    facts.tokens = tokens;
    facts.supervisedTokens = counts.labels;
    facts.losses = std::move(terms);
    facts.stepSeconds = seconds;
    facts.tokensPerSecond = static_cast<double>(tokens) / std::max(seconds, 1e-9);
    facts.memory = readMemory();
    m_ports.emit(event::step(facts));
    if (const std::string damaged = isFinite ? "" : notFiniteWeight(m_model.weights());
        !damaged.empty())
        throw Failure(
            {"tensor_not_finite",
             "The loss of step " + std::to_string(m_state.step) +
                 " is not a finite number because the model's " + damaged +
                 " holds NaN or infinity.",
             "The training that wrote it diverged, or the file is damaged: use another checkpoint.",
             damaged});
    if (!isFinite)
        throw Failure({"non_finite_loss",
                       std::string("The ") + (std::isfinite(loss) ? "gradient" : "loss") +
                           " of step " + std::to_string(m_state.step) +
                           " is not a finite number; the weights were left as they were.",
                       "Lower train.learning_rate or train.max_grad_norm, and resume from the last "
                       "checkpoint.",
                       "train.learning_rate", ExitCode::RunFailed});
}

Trainer::Wish Trainer::evaluate() {
    if (m_evaluatedStep == m_state.step && !m_state.isEvaluationDue) return Wish::GoOn;
    if (!m_ports.evalRows.empty()) {
        m_state.isEvaluationDue = true;
        m_isEvaluating = true;
        Clock::time_point told = Clock::now();
        const auto tell = [&](std::int64_t done, std::int64_t total) {
            m_ports.emit(event::phase("evaluating", done, total));
        };
        tell(0, static_cast<std::int64_t>(m_ports.evalRows.size()));
        const Measured measured =
            m_task->measure(m_model, m_stack, m_ports.evalRows,
                            {m_settings.evalBatch, [&](std::int64_t done, std::int64_t total) {
                                 if (done == total || secondsSince(told) >= kPhaseSeconds) {
                                     tell(done, total);
                                     told = Clock::now();
                                 }
                                 return done == total || obey() != Wish::Stop;
                             }});
        m_isEvaluating = false;
        if (!measured.isWhole) return Wish::Stop;
        m_state.isEvaluationDue = false;
        const double loss = measured.loss();
        m_state.lastEvalLoss = loss;
        judge(loss);
        m_ports.emit(event::eval(m_state.step, loss, measured.metrics,
                                 static_cast<std::int64_t>(m_ports.evalRows.size()),
                                 m_ports.ofEvalRows));
        if (m_settings.keepsBest && m_state.bestEvalStep == m_state.step) save();
    }
    m_evaluatedStep = m_state.step;
    return takeSamples();
}

Trainer::Wish Trainer::takeSamples() {
    if (!m_ports.sample) return Wish::GoOn;
    Wish wish = Wish::GoOn;
    m_isEvaluating = true;
    m_ports.sample(m_state.step,
                   [&] { return wish == Wish::GoOn && (wish = obey()) == Wish::GoOn; });
    m_isEvaluating = false;
    return wish;
}

/// Keeps count of the best loss and of evaluations since it fell, as transformers'
/// EarlyStoppingCallback does. The evaluation before the first step counts: training that never
/// gets better than what it began with is stopped, and gives back what it began with.
void Trainer::judge(double loss) {
    const bool isFirst = m_state.bestEvalStep < 0;
    const bool isLower = std::isfinite(loss) && (isFirst || loss < m_state.bestEvalLoss);
    m_state.evalsWithoutGain =
        isLower && (isFirst || m_state.bestEvalLoss - loss > m_settings.smallestGain)
            ? 0
            : m_state.evalsWithoutGain + 1;
    if (!isLower) return;
    m_state.bestEvalLoss = loss;
    m_state.bestEvalStep = m_state.step;
}

void Trainer::save() {
    if (m_savedStep == m_state.step) return;
    Result<void> saved = m_ports.saveCheckpoint(m_state);
    if (!saved && saved.problem().code == "disk_full") {
        std::int64_t bytes = 0;
        for (const TrainedParameter& parameter : m_adapter->parameters())
            bytes += 3 * static_cast<std::int64_t>(parameter.tensor.nbytes());  // with two moments
        waitForDisk(bytes, [&] { return saved = m_ports.saveCheckpoint(m_state); });
    }
    saved.orThrow();
    m_savedStep = m_state.step;
}

Trainer::Wish Trainer::waitForDisk(std::int64_t neededBytes,
                                   const std::function<Result<void>()>& retry) {
    constexpr int kTrySeconds = 30;
    const auto tellPaused = [&] {
        m_ports.emit({{"type", "paused"},
                      {"step", m_state.step},
                      {"reason", "disk_full"},
                      {"needed_bytes", neededBytes}});
    };
    tellPaused();
    for (bool isFull = true, isAsked = false; isFull;) {
        for (int second = 0; second < kTrySeconds; ++second) {
            const std::optional<Json> command =
                m_ports.commands != nullptr ? m_ports.commands->wait(1000) : std::nullopt;
            if (m_ports.commands == nullptr) std::this_thread::sleep_for(std::chrono::seconds(1));
            const std::string name = command ? textOr(*command, "command") : "";
            isAsked = name == "resume";
            if (isAsked) break;
            if (name == "stop" || name == "input_closed") return Wish::Stop;
            if (command && name != "pause")
                m_ports.emit(event::warning("bad_command",
                                            "The command " + dumpLine(*command).substr(0, 80) +
                                                " was not obeyed: the run waits for room on the "
                                                "disk.",
                                            "Free some space, then resume or stop."));
        }
        const Result<void> done = retry();
        isFull = !done && done.problem().code == "disk_full";
        if (!done && !isFull) done.orThrow();
        if (isFull && isAsked) tellPaused();  // who asked is answered
    }
    m_ports.emit({{"type", "resumed"}, {"step", m_state.step}});
    return Wish::GoOn;
}

Trainer::Wish Trainer::obey() {
    if (m_ports.commands == nullptr) return Wish::GoOn;
    while (const std::optional<Json> command = m_ports.commands->take())
        if (obeyOne(*command) == Wish::Stop) return Wish::Stop;
    return Wish::GoOn;
}

Trainer::Wish Trainer::obeyOne(const Json& command) {
    const std::string name = textOr(command, "command");
    const auto refuse = [&](const std::string& why) {
        m_ports.emit(event::warning(
            "bad_command",
            "The command " + dumpLine(command).substr(0, 80) + " was not understood.", why));
    };
    if (name == "stop" || name == "input_closed") return Wish::Stop;
    if (name == "pause") return pause();
    if (name == "resume") return Wish::GoOn;  // nothing waits
    if (name == "checkpoint") {
        save();
    } else if (name == "evaluate") {
        if (m_isEvaluating) return Wish::GoOn;  // one that is under way is what was asked for
        m_evaluatedStep = -1;
        return evaluate();
    } else if (name == "set") {
        const auto value = command.find("learning_rate");
        const bool isValid = value != command.end() && value->is_number() &&
                             std::isfinite(value->get<double>()) && value->get<double>() >= 0;
        if (!isValid) {
            refuse("set takes a learning_rate of at least 0.");
        } else {
            m_state.learningRate = value->get<double>();
            m_ports.emit({{"type", "learning_rate"},
                          {"step", m_state.step},
                          {"learning_rate", m_state.learningRate}});
        }
    } else {
        refuse(
            "Commands are objects: {\"command\": \"pause\" | \"resume\" | \"stop\" | "
            "\"checkpoint\" | \"evaluate\" | \"set\", …}.");
    }
    return Wish::GoOn;
}

Trainer::Wish Trainer::pause() {
    m_ports.emit(Json{{"type", "paused"}, {"step", m_state.step}});
    while (true) {
        const std::optional<Json> command = m_ports.commands->wait(1000);
        if (!command) continue;
        const std::string name = textOr(*command, "command");
        if (name == "resume") break;
        if (name != "pause" && obeyOne(*command) == Wish::Stop) return Wish::Stop;
    }
    m_ports.emit(Json{{"type", "resumed"}, {"step", m_state.step}});
    return Wish::GoOn;
}

}  // namespace luthier
