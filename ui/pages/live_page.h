// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Runs: one run live or as it ended, its plots, parameters, samples and log, beside the queue.
// Drawn from the shared feed ten times a second at most, so that watching costs training nothing.

#include "pages/page.h"

#include <QTimer>

class QPushButton;
class QSplitter;
class QStackedWidget;

namespace luthier::ui {

class Banner;
class EmptyState;
class FailedView;
class LogPane;
class ParametersPane;
class QueuePane;
class RunHeader;
class RunPlots;
class SamplesPane;

class LivePage final : public Page {
    Q_OBJECT
public:
    explicit LivePage(Workbench& bench);
    QString title() const override { return tr("Runs"); }
    QString context() const override;
    QList<QWidget*> actions() override { return m_actions; }
    void enter() override;
    bool perform(PageCommand command) override;
    bool isSettled() const override;
    void showRun(const QString& id);

protected:
    void resizeEvent(QResizeEvent*) override;

private:
    void follow(const QString& id);
    void refresh();
    void foldQueue();
    void command(const QString& name, const QJsonObject& more = {});
    QString statusNow() const;
    RunInfo fromEvents() const;

    QString m_id;
    std::shared_ptr<RunFeed> m_feed;  ///< held while it is shown: the plots read it in place
    QTimer m_timer;
    QList<QWidget*> m_actions;
    QStackedWidget* m_stack;
    QWidget* m_runView;
    QStackedWidget* m_content;
    RunHeader* m_header;
    Banner* m_banner;
    RunPlots* m_plots;
    ParametersPane* m_parameters;
    SamplesPane* m_samples;
    LogPane* m_log;
    FailedView* m_failed;
    QueuePane* m_queue;
    EmptyState *m_empty, *m_waiting;
    QPushButton* m_queueButton;
    bool m_showsCurves = false;
};

}  // namespace luthier::ui
