// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/live_page.h"

#include "pages/failed_view.h"
#include "pages/queue_pane.h"
#include "pages/run_header.h"
#include "pages/run_plots.h"
#include "pages/run_side.h"
#include "settings/settings.h"
#include "theme/format.h"
#include "theme/theme.h"
#include "widgets/basics.h"

#include <QDateTime>
#include <QDesktopServices>
#include <QJsonDocument>
#include <QSplitter>
#include <QStackedWidget>
#include <QUrl>

namespace luthier::ui {

LivePage::LivePage(Workbench& bench) : Page(bench) {
    auto* add = makeButton(tr("New run"), "plain", 28, "plus");
    add->setParent(this);
    add->hide();
    connect(add, &QPushButton::clicked, this, [this] { m_bench.goTo(PageId::NewRun); });
    m_queueButton = makeButton(tr("Queue"), "check", 28);
    m_queueButton->setCheckable(true);
    m_queueButton->setParent(this);
    m_queueButton->hide();
    connect(m_queueButton, &QPushButton::toggled, this, &LivePage::foldQueue);
    m_actions = {add};

    m_runView = new QWidget;
    auto* column = makeColumn(0);
    m_header = new RunHeader;
    m_banner = new Banner;
    auto* bannerRow = makeRow(0);
    bannerRow->setContentsMargins(16, 0, 16, 8);
    bannerRow->addWidget(m_banner);
    column->addWidget(m_header);
    column->addLayout(bannerRow);
    column->addWidget(makeRule());
    m_content = new QStackedWidget;
    auto* live = new QSplitter(Qt::Horizontal);
    m_plots = new RunPlots;
    m_plots->setMinimumWidth(px(420));
    live->addWidget(m_plots);
    auto* side = new QSplitter(Qt::Vertical);
    m_parameters = new ParametersPane;
    m_samples = new SamplesPane;
    m_log = new LogPane;
    side->addWidget(m_parameters);
    side->addWidget(m_samples);
    side->addWidget(m_log);
    side->setSizes({px(200), px(364), px(170)});
    side->setStretchFactor(1, 1);
    Settings::keepSplitter(side, "live-side");
    side->setMinimumWidth(px(280));
    live->addWidget(side);
    live->setSizes({px(744), px(376)});
    live->setStretchFactor(0, 1);
    live->setStretchFactor(1, 0);
    Settings::keepSplitter(live, "live");
    m_failed = new FailedView(bench);
    m_content->addWidget(live);
    m_content->addWidget(m_failed);
    column->addWidget(m_content, 1);
    m_runView->setLayout(column);

    m_empty = new EmptyState("runs", tr("No runs yet"),
                             tr("A run appears here while it trains and stays after it ended. The "
                                "demo takes about a minute."),
                             tr("Open the demo"));
    m_waiting = new EmptyState("clock", tr("Waiting"),
                               tr("This run starts when the ones before it are done."), {});
    m_stack = new QStackedWidget;
    m_stack->addWidget(m_runView);
    m_stack->addWidget(m_empty);
    m_stack->addWidget(m_waiting);
    m_queue = new QueuePane(bench);
    m_queue->setFixedWidth(px(248));
    auto* row = makeRow(0);
    row->addWidget(m_stack, 1);
    row->addWidget(makeRule(Qt::Vertical));
    row->addWidget(m_queue);
    setLayout(row);
    m_stack->setCurrentWidget(m_empty);

    m_timer.setSingleShot(true);
    m_timer.setInterval(100);
    connect(&m_timer, &QTimer::timeout, this, &LivePage::refresh);
    connect(m_queue, &QueuePane::chosen, this, &LivePage::showRun);
    connect(m_empty, &EmptyState::triggered, this,
            [this] { m_bench.editAsNewRun(m_bench.demoConfig(), tr("the demo")); });
    connect(&bench.runs, &RunLibrary::changed, this, [this] {
        if (m_id.isEmpty())
            enter();
        else if (isVisible())
            refresh();
    });
    connect(&bench.queue, &RunQueue::started, this, [this](const QString& id) {
        if (m_id.isEmpty() || m_id == id || statusNow() == "finished") follow(id);
    });
    connect(&bench.queue, &RunQueue::startFailed, this,
            [this](const QString& id, const QString& sentence, const QString& hint) {
                if (id == m_id)
                    m_banner->show("err", hint.isEmpty() ? sentence : sentence + " " + hint);
            });
    connect(&bench, &Workbench::workspaceChanged, this, [this] {
        m_id.clear();
        if (m_feed) disconnect(m_feed.get(), nullptr, this, nullptr);
        m_feed.reset();
        enter();
    });
    connect(m_header, &RunHeader::pauseClicked, this,
            [this] { perform(PageCommand::PauseOrResume); });
    connect(m_header, &RunHeader::checkpointClicked, this,
            [this] { perform(PageCommand::Checkpoint); });
    connect(m_header, &RunHeader::stopClicked, this, [this] { perform(PageCommand::Stop); });
    connect(m_header, &RunHeader::curvesToggled, this, [this](bool shown) {
        m_showsCurves = shown;
        refresh();
    });
    const auto resume = [this] {
        if (m_bench.queue.resumeRun(m_id))
            m_feed->expectWorker();
        else
            m_bench.say(tr("Another run trains now. Continue this one when it is done."), {}, {},
                        "warn");
        refresh();
    };
    connect(m_header, &RunHeader::resumeClicked, this, resume);
    connect(m_failed, &FailedView::continueWanted, this, resume);
    connect(m_header, &RunHeader::editClicked, this, [this] {
        if (const RunInfo* info = m_bench.runs.find(m_id))
            m_bench.editAsNewRun(info->config, tr("a copy of %1").arg(info->name));
    });
    connect(m_header, &RunHeader::tryClicked, this, [this] {
        if (const RunInfo* info = m_bench.runs.find(m_id))
            m_bench.openPlayground(info->modelPath,
                                   info->folder + (info->hasFullModel ? "/model" : "/adapter"));
    });
    connect(m_header, &RunHeader::exportClicked, this, [this] { m_bench.openExport(m_id); });
    connect(m_header, &RunHeader::folderClicked, this, [this] {
        if (const RunInfo* info = m_bench.runs.find(m_id))
            QDesktopServices::openUrl(QUrl::fromLocalFile(info->folder));
    });
    connect(m_plots, &RunPlots::rateEdited, this,
            [this](double rate) { command("set", {{"learning_rate", rate}}); });
    connect(&Theme::instance(), &Theme::changed, this, &LivePage::refresh);
}

QString LivePage::context() const {
    const RunInfo* info = m_bench.runs.find(m_id);
    return info ? info->group : QString();
}

void LivePage::resizeEvent(QResizeEvent* event) {
    Page::resizeEvent(event);
    foldQueue();
}

/// Below 1360 the queue gives its place to the plots and comes with a button in the top bar.
void LivePage::foldQueue() {
    const bool isNarrow = width() < px(1288), hasRun = m_stack->currentWidget() == m_runView;
    const qsizetype actions = m_actions.size();
    m_actions = isNarrow && hasRun ? QList<QWidget*>{m_queueButton, m_actions.back()}
                                   : QList<QWidget*>{m_actions.back()};
    const std::size_t waiting = m_bench.queue.waiting().size();
    m_queueButton->setText(waiting > 0 ? tr("Queue, %1").arg(waiting) : tr("Queue"));
    m_queueButton->setAccessibleName(m_queueButton->text());
    m_queue->setVisible(!isNarrow || !hasRun || m_queueButton->isChecked());
    if (m_actions.size() != actions) emit contextChanged();
}

void LivePage::enter() {
    if (m_id.isEmpty()) {
        const auto& runs = m_bench.runs.runs();
        if (!m_bench.queue.activeId().isEmpty())
            follow(m_bench.queue.activeId());
        else if (!runs.empty())
            follow(runs.front().id);
        else
            m_stack->setCurrentWidget(m_empty);
    }
    refresh();
}

void LivePage::showRun(const QString& id) {
    if (id != m_id) follow(id);
    refresh();
}

void LivePage::follow(const QString& id) {
    if (m_feed) disconnect(m_feed.get(), nullptr, this, nullptr);
    m_id = id;
    m_showsCurves = false;
    m_banner->hide();
    m_feed = m_bench.feed(id);
    const double followed = static_cast<double>(QDateTime::currentMSecsSinceEpoch()) / 1000;
    connect(m_feed.get(), &RunFeed::changed, this, [this] {
        if (!m_timer.isActive()) m_timer.start();
    });
    connect(m_feed.get(), &RunFeed::statusChanged, this, [this, followed](const QString& status) {
        m_bench.runs.refresh();
        if (status != "finished" && status != "failed" && status != "stopped") return;
        if (m_feed->record().snapshot.updated < followed)
            return;  // it ended before anybody watched: no news
        const RunInfo* info = m_bench.runs.find(m_id);
        const EvalPoint* best = m_feed->record().bestEval();
        if (m_feed->isCaughtUp() && info && !isVisible())
            m_bench.say(
                status == "failed"
                    ? tr("%1 failed.").arg(info->name)
                    : tr("%1 is done, best %2.")
                          .arg(info->name, best ? format::loss(best->loss) : QStringLiteral("–")),
                tr("Open"), [this, id = m_id] { m_bench.openRun(id); },
                status == "failed" ? "err" : "ok");
    });
    connect(m_feed.get(), &RunFeed::workerLost, this, [this] {
        m_bench.runs.refresh();
        refresh();
    });
    const RunInfo* info = m_bench.runs.find(id);
    m_plots->setRun(info ? info->color : static_cast<int>(m_bench.runs.runs().size()),
                    info ? info->config : QJsonObject(), info ? info->maxSteps : 0);
    m_samples->clear();
    m_log->clear();
    m_queue->setSelected(id);
    emit contextChanged();
    refresh();
}

/// A run that the list does not hold yet, as its events tell it.
RunInfo LivePage::fromEvents() const {
    const RunSnapshot& snapshot = m_feed->record().snapshot;
    RunInfo info;
    info.id = m_id;
    info.name = snapshot.name.empty() ? m_id : QString::fromStdString(snapshot.name);
    info.group = QString::fromStdString(snapshot.group);
    info.method = QString::fromStdString(snapshot.method);
    info.modelPath = QString::fromStdString(snapshot.modelPath);
    info.maxSteps = snapshot.maxSteps;
    info.folder = m_feed->folder();
    info.color = static_cast<int>(m_bench.runs.runs().size());
    if (snapshot.config.is_object())
        info.config =
            QJsonDocument::fromJson(QByteArray::fromStdString(snapshot.config.dump())).object();
    info.dataPath = info.config["data"].toObject()["train"].toObject()["path"].toString();
    return info;
}

QString LivePage::statusNow() const {
    if (!m_feed) return {};
    const QString status = m_feed->record().status();
    const bool isOver = status == "finished" || status == "failed" || status == "stopped";
    if (isOver) return status;
    if (m_feed->isWorkerLost()) return "interrupted";
    return status;
}

void LivePage::refresh() {
    if (!isVisible() || m_id.isEmpty() || !m_feed) return;
    for (const WaitingRun& run : m_bench.queue.waiting())
        if (run.id == m_id) {
            m_waiting->set("clock", run.name,
                           tr("Waits in the queue and starts when the runs before it are done. %1")
                               .arg(run.words),
                           {});
            m_stack->setCurrentWidget(m_waiting);
            foldQueue();
            return;
        }
    m_stack->setCurrentWidget(m_runView);
    foldQueue();
    const RunInfo* known = m_bench.runs.find(m_id);
    const RunRecord& record = m_feed->record();
    RunInfo info = known ? *known : fromEvents();
    if (info.maxSteps <= 0 && record.epoch() > 0 &&
        record.lastStep() > 0) {  // told in epochs: steps follow from the pace so far
        const double epochs = info.config.value("train")["epochs"].toDouble(3);
        info.maxSteps = std::max<std::int64_t>(
            record.lastStep(),
            std::llround(static_cast<double>(record.lastStep()) / record.epoch() * epochs));
    }
    const QString status = statusNow();
    const bool isOver = status == "finished" || status == "failed" || status == "stopped" ||
                        status == "interrupted";
    m_header->show(info, *m_feed, status);
    info.status = status;
    const bool isFailure = (status == "failed" || status == "interrupted") && !m_showsCurves;
    m_content->setCurrentIndex(isFailure ? 1 : 0);
    if (isFailure) {
        m_failed->show(info, *m_feed);
    } else {
        if (m_plots->property("run").toString() != m_id + QString::number(info.maxSteps)) {
            m_plots->setRun(info.color, info.config, info.maxSteps);
            m_plots->setProperty("run", m_id + QString::number(info.maxSteps));
        }
        m_plots->show(m_feed->sharedRecord(), !isOver);
        m_parameters->show(record);
        m_samples->show(record);
        m_log->show(*m_feed);
    }
    if (!isOver && m_feed->isWorkerAlive() && info.maxSteps > 0 &&
        record.snapshot.maxSteps <= 0)  // told in epochs: only this page knows about how many steps
        m_queue->showProgress(
            m_id, static_cast<double>(record.lastStep()) / static_cast<double>(info.maxSteps),
            tr("%1 · step %2 of %3")
                .arg(methodTitle(info.method), format::count(record.lastStep()),
                     format::count(info.maxSteps)));
    emit contextChanged();
}

void LivePage::command(const QString& name, const QJsonObject& more) {
    if (!m_feed) return;
    QJsonObject order = more;
    order["command"] = name;
    m_feed->sendCommand(order, this, [this, name](const QString& problem) {
        if (!problem.isEmpty())
            m_bench.say(problem, {}, {}, "err");
        else if (name == "checkpoint")
            m_bench.say(tr("A checkpoint is written after this step."));
        else if (name == "set")
            m_bench.say(tr("The new learning rate holds from the next step on."));
    });
}

bool LivePage::perform(PageCommand what) {
    const QString status = statusNow();
    const bool isOver = status == "finished" || status == "failed" || status == "stopped" ||
                        status == "interrupted";
    if (what == PageCommand::ExportPlot)
        m_plots->exportLoss();
    else if (isOver || status.isEmpty())
        return false;
    else if (what == PageCommand::PauseOrResume)
        command(status == "paused" ? "resume" : "pause");
    else if (what == PageCommand::Checkpoint)
        command("checkpoint");
    else if (what == PageCommand::Stop)
        command("stop");
    else
        return false;
    return true;
}

bool LivePage::isSettled() const {
    return m_bench.runs.isLoaded() && (!m_feed || m_feed->isCaughtUp()) && !m_timer.isActive();
}

}  // namespace luthier::ui
