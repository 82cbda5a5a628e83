// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// A run as the window holds it: the contract's fold of its events (run_snapshot.h), the curves as
// floats for the plots, and what happened in words for the log. Curves and words are derived from
// the snapshot after every line, never from events. Not thread-safe; a record read by a worker
// thread is handed over whole.

#include "contract/run_snapshot.h"

#include <QString>

#include <cstdint>
#include <limits>
#include <memory>
#include <string_view>
#include <vector>

namespace luthier::ui {

constexpr double kNoNumber = std::numeric_limits<double>::quiet_NaN();

/// One entry per logged step. Floats, because 100 runs of 100,000 points have to fit. All vectors
/// are equally long, but with Detail::Loss all after the loss stay empty.
struct RunCurves {
    enum class Detail { Everything, Loss };
    std::vector<float> step, tokens, seconds,
        loss;  ///< tokens cumulative; seconds of training, without loading and pauses
    std::vector<float> learningRate, gradNorm, tokensPerSecond, memoryBytes;
    std::vector<float> lmLoss, unlikelihoodLoss,
        lengthNormalizedLoss;  ///< terms of the loss before their weights; not a number without
    bool hasTerms = false;     ///< some step told the terms of its loss
    std::size_t size() const { return step.size(); }
    void truncate(std::size_t count);
    void take(const StepSeries& steps, std::size_t from, bool memoryIsDevice, Detail detail);
};

struct LogLine {
    enum Kind { Plain, Warning, Error, Good };
    double time = 0;
    Kind kind = Plain;
    QString text;  ///< empty for a step, which is put into words when shown
    std::int64_t step = 0;
    float loss = 0, seconds = 0;
    QString words() const { return text.isEmpty() ? stepWords() : text; }

private:
    QString stepWords() const;
};

struct Metric {
    QString name, value;
};
/// What an evaluation measured beside its loss, the most telling first; the terms of the loss are
/// left out.
std::vector<Metric> metricsOf(const EvalPoint& point);

struct RunRecord {
    RunSnapshot snapshot;
    RunCurves curves;
    std::vector<LogLine> log;       ///< newest last, at most kMaxLog
    std::int64_t droppedLines = 0;  ///< of the log, from its front

    static constexpr std::size_t kMaxLog = 4000;

    /// Folds one line of events.jsonl and derives the rest.
    void applyLine(std::string_view line);
    /// "starting" until the first step, else as in `runs list --json`.
    QString status() const;
    bool isOver() const { return snapshot.isOver(); }
    std::int64_t lastStep() const { return snapshot.lastStep(); }
    bool memoryIsDevice() const { return snapshot.deviceTotalBytes > 0; }
    const EvalPoint* bestEval() const;
    double epoch() const { return snapshot.steps.epoch.empty() ? 0 : snapshot.steps.epoch.back(); }
    /// Trained parts, largest first.
    std::vector<PartCount> parts() const;

private:
    void note(const QString& text, LogLine::Kind kind = LogLine::Plain);
    void noteChanges();
    /// What the log has told so far.
    struct Told {
        std::size_t steps = 0, evals = 0, checkpoints = 0, warnings = 0, rates = 0, resumes = 0;
        std::int64_t modelParameters = 0, rows = 0;
        std::string phase;
        RunStatus status = RunStatus::Queued;
    } m_told;
};

/// Reads and folds a whole log for its curves; any thread. The snapshot's own step series is
/// dropped to save memory.
std::shared_ptr<RunRecord> readCurves(const QString& runFolder);

}  // namespace luthier::ui
