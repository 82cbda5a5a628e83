// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Waiting runs, one file each under WORKSPACE/queue, started one after another. A started run is a
// detached process of its own:
//   waiting (queue/ID.json)  --start-->  runs/ID (worker.json, events.jsonl)  --finished, failed,
//   stopped-->  next
// Invariant: at most one run of this queue trains at a time. The order lies in queue/order.json, so
// that it outlives the window.

#include <QJsonObject>
#include <QObject>
#include <QStringList>
#include <QThread>
#include <QTimer>

namespace luthier::ui {

class RunLibrary;

struct WaitingRun {
    QString id, name, method, words;
    QJsonObject config;
};

class RunQueue final : public QObject {
    Q_OBJECT
public:
    RunQueue(QString program, RunLibrary& library, QObject* parent = nullptr);
    ~RunQueue() override;

    void setWorkspace(const QString& workspace);
    /// Writes queue/ID.json; `first` puts it before the others. Returns the run's id, or "" with
    /// `error` set.
    QString add(const QJsonObject& config, bool first, QString* error);
    void remove(const QString& id);
    void move(const QString& id, int to);
    void setHeld(bool held);
    bool isHeld() const { return m_isHeld; }
    const std::vector<WaitingRun>& waiting() const { return m_waiting; }
    QString activeId() const { return m_active; }
    QString errorFile(const QString& id) const { return m_workspace + "/queue/" + id + ".stderr"; }
    void advance();  ///< starts the next run when none trains
    /// Continues an interrupted or stopped run from its newest checkpoint, as soon as its former
    /// worker is gone; false while another run trains.
    bool resumeRun(const QString& id);

signals:
    void changed();
    void started(const QString& id);
    void startFailed(const QString& id, const QString& sentence, const QString& details);

private:
    void load();
    void save();
    bool launch(const QString& id, const QStringList& arguments);

    void launchResume();

    QString m_program, m_workspace, m_active, m_resume;
    RunLibrary& m_library;
    std::vector<WaitingRun> m_waiting;
    QTimer m_timer;
    QThread
        m_launchThread;  ///< keeps the nice value of before main() lowered it: children inherit it
    QObject* m_launcher;
    bool m_isHeld = false;
    qint64 m_startedAt = 0;
};

}  // namespace luthier::ui
