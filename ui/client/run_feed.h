// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Follows runs/ID/events.jsonl while it grows and folds it, a few milliseconds at a time, so that
// neither a 100,000-step log at opening nor 200 events a second ever hold the event thread. The
// same for our own runs, re-attached ones and a cluster's. Plots read the record's vectors in
// place, so a record lives as long as anyone holds it, with or without its feed.

#include "client/run_record.h"

#include <QJsonObject>
#include <QObject>
#include <QTimer>

#include <functional>
#include <memory>

class QLocalSocket;

namespace luthier::ui {

class RunFeed final : public QObject {
    Q_OBJECT
public:
    explicit RunFeed(QString runFolder);

    const RunRecord& record() const { return *m_record; }
    std::shared_ptr<const RunRecord> sharedRecord() const { return m_record; }
    QString folder() const { return m_folder; }
    bool isCaughtUp() const { return m_isCaughtUp; }
    bool isWorkerAlive() const { return m_workerAlive; }
    /// The process is gone without `finished` or `failed`.
    bool isWorkerLost() const { return m_missing >= kMissesAreLoss; }
    void expectWorker() { m_missing = -kMissesAreLoss; }  ///< one was started just now
    /// Sends a command to the worker's socket; `done` gets "" or what went wrong, unless `context`
    /// is gone by then.
    void sendCommand(const QJsonObject& command, QObject* context = nullptr,
                     std::function<void(const QString&)> done = {});
    QString errorText()
        const;  ///< what the worker wrote to stderr before its first event, if it failed early
    void setErrorFile(const QString& path) { m_errorFile = path; }

signals:
    void changed();  ///< at most 30 times a second
    void statusChanged(const QString& status);
    void workerLost();

private:
    void slice();
    void checkWorker();

    QString m_folder, m_errorFile;
    EventFollower m_follower;
    std::shared_ptr<RunRecord> m_record = std::make_shared<RunRecord>();
    QTimer m_timer, m_workerTimer;
    bool m_isCaughtUp = false, m_workerAlive = false;
    static constexpr int kMissesAreLoss = 3;
    int m_missing = 0;
};

/// Whether the process that trains in this folder still holds its lock (core/contract/PROTOCOL.md).
bool isWorkerAlive(const QString& runFolder);

}  // namespace luthier::ui
