// SPDX-License-Identifier: GPL-3.0-or-later
#include "client/run_record.h"

#include "theme/format.h"

#include <QCoreApplication>
#include <QFile>

#include <algorithm>
#include <cmath>

namespace luthier::ui {

namespace {

QString tr(const char* text) { return QCoreApplication::translate("RunRecord", text); }

QString metricName(const std::string& key, bool isLanguageModel) {
    if (key == "accuracy") return isLanguageModel ? tr("Token accuracy") : tr("Accuracy");
    if (key == "f1") return tr("F1");
    if (key == "f1_macro") return tr("F1, macro");
    QString name = QString::fromStdString(key).replace('_', ' ');
    if (!name.isEmpty()) name[0] = name[0].toUpper();
    return name;
}

bool isShare(const std::string& key) {
    for (const char* share :
         {"exact_match", "rank_accuracy", "accuracy", "label_accuracy", "f1", "f1_macro", "rouge"})
        if (key == share) return true;
    return false;
}

}  // namespace

std::vector<Metric> metricsOf(const EvalPoint& point) {
    std::vector<Metric> metrics;
    if (!point.metrics.is_object()) return metrics;
    const bool isLanguageModel = point.metrics.contains("perplexity");
    const auto add = [&](const std::string& key) {
        const double value = point.metrics[key].get<double>();
        metrics.push_back({metricName(key, isLanguageModel),
                           isShare(key) ? format::percent(value) : format::loss(value)});
    };
    const auto isNumber = [&](const std::string& key) {
        return point.metrics.contains(key) && point.metrics[key].is_number();
    };
    const std::vector<std::string> first{"exact_match", "rank_accuracy", "accuracy", "f1"};
    for (const std::string& key : first)
        if (isNumber(key)) add(key);
    for (const auto& [key, value] : point.metrics.items())
        if (value.is_number() && !key.ends_with("_loss") &&
            std::find(first.begin(), first.end(), key) == first.end())
            add(key);
    return metrics;
}

void RunCurves::truncate(std::size_t count) {
    for (auto* values :
         {&step, &tokens, &seconds, &loss, &learningRate, &gradNorm, &tokensPerSecond, &memoryBytes,
          &lmLoss, &unlikelihoodLoss, &lengthNormalizedLoss})
        if (values->size() > count) values->resize(count);
}

void RunCurves::take(const StepSeries& steps, std::size_t from, bool memoryIsDevice,
                     Detail detail) {
    const auto append = [from, &steps](std::vector<float>& out, const auto& values) {
        for (std::size_t i = from; i < steps.size(); ++i)
            out.push_back(static_cast<float>(values[i]));
    };
    append(step, steps.step);
    append(tokens, steps.tokens);
    append(seconds, steps.trainSeconds);
    append(loss, steps.loss);
    if (detail == Detail::Loss) return;
    append(learningRate, steps.learningRate);
    append(gradNorm, steps.gradNorm);
    append(tokensPerSecond, steps.tokensPerSecond);
    append(memoryBytes, memoryIsDevice ? steps.deviceBytes : steps.hostBytes);
    append(lmLoss, steps.lmLoss);
    append(unlikelihoodLoss, steps.unlikelihoodLoss);
    append(lengthNormalizedLoss, steps.lengthNormalizedLoss);
    hasTerms = hasTerms ||
               std::any_of(steps.lmLoss.begin() + static_cast<std::ptrdiff_t>(from),
                           steps.lmLoss.end(), [](double value) { return std::isfinite(value); });
}

QString LogLine::stepWords() const {
    if (!std::isfinite(loss)) return tr("step %1 loss is not a number").arg(step);
    return tr("step %1 loss %2 %3 s")
        .arg(step)
        .arg(static_cast<double>(loss), 0, 'f', 4)
        .arg(static_cast<double>(seconds), 0, 'f', 3);
}

void RunRecord::applyLine(std::string_view line) {
    snapshot.applyLine(line);
    // A resumed run took steps back: what was derived from them goes too.
    for (; m_told.resumes < snapshot.resumedAt.size(); ++m_told.resumes) {
        const auto kept = std::upper_bound(curves.step.begin(), curves.step.end(),
                                           static_cast<float>(snapshot.resumedAt[m_told.resumes]));
        curves.truncate(static_cast<std::size_t>(kept - curves.step.begin()));
        m_told.steps = std::min(m_told.steps, curves.size());
        m_told.evals = std::min(m_told.evals, snapshot.evals.size());
        m_told.rates = std::min(m_told.rates, snapshot.rateChanges.size());
        m_told.checkpoints = std::min(m_told.checkpoints, snapshot.checkpoints.size());
        note(tr("resumed at step %1").arg(snapshot.resumedAt[m_told.resumes]));
    }
    curves.take(snapshot.steps, curves.size(), memoryIsDevice(), RunCurves::Detail::Everything);
    noteChanges();
}

void RunRecord::noteChanges() {
    const RunSnapshot& s = snapshot;
    for (; m_told.steps < s.steps.size(); ++m_told.steps) {
        note({}, std::isfinite(s.steps.loss[m_told.steps]) ? LogLine::Plain : LogLine::Error);
        log.back().step = s.steps.step[m_told.steps];
        log.back().loss = static_cast<float>(s.steps.loss[m_told.steps]);
        log.back().seconds = static_cast<float>(s.steps.stepSeconds[m_told.steps]);
    }
    if (s.phase.name != m_told.phase) {
        m_told.phase = s.phase.name;
        if (!m_told.phase.empty() && m_told.phase != "evaluating")
            note(QString::fromStdString(m_told.phase));
    }
    if (s.modelParameters != m_told.modelParameters) {
        m_told.modelParameters = s.modelParameters;
        note(tr("model loaded, %1 parameters").arg(format::count(s.modelParameters)));
    }
    if (s.rows != m_told.rows) {
        m_told.rows = s.rows;
        note(tr("training started, %1 rows").arg(format::count(s.rows)));
        if (s.truncatedRows > 0)
            note(tr("%1 rows are cut at the maximum length").arg(format::count(s.truncatedRows)),
                 LogLine::Warning);
        if (s.skippedRows > 0)
            note(tr("%1 rows carry no label and are skipped").arg(format::count(s.skippedRows)),
                 LogLine::Warning);
    }
    for (; m_told.evals < s.evals.size(); ++m_told.evals) {
        const EvalPoint& point = s.evals[m_told.evals];
        const bool isBest = bestEval() == &point;
        QString words =
            (isBest ? tr("evaluation at %1: loss %2 (best)") : tr("evaluation at %1: loss %2"))
                .arg(point.step)
                .arg(format::loss(point.loss));
        if (point.rows < point.ofRows)
            words += tr(" over %1 of %2 rows")
                         .arg(format::count(point.rows), format::count(point.ofRows));
        for (const Metric& metric : metricsOf(point))
            words += tr(", %1 %2").arg(metric.name.toLower(), metric.value);
        note(words);
    }
    for (; m_told.checkpoints < s.checkpoints.size(); ++m_told.checkpoints)
        note(tr("checkpoint at step %1, %2")
                 .arg(s.checkpoints[m_told.checkpoints].step)
                 .arg(format::bytes(static_cast<double>(s.checkpoints[m_told.checkpoints].bytes))));
    for (; m_told.warnings < s.warnings.size(); ++m_told.warnings)
        note(QString::fromStdString(s.warnings[m_told.warnings].message), LogLine::Warning);
    for (; m_told.rates < s.rateChanges.size(); ++m_told.rates)
        note(tr("learning rate set to %1")
                 .arg(format::rate(s.rateChanges[m_told.rates].learningRate)));
    if (s.status == m_told.status) return;
    const RunStatus before = std::exchange(m_told.status, s.status);
    switch (s.status) {
        case RunStatus::Running:
            note(before == RunStatus::Paused ? tr("resumed") : tr("worker started"));
            break;
        case RunStatus::Paused:
            note(tr("paused"));
            break;
        case RunStatus::Finished:
            note(tr("finished"), LogLine::Good);
            break;
        case RunStatus::Stopped:
            note(tr("stopped by you, checkpoint written"), LogLine::Good);
            break;
        case RunStatus::Failed:
            note(s.failure ? QString::fromStdString(s.failure->message) : tr("failed"),
                 LogLine::Error);
            break;
        default:
            break;
    }
}

void RunRecord::note(const QString& text, LogLine::Kind kind) {
    LogLine line;
    line.time = snapshot.updated;
    line.kind = kind;
    line.text = text;
    log.push_back(std::move(line));
    if (log.size() <= kMaxLog + 512) return;
    log.erase(log.begin(), log.begin() + 512);
    droppedLines += 512;
}

QString RunRecord::status() const {
    const bool isStarting = snapshot.status == RunStatus::Queued ||
                            (snapshot.status == RunStatus::Running && snapshot.steps.size() == 0);
    return isStarting ? QStringLiteral("starting")
                      : QString::fromLatin1(runStatusName(snapshot.status));
}

const EvalPoint* RunRecord::bestEval() const {
    const auto best = snapshot.bestEval();
    return best ? &snapshot.evals[*best] : nullptr;
}

std::vector<PartCount> RunRecord::parts() const {
    std::vector<PartCount> parts = snapshot.byPart;
    std::stable_sort(parts.begin(), parts.end(), [](const PartCount& a, const PartCount& b) {
        return a.parameters > b.parameters;
    });
    return parts;
}

std::shared_ptr<RunRecord> readCurves(const QString& runFolder) {
    auto record = std::make_shared<RunRecord>();
    if (Result<RunSnapshot> snapshot = readRunSnapshot(QFile::encodeName(runFolder).toStdString()))
        record->snapshot = std::move(*snapshot);
    record->curves.take(record->snapshot.steps, 0, record->memoryIsDevice(),
                        RunCurves::Detail::Loss);
    record->snapshot.steps = {};
    record->snapshot.samples.clear();
    return record;
}

}  // namespace luthier::ui
