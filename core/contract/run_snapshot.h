// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a run looks like now: its events folded one after another. The live
// view, a reopened window, `runs show` and the index all use this fold, so they cannot disagree.
// Types and keys it does not know are ignored; a `resumed {step}` drops what an interrupted process
// wrote after that step, because those steps are taken again. EventFollower reads a log that
// another process is still writing. Both belong to one thread.

#include "contract/events.h"
#include "contract/json.h"
#include "contract/problem.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace luthier {

enum class RunStatus { Queued, Running, Paused, Finished, Stopped, Failed, Interrupted };

/// "queued" … "interrupted", as in `runs list --json`.
const char* runStatusName(RunStatus status);
RunStatus runStatusFromName(const std::string& text);  ///< Queued when unknown

/// One value per optimiser step; all vectors have the same length. What was not reported is NaN (0
/// for counts).
struct StepSeries {
    std::vector<std::int64_t> step;
    std::vector<double> epoch;
    std::vector<double> loss;
    std::vector<double>
        lmLoss;  ///< terms of the loss of rows with choices, before their weights; NaN without
    std::vector<double> unlikelihoodLoss;
    std::vector<double> lengthNormalizedLoss;
    std::vector<double> learningRate;
    std::vector<double> gradNorm;
    std::vector<std::int64_t> tokens;            ///< cumulative since the run began
    std::vector<std::int64_t> supervisedTokens;  ///< cumulative
    std::vector<double> tokensPerSecond;
    std::vector<double> stepSeconds;
    std::vector<double> seconds;  ///< since the first event of the run
    std::vector<double>
        trainSeconds;  ///< cumulative stepSeconds: without loading, evaluation and pauses
    std::vector<std::int64_t> deviceBytes;
    std::vector<std::int64_t> devicePeakBytes;
    std::vector<std::int64_t> hostBytes;

    std::size_t size() const { return step.size(); }
    void truncate(std::size_t count);
};

struct EvalPoint {
    std::int64_t step = 0;
    std::int64_t tokens = 0;  ///< cumulative, of the last step before it
    double seconds = 0;
    double trainSeconds = 0;  ///< cumulative, of the last step before it
    double loss = 0;
    Json metrics;
    std::int64_t rows = 0;    ///< measured; 0 in logs of earlier versions
    std::int64_t ofRows = 0;  ///< that there are
};

struct SamplePoint {
    std::int64_t step = 0;
    std::string prompt;
    std::string text;
};

struct CheckpointPoint {
    std::int64_t step = 0;
    std::string path;
    std::int64_t bytes = 0;
};

struct WarningPoint {
    std::int64_t step = 0;  ///< the last step before it
    double seconds = 0;
    std::string code;
    std::string message;
    std::string hint;
};

struct RatePoint {
    std::int64_t step = 0;  ///< the last step before the change
    double learningRate = 0;
};

struct PhaseProgress {
    std::string name;
    std::int64_t done = 0;
    std::int64_t total = 0;  ///< 0 = unknown
};

struct PartCount {
    std::string name;
    std::int64_t parameters = 0;
};

struct RunSnapshot {
    std::string id;
    RunStatus status = RunStatus::Queued;

    // From the configuration (run.json, or `config` in run_started).
    Json config;  ///< null until known
    std::string name;
    std::string group;
    std::string method;  ///< method.type
    std::string modelPath;
    std::int64_t maxSteps = 0;  ///< 0 = unknown
    double started = 0;         ///< seconds since the epoch
    double updated = 0;         ///< time of the last event

    PhaseProgress phase;  ///< name empty when no phase is under way
    std::string architecture;
    std::int64_t modelParameters = 0;
    std::int64_t modelBytes = 0;
    std::int64_t trainable = 0;
    std::int64_t frozen = 0;
    double trainablePercent = 0;
    std::vector<PartCount> byPart;
    std::int64_t rows = 0;
    std::int64_t dataTokens = 0;
    std::int64_t truncatedRows = 0;
    std::int64_t skippedRows = 0;
    std::int64_t deviceTotalBytes = 0;

    StepSeries steps;
    std::vector<EvalPoint> evals;
    std::vector<SamplePoint> samples;
    std::vector<CheckpointPoint> checkpoints;
    std::vector<WarningPoint> warnings;
    std::vector<RatePoint> rateChanges;   ///< made while it ran
    std::vector<std::int64_t> resumedAt;  ///< step counts at which the run was taken up again
    Json summary;                         ///< of `finished`; null before
    std::optional<Problem> failure;
    std::int64_t eventCount = 0;
    std::int64_t ignoredLines = 0;  ///< lines that were no event

    bool isOver() const {
        return status != RunStatus::Queued && status != RunStatus::Running &&
               status != RunStatus::Paused;
    }
    std::int64_t lastStep() const { return steps.step.empty() ? 0 : steps.step.back(); }
    /// Index into evals of the lowest loss; nullopt without a finite one.
    std::optional<std::size_t> bestEval() const;
    /// Seconds between the first and the last event.
    double elapsedSeconds() const { return updated > started ? updated - started : 0; }
    /// Mean of tokens per second over the last `window` steps; 0 without any.
    double recentTokensPerSecond(std::size_t window = 20) const;
    std::int64_t peakBytes() const;  ///< device peak, or the host's on a CPU

    /// Folds one event.
    void apply(const Json& event);
    /// Folds one line of a log; a line that is no JSON object is counted and ignored. `step` lines
    /// as our workers write them are scanned instead of parsed (a tenth of the time); every other
    /// spelling takes the way of apply().
    void applyLine(std::string_view line);
    /// Facts from run.json (the resolved configuration).
    void applyConfig(const Json& document);

private:
    /// What every event says: its time (`updated` when absent) and run. Returns seconds since the
    /// first event.
    double countEvent(double time, const std::string& run);
    template <class Event>
    void applyStep(const Event& event);
};

/// Everything a log holds now, and `config` beside it when run.json is readable.
Result<RunSnapshot> readRunSnapshot(const std::filesystem::path& runFolder);

/// Reads the complete lines that were appended to a log since the last call.
class EventFollower final {
public:
    explicit EventFollower(std::filesystem::path log) : m_log(std::move(log)) {}

    struct Batch {
        std::vector<std::string> lines;
        bool restarted = false;  ///< the log was cut or replaced: forget what was folded, `lines`
                                 ///< start at its beginning
        bool more = false;       ///< the limit was reached; call again
    };

    /// At most `maxBytes` of the log (more only to finish one line); a missing log is an empty
    /// batch.
    Batch read(std::size_t maxBytes = 4u << 20);
    /// read() folded into `snapshot`, which is reset when the log was cut; true when anything
    /// changed.
    bool follow(RunSnapshot& snapshot, std::size_t maxBytes = 4u << 20);

    std::uint64_t position() const { return m_position; }

private:
    std::filesystem::path m_log;
    std::uint64_t m_position = 0;  ///< behind the last complete line that was handed out
    std::uint64_t m_inode = 0;
    std::string m_lastLine;  ///< its bytes stood before m_position: detects a log rewritten to at
                             ///< least the same length
};

}  // namespace luthier
