// SPDX-License-Identifier: GPL-3.0-or-later
#include "client/run_library.h"

#include "theme/format.h"

#include <QCoreApplication>
#include <QDir>
#include <QDirIterator>
#include <QFile>
#include <QFileInfo>
#include <QJsonArray>
#include <QJsonDocument>
#include <QPointer>
#include <QtConcurrentRun>

#include <cmath>

namespace luthier::ui {

namespace {

QJsonObject readObject(const QString& path) {
    QFile file(path);
    if (!file.open(QIODevice::ReadOnly)) return {};
    return QJsonDocument::fromJson(file.readAll()).object();
}

double orNone(std::int64_t value) { return value > 0 ? static_cast<double>(value) : kNoNumber; }

/// What the store does not keep: the configuration and which results are there. `known` spares
/// reading it again.
RunInfo describe(const luthier::RunInfo& stored, const RunInfo* known) {
    RunInfo info;
    info.folder = QFile::decodeName(QByteArray::fromStdString(stored.folder.string()));
    info.id = QString::fromStdString(stored.id);
    const QFileInfo log(info.folder + "/events.jsonl"), config(info.folder + "/run.json");
    info.curveStamp = qHashMulti(0, log.size(), log.lastModified().toMSecsSinceEpoch());
    const std::size_t configStamp =
        qHashMulti(0, config.size(), config.lastModified().toMSecsSinceEpoch());
    info.config =
        known && known->configStamp == configStamp ? known->config : readObject(config.filePath());
    info.configStamp = configStamp;
    info.name = QString::fromStdString(stored.name);
    info.group = QString::fromStdString(stored.group);
    info.status = QString::fromLatin1(runStatusName(stored.status));
    if (stored.status == RunStatus::Queued ||
        (stored.status == RunStatus::Running && stored.steps == 0))
        info.status = "starting";
    info.method = QString::fromStdString(stored.method);
    info.modelPath = info.config["model"].toObject()["path"].toString();
    info.dataPath = info.config["data"].toObject()["train"].toObject()["path"].toString();
    info.note = QString::fromStdString(stored.note);
    info.failureMessage = QString::fromStdString(stored.failure);
    info.created = QDateTime::fromMSecsSinceEpoch(static_cast<qint64>(stored.created * 1000));
    info.steps = stored.steps;
    info.maxSteps = stored.maxSteps;
    info.bestEvalStep = std::isnan(stored.bestEvalLoss) ? -1 : stored.bestEvalStep;
    info.trainable = stored.total > 0 ? stored.trainable : -1;
    info.total = stored.total > 0 ? stored.total : -1;
    info.loss = stored.loss;
    info.evalLoss = stored.evalLoss;
    info.bestEval = stored.bestEvalLoss;
    info.adapterBytes = orNone(stored.adapterBytes);
    info.peakBytes = orNone(stored.peakBytes);
    info.seconds = stored.seconds > 0 ? stored.seconds : kNoNumber;
    info.tokensPerSecond = stored.tokensPerSecond > 0 ? stored.tokensPerSecond : kNoNumber;
    info.hasAdapter = QFileInfo::exists(info.folder + "/adapter/adapter_config.json");
    info.hasFullModel = QFileInfo::exists(info.folder + "/model/config.json");
    info.sparkline = stored.lossCurve;
    info.stamp = qHashMulti(info.curveStamp, configStamp, info.status, info.name, info.note,
                            info.hasAdapter, info.hasFullModel, info.adapterBytes);
    return info;
}

}  // namespace

QString RunInfo::modelName() const {
    return modelPath.section('/', -1, -1, QString::SectionSkipEmpty);
}

QString RunInfo::dataName() const {
    const QString file = dataPath.section('/', -1, -1, QString::SectionSkipEmpty);
    return file.section('.', 0, 0);
}

QString RunInfo::methodWords() const {
    const QJsonObject values = config["method"].toObject();
    return (methodTitle(method) + " " +
            methodSettings(method, [&](const QString& key) { return values[key]; }))
        .trimmed();
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
    m_store = std::make_shared<RunStore>(Workspace{QFile::encodeName(workspace).toStdString()});
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
    m_watcher.setFuture(QtConcurrent::run([store = m_store, known = m_runs] {
        std::vector<RunInfo> runs;
        Result<std::vector<luthier::RunInfo>> stored = store->list();
        if (!stored) return runs;
        for (const luthier::RunInfo& run : *stored) {
            std::error_code code;  // a folder without either file is not a run yet
            const RunFolder folder{run.folder};
            if (!std::filesystem::exists(folder.config(), code) &&
                !std::filesystem::exists(folder.events(), code))
                continue;
            const QString id = QString::fromStdString(run.id);
            const auto same = std::find_if(known.begin(), known.end(),
                                           [&](const RunInfo& r) { return r.id == id; });
            runs.push_back(describe(run, same == known.end() ? nullptr : &*same));
        }
        for (std::size_t i = 0; i < runs.size(); ++i)
            runs[i].color = static_cast<int>(runs.size() - 1 - i);
        return runs;
    }));
}

void RunLibrary::loadCurves(const QString& id, QObject* context, RecordHandler handler) {
    const RunInfo* run = find(id);
    if (!run) return;
    if (const auto cached = m_cache.constFind(id);
        cached != m_cache.constEnd() && cached->stamp == run->curveStamp)
        return handler(cached->record);
    auto* watcher = new QFutureWatcher<std::shared_ptr<RunRecord>>(this);
    QPointer<QObject> guard(context);
    connect(watcher, &QFutureWatcherBase::finished, this,
            [this, watcher, guard, handler, id, stamp = run->curveStamp] {
                const std::shared_ptr<const RunRecord> record = watcher->result();
                m_cache[id] = {stamp, record};
                watcher->deleteLater();
                if (guard) handler(record);
            });
    watcher->setFuture(QtConcurrent::run([folder = run->folder] { return readCurves(folder); }));
}

std::pair<int, double> RunLibrary::measure(const QString& folder) {
    int files = 0;
    double bytes = 0;
    for (QDirIterator it(folder, QDir::Files | QDir::Hidden, QDirIterator::Subdirectories);
         it.hasNext();) {
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
    // A store of its own: the shared one may be at work in another thread.
    RunStore store(Workspace{QFile::encodeName(m_workspace).toStdString()});
    if (!store.setName(id.toStdString(), name.toStdString()))
        qWarning("The name of run %s could not be written.", qPrintable(id));
    refresh();
}

}  // namespace luthier::ui
