// SPDX-License-Identifier: GPL-3.0-or-later
#include "client/run_queue.h"

#include "client/run_feed.h"
#include "client/run_library.h"

#include <QDateTime>
#include <QDir>
#include <QFile>
#include <QFileInfo>
#include <QJsonArray>
#include <QJsonDocument>
#include <QProcess>
#include <QRandomGenerator>
#include <QRegularExpression>
#include <QSaveFile>

namespace luthier::ui {

namespace {

bool writeJson(const QString& path, const QJsonDocument& document) {
    QSaveFile file(path);
    return file.open(QIODevice::WriteOnly) && file.write(document.toJson()) > 0 && file.commit();
}

WaitingRun describe(const QString& id, const QJsonObject& config) {
    RunInfo info;
    info.config = config;
    info.method = config["method"].toObject()["type"].toString();
    return {id, config["name"].toString(id), info.method, info.methodWords(), config};
}

}  // namespace

RunQueue::RunQueue(QString program, RunLibrary& library, QObject* parent)
    : QObject(parent), m_program(std::move(program)), m_library(library) {
    m_launcher = new QObject;
    m_launcher->moveToThread(&m_launchThread);
    connect(&m_launchThread, &QThread::finished, m_launcher, &QObject::deleteLater);
    m_launchThread.start();
    connect(&m_timer, &QTimer::timeout, this, &RunQueue::advance);
    m_timer.start(500);
}

RunQueue::~RunQueue() {
    m_launchThread.quit();
    m_launchThread.wait();
}

void RunQueue::setWorkspace(const QString& workspace) {
    m_workspace = workspace;
    m_active.clear();
    m_resume.clear();
    load();
    emit changed();
}

void RunQueue::load() {
    m_waiting.clear();
    QFile file(m_workspace + "/queue/order.json");
    QJsonArray order;
    if (file.open(QIODevice::ReadOnly)) order = QJsonDocument::fromJson(file.readAll()).array();
    for (const QJsonValue& id : order) {
        QFile entry(m_workspace + "/queue/" + id.toString() + ".json");
        if (entry.open(QIODevice::ReadOnly))
            m_waiting.push_back(
                describe(id.toString(), QJsonDocument::fromJson(entry.readAll()).object()));
    }
}

void RunQueue::save() {
    QJsonArray order;
    for (const WaitingRun& run : m_waiting) order.append(run.id);
    writeJson(m_workspace + "/queue/order.json", QJsonDocument(order));
    emit changed();
}

QString RunQueue::add(const QJsonObject& config, bool first, QString* error) {
    if (!QDir().mkpath(m_workspace + "/queue")) {
        if (error) *error = tr("The folder %1 cannot be written.").arg(m_workspace + "/queue");
        return {};
    }
    QString slug = config["name"].toString().toLower();
    slug.replace(QRegularExpression("[^a-z0-9]+"), "-");
    slug = slug.left(40).remove(QRegularExpression("^-+|-+$"));
    const QString id = QStringLiteral("%1-%2-%3")
                           .arg(QDateTime::currentDateTimeUtc().toString("yyyyMMdd-HHmmss"),
                                slug.isEmpty() ? "run" : slug,
                                QString::number(QRandomGenerator::global()->bounded(0x1000), 16)
                                    .rightJustified(3, '0'));
    if (!writeJson(m_workspace + "/queue/" + id + ".json", QJsonDocument(config))) {
        if (error)
            *error = tr("The run could not be written to %1. Is the disk full?")
                         .arg(m_workspace + "/queue");
        return {};
    }
    const WaitingRun run = describe(id, config);
    if (first)
        m_waiting.insert(m_waiting.begin(), run);
    else
        m_waiting.push_back(run);
    save();
    QTimer::singleShot(0, this, &RunQueue::advance);
    return id;
}

void RunQueue::remove(const QString& id) {
    std::erase_if(m_waiting, [&](const WaitingRun& run) { return run.id == id; });
    QFile::remove(m_workspace + "/queue/" + id + ".json");
    save();
}

void RunQueue::move(const QString& id, int to) {
    const auto it = std::find_if(m_waiting.begin(), m_waiting.end(),
                                 [&](const WaitingRun& run) { return run.id == id; });
    if (it == m_waiting.end()) return;
    const WaitingRun run = *it;
    m_waiting.erase(it);
    m_waiting.insert(m_waiting.begin() + qBound(0, to, static_cast<int>(m_waiting.size())), run);
    save();
}

void RunQueue::setHeld(bool held) {
    m_isHeld = held;
    emit changed();
    if (!held) advance();
}

void RunQueue::advance() {
    if (m_workspace.isEmpty()) return;
    if (!m_active.isEmpty()) {
        const QString folder = m_workspace + "/runs/" + m_active;
        const bool isAlive = isWorkerAlive(folder);
        const bool isYoung = QDateTime::currentMSecsSinceEpoch() - m_startedAt < 8000 &&
                             !QFile::exists(folder + "/worker.json");
        if (isAlive) return;
        if (isYoung) {
            // An early death shows in stderr: a `failed` object ends it.
            QFile errors(errorFile(m_active));
            if (!errors.open(QIODevice::ReadOnly)) return;
            const QByteArray text = errors.readAll();
            if (!text.contains("\"failed\"") || QFile::exists(folder + "/events.jsonl")) return;
            const QByteArray last = text.mid(text.lastIndexOf("{\"type\""));
            const QJsonObject failure = QJsonDocument::fromJson(last.trimmed()).object();
            emit startFailed(m_active, failure["message"].toString(tr("The run could not start.")),
                             failure["hint"].toString());
        }
        m_active.clear();
        m_library.refresh();
        emit changed();
    } else {
        for (const RunInfo& run :
             m_library.runs())  // started by someone else, or before this window opened
            if (run.isActive() && isWorkerAlive(run.folder)) {
                m_active = run.id;
                emit changed();
                return;
            }
    }
    if (!m_resume.isEmpty()) return launchResume();
    if (m_isHeld || m_waiting.empty()) return;
    const WaitingRun next = m_waiting.front();
    m_waiting.erase(m_waiting.begin());
    save();
    if (launch(next.id, {"train", m_workspace + "/queue/" + next.id + ".json", "--workspace",
                         m_workspace, "--run-id", next.id, "--detached"})) {
        m_active = next.id;
        m_startedAt = QDateTime::currentMSecsSinceEpoch();
        emit started(next.id);
        emit changed();
        m_library.refresh();
    }
}

bool RunQueue::resumeRun(const QString& id) {
    if (!m_active.isEmpty() && m_active != id) return false;
    m_resume = id;
    advance();
    return true;
}

void RunQueue::launchResume() {
    const QString id = std::exchange(m_resume, {});
    QFile::remove(m_workspace + "/runs/" + id +
                  "/worker.json");  // of the process that is gone: its absence tells that the new
                                    // one still starts
    if (!launch(id, {"train", m_workspace + "/runs/" + id + "/run.json", "--workspace", m_workspace,
                     "--resume", id, "--detached"}))
        return;
    m_active = id;
    m_startedAt = QDateTime::currentMSecsSinceEpoch();
    emit started(id);
    emit changed();
}

bool RunQueue::launch(const QString& id, const QStringList& arguments) {
    if (m_program.isEmpty() || !QFileInfo(m_program).isExecutable()) {
        emit startFailed(id, tr("luthier-cli was not found."),
                         tr("Put it beside luthier or set LUTHIER_CLI to its path."));
        return false;
    }
    bool isStarted = false;
    QString error;
    QMetaObject::invokeMethod(
        m_launcher,
        [&] {
            QProcess process;
            QProcessEnvironment environment = QProcessEnvironment::systemEnvironment();
            environment.insert("OMP_WAIT_POLICY", "PASSIVE");
            environment.insert("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1");
            process.setProcessEnvironment(environment);
            process.setProgram(m_program);
            process.setArguments(arguments);
            process.setWorkingDirectory(m_workspace);
            process.setStandardInputFile(QProcess::nullDevice());
            process.setStandardOutputFile(m_workspace + "/queue/" + id + ".stdout");
            process.setStandardErrorFile(errorFile(id));
            isStarted = process.startDetached();
            error = process.errorString();
        },
        Qt::BlockingQueuedConnection);
    if (!isStarted) emit startFailed(id, tr("The training process could not be started."), error);
    return isStarted;
}

}  // namespace luthier::ui
