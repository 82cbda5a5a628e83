// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// All runs of a workspace: what the contract's run store says of each (its index spares reading
// logs again), and on demand the curves. Both are read by a worker thread. A run keeps its colour:
// its place in order of creation.

#include "client/method_facts.h"
#include "client/run_record.h"
#include "contract/run_store.h"

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
    double adapterBytes = kNoNumber, seconds = kNoNumber, tokensPerSecond = kNoNumber,
           peakBytes = kNoNumber;
    int color = 0;
    bool hasAdapter = false, hasFullModel = false;
    std::vector<float> sparkline;                 ///< about 80 smoothed points of the loss
    std::size_t stamp = 0;                        ///< changes with anything shown
    std::size_t configStamp = 0, curveStamp = 0;  ///< change when the file on disk did

    QString modelName() const;
    QString dataName() const;
    QString methodWords() const;  ///< "LoRA r 16, q k v o"
    bool isActive() const {
        return status == "running" || status == "starting" || status == "paused";
    }
};

class RunLibrary final : public QObject {
    Q_OBJECT
public:
    using RecordHandler = std::function<void(std::shared_ptr<const RunRecord>)>;

    explicit RunLibrary(QObject* parent = nullptr);
    void setWorkspace(const QString& workspace);
    const std::vector<RunInfo>& runs() const { return m_runs; }  ///< newest first
    const RunInfo* find(const QString& id) const;
    void refresh();
    bool isLoaded() const { return m_isLoaded; }
    /// Reads the curves of a run in a worker thread, unless its log is as it was; `handler` runs
    /// here while `context` lives.
    void loadCurves(const QString& id, QObject* context, RecordHandler handler);
    /// Files of a run: count and bytes, for the question before deleting.
    static std::pair<int, double> measure(const QString& folder);
    bool remove(const QString& id);  ///< moves the folder to WORKSPACE/trash, so it can be undone
    bool restore(const QString& id);
    void rename(const QString& id, const QString& name);

signals:
    void changed();

private:
    QString m_workspace;
    std::shared_ptr<RunStore> m_store;  ///< only the running worker uses it
    std::vector<RunInfo> m_runs;
    struct Cached {
        std::size_t stamp;
        std::shared_ptr<const RunRecord> record;
    };
    QHash<QString, Cached> m_cache;
    QFutureWatcher<std::vector<RunInfo>> m_watcher;
    QTimer m_timer;
    bool m_isLoaded = false, m_again = false;
};

}  // namespace luthier::ui
