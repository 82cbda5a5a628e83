// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// A run as the window sees it: its event log folded into series and facts. `step` lines, by far the most, are scanned by hand
// (under a microsecond each), all others go through QJson. Not thread-safe; a record read by a worker thread is handed over whole.

#include <QJsonObject>
#include <QString>

#include <cstdint>
#include <limits>
#include <vector>

namespace luthier::ui {

constexpr double kNoNumber = std::numeric_limits<double>::quiet_NaN();

/// One entry per logged step, all vectors equally long. Floats: 100 runs of 100,000 points have to fit.
struct StepSeries {
    std::vector<float> step, tokens, seconds, loss;              // tokens cumulative, seconds of training time
    std::vector<float> learningRate, gradNorm, tokensPerSecond, memoryBytes;
    std::size_t size() const { return step.size(); }
};

struct EvalPoint { std::int64_t step; double loss; double tokens; double seconds; QJsonObject metrics; };
struct SampleText { std::int64_t step; QString prompt, text; };
struct CheckpointMark { std::int64_t step; QString path; double bytes; };
struct LogLine { double time; QString text; enum Kind { Plain, Warning, Error, Good } kind; };
struct PartCount { QString name; std::int64_t count; };

struct RunRecord {
    enum class Detail { Everything, CurvesOnly };   ///< CurvesOnly keeps step, tokens, seconds and loss of the steps
    Detail detail = Detail::Everything;

    StepSeries series;
    std::vector<EvalPoint> evals;
    std::vector<SampleText> samples;
    std::vector<CheckpointMark> checkpoints;
    std::vector<double> resumes;            ///< steps
    std::vector<LogLine> log;               ///< newest last, at most kMaxLog
    std::vector<PartCount> parts;           ///< trained, largest first
    std::int64_t trainable = -1, frozen = -1;
    std::int64_t rows = -1, dataTokens = -1, truncatedRows = 0, skippedRows = 0;
    QString architecture;
    double modelBytes = 0;
    QString phaseName;                      ///< empty when training
    std::int64_t phaseDone = 0, phaseTotal = 0;
    QString status = "starting";            ///< starting running paused finished stopped failed
    QJsonObject failure, summary;
    double startTime = 0, lastTime = 0, epoch = 0, stepSeconds = 0;
    double peakBytes = 0, deviceTotalBytes = 0, hostBytes = 0, deviceBytes = 0;
    bool memoryIsDevice = false;
    std::int64_t lastStep = 0;

    static constexpr std::size_t kMaxLog = 4000;

    /// Folds one line of events.jsonl; a line that is not an event is ignored.
    void fold(const char* begin, const char* end);
    void fold(const QByteArray& line) { fold(line.constData(), line.constData() + line.size()); }
    const EvalPoint* bestEval() const;

private:
    void foldStep(const char* begin, const char* end);
    void foldOther(const QJsonObject& event);
    void note(double time, const QString& text, LogLine::Kind kind = LogLine::Plain);
    double m_trainSeconds = 0, m_tokens = 0;
};

}  // namespace luthier::ui
