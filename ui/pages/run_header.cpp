// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/run_header.h"

#include "theme/format.h"
#include "theme/icons.h"
#include "theme/theme.h"
#include "widgets/basics.h"
#include "widgets/controls.h"

#include <QPainter>

namespace luthier::ui {

void RunProgress::set(double share, std::vector<double> ticks, bool isStopped) {
    m_share = share;
    m_ticks = std::move(ticks);
    m_isStopped = isStopped;
    setAccessibleName(tr("%1 percent done").arg(static_cast<int>(share * 100)));
    update();
}

void RunProgress::paintEvent(QPaintEvent*) {
    const Tokens& t = Theme::tokens();
    QPainter p(this);
    p.setRenderHint(QPainter::Antialiasing);
    p.setPen(Qt::NoPen);
    p.setBrush(t.bg3);
    p.drawRoundedRect(rect(), 2, 2);
    p.setBrush(m_isStopped ? t.t3 : t.acc);
    const double done = width() * std::clamp(m_share, 0.0, 1.0);
    if (done > 0) p.drawRoundedRect(QRectF(0, 0, std::max(3.0, done), height()), 2, 2);
    p.setRenderHint(QPainter::Antialiasing, false);
    for (double tick : m_ticks)
        p.fillRect(QRectF(std::round(width() * tick), 0, 1, height()),
                   tick * width() < done ? t.bg1 : t.line2);
}

RunHeader::RunHeader() {
    auto* column = makeColumn(8);
    column->setContentsMargins(16, 12, 16, 10);
    auto* row = makeRow(20);
    auto* names = makeColumn(3);
    auto* first = makeRow(8);
    m_chip = new Chip;
    m_name = new ElidedLabel({}, "title");
    first->addWidget(m_chip);
    first->addWidget(m_name, 1);
    m_words = new ElidedLabel({}, "table", "t2");
    m_words->setMinimumWidth(px(150));
    names->addLayout(first);
    names->addWidget(m_words);
    row->addLayout(names, 40);
    m_step = new StatTile(tr("Step"));
    m_epoch = new StatTile(tr("Epoch"));
    m_elapsed = new StatTile(tr("Elapsed"));
    m_left = new StatTile(tr("Left"));
    m_best = new StatTile(tr("Best evaluation"));
    m_metric = new StatTile({});
    m_speed = new StatTile(tr("Speed"));
    for (StatTile* tile : {m_step, m_epoch, m_elapsed, m_left, m_best, m_metric, m_speed})
        row->addWidget(tile);
    row->addStretch(1);
    auto* buttons = makeRow(8);
    m_pause = makeButton(tr("Pause"), "plain", 32, "pause");
    m_checkpoint = makeButton(tr("Checkpoint"), "plain", 32, "flag");
    m_stop = makeButton(tr("Stop"), "danger", 32, "stop");
    m_resume = makeButton(tr("Continue"), "primary", 32, "play");
    m_edit = makeButton(tr("Edit as new run"), "plain", 32, "pencil");
    m_try = makeButton(tr("Try it"), "plain", 32, "playground");
    m_export = makeButton(tr("Export"), "plain", 32, "export");
    m_curves = makeButton(tr("Curves"), "check", 32);
    m_curves->setCheckable(true);
    m_curves->setToolTip(tr("Shows the plots of this run instead of what went wrong"));
    connect(m_curves, &QPushButton::toggled, this, &RunHeader::curvesToggled);
    m_folder = makeIconButton("folder", tr("Show the run folder"), 32, "iconframe");
    m_pause->setToolTip(tr("Ctrl+P"));
    m_checkpoint->setToolTip(tr("Ctrl+S"));
    m_stop->setToolTip(tr("Writes a checkpoint and stops. Ctrl+."));
    for (QPushButton* button :
         {m_pause, m_checkpoint, m_stop, m_resume, m_try, m_export, m_curves, m_edit, m_folder}) {
        buttons->addWidget(button);
        button->hide();
    }
    row->addLayout(buttons);
    column->addLayout(row);
    m_progress = new RunProgress;
    column->addWidget(m_progress);
    setLayout(column);
    connect(m_pause, &QPushButton::clicked, this, &RunHeader::pauseClicked);
    connect(m_checkpoint, &QPushButton::clicked, this, &RunHeader::checkpointClicked);
    connect(m_stop, &QPushButton::clicked, this, &RunHeader::stopClicked);
    connect(m_resume, &QPushButton::clicked, this, &RunHeader::resumeClicked);
    connect(m_edit, &QPushButton::clicked, this, &RunHeader::editClicked);
    connect(m_try, &QPushButton::clicked, this, &RunHeader::tryClicked);
    connect(m_export, &QPushButton::clicked, this, &RunHeader::exportClicked);
    connect(m_folder, &QPushButton::clicked, this, &RunHeader::folderClicked);
}

void RunHeader::resizeEvent(QResizeEvent*) {
    m_speed->setVisible(width() > px(1240));
    m_left->setVisible(width() > px(980) && m_left->property("wanted").toBool());
    m_metric->setVisible(width() > px(1100) && m_metric->property("wanted").toBool());
}

void RunHeader::show(const RunInfo& info, const RunFeed& feed, const QString& status) {
    const RunRecord& r = feed.record();
    const PhaseProgress& phase = r.snapshot.phase;
    const StatusLook look = statusLook(status);
    const bool isEvaluating = status == "running" && phase.name == "evaluating";
    const bool isStarting =
        status == "running" && !phase.name.empty() && !isEvaluating && r.lastStep() == 0;
    m_chip->set(isEvaluating ? tr("Evaluating")
                : isStarting ? tr("Starting")
                             : look.words,
                look.kind, look.icon);
    m_name->setWhole(info.name);
    m_words->setWhole(
        QStringList{info.methodWords(), info.modelName(), info.dataName()}.join(" · "));
    const bool isOver = status == "finished" || status == "failed" || status == "stopped" ||
                        status == "interrupted";
    if (isEvaluating)
        m_words->setWhole(r.lastStep() == 0
                              ? tr("Measures the loss before step 1: %1 of %2 rows")
                                    .arg(format::count(phase.done), format::count(phase.total))
                              : tr("Measures the loss at step %1: %2 of %3 rows")
                                    .arg(format::count(r.lastStep()), format::count(phase.done),
                                         format::count(phase.total)));
    const auto total = info.maxSteps;
    m_step->setCaption(status == "failed" || status == "stopped" ? tr("Stopped at") : tr("Step"));
    m_step->set(format::count(r.lastStep()),
                total > 0 ? tr("of %1").arg(format::count(total)) : QString());
    const double epochs = info.config["train"]["epochs"].toDouble();
    m_epoch->set(QString::number(r.epoch(), 'f', 2),
                 epochs > 0 ? tr("of %1").arg(format::real(epochs)) : QString());
    const double elapsed = r.snapshot.elapsedSeconds();
    m_elapsed->setCaption(isOver ? tr("Ran for") : tr("Elapsed"));
    m_elapsed->set(format::duration(elapsed));
    const double trained = r.curves.seconds.empty() ? 0 : r.curves.seconds.back();
    const bool canTell = !isOver && total > 0 && r.lastStep() > 2;
    m_left->setProperty("wanted", canTell);
    m_left->setVisible(canTell && width() > px(980));
    if (canTell) {
        const double perStep = std::max(trained / static_cast<double>(r.lastStep()), 0.0);
        const double left = perStep * static_cast<double>(total - r.lastStep());
        m_left->set(
            format::duration(left),
            "≈ " +
                QDateTime::currentDateTime().addSecs(static_cast<qint64>(left)).toString("HH:mm"));
    }
    const EvalPoint* best = r.bestEval();
    m_best->set(best ? format::loss(best->loss) : QStringLiteral("–"),
                best ? tr("step %1").arg(format::count(best->step)) : QString());
    const std::vector<Metric> metrics =
        r.snapshot.evals.empty() ? std::vector<Metric>() : metricsOf(r.snapshot.evals.back());
    m_metric->setProperty("wanted", !metrics.empty());
    m_metric->setVisible(!metrics.empty() && width() > px(1100));
    if (!metrics.empty()) {
        m_metric->setCaption(metrics.front().name);
        m_metric->set(metrics.front().value, {});
    }
    const double speed = r.snapshot.recentTokensPerSecond();
    m_speed->set(speed > 0 ? format::count(static_cast<std::int64_t>(speed)) : QStringLiteral("–"),
                 speed > 0 ? tr("tokens/s") : QString());
    std::vector<double> ticks;
    const double every = info.config["train"]["eval_every"].toDouble(50);
    if (total > 0 && every > 0 && static_cast<double>(total) / every < 60)
        for (double step = every; step < static_cast<double>(total); step += every)
            ticks.push_back(step / static_cast<double>(total));
    const bool isLoading = !phase.name.empty() && phase.total > 0 && !isEvaluating;
    const double share =
        isLoading   ? static_cast<double>(phase.done) / static_cast<double>(phase.total)
        : total > 0 ? static_cast<double>(r.lastStep()) / static_cast<double>(total)
                    : 0;
    m_progress->set(status == "finished" ? 1 : share, isLoading ? std::vector<double>{} : ticks,
                    isOver && status != "finished");
    if (isLoading)
        m_words->setWhole(tr("%1: %2 of %3")
                              .arg(QString::fromStdString(phase.name), format::count(phase.done),
                                   format::count(phase.total)));

    const bool isLive = !isOver && status != "waiting";
    m_pause->setText(status == "paused" ? tr(" Resume") : tr(" Pause"));
    m_pause->setAccessibleName(m_pause->text().trimmed());
    m_pause->setIcon(themedIcon(status == "paused" ? "play" : "pause"));
    for (QPushButton* button : {m_pause, m_checkpoint, m_stop}) {
        button->setVisible(isLive);
        button->setEnabled(feed.isWorkerAlive());
    }
    m_resume->setVisible((status == "interrupted" || status == "stopped") &&
                         !r.snapshot.checkpoints.empty());
    if (info.id != m_id) m_curves->setChecked(false);
    m_id = info.id;
    m_curves->setVisible((status == "failed" || status == "interrupted") && r.curves.size() > 1);
    m_edit->setVisible(isOver);
    m_try->setVisible(status == "finished" && (info.hasAdapter || info.hasFullModel));
    m_export->setVisible(status == "finished" && (info.hasAdapter || info.hasFullModel));
    m_folder->setVisible(isOver);
}

}  // namespace luthier::ui
