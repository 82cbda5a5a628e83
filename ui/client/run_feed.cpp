// SPDX-License-Identifier: GPL-3.0-or-later
#include "client/run_feed.h"

#include <QDir>
#include <QElapsedTimer>
#include <QFile>
#include <QJsonDocument>
#include <QLocalSocket>
#include <QPointer>

#include <csignal>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

namespace luthier::ui {

namespace {
constexpr int kSliceMs = 5;
constexpr std::size_t kChunk = 64 * 1024;
constexpr int kIdleMs = 60;
}  // namespace

bool isWorkerAlive(const QString& runFolder) {
    QFile file(runFolder + "/worker.json");
    if (!file.open(QIODevice::ReadOnly)) return false;
    const auto pid =
        static_cast<pid_t>(QJsonDocument::fromJson(file.readAll()).object()["pid"].toInteger());
    if (pid <= 0 || (kill(pid, 0) != 0 && errno == ESRCH)) return false;
    const int lock =
        ::open(QFile::encodeName(runFolder + "/worker.lock").constData(), O_RDONLY | O_CLOEXEC);
    if (lock < 0) return true;  // no lock file: trust the pid
    const bool isFree = ::flock(lock, LOCK_SH | LOCK_NB) == 0;
    ::close(lock);
    return !isFree;
}

RunFeed::RunFeed(QString runFolder)
    : m_folder(std::move(runFolder)),
      m_follower(QFile::encodeName(m_folder + "/events.jsonl").toStdString()) {
    m_timer.setSingleShot(true);
    connect(&m_timer, &QTimer::timeout, this, &RunFeed::slice);
    m_timer.start(0);
    connect(&m_workerTimer, &QTimer::timeout, this, &RunFeed::checkWorker);
    m_workerTimer.start(700);
}

void RunFeed::slice() {
    QElapsedTimer clock;
    clock.start();
    const QString before = m_record->status();
    bool gotSome = false, hasMore = true;
    while (hasMore && clock.elapsed() < kSliceMs) {
        const EventFollower::Batch batch = m_follower.read(kChunk);
        if (batch.restarted) *m_record = {};
        for (const std::string& line : batch.lines) m_record->applyLine(line);
        gotSome = gotSome || batch.restarted || !batch.lines.empty();
        hasMore = batch.more;
    }
    m_isCaughtUp = !hasMore;
    if (m_record->status() != before) emit statusChanged(m_record->status());
    if (gotSome) emit changed();
    // Between slices of a long log other events get their turn; at its end we look again less than
    // thirty times a second.
    m_timer.start(hasMore ? 8 : kIdleMs);
}

void RunFeed::checkWorker() {
    const bool isOver = m_record->isOver();
    const bool wasAlive = m_workerAlive;
    m_workerAlive = !isOver && ui::isWorkerAlive(m_folder);
    if (isOver) {
        m_missing = 0;
        if (wasAlive) emit changed();
        return;
    }
    // Before worker.json there is none to lose; after that, three misses in a row are an end.
    if (m_workerAlive || !QFile::exists(m_folder + "/worker.json"))
        m_missing = 0;
    else if (m_isCaughtUp && m_missing < kMissesAreLoss && ++m_missing == kMissesAreLoss)
        emit workerLost();
    if (wasAlive != m_workerAlive) emit changed();
}

void RunFeed::sendCommand(const QJsonObject& command, QObject* context,
                          std::function<void(const QString&)> told) {
    const auto done = [guard = QPointer<QObject>(context),
                       told = std::move(told)](const QString& problem) {
        if (guard && told) told(problem);
    };
    QFile file(m_folder + "/worker.json");
    const QString name = file.open(QIODevice::ReadOnly)
                             ? QJsonDocument::fromJson(file.readAll()).object()["socket"].toString()
                             : QString();
    if (name.isEmpty()) return done(tr("The worker of this run is not reachable."));
    // Nobody's child: a command is on its way also when nobody looks at the run any more.
    auto* socket = new QLocalSocket;
    const QString path =
        QDir::isAbsolutePath(name) || name.startsWith('@') ? name : m_folder + "/" + name;
    connect(socket, &QLocalSocket::connected, socket, [socket, command, done] {
        socket->write(QJsonDocument(command).toJson(QJsonDocument::Compact) + '\n');
        socket->flush();
        socket->disconnectFromServer();
        done({});
    });
    connect(socket, &QLocalSocket::errorOccurred, socket,
            [socket, done](QLocalSocket::LocalSocketError error) {
                if (error != QLocalSocket::PeerClosedError)
                    done(RunFeed::tr("The worker does not answer: %1").arg(socket->errorString()));
                socket->deleteLater();
            });
    connect(socket, &QLocalSocket::disconnected, socket, &QObject::deleteLater);
    socket->connectToServer(path);
}

QString RunFeed::errorText() const {
    QFile file(m_errorFile.isEmpty() ? m_folder + "/stderr.txt" : m_errorFile);
    if (!file.open(QIODevice::ReadOnly)) return {};
    file.seek(qMax<qint64>(0, file.size() - 4000));
    return QString::fromUtf8(file.readAll()).trimmed();
}

}  // namespace luthier::ui
