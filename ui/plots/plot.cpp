// SPDX-License-Identifier: GPL-3.0-or-later
#include "plots/plot.h"

#include "plots/plot_accessible.h"
#include "theme/theme.h"
#include "widgets/basics.h"

#include <qcustomplot.h>

#include <QSvgGenerator>

#include <cmath>

namespace luthier::ui {

/// Calls back into Plot on one layer; QCustomPlot knows neither our curves nor our marks.
class PlotPainter final : public QCPAbstractItem {
public:
    PlotPainter(QCustomPlot* plot, const QString& layer, bool clips,
                std::function<void(QPainter&)> paint)
        : QCPAbstractItem(plot), m_paint(std::move(paint)) {
        setLayer(layer);
        setClipToAxisRect(clips);
        setSelectable(false);
    }
    double selectTest(const QPointF&, bool, QVariant*) const override { return -1; }

protected:
    void draw(QCPPainter* painter) override {
        painter->save();
        m_paint(*painter);
        painter->restore();
    }

private:
    std::function<void(QPainter&)> m_paint;
};

Plot::Plot(PlotGroup& group, YRule rule, const QString& accessibleName)
    : m_group(group), m_rule(rule), m_isLog(rule == YRule::Log) {
    installPlotAccessibility();
    m_dragFrom = m_dragTo = m_panFrom = std::numeric_limits<double>::quiet_NaN();
    setAccessibleName(accessibleName);
    setFocusPolicy(Qt::TabFocus);
    m_plot = new QCustomPlot(this);
    m_plot->setFocusPolicy(Qt::NoFocus);
    m_plot->setNoAntialiasingOnDrag(true);
    m_plot->setMouseTracking(true);
    m_plot->installEventFilter(this);
    auto* layout = makeColumn(0);
    layout->addWidget(m_plot);
    setLayout(layout);
    m_plot->addLayer("raw", m_plot->layer("main"), QCustomPlot::limBelow);
    m_plot->addLayer("events", m_plot->layer("axes"), QCustomPlot::limAbove);
    m_plot->layer("overlay")->setMode(QCPLayer::lmBuffered);
    QCPAxisRect* rect = m_plot->axisRect();
    rect->setAutoMargins(QCP::msNone);
    makeAxes();
    new PlotPainter(m_plot, "background", true, [this](QPainter& p) { paintBackground(p); });
    new PlotPainter(m_plot, "raw", true, [this](QPainter& p) { paintCurves(p, true); });
    new PlotPainter(m_plot, "main", true, [this](QPainter& p) { paintCurves(p, false); });
    new PlotPainter(m_plot, "events", false, [this](QPainter& p) { paintEvents(p); });
    new PlotPainter(m_plot, "overlay", false, [this](QPainter& p) { paintOverlay(p); });
    m_timer.setSingleShot(true);
    connect(&m_timer, &QTimer::timeout, this, &Plot::refreshNow);
    connect(&group, &PlotGroup::rangeChanged, this, &Plot::refresh);
    connect(&group, &PlotGroup::unitChanged, this, &Plot::refresh);
    connect(&group, &PlotGroup::crosshairChanged, this, [this] {
        if (isVisible()) m_plot->layer("overlay")->replot();
    });
    connect(&Theme::instance(), &Theme::changed, this, [this] {
        applyTheme();
        refresh();
    });
    applyTheme();
}

Plot::~Plot() = default;

PlotCurve* Plot::addCurve() {
    curves.push_back(std::make_unique<PlotCurve>());
    return curves.back().get();
}

void Plot::resizeEvent(QResizeEvent*) { refresh(); }

void Plot::refresh() {
    if (m_timer.isActive()) return;
    // Sixty times a second at most, counted from drawing to drawing: a pan is fluent and a burst of
    // data costs one drawing.
    constexpr qint64 kFrameMs = 16;
    m_timer.start(m_sinceDraw.isValid() ? static_cast<int>(std::clamp<qint64>(
                                              kFrameMs - m_sinceDraw.elapsed(), 0, kFrameMs))
                                        : 0);
}

void Plot::refreshNow() {
    if (!isVisible() && !m_isExporting) return;
    m_sinceDraw.start();
    for (const auto& curve : curves)
        if (curve->y) curve->pyramid.extend(*curve->y);
    applyRanges();
    m_plot->replot(QCustomPlot::rpImmediateRefresh);
    m_lastDrawMs = static_cast<double>(m_sinceDraw.nsecsElapsed()) / 1e6;
}

const Tokens& Plot::tokens() const { return m_isExporting ? lightTokens() : Theme::tokens(); }
double Plot::pixelX(double x) const { return m_plot->xAxis->coordToPixel(x); }
double Plot::pixelY(double y) const { return m_plot->yAxis->coordToPixel(y); }
QRectF Plot::plotRect() const { return m_plot->axisRect()->rect(); }

int Plot::nearest(const PlotCurve& curve, double x) {
    if (!curve.x || curve.x->empty()) return -1;
    const auto& xs = *curve.x;
    const std::size_t n = std::min(xs.size(), curve.y ? curve.y->size() : 0);
    if (n == 0) return -1;
    auto i = static_cast<std::size_t>(std::lower_bound(xs.begin(),
                                                       xs.begin() + static_cast<std::ptrdiff_t>(n),
                                                       static_cast<float>(x)) -
                                      xs.begin());
    if (i >= n) i = n - 1;
    if (i > 0 && std::fabs(xs[i - 1] - x) < std::fabs(xs[i] - x)) --i;
    return static_cast<int>(i);
}

bool Plot::exportTo(const QString& file, QSize size) {
    m_isExporting = true;
    applyTheme();
    const QSize before = m_plot->size();
    bool ok = false;
    m_plot->setViewport(QRect(QPoint(), size));
    refreshNow();
    if (file.endsWith(".png")) {
        ok = m_plot->savePng(file, size.width(), size.height(), 2.0);
    } else if (file.endsWith(".pdf")) {
        ok = m_plot->savePdf(file, size.width(), size.height(), QCP::epNoCosmetic);
    } else if (file.endsWith(".svg")) {
        QSvgGenerator generator;
        generator.setFileName(file);
        generator.setSize(size);
        generator.setViewBox(QRect(QPoint(), size));
        generator.setTitle(accessibleName());
        QCPPainter painter;
        if (painter.begin(&generator)) {
            painter.setMode(QCPPainter::pmVectorized);
            m_plot->toPainter(&painter, size.width(), size.height());
            painter.end();
            ok = true;
        }
    }
    m_isExporting = false;
    m_plot->setViewport(QRect(QPoint(), before));
    applyTheme();
    refreshNow();
    return ok;
}

}  // namespace luthier::ui
