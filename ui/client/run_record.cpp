// SPDX-License-Identifier: GPL-3.0-or-later
#include "client/run_record.h"

#include "theme/format.h"

#include <QCoreApplication>
#include <QJsonDocument>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <string_view>

namespace luthier::ui {

namespace {

QString tr(const char* text) { return QCoreApplication::translate("RunRecord", text); }

/// Walks "key": value pairs of a flat object; nested objects are entered as if their keys were ours (names do not clash).
template <class Visit>
void scanPairs(const char* at, const char* end, Visit visit) {
    while (at < end) {
        at = static_cast<const char*>(std::memchr(at, '"', static_cast<std::size_t>(end - at)));
        if (!at) return;
        const char* keyBegin = ++at;
        while (at < end && *at != '"') at += *at == '\\' ? 2 : 1;
        const std::string_view key(keyBegin, static_cast<std::size_t>(std::min(at, end) - keyBegin));
        if (++at >= end) return;
        while (at < end && *at == ' ') ++at;
        if (at >= end || *at != ':') continue;
        ++at;
        while (at < end && *at == ' ') ++at;
        if (at >= end) return;
        if (*at == '"') {
            const char* textBegin = ++at;
            while (at < end && *at != '"') at += *at == '\\' ? 2 : 1;
            visit(key, std::string_view(textBegin, static_cast<std::size_t>(std::min(at, end) - textBegin)), kNoNumber);
            ++at;
        } else if (*at == '-' || (*at >= '0' && *at <= '9')) {
            double number = kNoNumber;
            at = std::from_chars(at, end, number).ptr;
            visit(key, {}, number);
        } else if (*at == 'n') {
            visit(key, {}, kNoNumber);
            at += 4;
        }
    }
}

double fromState(std::string_view state) {
    if (state == "inf") return HUGE_VAL;
    if (state == "-inf") return -HUGE_VAL;
    return kNoNumber;
}

double number(const QJsonObject& o, const char* key, double fallback = kNoNumber) {
    const QJsonValue v = o[QLatin1String(key)];
    if (v.isDouble()) return v.toDouble();
    const QString state = o[QLatin1String(key) + QLatin1String("_state")].toString();
    return state.isEmpty() ? fallback : fromState(state.toStdString());
}

}  // namespace

void RunRecord::fold(const char* begin, const char* end) {
    const std::string_view line(begin, static_cast<std::size_t>(end - begin));
    const auto head = line.substr(0, 96);
    if (head.find("\"type\":\"step\"") != head.npos || head.find("\"type\": \"step\"") != head.npos) return foldStep(begin, end);
    const QJsonDocument document = QJsonDocument::fromJson(QByteArray::fromRawData(begin, end - begin));
    if (document.isObject()) foldOther(document.object());
}

void RunRecord::foldStep(const char* begin, const char* end) {
    double step = 0, lossValue = kNoNumber, rate = kNoNumber, norm = kNoNumber, tokens = 0, speed = kNoNumber, seconds = 0, time = 0;
    double device = 0, peak = 0, total = 0, host = 0;
    scanPairs(begin, end, [&](std::string_view key, std::string_view text, double value) {
        switch (key.size()) {
            case 4: if (key == "step") step = value; else if (key == "loss") lossValue = value; else if (key == "time") time = value; break;
            case 5: if (key == "epoch") epoch = value; break;
            case 6: if (key == "tokens") tokens = value; break;
            case 9: if (key == "grad_norm") norm = value; break;
            case 10: if (key == "host_bytes") host = value; else if (key == "loss_state") lossValue = fromState(text); break;
            case 12: if (key == "step_seconds") seconds = value; else if (key == "device_bytes") device = value; break;
            case 13: if (key == "learning_rate") rate = value; break;
            case 15: if (key == "grad_norm_state") norm = fromState(text); break;
            case 17: if (key == "tokens_per_second") speed = value; else if (key == "device_peak_bytes") peak = value; break;
            case 18: if (key == "device_total_bytes") total = value; break;
            default: break;
        }
    });
    if (status == "starting") status = "running";
    phaseName.clear();
    m_tokens += tokens;
    m_trainSeconds += seconds;
    lastStep = static_cast<std::int64_t>(step);
    lastTime = time;
    stepSeconds = seconds;
    memoryIsDevice = device > 0 || total > 0;
    hostBytes = host;
    deviceBytes = device;
    deviceTotalBytes = std::max(deviceTotalBytes, total);
    const double memory = memoryIsDevice ? device : host;
    peakBytes = std::max({peakBytes, memory, memoryIsDevice ? peak : 0.0});

    const auto f = [](double v) { return static_cast<float>(v); };
    series.step.push_back(f(step));
    series.tokens.push_back(f(m_tokens));
    series.seconds.push_back(f(m_trainSeconds));
    series.loss.push_back(f(lossValue));
    if (detail == Detail::CurvesOnly) return;
    series.learningRate.push_back(f(rate));
    series.gradNorm.push_back(f(norm));
    series.tokensPerSecond.push_back(f(speed));
    series.memoryBytes.push_back(f(memory));
    if (!std::isfinite(lossValue)) note(time, tr("step %1 loss is not a number").arg(lastStep), LogLine::Error);
    else note(time, tr("step %1 loss %2 %3 s").arg(lastStep).arg(lossValue, 0, 'f', 4).arg(seconds, 0, 'f', 3));
}

void RunRecord::foldOther(const QJsonObject& e) {
    const QString type = e["type"].toString();
    const double time = e["time"].toDouble();
    if (time > 0) lastTime = time;
    const auto step = static_cast<std::int64_t>(e["step"].toDouble());
    if (type == "run_started") {
        if (startTime == 0) startTime = time;
        status = "starting";
        note(time, tr("worker started"));
    } else if (type == "phase") {
        const QString name = e["name"].toString();
        if (name != phaseName) note(time, name);
        phaseName = name;
        phaseDone = static_cast<std::int64_t>(e["done"].toDouble());
        phaseTotal = static_cast<std::int64_t>(e["total"].toDouble());
    } else if (type == "model_loaded") {
        architecture = e["architecture"].toString();
        modelBytes = e["bytes"].toDouble();
        note(time, tr("model loaded, %1 parameters").arg(format::count(static_cast<std::int64_t>(e["parameters"].toDouble()))));
    } else if (type == "parameters") {
        trainable = static_cast<std::int64_t>(e["trainable"].toDouble());
        frozen = static_cast<std::int64_t>(e["frozen"].toDouble());
        parts.clear();
        const QJsonObject byPart = e["by_part"].toObject();
        for (auto it = byPart.begin(); it != byPart.end(); ++it) parts.push_back({it.key(), static_cast<std::int64_t>(it->toDouble())});
        std::stable_sort(parts.begin(), parts.end(), [](const PartCount& a, const PartCount& b) { return a.count > b.count; });
    } else if (type == "data") {
        rows = static_cast<std::int64_t>(e["rows"].toDouble());
        dataTokens = static_cast<std::int64_t>(e["tokens"].toDouble());
        truncatedRows = static_cast<std::int64_t>(e["truncated_rows"].toDouble());
        skippedRows = static_cast<std::int64_t>(e["skipped_rows"].toDouble());
        note(time, tr("training started, %1 rows").arg(format::count(rows)));
        if (truncatedRows > 0) note(time, tr("%1 rows are cut at the maximum length").arg(format::count(truncatedRows)), LogLine::Warning);
    } else if (type == "eval") {
        const EvalPoint point{step, number(e, "loss"), m_tokens, m_trainSeconds, e["metrics"].toObject()};
        const EvalPoint* best = bestEval();
        const bool isBest = !best || point.loss < best->loss;
        evals.push_back(point);
        note(time, tr("evaluation at %1: loss %2%3").arg(step).arg(format::loss(point.loss), isBest ? tr(" (best)") : QString()));
    } else if (type == "sample") {
        samples.push_back({step, e["prompt"].toString(), e["text"].toString()});
    } else if (type == "checkpoint") {
        checkpoints.push_back({step, e["path"].toString(), e["bytes"].toDouble()});
        note(time, tr("checkpoint at step %1, %2").arg(step).arg(format::bytes(e["bytes"].toDouble())));
    } else if (type == "warning") {
        note(time, e["message"].toString(), LogLine::Warning);
    } else if (type == "paused") {
        status = "paused";
        note(time, tr("paused"));
    } else if (type == "resumed") {
        status = "running";
        if (step > 0) {
            resumes.push_back(static_cast<double>(step));
            const auto keep = static_cast<std::size_t>(std::upper_bound(series.step.begin(), series.step.end(), static_cast<float>(step)) - series.step.begin());
            for (auto* values : {&series.step, &series.tokens, &series.seconds, &series.loss, &series.learningRate, &series.gradNorm,
                                 &series.tokensPerSecond, &series.memoryBytes})
                if (values->size() > keep) values->resize(keep);
            m_tokens = keep ? series.tokens.back() : 0;
            m_trainSeconds = keep ? series.seconds.back() : 0;
            std::erase_if(evals, [step](const EvalPoint& p) { return p.step > step; });
        }
        note(time, tr("resumed at step %1").arg(step));
    } else if (type == "finished") {
        summary = e["summary"].toObject();
        const QString state = summary["status"].toString();
        status = state == "stopped" ? "stopped" : "finished";
        phaseName.clear();
        note(time, status == "stopped" ? tr("stopped by you, checkpoint written") : tr("finished"), LogLine::Good);
    } else if (type == "failed") {
        failure = e;
        status = e["code"].toString() == "stopped" ? "stopped" : "failed";
        phaseName.clear();
        note(time, e["message"].toString(), LogLine::Error);
    }
}

void RunRecord::note(double time, const QString& text, LogLine::Kind kind) {
    if (detail == Detail::CurvesOnly) return;
    log.push_back({time, text, kind});
    if (log.size() > kMaxLog + 512) log.erase(log.begin(), log.begin() + 512);
}

const EvalPoint* RunRecord::bestEval() const {
    const EvalPoint* best = nullptr;
    for (const EvalPoint& point : evals)
        if (!std::isnan(point.loss) && (!best || point.loss < best->loss)) best = &point;
    return best;
}

}  // namespace luthier::ui
