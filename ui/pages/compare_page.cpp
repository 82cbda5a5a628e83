// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/compare_page.h"

#include "contract/run_report.h"
#include "settings/settings.h"
#include "theme/format.h"
#include "theme/theme.h"
#include "widgets/basics.h"
#include "widgets/controls.h"
#include "widgets/simple_table.h"

#include <QComboBox>
#include <QFileDialog>
#include <QFutureWatcher>
#include <QGridLayout>
#include <QJsonDocument>
#include <QLineEdit>
#include <QRegularExpression>
#include <QSaveFile>
#include <QScrollArea>
#include <QSlider>
#include <QSplitter>
#include <QStackedWidget>
#include <QtConcurrentRun>

#include <cmath>

namespace luthier::ui {

namespace {

void flatten(const QJsonObject& object, const QString& prefix, std::map<QString, QString>& out) {
    for (auto it = object.begin(); it != object.end(); ++it) {
        const QString key = prefix.isEmpty() ? it.key() : prefix + "." + it.key();
        if (it->isObject() && !it->toObject().isEmpty())
            flatten(it->toObject(), key, out);
        else if (it->isArray())
            out[key] = shortModules(it.value());
        else
            out[key] = it->isDouble() ? format::real(it->toDouble())
                       : it->isNull() ? QStringLiteral("–")
                                      : it->toVariant().toString();
    }
}

}  // namespace

ComparePage::ComparePage(Workbench& bench) : Page(bench) {
    auto* body = new QWidget;
    auto* column = makeColumn(0);
    auto* bar = makeRow(8);
    bar->setContentsMargins(16, 8, 16, 8);
    m_group = new QComboBox;
    m_group->setMinimumWidth(px(170));
    m_group->setAccessibleName(tr("Group"));
    m_filter = new QLineEdit;
    m_filter->setPlaceholderText(tr("Filter, regex allowed"));
    m_filter->setAccessibleName(tr("Filter runs"));
    m_filter->setMaximumWidth(px(176));
    m_summary = makeLabel({}, "body", "t2");
    bar->addWidget(m_group);
    bar->addWidget(m_filter);
    bar->addWidget(m_summary, 1);
    for (const char* suffix : {"png", "svg", "pdf", "csv"}) {
        auto* button = makeButton(QString(QLatin1String(suffix)).toUpper(), "plain", 28);
        connect(button, &QPushButton::clicked, this,
                [this, suffix] { exportAs(QLatin1String(suffix)); });
        bar->addWidget(button);
    }
    auto* report = makeButton(tr("Report…"), "plain", 28);
    report->setToolTip(tr("Table and picture of the runs shown, with what each cost, as one page"));
    connect(report, &QPushButton::clicked, this, &ComparePage::saveReport);
    bar->addWidget(report);
    column->addLayout(bar);
    column->addWidget(makeRule());
    auto* vertical = new QSplitter(Qt::Vertical);
    m_table =
        new SimpleTable({tr("Run"), tr("Method"), tr("Trainable"), tr("Share"), tr("Eval. loss"),
                         tr("Tokens/s"), tr("Peak"), tr("Adapter"), tr("Duration")},
                        {240, 150, 170, 70, 130, 125, 135, 84, 84}, 0);
    m_table->setAccessibleName(tr("Runs compared"));
    m_table->setSortingEnabled(true);
    m_table->sortByColumn(4, Qt::AscendingOrder);
    m_table->setToolTip(tr("Space shows or hides, S shows alone, B pins the baseline"));
    vertical->addWidget(m_table);
    auto* lower = new QSplitter(Qt::Horizontal);
    auto* curves = new QWidget;
    auto* left = makeColumn(0);
    auto* header = new PaneHeader(tr("Loss"));
    m_what = new SegmentedControl({tr("Train"), tr("Evaluation")}, 24);
    m_what->setAccessibleName(tr("Loss shown"));
    m_slider = new QSlider(Qt::Horizontal);
    m_slider->setRange(0, 99);
    m_slider->setFixedWidth(px(70));
    m_slider->setAccessibleName(tr("Smoothing"));
    m_slider->setValue(Settings::value("compare/smoothing", 95).toInt());
    m_unit = new SegmentedControl({tr("Step"), tr("Tokens"), tr("Time")}, 24);
    m_unit->setAccessibleName(tr("Horizontal axis"));
    auto* log = makeButton(tr("Log"), "check", 24);
    log->setCheckable(true);
    header->addLeft(m_what);
    header->addRight(m_slider);
    header->addRight(m_unit);
    header->addRight(log);
    m_plot = new Plot(m_plotGroup, Plot::YRule::Loss, tr("Loss of the compared runs"));
    m_plot->showEndLabels = m_plot->showXTag = true;
    m_plot->tip = [this](double x) { return tip(x); };
    left->addWidget(header);
    left->addWidget(m_plot, 1);
    curves->setLayout(left);
    auto* quality = new QWidget;
    auto* middle = makeColumn(0);
    auto* qualityHeader = new PaneHeader(tr("Quality and cost"));
    m_cost = new QComboBox;  // four words would not leave the curves their own controls at 1280 px
    m_cost->addItems({tr("Parameters"), tr("Memory"), tr("Time"), tr("File size")});
    qualityHeader->addRight(m_cost);
    m_cost->setAccessibleName(tr("Cost shown"));
    m_scatter = new ScatterPlot;
    middle->addWidget(qualityHeader);
    middle->addWidget(m_scatter, 1);
    quality->setLayout(middle);
    auto* config = new QWidget;
    auto* right = makeColumn(0);
    auto* configHeader = new PaneHeader(tr("Configuration"));
    m_onlyDifferent = new Toggle(tr("Differences only"));
    m_onlyDifferent->setChecked(true);
    configHeader->addRight(makeLabel(tr("Differences only"), "table", "t2"));
    configHeader->addRight(m_onlyDifferent);
    auto* rows = new QWidget;
    auto* rowColumn = makeColumn(8, 16);
    m_differences = new QGridLayout;
    m_differences->setHorizontalSpacing(12);
    m_differences->setVerticalSpacing(6);
    m_differenceNote = makeLabel({}, "table", "t2");
    m_differenceNote->setWordWrap(true);
    rowColumn->addLayout(m_differences);
    rowColumn->addWidget(m_differenceNote);
    rowColumn->addStretch(1);
    rows->setLayout(rowColumn);
    right->addWidget(configHeader);
    right->addWidget(makeRule());
    right->addWidget(makeScroll(rows), 1);
    config->setLayout(right);
    lower->addWidget(curves);
    lower->addWidget(quality);
    lower->addWidget(config);
    lower->setSizes({px(688), px(356), px(324)});
    lower->setStretchFactor(0, 1);
    Settings::keepSplitter(lower, "compare-lower");
    vertical->addWidget(lower);
    vertical->setSizes({px(308), px(470)});
    Settings::keepSplitter(vertical, "compare");
    column->addWidget(vertical, 1);
    body->setLayout(column);
    m_stack = new QStackedWidget;
    m_empty = new EmptyState("compare", tr("Nothing to compare yet"),
                             tr("Runs of this workspace appear here side by side, with their "
                                "curves, costs and differences."),
                             tr("New run"));
    m_stack->addWidget(body);
    m_stack->addWidget(m_empty);
    auto* outer = makeColumn(0);
    outer->addWidget(m_stack);
    setLayout(outer);

    m_rebuildTimer.setSingleShot(true);
    m_rebuildTimer.setInterval(150);
    connect(&m_rebuildTimer, &QTimer::timeout, this, &ComparePage::rebuildCurves);
    connect(m_empty, &EmptyState::triggered, this, [this] { m_bench.goTo(PageId::NewRun); });
    connect(&bench.runs, &RunLibrary::changed, this, [this] {
        if (isVisible()) refreshRuns();
    });
    const auto again = [this] {
        m_signature.clear();
        refreshRuns();
    };
    connect(m_group, &QComboBox::currentIndexChanged, this, again);
    connect(m_filter, &QLineEdit::textChanged, this, again);
    connect(&Theme::instance(), &Theme::changed, this, again);
    connect(m_what, &SegmentedControl::changed, this, &ComparePage::rebuildCurves);
    connect(m_slider, &QSlider::valueChanged, this, [this](int value) {
        Settings::set("compare/smoothing", value);
        for (const auto& [id, curve] : m_curves)
            if (curve->weight != value) smooth(id, curve->record);
    });
    connect(m_unit, &SegmentedControl::changed, this,
            [this](int index) { m_plotGroup.setUnit(static_cast<XUnit>(index)); });
    connect(&m_plotGroup, &PlotGroup::unitChanged, this, [this] {
        m_unit->setCurrent(static_cast<int>(m_plotGroup.unit()));
        rebuildCurves();
    });
    connect(&m_plotGroup, &PlotGroup::unitKeyPressed, this, [this] {
        m_plotGroup.setUnit(static_cast<XUnit>((static_cast<int>(m_plotGroup.unit()) + 1) % 3));
    });
    connect(&m_plotGroup, &PlotGroup::logKeyPressed, log, &QPushButton::click);
    connect(log, &QPushButton::toggled, m_plot, &Plot::setLog);
    connect(m_cost, &QComboBox::currentIndexChanged, this, &ComparePage::fillScatter);
    connect(m_onlyDifferent, &QAbstractButton::toggled, this, &ComparePage::fillDifferences);
    const auto choose = [this](const QString& id) {
        m_selected = id;
        m_table->select(id);
        rebuildCurves();
        fillScatter();
        fillDifferences();
    };
    connect(m_table, &SimpleTable::selected, this, choose);
    connect(m_scatter, &ScatterPlot::clicked, this, choose);
    connect(m_plot, &Plot::curveClicked, this,
            [this, choose](int index) { choose(m_curveIds.value(index)); });
    connect(m_table, &SimpleTable::activatedRow, &bench, &Workbench::openRun);
    connect(m_table, &SimpleTable::keyOnRow, this, [this](int key, const QString& id) {
        if (id.isEmpty()) return;
        if (key == Qt::Key_Space)
            toggleShown(id);
        else if (key == Qt::Key_B)
            setBaseline(id);
        else if (key == Qt::Key_S) {
            const auto runs = visibleRuns();
            const bool isSolo = m_hidden.size() == static_cast<qsizetype>(runs.size()) - 1 &&
                                !m_hidden.contains(id);
            m_hidden.clear();
            if (!isSolo)
                for (const RunInfo* run : runs)
                    if (run->id != id) m_hidden << run->id;
            fillTable();
            rebuildCurves();
        } else if (key == Qt::Key_Delete) {
            const RunInfo* run = m_bench.runs.find(id);
            if (!run || run->isActive()) return;
            const QString name = run->name;
            if (!m_bench.runs.remove(id)) return;
            m_bench.say(tr("%1 was moved to the workspace's trash folder.").arg(name), tr("Undo"),
                        [this, id] { m_bench.runs.restore(id); });
        }
    });
}

QString ComparePage::context() const { return m_group->currentData().toString(); }

std::vector<const RunInfo*> ComparePage::visibleRuns() const {
    std::vector<const RunInfo*> runs;
    const QRegularExpression filter(m_filter->text(), QRegularExpression::CaseInsensitiveOption);
    const QString group = m_group->currentData().toString();
    for (const RunInfo& run : m_bench.runs.runs()) {
        if (run.status == "starting" || (!group.isEmpty() && run.group != group)) continue;
        if (filter.isValid() && !m_filter->text().isEmpty() &&
            !filter.match(run.name + " " + run.methodWords()).hasMatch())
            continue;
        runs.push_back(&run);
    }
    return runs;
}

void ComparePage::refreshRuns() {
    QStringList groups;
    for (const RunInfo& run : m_bench.runs.runs())
        if (!run.group.isEmpty() && !groups.contains(run.group)) groups << run.group;
    if (m_group->property("groups").toStringList() != groups || m_group->count() == 0) {
        const QSignalBlocker block(m_group);
        const QString kept = m_group->currentData().toString();
        m_group->clear();
        m_group->addItem(tr("All runs"), QString());
        for (const QString& group : groups) m_group->addItem(group, group);
        m_group->setCurrentIndex(std::max(0, m_group->findData(kept)));
        m_group->setProperty("groups", groups);
    }
    m_stack->setCurrentIndex(m_bench.runs.runs().empty() ? 1 : 0);
    QString signature;
    for (const RunInfo* run : visibleRuns())
        signature += run->id + QString::number(run->stamp) + "|";
    if (signature == m_signature) return;
    m_signature = signature;
    const auto runs = visibleRuns();
    if (!m_bench.runs.find(m_baseline) && !runs.empty()) m_baseline = runs.back()->id;
    if (!m_bench.runs.find(m_selected) && !runs.empty()) m_selected = runs.front()->id;
    fillTable();
    loadCurves();
    fillScatter();
    fillDifferences();
    emit contextChanged();
}

void ComparePage::fillTable() {
    const auto runs = visibleRuns();
    const RunInfo* base = m_bench.runs.find(m_baseline);
    double bestLoss = 1e300, bestSpeed = 0, leastPeak = 1e300, most = 1;
    for (const RunInfo* r : runs) {
        bestLoss = std::fmin(bestLoss, r->bestEval);
        bestSpeed = std::fmax(bestSpeed, r->tokensPerSecond);
        leastPeak = std::fmin(leastPeak, r->peakBytes);
        most = std::max(most, static_cast<double>(r->trainable));
    }
    std::vector<TableRow> rows;
    const Tokens& t = Theme::tokens();
    for (const RunInfo* r : runs) {
        TableRow row{r->id, {}, m_hidden.contains(r->id)};
        const bool isBase = r->id == m_baseline;
        TableCell name{r->name,
                       isBase ? tr("baseline")
                       : QLatin1String(statusLook(r->status).kind) == QLatin1String("ok")
                           ? QString()
                           : statusLook(r->status).words,
                       r->name};
        name.icon = row.isDimmed ? "eye-off" : "eye";
        name.sample = Theme::instance().runColor(r->color);
        name.dash = Theme::instance().runDash(r->color);
        name.isStrong = true;
        row.cells.push_back(name);
        row.cells.push_back({r->methodWords(), {}, {}, {}, t.t2});
        const auto number = [&](const QString& text, double key, const QString& note = {},
                                bool isBest = false) {
            TableCell cell{text, note, std::isnan(key) ? 1e300 : key};
            cell.isRight = true;
            cell.isStrong = isBest;
            row.cells.push_back(cell);
        };
        number(r->trainable >= 0 ? format::count(r->trainable) : QStringLiteral("–"),
               static_cast<double>(r->trainable));
        row.cells.back().share =
            r->trainable > 0 ? std::log(static_cast<double>(r->trainable) + 1) / std::log(most + 1)
                             : 0;
        number(r->total > 0 ? format::percent(static_cast<double>(r->trainable) /
                                              static_cast<double>(r->total))
                            : QStringLiteral("–"),
               static_cast<double>(r->trainable));
        const bool differs = base && !isBase;
        number(format::loss(r->bestEval), r->bestEval,
               differs && !std::isnan(r->bestEval - base->bestEval)
                   ? format::signedReal(r->bestEval - base->bestEval, 3)
                   : QString(),
               r->bestEval == bestLoss);
        number(std::isnan(r->tokensPerSecond) ? QStringLiteral("–")
                                              : format::count(std::lround(r->tokensPerSecond)),
               r->tokensPerSecond,
               differs && !std::isnan(r->tokensPerSecond / base->tokensPerSecond)
                   ? format::signedReal((r->tokensPerSecond / base->tokensPerSecond - 1) * 100, 0) +
                         " %"
                   : QString(),
               r->tokensPerSecond == bestSpeed);
        number(std::isnan(r->peakBytes) ? QStringLiteral("–") : format::bytes(r->peakBytes),
               r->peakBytes,
               differs && !std::isnan(r->peakBytes / base->peakBytes)
                   ? format::signedReal((r->peakBytes / base->peakBytes - 1) * 100, 0) + " %"
                   : QString(),
               r->peakBytes == leastPeak);
        number(std::isnan(r->adapterBytes) ? QStringLiteral("–") : format::bytes(r->adapterBytes),
               r->adapterBytes);
        number(format::duration(r->seconds), r->seconds);
        rows.push_back(std::move(row));
    }
    m_table->rows()->pinned = m_baseline;
    m_table->setRows(std::move(rows));
    m_table->select(m_selected);
    showCounts();
}

void ComparePage::showCounts() {
    const auto runs = static_cast<qsizetype>(visibleRuns().size());
    const QString counts = tr("%1 runs, %2 shown").arg(runs).arg(runs - m_hidden.size());
    m_summary->setText(
        m_loading > 2 ? tr("%1 · reading curves, %2 to go").arg(counts).arg(m_loading) : counts);
}

void ComparePage::loadCurves() {
    for (const RunInfo* run : visibleRuns()) {
        const QString id = run->id;
        ++m_loading;
        m_bench.runs.loadCurves(id, this, [this, id](std::shared_ptr<const RunRecord> record) {
            --m_loading;
            showCounts();
            const auto known = m_curves.find(id);
            if (known == m_curves.end() || known->second->record != record)
                smooth(id, std::move(record));
        });
    }
    rebuildCurves();
}

/// Ten million points take a while to smooth: in a worker thread, and the plot follows a few times
/// a second.
void ComparePage::smooth(const QString& id, std::shared_ptr<const RunRecord> record) {
    if (m_smoothing.contains(id)) return;
    m_smoothing << id;
    auto* watcher = new QFutureWatcher<std::shared_ptr<const Curve>>(this);
    connect(watcher, &QFutureWatcherBase::finished, this, [this, watcher, id] {
        m_smoothing.remove(id);
        m_curves[id] = watcher->result();
        watcher->deleteLater();
        if (m_curves[id]->weight != m_slider->value()) smooth(id, m_curves[id]->record);
        if (!m_rebuildTimer.isActive()) m_rebuildTimer.start();
    });
    watcher->setFuture(QtConcurrent::run([record = std::move(record), weight = m_slider->value()] {
        auto curve = std::make_shared<Curve>();
        Smoother smoother(weight / 100.0);
        smoother.extend(record->curves.loss, curve->smoothed);
        curve->pyramid.extend(curve->smoothed);
        curve->record = record;
        curve->weight = weight;
        return std::shared_ptr<const Curve>(curve);
    }));
}

const std::vector<float>* ComparePage::xsOf(const RunRecord& record) const {
    return m_plotGroup.unit() == XUnit::Step     ? &record.curves.step
           : m_plotGroup.unit() == XUnit::Tokens ? &record.curves.tokens
                                                 : &record.curves.seconds;
}

void ComparePage::rebuildCurves() {
    m_plot->curves.clear();
    m_curveIds.clear();
    double end = 0;
    const bool isEval = m_what->current() == 1;
    for (const RunInfo* run : visibleRuns()) {
        const auto found = m_curves.find(run->id);
        if (found == m_curves.end() || m_hidden.contains(run->id)) continue;
        const Curve& drawn = *found->second;
        PlotCurve* curve = m_plot->addCurve();
        if (isEval) {
            auto points = std::make_shared<std::pair<std::vector<float>, std::vector<float>>>();
            for (const EvalPoint& e : drawn.record->snapshot.evals) {
                points->first.push_back(static_cast<float>(
                    m_plotGroup.unit() == XUnit::Step     ? static_cast<double>(e.step)
                    : m_plotGroup.unit() == XUnit::Tokens ? static_cast<double>(e.tokens)
                                                          : e.trainSeconds));
                points->second.push_back(static_cast<float>(e.loss));
            }
            curve->x = &points->first;
            curve->y = &points->second;
            curve->keep = points;
        } else {
            curve->x = xsOf(*drawn.record);
            curve->y = &drawn.smoothed;
            curve->pyramid = drawn.pyramid;
            curve->keep = found->second;
        }
        curve->color = Theme::instance().runColor(run->color);
        curve->dash = Theme::instance().runDash(run->color);
        curve->label = run->name;
        curve->isStrong = run->id == m_selected;
        curve->width = curve->isStrong ? 2.5 : 1.5;
        if (!curve->x->empty()) end = std::max(end, static_cast<double>(curve->x->back()));
        m_curveIds << run->id;
    }
    m_plotGroup.setExtent(0, std::max(end, 1e-6));
    m_plot->refresh();
}

std::vector<TipRow> ComparePage::tip(double x) const {
    struct Row {
        double value;
        TipRow row;
        QString id;
    };
    std::vector<Row> rows;
    double base = kNoNumber;
    for (std::size_t i = 0; i < m_plot->curves.size(); ++i) {
        const PlotCurve& curve = *m_plot->curves[i];
        const int at = Plot::nearest(curve, x);
        if (at < 0) continue;
        const double value = (*curve.y)[static_cast<std::size_t>(at)];
        const QString id = m_curveIds.value(static_cast<qsizetype>(i));
        if (id == m_baseline) base = value;
        rows.push_back({value,
                        {curve.color,
                         curve.dash,
                         curve.label,
                         QString::number(value, 'f', 4),
                         {},
                         curve.isStrong,
                         TipRow::Line},
                        id});
    }
    std::sort(rows.begin(), rows.end(),
              [](const Row& a, const Row& b) { return a.value > b.value; });
    std::vector<TipRow> out;
    for (Row& row : rows) {
        if (!std::isnan(base) && row.id != m_baseline)
            row.row.difference = format::signedReal(row.value - base, 3);
        out.push_back(row.row);
    }
    return out;
}

void ComparePage::fillScatter() {
    std::vector<ScatterPlot::Point> points;
    const int cost = m_cost->currentIndex();
    for (const RunInfo* run : visibleRuns()) {
        const double costs[] = {static_cast<double>(run->trainable), run->peakBytes, run->seconds,
                                run->adapterBytes};
        const double x = costs[cost];
        if (!(x > 0) || std::isnan(run->bestEval)) continue;
        points.push_back(
            {run->id, run->name, x, run->bestEval, Theme::instance().runColor(run->color)});
    }
    const auto text = [cost](double v) {
        return cost == 0   ? format::shortCount(v).replace(".0 ", " ")
               : cost == 2 ? format::duration(v)
                           : format::bytes(v);
    };
    const QString titles[] = {tr("trainable parameters, log"), tr("peak memory, log"),
                              tr("duration, log"), tr("file size, log")};
    m_scatter->set(std::move(points), titles[cost],
                   cost % 2 == 1 ? ScatterPlot::Ticks::OfTwo : ScatterPlot::Ticks::OfTen, text,
                   m_selected);
}

void ComparePage::fillDifferences() {
    std::vector<const RunInfo*> shown;
    if (const RunInfo* base = m_bench.runs.find(m_baseline)) shown.push_back(base);
    if (m_selected != m_baseline)
        if (const RunInfo* run = m_bench.runs.find(m_selected)) shown.push_back(run);
    for (const RunInfo* run : visibleRuns())
        if (shown.size() < 3 && run->id != m_baseline && run->id != m_selected &&
            !m_hidden.contains(run->id))
            shown.push_back(run);
    // A run that trains changes every few seconds, its configuration does not: these hundreds of
    // labels are kept then.
    QString signature = m_onlyDifferent->isChecked() ? "different" : "all";
    for (const RunInfo* run : shown)
        signature += "|" + run->id + run->name + QString::number(run->configStamp) +
                     Theme::instance().runColor(run->color).name();
    if (signature == m_differenceSignature) return;
    m_differenceSignature = signature;
    while (QLayoutItem* item = m_differences->takeAt(0)) {
        delete item->widget();
        delete item;
    }
    std::vector<std::map<QString, QString>> maps(shown.size());
    QStringList keys;
    for (std::size_t i = 0; i < shown.size(); ++i) {
        QJsonObject config = shown[i]->config;
        for (const char* key : {"name", "group", "versions", "hardware", "inputs"})
            config.remove(QLatin1String(key));
        flatten(config, {}, maps[i]);
        for (const auto& [key, value] : maps[i])
            if (!keys.contains(key)) keys << key;
    }
    keys.sort();
    int line = 0, different = 0;
    for (std::size_t i = 0; i < shown.size(); ++i) {
        auto* head = new ElidedLabel(shown[i]->name, "caption");
        head->setStyleSheet(
            QStringLiteral("color: %1").arg(Theme::instance().runColor(shown[i]->color).name()));
        m_differences->addWidget(head, line, static_cast<int>(i) + 1);
        m_differences->setColumnStretch(static_cast<int>(i) + 1, 2);
    }
    m_differences->setColumnStretch(0, shown.size() > 2 ? 4 : 3);
    ++line;
    for (const QString& key : keys) {
        QStringList values;
        for (const auto& map : maps) {
            const auto it = map.find(key);
            values << (it == map.end() || it->second.isEmpty() ? QStringLiteral("–") : it->second);
        }
        const bool differs = values.size() > 1 && values.count(values.front()) != values.size();
        different += differs;
        if (m_onlyDifferent->isChecked() && !differs) continue;
        if (line > 80) continue;
        m_differences->addWidget(new ElidedLabel(key.section('.', -1), "mono", "t2"), line, 0);
        for (int i = 0; i < values.size(); ++i)
            m_differences->addWidget(new ElidedLabel(values[i], "tablename",
                                                     i > 0 && values[i] != values[0] ? "t1" : "t2"),
                                     line, i + 1);
        ++line;
    }
    m_differenceNote->setText(shown.size() < 2
                                  ? tr("Two runs are needed to show differences.")
                                  : tr("%1 of %2 keys differ.").arg(different).arg(keys.size()));
}

void ComparePage::toggleShown(const QString& id) {
    if (!m_hidden.remove(id)) m_hidden << id;
    fillTable();
    rebuildCurves();
}

void ComparePage::setBaseline(const QString& id) {
    m_baseline = id;
    fillTable();
    rebuildCurves();
    fillDifferences();
}

void ComparePage::exportAs(const QString& suffix) {
    const QString file = QFileDialog::getSaveFileName(
        window(), tr("Save the comparison"), "comparison." + suffix, QStringLiteral("*.") + suffix);
    if (file.isEmpty()) return;
    bool ok = false;
    if (suffix == "csv") {
        QFile out(file);
        ok = out.open(QIODevice::WriteOnly);
        if (ok) {
            out.write("run,step,tokens,seconds,loss\n");
            for (const auto& [id, curve] : m_curves) {
                if (m_hidden.contains(id)) continue;
                const RunCurves& s = curve->record->curves;
                for (std::size_t i = 0; i < s.size(); ++i)
                    out.write(QStringLiteral("%1,%2,%3,%4,%5\n")
                                  .arg(id)
                                  .arg(s.step[i], 0, 'f', 0)
                                  .arg(s.tokens[i], 0, 'f', 0)
                                  .arg(s.seconds[i])
                                  .arg(s.loss[i])
                                  .toUtf8());
            }
            ok = out.error() == QFile::NoError;
        }
    } else {
        ok =
            m_plot->exportTo(file.endsWith("." + suffix) ? file : file + "." + suffix, {1000, 560});
    }
    m_bench.say(ok ? tr("Saved %1.").arg(QFileInfo(file).fileName())
                   : tr("%1 could not be written.").arg(file),
                {}, {}, ok ? "ok" : "err");
}

void ComparePage::saveReport() {
    std::vector<std::string> ids;
    for (const RunInfo* run : visibleRuns())
        if (!m_hidden.contains(run->id) && !run->isActive()) ids.push_back(run->id.toStdString());
    if (ids.empty()) return m_bench.say(tr("No run that has ended is shown."), {}, {}, "warn");
    const QString file =
        QFileDialog::getSaveFileName(window(), tr("Save the report"), "report.html",
                                     tr("Page with table and picture (*.html);;Markdown "
                                        "(*.md);;Table (*.csv);;Picture (*.svg)"));
    if (file.isEmpty()) return;
    const QString group = m_group->currentData().toString();
    const QString path = QFileInfo(file).suffix().isEmpty() ? file + ".html" : file;
    auto* watcher = new QFutureWatcher<QString>(this);
    connect(watcher, &QFutureWatcherBase::finished, this, [this, watcher, path] {
        watcher->deleteLater();
        const QString problem = watcher->result();
        m_bench.say(problem.isEmpty() ? tr("Saved %1.").arg(QFileInfo(path).fileName()) : problem,
                    {}, {}, problem.isEmpty() ? "ok" : "err");
    });
    const QString title = group.isEmpty() ? tr("Runs compared") : tr("Runs of %1").arg(group);
    watcher->setFuture(
        QtConcurrent::run([ids, path, title, workspace = m_bench.workspace()]() -> QString {
            RunStore store(Workspace{QFile::encodeName(workspace).toStdString()});
            const Result<RunReport> report = makeReport(store, ids, title.toStdString());
            const Result<std::string> text =
                report ? reportText(*report, "." + QFileInfo(path).suffix().toStdString())
                       : Result<std::string>(report.problems());
            if (!text)
                return QString::fromStdString(text.problem().message + " " + text.problem().hint);
            QSaveFile out(path);
            const bool isWritten = out.open(QIODevice::WriteOnly) &&
                                   out.write(QByteArray::fromStdString(*text)) >= 0 && out.commit();
            return isWritten ? QString() : tr("%1 could not be written.").arg(path);
        }));
}

bool ComparePage::perform(PageCommand command) {
    if (command != PageCommand::ExportPlot) return false;
    exportAs("png");
    return true;
}

}  // namespace luthier::ui
