// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// All runs of a workspace: a summary of each for lists (read by a worker thread from run.json, summary.json and, where those do
// not say it, the event log), and on demand the folded record for curves. A run keeps its colour: its place in order of creation.

#include "client/run_record.h"

#include <QDateTime>
#include <QFutureWatcher>
#include <QHash>
#include <QJsonObject>
#include <QObject>
#include <QSet>
#include <QTimer>

#include <functional>
#include <memory>

namespace luthier::ui {

struct RunInfo {
    QString id, name, group, status, method, folder, modelPath, dataPath, note, failureMessage;
    QDateTime created;
    QJsonObject config;
    std::int64_t steps = 0, maxSteps = 0, bestEvalStep = -1, trainable = -1, total = -1;
    double loss = kNoNumber, evalLoss = kNoNumber, bestEval = kNoNumber;
    double adapterBytes = kNoNumber, seconds = kNoNumber, tokensPerSecond = kNoNumber, peakBytes = kNoNumber;
    int color = 0;
    bool hasAdapter = false, hasFullModel = false;
    std::vector<float> sparkline;            ///< about 80 smoothed points of the loss
    qint64 stamp = 0;                        ///< sizes and times of the files read; unchanged means nothing to do

    QString modelName() const;
    QString dataName() const;
    QString methodWords() const;             ///< "LoRA r 16, q k v o"
    bool isActive() const { return status == "running" || status == "starting" || status == "paused"; }
};

class RunLibrary final : public QObject {
    Q_OBJECT
public:
    using RecordHandler = std::function<void(std::shared_ptr<const RunRecord>)>;

    explicit RunLibrary(QObject* parent = nullptr);
    void setWorkspace(const QString& workspace);
    const std::vector<RunInfo>& runs() const { return m_runs; }      ///< newest first
    const RunInfo* find(const QString& id) const;
    void refresh();
    bool isLoaded() const { return m_isLoaded; }
    /// Reads the curves of a run in a worker thread; `handler` runs here while `context` lives. Finished runs are cached.
    void loadCurves(const QString& id, QObject* context, RecordHandler handler);
    /// Files of a run: count and bytes, for the question before deleting.
    static std::pair<int, double> measure(const QString& folder);
    bool remove(const QString& id);          ///< moves the folder to WORKSPACE/trash, so it can be undone
    bool restore(const QString& id);
    void rename(const QString& id, const QString& name);

signals:
    void changed();

private:
    QString m_workspace;
    std::vector<RunInfo> m_runs;
    QHash<QString, std::shared_ptr<const RunRecord>> m_cache;
    QHash<QString, QString> m_names;         ///< renamed in the window
    QFutureWatcher<std::vector<RunInfo>> m_watcher;
    QTimer m_timer;
    bool m_isLoaded = false, m_again = false;
};

/// Title of a method type: "lora" gives "LoRA".
QString methodTitle(const QString& type);
QString shortModules(const QJsonValue& targets);   ///< ["q_proj","v_proj"] gives "q v"
/// Reads and folds a whole log; any thread.
std::shared_ptr<RunRecord> readRecord(const QString& folder, RunRecord::Detail detail);

}  // namespace luthier::ui
