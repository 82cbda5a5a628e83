// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// What every page works with: the engine sessions, the runs, the queue, the catalogue, this
// computer, and where to go next. Two sessions, because requests of one run one after another:
// `quick` answers while `heavy` generates or exports.

#include "client/catalogue.h"
#include "client/run_feed.h"
#include "client/run_library.h"
#include "client/run_queue.h"
#include "client/serve_client.h"
#include "client/system_probe.h"

#include <QObject>
#include <QUndoStack>

#include <functional>
#include <memory>

namespace luthier::ui {

enum class PageId { Start, Library, Data, NewRun, Runs, Compare, Playground, Export, Settings };

class Workbench final : public QObject {
    Q_OBJECT
public:
    Workbench(const QString& workspace, QObject* parent = nullptr);

    QString workspace() const { return m_workspace; }
    void setWorkspace(const QString& workspace);
    void refreshFolders();  ///< workspace, demo and added folders to the catalogue
    void addFolder(const QString& path);

    ServeClient quick, heavy;
    RunLibrary runs;
    RunQueue queue;
    Catalogue catalogue;
    SystemProbe probe;
    QUndoStack undo;

    /// The one follower of a run's log. Whoever shows a run holds its feed; here stay those that
    /// are held, the active run's and a few that were asked for.
    std::shared_ptr<RunFeed> feed(const QString& id);

    void goTo(PageId page) { emit pageWanted(page); }
    void openRun(const QString& id) { emit runWanted(id); }
    void say(const QString& text, const QString& action = {}, std::function<void()> run = {},
             const char* kind = "ok") {
        emit toastWanted(text, action, run, QLatin1String(kind));
    }
    void editAsNewRun(const QJsonObject& config, const QString& origin) {
        emit configWanted(config, origin);
    }
    void openData(const QString& path) { emit dataWanted(path); }
    void openPlayground(const QString& model, const QString& adapter) {
        emit playgroundWanted(model, adapter);
    }
    void openExport(const QString& runId) { emit exportWanted(runId); }
    /// What people call a model: the run that made it, where one did, else its folder.
    QString modelName(const QString& path) const;
    /// The demo's configuration with absolute paths, empty when resources/demo is absent.
    QJsonObject demoConfig() const;

signals:
    void workspaceChanged();
    void pageWanted(luthier::ui::PageId page);
    void runWanted(const QString& id);
    void toastWanted(const QString& text, const QString& action, std::function<void()> run,
                     const QString& kind);
    void configWanted(const QJsonObject& config, const QString& origin);
    void dataWanted(const QString& path);
    void playgroundWanted(const QString& model, const QString& adapter);
    void exportWanted(const QString& runId);

private:
    QString m_workspace;
    QHash<QString, std::shared_ptr<RunFeed>> m_feeds;
};

/// Reads JSON with // and /* */ comments, as RUN.json may have.
QJsonObject readJsonWithComments(const QString& path, QString* error = nullptr);
/// Makes model, data and init paths absolute against `folder`.
QJsonObject withAbsolutePaths(QJsonObject config, const QString& folder);

}  // namespace luthier::ui
