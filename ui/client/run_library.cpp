// SPDX-License-Identifier: GPL-3.0-or-later
#include "client/run_library.h"

#include "client/run_feed.h"

#include <QCoreApplication>
#include <QDir>
#include <QDirIterator>
#include <QFileInfo>
#include <QJsonArray>
#include <QJsonDocument>
#include <QPointer>
#include <QSaveFile>
#include <QtConcurrentRun>

#include <cmath>

namespace luthier::ui {

namespace {

QJsonObject readObject(const QString& path) {
    QFile file(path);
    if (!file.open(QIODevice::ReadOnly)) return {};
    return QJsonDocument::fromJson(file.readAll()).object();
}

double numberIn(const QJsonObject& object, std::initializer_list<const char*> keys, double fallback = kNoNumber) {
    for (const char* key : keys)
        if (object[QLatin1String(key)].isDouble()) return object[QLatin1String(key)].toDouble();
    return fallback;
}

std::vector<float> thin(const std::vector<float>& loss) {
    constexpr std::size_t kPoints = 80;
    std::vector<float> points;
    const std::size_t n = loss.size();
    for (std::size_t i = 0; i < std::min(n, kPoints); ++i) {
        const std::size_t a = i * n / std::min(n, kPoints), b = std::max(a + 1, (i + 1) * n / std::min(n, kPoints));
        double sum = 0;
        int count = 0;
        for (std::size_t k = a; k < b; ++k)
            if (std::isfinite(loss[k])) { sum += loss[k]; ++count; }
        if (count > 0) points.push_back(static_cast<float>(sum / count));
    }
    return points;
}

qint64 stampOf(const QString& folder) {
    qint64 stamp = 0;
    for (const char* name : {"/events.jsonl", "/summary.json", "/run.json", "/note.txt", "/name.txt"}) {
        const QFileInfo file(folder + QLatin1String(name));
        if (file.exists()) stamp = stamp * 31 + file.size() + file.lastModified().toMSecsSinceEpoch();
    }
    return stamp * 2 + (QFileInfo::exists(folder + "/worker.json") && isWorkerAlive(folder) ? 1 : 0);
}

RunInfo describe(const QString& folder) {
    RunInfo info;
    info.folder = folder;
    info.id = QFileInfo(folder).fileName();
    info.stamp = stampOf(folder);
    const QJsonObject run = readObject(folder + "/run.json");
    info.config = run.contains("config") ? run["config"].toObject() : run;
    info.name = info.config["name"].toString(info.id);
    info.group = info.config["group"].toString();
    info.method = info.config["method"].toObject()["type"].toString();
    info.modelPath = info.config["model"].toObject()["path"].toString();
    info.dataPath = info.config["data"].toObject()["train"].toObject()["path"].toString();
    info.hasAdapter = QFileInfo::exists(folder + "/adapter/adapter_config.json");
    info.hasFullModel = QFileInfo::exists(folder + "/model/config.json");
    QFile note(folder + "/note.txt");
    if (note.open(QIODevice::ReadOnly)) info.note = QString::fromUtf8(note.readAll());
    QFile name(folder + "/name.txt");
    if (name.open(QIODevice::ReadOnly)) info.name = QString::fromUtf8(name.readAll()).trimmed();
    double adapter = 0;
    for (QDirIterator it(folder + (info.hasFullModel ? "/model" : "/adapter"), QDir::Files); it.hasNext();) {
        it.next();
        if (it.fileName().endsWith(".safetensors")) adapter += static_cast<double>(it.fileInfo().size());
    }
    if (adapter > 0) info.adapterBytes = adapter;

    const auto record = readRecord(folder, RunRecord::Detail::CurvesOnly);
    info.status = record->status;
    info.created = QDateTime::fromMSecsSinceEpoch(static_cast<qint64>((record->startTime > 0 ? record->startTime : QFileInfo(folder).birthTime().toSecsSinceEpoch() * 1.0) * 1000));
    info.steps = record->lastStep;
    const QJsonObject train = info.config["train"].toObject();
    info.maxSteps = static_cast<std::int64_t>(numberIn(run, {"total_steps", "max_steps"}, numberIn(train, {"max_steps"}, 0)));
    if (!record->series.loss.empty()) info.loss = record->series.loss.back();
    if (!record->evals.empty()) info.evalLoss = record->evals.back().loss;
    if (const EvalPoint* best = record->bestEval()) {
        info.bestEval = best->loss;
        info.bestEvalStep = best->step;
    }
    info.trainable = record->trainable;
    info.total = record->trainable >= 0 && record->frozen >= 0 ? record->trainable + record->frozen : -1;
    info.peakBytes = record->peakBytes > 0 ? record->peakBytes : kNoNumber;
    info.seconds = record->startTime > 0 ? record->lastTime - record->startTime : kNoNumber;
    if (!record->series.seconds.empty() && record->series.seconds.back() > 0)
        info.tokensPerSecond = record->series.tokens.back() / record->series.seconds.back();
    info.failureMessage = record->failure["message"].toString();
    info.sparkline = thin(record->series.loss);
    if (info.isActive() && !isWorkerAlive(folder)) {
        const bool isYoung = QFileInfo(folder + "/events.jsonl").lastModified().msecsTo(QDateTime::currentDateTime()) < 3000;
        if (!isYoung) info.status = "interrupted";
    }
    return info;
}

}  // namespace

QString methodTitle(const QString& type) {
    static const QHash<QString, QString> titles = {
        {"full", "Full"}, {"freeze", "Freeze layers"}, {"lora", "LoRA"}, {"ia3", "IA³"}, {"prefix_tuning", "Prefix tuning"},
        {"prompt_tuning", "Prompt tuning"}, {"bottleneck", "Bottleneck"}, {"adalora", "AdaLoRA"}, {"vera", "VeRA"}, {"loha", "LoHa"},
        {"lokr", "LoKr"}, {"oft", "OFT"}, {"p_tuning", "P-tuning"}, {"p_tuning_v2", "P-tuning v2"}, {"ln_tuning", "LayerNorm"}, {"bitfit", "BitFit"}};
    return titles.value(type, type);
}

QString shortModules(const QJsonValue& targets) {
    if (targets.isString()) return targets.toString();
    QStringList names;
    for (const QJsonValue& value : targets.toArray()) {
        QString name = value.toString().section('.', -1);
        if (name.endsWith("_proj")) name.chop(5);
        names << name;
    }
    if (names.size() > 4) return QCoreApplication::translate("RunLibrary", "%1 matrices").arg(names.size());
    return names.join(' ');
}

QString RunInfo::modelName() const { return modelPath.section('/', -1, -1, QString::SectionSkipEmpty); }

QString RunInfo::dataName() const {
    const QString file = dataPath.section('/', -1, -1, QString::SectionSkipEmpty);
    return file.section('.', 0, 0);
}

QString RunInfo::methodWords() const {
    const QJsonObject m = config["method"].toObject();
    QString words = methodTitle(method);
    if (m.contains("r")) words += QStringLiteral(" r %1").arg(m["r"].toInt());
    else if (m.contains("num_virtual_tokens")) words += QStringLiteral(" %1").arg(m["num_virtual_tokens"].toInt());
    const QString modules = shortModules(m["target_modules"]);
    if (!modules.isEmpty()) words += ", " + modules;
    return words;
}

std::shared_ptr<RunRecord> readRecord(const QString& folder, RunRecord::Detail detail) {
    auto record = std::make_shared<RunRecord>();
    record->detail = detail;
    QFile file(folder + "/events.jsonl");
    if (!file.open(QIODevice::ReadOnly)) return record;
    QByteArray rest;
    while (!file.atEnd()) {
        rest += file.read(1 << 20);
        qsizetype from = 0;
        for (qsizetype end; (end = rest.indexOf('\n', from)) >= 0; from = end + 1) record->fold(rest.constData() + from, rest.constData() + end);
        rest.remove(0, from);
    }
    return record;
}

RunLibrary::RunLibrary(QObject* parent) : QObject(parent) {
    connect(&m_watcher, &QFutureWatcherBase::finished, this, [this] {
        m_runs = m_watcher.result();
        m_isLoaded = true;
        emit changed();
        if (std::exchange(m_again, false)) refresh();
    });
    connect(&m_timer, &QTimer::timeout, this, &RunLibrary::refresh);
    m_timer.start(4000);
}

void RunLibrary::setWorkspace(const QString& workspace) {
    m_workspace = workspace;
    m_runs.clear();
    m_cache.clear();
    m_isLoaded = false;
    refresh();
}

const RunInfo* RunLibrary::find(const QString& id) const {
    for (const RunInfo& run : m_runs)
        if (run.id == id) return &run;
    return nullptr;
}

void RunLibrary::refresh() {
    if (m_watcher.isRunning()) {
        m_again = true;
        return;
    }
    m_watcher.setFuture(QtConcurrent::run([folder = m_workspace + "/runs", known = m_runs] {
        std::vector<RunInfo> runs;
        const QFileInfoList folders = QDir(folder).entryInfoList(QDir::Dirs | QDir::NoDotAndDotDot);
        for (const QFileInfo& entry : folders) {
            const QString path = entry.absoluteFilePath();
            if (!QFileInfo::exists(path + "/run.json") && !QFileInfo::exists(path + "/events.jsonl")) continue;
            const auto same = std::find_if(known.begin(), known.end(), [&](const RunInfo& r) { return r.folder == path && r.stamp == stampOf(path); });
            runs.push_back(same != known.end() && same->status != "starting" ? *same : describe(path));
        }
        std::stable_sort(runs.begin(), runs.end(), [](const RunInfo& a, const RunInfo& b) { return a.created < b.created; });
        for (std::size_t i = 0; i < runs.size(); ++i) runs[i].color = static_cast<int>(i);
        std::reverse(runs.begin(), runs.end());
        return runs;
    }));
}

void RunLibrary::loadCurves(const QString& id, QObject* context, RecordHandler handler) {
    const RunInfo* run = find(id);
    if (!run) return;
    if (const auto cached = m_cache.value(id)) return handler(cached);
    const bool isOver = !run->isActive();
    auto* watcher = new QFutureWatcher<std::shared_ptr<RunRecord>>(this);
    QPointer<QObject> guard(context);
    connect(watcher, &QFutureWatcherBase::finished, this, [this, watcher, guard, handler, id, isOver] {
        const std::shared_ptr<const RunRecord> record = watcher->result();
        if (isOver) m_cache[id] = record;
        watcher->deleteLater();
        if (guard) handler(record);
    });
    watcher->setFuture(QtConcurrent::run([folder = run->folder] { return readRecord(folder, RunRecord::Detail::CurvesOnly); }));
}

std::pair<int, double> RunLibrary::measure(const QString& folder) {
    int files = 0;
    double bytes = 0;
    for (QDirIterator it(folder, QDir::Files | QDir::Hidden, QDirIterator::Subdirectories); it.hasNext();) {
        it.next();
        ++files;
        bytes += static_cast<double>(it.fileInfo().size());
    }
    return {files, bytes};
}

bool RunLibrary::remove(const QString& id) {
    QDir().mkpath(m_workspace + "/trash");
    const bool done = QDir().rename(m_workspace + "/runs/" + id, m_workspace + "/trash/" + id);
    m_cache.remove(id);
    refresh();
    return done;
}

bool RunLibrary::restore(const QString& id) {
    const bool done = QDir().rename(m_workspace + "/trash/" + id, m_workspace + "/runs/" + id);
    refresh();
    return done;
}

void RunLibrary::rename(const QString& id, const QString& name) {
    QSaveFile file(m_workspace + "/runs/" + id + "/name.txt");
    if (file.open(QIODevice::WriteOnly)) {
        file.write(name.toUtf8());
        file.commit();
    }
    refresh();
}

}  // namespace luthier::ui
