// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/run_plots.h"

#include "settings/settings.h"
#include "theme/format.h"
#include "theme/icons.h"
#include "theme/theme.h"
#include "widgets/basics.h"
#include "widgets/controls.h"

#include <QFileDialog>
#include <QGridLayout>
#include <QInputDialog>
#include <QJsonObject>
#include <QPainter>
#include <QPushButton>
#include <QSlider>
#include <QSplitter>

#include <cmath>

namespace luthier::ui {

namespace {

/// Legend of the loss plot: strokes and a diamond with their words.
class LossLegend final : public QWidget {
public:
    void setColor(const QColor& color) {
        m_color = color;
        update();
    }
    QSize sizeHint() const override {
        const QFontMetrics metrics(themeFont(Type::Table));
        return {metrics.horizontalAdvance(tr("smoothed") + tr("raw") + tr("evaluation")) + 3 * 18 +
                    2 * 10 + 3,
                px(24)};
    }
    QSize minimumSizeHint() const override { return {0, px(24)}; }

protected:
    void paintEvent(QPaintEvent*) override {
        const Tokens& t = Theme::tokens();
        QPainter p(this);
        p.setRenderHint(QPainter::Antialiasing);
        p.setFont(themeFont(Type::Table));
        double x = 0;
        const double y = height() / 2.0;
        // An entry that does not fit whole is left out: half a word says less than none.
        const auto entry = [&](const QString& text, const QPen& pen, bool isDiamond) {
            const double end = x + 18 + p.fontMetrics().horizontalAdvance(text);
            if (end > width()) return;
            p.setPen(pen);
            const QPointF c(x + 7, y);
            if (isDiamond)
                p.drawPolygon(QPolygonF(QList<QPointF>{c + QPointF(0, -4.5), c + QPointF(4.5, 0),
                                                       c + QPointF(0, 4.5), c + QPointF(-4.5, 0)}));
            else
                p.drawLine(QPointF(x, y), QPointF(x + 13, y));
            p.setPen(t.t2);
            p.drawText(QRectF(x + 18, 0, 200, height()), Qt::AlignVCenter, text);
            x = end + 10;
        };
        entry(tr("smoothed"), QPen(m_color, 2), false);
        entry(tr("raw"), QPen(withAlpha(m_color, 0.35), 1.5), false);
        entry(tr("evaluation"), QPen(t.t1, 1.5), true);
    }

private:
    QColor m_color;
};

float last(const std::vector<float>& values) {
    return values.empty() ? std::numeric_limits<float>::quiet_NaN() : values.back();
}

}  // namespace

RunPlots::RunPlots() {
    auto* lossPane = new QWidget;
    auto* lossColumn = makeColumn(0);
    auto* header = new PaneHeader(tr("Loss"), 40);
    m_lossValue = makeLabel(QStringLiteral("–"), "strong");
    auto* legend = new LossLegend;
    legend->setObjectName("legend");
    legend->setAccessibleName(tr("Legend: smoothed, raw, evaluation"));
    m_slider = new QSlider(Qt::Horizontal);
    m_slider->setRange(0, 99);
    m_slider->setFixedWidth(px(68));
    m_slider->setAccessibleName(tr("Smoothing"));
    m_slider->setToolTip(tr("Smoothing"));
    auto* weight = makeLabel("0.90", "table", "t2");
    weight->setFixedWidth(px(28));
    m_unit = new SegmentedControl({tr("Step"), tr("Tokens"), tr("Time")}, 26);
    m_unit->setAccessibleName(tr("Horizontal axis"));
    m_log = makeButton(tr("Log"), "check", 24);
    m_log->setCheckable(true);
    auto* image = makeIconButton("image", tr("Save this plot (Ctrl+E)"), 26);
    header->addLeft(legend);
    header->addLeft(m_lossValue);
    header->addRight(m_slider);
    header->addRight(weight);
    header->addRight(m_unit);
    header->addRight(m_log);
    header->addRight(image);
    m_loss = new Plot(m_group, Plot::YRule::Loss, tr("Loss"));
    m_loss->xLabel = tr("optimiser step");
    m_loss->showXTag = true;
    m_loss->tip = [this](double x) { return lossTip(x); };
    m_raw = m_loss->addCurve();
    m_raw->isRaw = true;
    m_raw->width = 1;
    m_smooth = m_loss->addCurve();
    m_smooth->width = 2;
    addTerms();
    lossColumn->addWidget(header);
    lossColumn->addWidget(m_loss, 1);
    lossPane->setLayout(lossColumn);

    auto* grid = new QGridLayout;
    grid->setContentsMargins(0, 0, 0, 0);
    grid->setSpacing(0);
    m_rate = makeSmall(tr("Learning rate"), Plot::YRule::FromZero);
    m_norm = makeSmall(tr("Gradient norm"), Plot::YRule::Log);
    m_speed = makeSmall(tr("Throughput"), Plot::YRule::FromZero);
    m_memory = makeSmall(tr("Memory"), Plot::YRule::FromZero);
    m_rate.plot->yText = [](double v) { return format::rate(v); };
    m_speed.plot->yText = [](double v) {
        return v >= 1000 ? format::real(std::round(v / 100) / 10) + " k" : format::real(v);
    };
    auto* edit = makeIconButton("pencil", tr("Change the learning rate from the next step on"), 24);
    m_rate.header->addRight(edit);
    connect(edit, &QPushButton::clicked, this, [this] {
        bool ok = false;
        const std::shared_ptr<const RunRecord> asked = m_record;
        const double now = asked ? last(asked->curves.learningRate) : 0;
        const QString text = QInputDialog::getText(window(), tr("Learning rate"),
                                                   tr("Learning rate from the next step on"),
                                                   QLineEdit::Normal, format::rate(now), &ok);
        const double rate = text.toDouble(&ok);
        if (ok && rate >= 0 && asked == m_record)
            emit rateEdited(
                rate);  // the page may have gone on to another run while the dialog was open
    });
    edit->setObjectName("rateEdit");
    int cell = 0;
    for (const Small* small : {&m_rate, &m_norm, &m_speed, &m_memory}) {
        auto* pane = new QWidget;
        auto* column = makeColumn(0);
        column->addWidget(small->header);
        column->addWidget(small->plot, 1);
        pane->setLayout(column);
        grid->addWidget(pane, (cell / 2) * 2, (cell % 2) * 2);
        ++cell;
    }
    grid->addWidget(makeRule(Qt::Vertical), 0, 1, 3, 1);
    grid->addWidget(makeRule(), 1, 0, 1, 3);
    for (int i : {0, 2}) {
        grid->setColumnStretch(i, 1);
        grid->setRowStretch(i, 1);
    }
    auto* lower = new QWidget;
    lower->setLayout(grid);
    auto* splitter = new QSplitter(Qt::Vertical);
    splitter->addWidget(lossPane);
    splitter->addWidget(lower);
    splitter->setSizes({px(336), px(398)});
    splitter->setStretchFactor(0, 46);
    splitter->setStretchFactor(1, 54);
    Settings::keepSplitter(splitter, "live-plots");
    auto* column = makeColumn(0);
    column->addWidget(splitter);
    setLayout(column);

    const int smoothing = Settings::value("plots/smoothing", 90).toInt();
    m_slider->setValue(smoothing);
    const auto setWeight = [this](double share) {
        m_smoother.setWeight(share);
        for (Term& term : m_terms) term.smoother.setWeight(share);
    };
    setWeight(smoothing / 100.0);
    weight->setText(QString::number(smoothing / 100.0, 'f', 2));
    connect(m_slider, &QSlider::valueChanged, this, [this, weight, setWeight](int value) {
        setWeight(value / 100.0);
        weight->setText(QString::number(value / 100.0, 'f', 2));
        Settings::set("plots/smoothing", value);
        smooth();
        m_loss->refresh();
    });
    connect(m_unit, &SegmentedControl::changed, this,
            [this](int index) { m_group.setUnit(static_cast<XUnit>(index)); });
    connect(&m_group, &PlotGroup::unitChanged, this, [this] {
        const QString labels[] = {tr("optimiser step"), tr("tokens"), tr("training time")};
        m_loss->xLabel = labels[static_cast<int>(m_group.unit())];
        m_unit->setCurrent(static_cast<int>(m_group.unit()));
        if (m_record) show(m_record, false);
    });
    connect(&m_group, &PlotGroup::unitKeyPressed, this, [this] {
        m_group.setUnit(static_cast<XUnit>((static_cast<int>(m_group.unit()) + 1) % 3));
    });
    connect(&m_group, &PlotGroup::logKeyPressed, m_log, &QPushButton::click);
    connect(m_log, &QPushButton::toggled, m_loss, &Plot::setLog);
    connect(image, &QPushButton::clicked, this, &RunPlots::exportLoss);
}

/// Dashes tell the terms apart; colour stays with the run.
void RunPlots::addTerms() {
    m_terms = {Term{&RunCurves::lmLoss, nullptr}, Term{&RunCurves::unlikelihoodLoss, nullptr},
               Term{&RunCurves::lengthNormalizedLoss, nullptr}};
    const QString meanings[] = {tr("L_LM, right answer"), tr("L_UL, wrong answers"),
                                tr("L_LN, right above wrong")};
    const QString names[] = {QStringLiteral("L_LM"), QStringLiteral("L_UL"),
                             QStringLiteral("L_LN")};
    const QList<qreal> dashes[] = {{}, {6, 3}, {2, 3}};
    for (std::size_t i = 0; i < m_terms.size(); ++i) {
        m_terms[i].curve = m_loss->addCurve();
        m_terms[i].curve->label = names[i];
        m_terms[i].curve->meaning = meanings[i];
        m_terms[i].curve->dash = dashes[i];
        m_terms[i].curve->width = 1.5;
        m_terms[i].curve->isVisible = false;
    }
}

void RunPlots::showTerms(const RunRecord& record, const std::vector<float>& x) {
    m_loss->showEndLabels = record.curves.hasTerms;
    for (Term& term : m_terms) {
        term.curve->isVisible = record.curves.hasTerms;
        if (!record.curves.hasTerms) continue;
        term.smoother.extend(record.curves.*term.values, term.smoothed);
        term.curve->x = &x;
        term.curve->y = &term.smoothed;
        term.curve->color = Theme::tokens().t2;
    }
}

RunPlots::Small RunPlots::makeSmall(const QString& title, Plot::YRule rule) {
    Small small;
    small.header = new PaneHeader(title, 32);
    small.value = makeLabel(QStringLiteral("–"), "strong");
    small.header->addRight(small.value);
    small.plot = new Plot(m_group, rule, title);
    small.plot->setCompactAxes(true);
    small.curve = small.plot->addCurve();
    small.curve->width = 1.3;
    return small;
}

void RunPlots::setRun(int colorIndex, const QJsonObject& config, std::int64_t maxSteps) {
    m_color = colorIndex;
    m_maxSteps = maxSteps;
    m_clip = config.value("train")["max_grad_norm"].toDouble(1.0);
    m_smoothed.clear();
    for (Term& term : m_terms) term.smoothed.clear();
    m_record.reset();
    for (Plot* plot : {m_loss, m_rate.plot, m_norm.plot, m_speed.plot, m_memory.plot})
        for (const auto& curve : plot->curves) {  // nothing is read of a run that is not shown
            curve->x = curve->y = nullptr;
            curve->pyramid.clear();
        }
    m_group.resetZoom();
}

const std::vector<float>& RunPlots::xs(const RunRecord& record) const {
    return m_group.unit() == XUnit::Step     ? record.curves.step
           : m_group.unit() == XUnit::Tokens ? record.curves.tokens
                                             : record.curves.seconds;
}

void RunPlots::smooth() {
    if (!m_record) return;
    m_smoother.extend(m_record->curves.loss, m_smoothed);
    m_smooth->pyramid.clear();
    for (Term& term : m_terms) term.curve->pyramid.clear();
    showTerms(*m_record, xs(*m_record));
}

void RunPlots::show(const std::shared_ptr<const RunRecord>& shown, bool isLive) {
    const RunRecord& record = *shown;
    if (m_record != shown) {
        m_smoothed.clear();
        for (Term& term : m_terms) term.smoothed.clear();
        for (Plot* plot : {m_loss, m_rate.plot, m_norm.plot, m_speed.plot, m_memory.plot})
            for (const auto& curve : plot->curves) curve->pyramid.clear();
    }
    m_record = shown;
    const Tokens& t = Theme::tokens();
    const QColor color = Theme::instance().runColor(m_color);
    findChild<QWidget*>("rateEdit")->setVisible(isLive);
    static_cast<LossLegend*>(findChild<QWidget*>("legend"))->setColor(color);
    m_smoother.extend(record.curves.loss, m_smoothed);
    const std::vector<float>& x = xs(record);
    m_raw->x = m_smooth->x = &x;
    m_raw->y = &record.curves.loss;
    m_raw->color = withAlpha(color, 0.34);
    m_smooth->y = &m_smoothed;
    m_smooth->color = color;
    showTerms(record, x);
    const auto bind = [&](const Small& small, const std::vector<float>& y) {
        small.curve->x = &x;
        small.curve->y = &y;
        small.curve->color = t.t2;
    };
    bind(m_rate, record.curves.learningRate);
    bind(m_norm, record.curves.gradNorm);
    bind(m_speed, record.curves.tokensPerSecond);
    bind(m_memory, record.curves.memoryBytes);
    m_memory.curve->isFilled = true;

    const double now = last(x);
    double end = now;
    if (isLive && m_maxSteps > 0 && record.lastStep() > 0)
        end = std::max(
            now, now * static_cast<double>(m_maxSteps) / static_cast<double>(record.lastStep()));
    if (std::isnan(end)) end = static_cast<double>(std::max<std::int64_t>(m_maxSteps, 1));
    m_group.setExtent(0, std::max(end, 1e-6));
    m_loss->hatchFrom = std::isnan(now) ? 0 : now;
    m_loss->hatchTo = isLive ? end : 0;
    m_loss->hatchLabel =
        m_maxSteps > record.lastStep()
            ? tr("%1 steps to go").arg(format::count(m_maxSteps - record.lastStep()))
            : QString();
    const auto toX = [&](const EvalPoint& e) {
        return m_group.unit() == XUnit::Step     ? static_cast<double>(e.step)
               : m_group.unit() == XUnit::Tokens ? static_cast<double>(e.tokens)
                                                 : e.trainSeconds;
    };
    m_loss->points.clear();
    for (const EvalPoint& e : record.snapshot.evals)
        m_loss->points.push_back({toX(e), e.loss, color});
    const EvalPoint* best = record.bestEval();
    m_loss->pointLabel = best ? tr("best %1").arg(format::loss(best->loss)) : QString();
    m_loss->marks.clear();
    if (m_group.unit() == XUnit::Step) {
        for (const CheckpointPoint& mark : record.snapshot.checkpoints)
            m_loss->marks.push_back({static_cast<double>(mark.step), PlotMark::Checkpoint});
        for (const RatePoint& change : record.snapshot.rateChanges)
            m_loss->marks.push_back({static_cast<double>(change.step), PlotMark::Rate});
        for (std::int64_t step : record.snapshot.resumedAt)
            m_loss->marks.push_back({static_cast<double>(step), PlotMark::Resume});
    }
    m_lossValue->setText(m_smoothed.empty() ? QStringLiteral("–")
                                            : format::loss(m_smoothed.back()));
    m_rate.value->setText(record.curves.size() ? format::rate(last(record.curves.learningRate))
                                               : QStringLiteral("–"));
    m_norm.value->setText(record.curves.size()
                              ? QString::number(last(record.curves.gradNorm), 'f', 2)
                              : QStringLiteral("–"));
    m_speed.value->setText(record.curves.size()
                               ? format::count(std::lround(last(record.curves.tokensPerSecond))) +
                                     tr(" tokens/s")
                               : QStringLiteral("–"));
    const auto peak = static_cast<double>(record.snapshot.peakBytes());
    const bool inGib = peak > 1.5e9;
    const double unit = inGib ? 1024.0 * 1024 * 1024 : 1024.0 * 1024;
    m_memory.header->setTitle(tr("Memory"));
    m_memory.header->setNote(record.memoryIsDevice() ? tr("from the allocator")
                                                     : tr("from the process"));
    m_memory.value->setText(record.curves.size() ? QStringLiteral("%1 %2")
                                                       .arg(last(record.curves.memoryBytes) / unit,
                                                            0, 'f', inGib ? 2 : 0)
                                                       .arg(inGib ? "GiB" : "MiB")
                                                 : QStringLiteral("–"));
    m_memory.plot->yUnit = unit;
    m_memory.plot->yText = [unit](double v) {
        return format::real(std::round(v / unit * 10) / 10);
    };
    m_norm.plot->lines.clear();
    if (m_clip > 0)
        m_norm.plot->lines.push_back(
            {m_clip, t.warn, tr("clipped above %1").arg(format::real(m_clip)), true});
    m_memory.plot->lines.clear();
    if (peak > 0)
        m_memory.plot->lines.push_back({peak, t.t2, tr("peak %1").arg(format::bytes(peak)), true});
    for (Plot* plot : {m_loss, m_rate.plot, m_norm.plot, m_speed.plot, m_memory.plot})
        plot->refresh();
}

std::vector<TipRow> RunPlots::lossTip(double x) const {
    if (!m_record || m_smoothed.empty()) return {};
    const int i = Plot::nearest(*m_smooth, x);
    if (i < 0) return {};
    const auto at = static_cast<std::size_t>(i);
    const QColor color = Theme::instance().runColor(m_color);
    std::vector<TipRow> rows;
    rows.push_back({color,
                    {},
                    tr("Smoothed"),
                    QString::number(m_smoothed[at], 'f', 4),
                    {},
                    false,
                    TipRow::Line});
    rows.push_back({withAlpha(color, 0.4),
                    {},
                    tr("Raw"),
                    format::loss(m_record->curves.loss[at]) == QStringLiteral("–")
                        ? tr("not a number")
                        : QString::number(m_record->curves.loss[at], 'f', 4),
                    {},
                    false,
                    TipRow::Line});
    if (m_record->curves.hasTerms)
        for (const Term& term : m_terms)
            if (at < term.smoothed.size())
                rows.push_back({term.curve->color,
                                term.curve->dash,
                                term.curve->meaning,
                                QString::number(term.smoothed[at], 'f', 4),
                                {},
                                false,
                                TipRow::Line});
    const EvalPoint* near = nullptr;
    for (const EvalPoint& e : m_record->snapshot.evals)
        if (static_cast<float>(e.step) <= m_record->curves.step[at]) near = &e;
    if (near) {
        rows.push_back({{},
                        {},
                        tr("Evaluation (%1)").arg(near->step),
                        QString::number(near->loss, 'f', 4),
                        {},
                        false,
                        TipRow::Diamond});
        for (const Metric& metric : metricsOf(*near))
            rows.push_back({{}, {}, metric.name, metric.value, {}, false, TipRow::None});
    }
    rows.push_back({{},
                    {},
                    tr("Tokens seen"),
                    format::shortCount(m_record->curves.tokens[at]),
                    {},
                    false,
                    TipRow::None});
    return rows;
}

void RunPlots::exportLoss() {
    const QString file =
        QFileDialog::getSaveFileName(window(), tr("Save the plot"), "loss.png",
                                     tr("Image (*.png);;Drawing (*.svg);;Document (*.pdf)"));
    if (!file.isEmpty()) m_loss->exportTo(file, {960, 480});
}

}  // namespace luthier::ui
