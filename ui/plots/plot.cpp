// SPDX-License-Identifier: GPL-3.0-or-later
#include "plots/plot.h"

#include "plots/plot_accessible.h"
#include "theme/format.h"
#include "theme/theme.h"
#include "widgets/basics.h"

#include <qcustomplot.h>

#include <QElapsedTimer>
#include <QKeyEvent>
#include <QSvgGenerator>

#include <cmath>

namespace luthier::ui {

/// Calls back into Plot on one layer; QCustomPlot knows neither our curves nor our marks.
class PlotPainter final : public QCPAbstractItem {
public:
    PlotPainter(QCustomPlot* plot, const QString& layer, bool clips, std::function<void(QPainter&)> paint) : QCPAbstractItem(plot), m_paint(std::move(paint)) {
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

namespace {

QString axisNumber(double value, XUnit unit) {
    if (unit == XUnit::Time) return format::duration(value);
    if (std::fabs(value) >= 10000) return format::shortCount(value);
    return format::count(static_cast<std::int64_t>(std::llround(value)));
}

class XTicker final : public QCPAxisTicker {
public:
    XTicker(PlotGroup& group, std::function<bool(double, const QString&)> isHidden) : m_group(group), m_isHidden(std::move(isHidden)) {}

    void generate(const QCPRange& range, const QLocale& locale, QChar format, int precision, QVector<double>& ticks, QVector<double>* subTicks, QVector<QString>* labels) override {
        QCPAxisTicker::generate(range, locale, format, precision, ticks, subTicks, labels);
        if (!labels) return;
        for (qsizetype i = 0; i < std::min(ticks.size(), labels->size()); ++i)
            if (m_isHidden(ticks[i], (*labels)[i])) (*labels)[i].clear();
    }

protected:
    double getTickStep(const QCPRange& range) override {
        if (m_group.unit() != XUnit::Time) return std::max(1.0, QCPAxisTicker::getTickStep(range));
        const double exact = range.size() / (tickCount() + 1e-10);
        for (double step : {1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400}) if (step >= exact) return step;
        return QCPAxisTicker::getTickStep(range);
    }
    QString getTickLabel(double tick, const QLocale&, QChar, int) override { return axisNumber(tick, m_group.unit()); }

private:
    PlotGroup& m_group;
    std::function<bool(double, const QString&)> m_isHidden;   ///< labels under the axis' name
};

template <class Base>
class YTicker final : public Base {
public:
    explicit YTicker(const Plot& plot) : m_plot(plot) {}

protected:
    double getTickStep(const QCPRange& range) override {
        if (m_plot.yUnit == 1) return Base::getTickStep(range);
        return Base::getTickStep(QCPRange(range.lower / m_plot.yUnit, range.upper / m_plot.yUnit)) * m_plot.yUnit;
    }
    QString getTickLabel(double tick, const QLocale& locale, QChar format, int precision) override {
        if (m_plot.yText) return m_plot.yText(tick);
        Q_UNUSED(locale) Q_UNUSED(format) Q_UNUSED(precision)
        return std::fabs(tick) < 1e-12 ? QStringLiteral("0") : std::fabs(tick) < 0.01 ? format::rate(tick) : format::real(std::round(tick * 1e6) / 1e6);
    }

private:
    const Plot& m_plot;
};

const Tokens& exportTokens() { return lightTokens(); }

/// Calls visit(column, begin, end) with the points of each `stride` columns from `low` on; `scale` columns a unit of x. Empty ones are
/// left out.
template <class Visit>
void eachColumn(const std::vector<float>& x, double low, double scale, int columns, int stride, std::size_t first, std::size_t last, Visit visit) {
    std::size_t at = first;
    for (int column = 0; column < columns && at < last; column += stride) {
        const auto border = static_cast<float>(low + (column + stride) / scale);
        // The next border is near where even spacing would put it; search around that.
        const std::size_t guess = at + (last - at) / static_cast<std::size_t>(std::max(1, (columns - 1 - column) / stride + 1));
        std::size_t from = at, to = last;
        if (guess + 8 < last && x[guess + 8] >= border) to = guess + 8;
        if (guess > at + 8 && x[guess - 8] < border) from = guess - 8;
        const auto next = static_cast<std::size_t>(std::lower_bound(x.begin() + static_cast<std::ptrdiff_t>(from), x.begin() + static_cast<std::ptrdiff_t>(to), border) - x.begin());
        if (next != at) visit(column, at, next);
        at = next;
    }
}

}  // namespace

void PlotGroup::setUnit(XUnit unit) {
    if (unit == m_unit) return;
    m_unit = unit;
    m_isZoomed = false;
    setCrosshair(std::numeric_limits<double>::quiet_NaN(), nullptr);
    emit unitChanged();
}

void PlotGroup::setExtent(double low, double high) {
    if (low == m_extentLow && high == m_extentHigh) return;
    // A view at the right edge follows the data; a zoom elsewhere stays where the user put it.
    if (m_isZoomed && m_high >= m_extentHigh - 1e-9 && m_high < high) {
        const double move = high - m_high;
        m_low += move;
        m_high += move;
    }
    m_extentLow = low;
    m_extentHigh = high;
    emit rangeChanged();
}

void PlotGroup::setRange(double low, double high) {
    const double least = (m_extentHigh - m_extentLow) * 1e-5 + 1e-9;
    if (high - low < least) return;
    m_low = std::max(low, m_extentLow);
    m_high = std::min(high, m_extentHigh);
    m_isZoomed = m_low > m_extentLow || m_high < m_extentHigh;
    emit rangeChanged();
}

void PlotGroup::pan(double delta) {
    if (!m_isZoomed) return;
    delta = std::clamp(delta, m_extentLow - m_low, m_extentHigh - m_high);
    m_low += delta;
    m_high += delta;
    emit rangeChanged();
}

void PlotGroup::resetZoom() {
    m_isZoomed = false;
    emit rangeChanged();
}

void PlotGroup::setCrosshair(double x, Plot* source) {
    if (x == m_crosshair || (std::isnan(x) && std::isnan(m_crosshair))) return;
    m_crosshair = x;
    m_source = source;
    emit crosshairChanged();
}

Plot::Plot(PlotGroup& group, YRule rule, const QString& accessibleName) : m_group(group), m_rule(rule), m_isLog(rule == YRule::Log) {
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
    m_plot->xAxis->setTicker(QSharedPointer<QCPAxisTicker>(new XTicker(group, [this](double tick, const QString& text) { return isUnderXLabel(tick, text); })));
    setLog(m_isLog);
    new PlotPainter(m_plot, "background", true, [this](QPainter& p) { paintBackground(p); });
    new PlotPainter(m_plot, "raw", true, [this](QPainter& p) { paintCurves(p, true); });
    new PlotPainter(m_plot, "main", true, [this](QPainter& p) { paintCurves(p, false); });
    new PlotPainter(m_plot, "events", false, [this](QPainter& p) { paintEvents(p); });
    new PlotPainter(m_plot, "overlay", false, [this](QPainter& p) { paintOverlay(p); });
    m_timer.setSingleShot(true);
    connect(&m_timer, &QTimer::timeout, this, &Plot::refreshNow);
    connect(&group, &PlotGroup::rangeChanged, this, &Plot::refresh);
    connect(&group, &PlotGroup::unitChanged, this, &Plot::refresh);
    connect(&group, &PlotGroup::crosshairChanged, this, [this] { if (isVisible()) m_plot->layer("overlay")->replot(); });
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

void Plot::setLog(bool log) {
    m_isLog = log;
    m_plot->yAxis->setScaleType(log ? QCPAxis::stLogarithmic : QCPAxis::stLinear);
    if (log) {
        m_plot->yAxis->setTicker(QSharedPointer<QCPAxisTicker>(new YTicker<QCPAxisTickerLog>(*this)));
    } else {
        QSharedPointer<QCPAxisTicker> ticker(new YTicker<QCPAxisTicker>(*this));
        ticker->setTickCount(m_isCompact ? 3 : 5);
        m_plot->yAxis->setTicker(ticker);
    }
    refresh();
}

void Plot::setCompactAxes(bool compact) {
    m_isCompact = compact;
    m_plot->xAxis->ticker()->setTickCount(compact ? 3 : 6);
    setLog(m_isLog);
}

void Plot::applyTheme() {
    const Tokens& t = m_isExporting ? exportTokens() : Theme::tokens();
    m_plot->setBackground(QBrush(t.bg1));
    QFont font = themeFont(Type::Caption);
    for (QCPAxis* axis : {m_plot->xAxis, m_plot->yAxis}) {
        axis->setTickLabelFont(font);
        axis->setTickLabelColor(t.t3);
        axis->setSubTicks(false);
        axis->setNumberFormat("g");   // else QCustomPlot turns 2e-4 into a power of ten
        axis->setBasePen(axis == m_plot->xAxis ? QPen(t.line2, 1) : QPen(Qt::NoPen));
        axis->setTickPen(axis == m_plot->xAxis ? QPen(t.line2, 1) : QPen(Qt::NoPen));
        axis->setTickLengthIn(0);
        axis->setTickLengthOut(axis == m_plot->xAxis ? 4 : 0);
        axis->setTickLabelPadding(axis == m_plot->xAxis ? 4 : 8);
        axis->grid()->setPen(QPen(t.line, 1));
        axis->grid()->setZeroLinePen(QPen(t.line, 1));
        axis->grid()->setSubGridVisible(false);
    }
    m_plot->xAxis->grid()->setVisible(false);
}

void Plot::resizeEvent(QResizeEvent*) { refresh(); }

void Plot::refresh() {
    if (m_timer.isActive()) return;
    // Sixty times a second at most, counted from drawing to drawing: a pan is fluent and a burst of data costs one drawing.
    constexpr qint64 kFrameMs = 16;
    m_timer.start(m_sinceDraw.isValid() ? static_cast<int>(std::clamp<qint64>(kFrameMs - m_sinceDraw.elapsed(), 0, kFrameMs)) : 0);
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

void Plot::applyRanges() {
    int right = px(m_isCompact ? 16 : 20);
    m_endLabelWidth = 0;
    if (showEndLabels) {
        const QFontMetrics metrics(themeFont(Type::CaptionStrong));
        for (const auto& curve : curves)
            if (curve->isVisible && !curve->isRaw) m_endLabelWidth = std::max(m_endLabelWidth, metrics.horizontalAdvance(curve->label) + 2);
        m_endLabelWidth = std::clamp(m_endLabelWidth, px(56), std::max(px(56), std::min(px(150), width() / 5)));
        right = m_endLabelWidth + 16;
    }
    m_plot->axisRect()->setMargins(QMargins(px(48), px(10), right, px(24)));
    const double low = m_group.low(), high = std::max(m_group.high(), low + 1e-9);
    m_plot->xAxis->setRange(low, high);
    MinMax shown;
    bool hasSmooth = false;
    for (const auto& curve : curves) hasSmooth = hasSmooth || (!curve->isRaw && curve->isVisible && curve->y && !curve->y->empty());
    for (const auto& curve : curves) {
        if (!curve->isVisible || !curve->x || curve->x->empty()) continue;
        const auto& x = *curve->x;
        const auto a = static_cast<std::size_t>(std::lower_bound(x.begin(), x.end(), static_cast<float>(low)) - x.begin());
        const auto b = static_cast<std::size_t>(std::upper_bound(x.begin(), x.end(), static_cast<float>(high)) - x.begin());
        if (curve->isRaw && hasSmooth && b > a) {   // outliers of the raw curve do not squeeze the smoothed one
            std::vector<float> sample;
            const std::size_t step = std::max<std::size_t>(1, (b - a) / 800);
            for (std::size_t i = a; i < std::min(b, curve->y->size()); i += step) if (std::isfinite((*curve->y)[i])) sample.push_back((*curve->y)[i]);
            if (sample.size() > 3) {
                std::sort(sample.begin(), sample.end());
                shown.add(sample[sample.size() / 100]);
                shown.add(sample[sample.size() - 1 - sample.size() / 100]);
            }
            continue;
        }
        const MinMax range = curve->pyramid.query(*curve->y, a, b);
        if (!range.isEmpty()) shown.add(range);
    }
    for (const PlotPoint& point : points) if (point.x >= low && point.x <= high && std::isfinite(point.y)) shown.add(static_cast<float>(point.y));
    if (m_rule == YRule::FromZero) {
        for (const PlotLine& line : lines) shown.add(static_cast<float>(line.y));
        shown.add(0.0f);
    } else if (m_rule == YRule::Log) {
        for (const PlotLine& line : lines) if (line.y > 0) shown.add(static_cast<float>(line.y));
    }
    if (shown.isEmpty() || !std::isfinite(shown.low) || !std::isfinite(shown.high)) {
        m_plot->yAxis->setRange(m_isLog ? 0.1 : 0, m_isLog ? 10 : 1);
        return;
    }
    double bottom = shown.low, top = shown.high;
    if (m_isLog) {
        bottom = std::max(bottom, 1e-9);
        top = std::max(top, bottom * 1.5);
        const double pad = std::pow(top / bottom, 0.08);
        if (m_rule == YRule::Log) {
            bottom = std::pow(10, std::floor(std::log10(bottom)));
            top = std::pow(10, std::ceil(std::log10(top)));
        } else {
            bottom /= pad;
            top *= pad;
        }
    } else {
        const double pad = std::max((top - bottom) * 0.08, std::fabs(top) * 1e-3 + 1e-12);
        top += pad;
        if (m_rule != YRule::FromZero) bottom -= pad;
    }
    m_plot->yAxis->setRange(bottom, top);
}

double Plot::pixelX(double x) const { return m_plot->xAxis->coordToPixel(x); }
double Plot::pixelY(double y) const { return m_plot->yAxis->coordToPixel(y); }
QRectF Plot::plotRect() const { return m_plot->axisRect()->rect(); }

void Plot::paintBackground(QPainter& p) {
    const Tokens& t = m_isExporting ? exportTokens() : Theme::tokens();
    const QRectF area = plotRect();
    if (hatchTo > hatchFrom) {
        const double from = std::clamp(pixelX(hatchFrom), area.left(), area.right());
        if (from < area.right() - 2) {
            p.setRenderHint(QPainter::Antialiasing);
            p.setPen(QPen(withAlpha(t.t3, 0.16), 1));
            p.setClipRect(QRectF(from, area.top(), area.right() - from, area.height()));
            for (double x = from - area.height(); x < area.right(); x += 7) p.drawLine(QPointF(x, area.bottom()), QPointF(x + area.height(), area.top()));
            p.setClipping(false);
        }
    }
    if (!std::isnan(m_dragFrom) && !std::isnan(m_dragTo)) {
        const double a = pixelX(std::min(m_dragFrom, m_dragTo)), b = pixelX(std::max(m_dragFrom, m_dragTo));
        p.fillRect(QRectF(a, area.top(), b - a, area.height()), withAlpha(t.acc, 0.12));
        p.setPen(QPen(t.acc, 1));
        for (double x : {a, b}) p.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()));
    }
    for (const PlotLine& line : lines) {
        const double y = std::round(pixelY(line.y)) + 0.5;
        if (y < area.top() - 1 || y > area.bottom() + 1) continue;
        p.setRenderHint(QPainter::Antialiasing, false);
        p.setPen(QPen(line.color, 1, line.isDashed ? Qt::DashLine : Qt::SolidLine));
        p.drawLine(QPointF(area.left(), y), QPointF(area.right(), y));
    }
}

void Plot::paintCurves(QPainter& p, bool raw) {
    const double low = m_group.low(), high = m_group.high();
    const QRectF area = plotRect();
    int visible = 0;
    for (const auto& curve : curves) visible += curve->isVisible && curve->isRaw == raw;
    const bool isCrowded = visible > 24;   // many curves: thin lines without smoothing keep panning fluent
    p.setRenderHint(QPainter::Antialiasing, !isCrowded && !raw);
    std::vector<QPointF> line;
    line.reserve(static_cast<std::size_t>(area.width()) * 2 + 8);
    const bool isRaster = !m_isExporting && p.paintEngine() && p.paintEngine()->type() == QPaintEngine::Raster;
    std::vector<Strip> strips;
    if (isRaster) m_canvas.begin(area, p.device()->devicePixelRatioF());
    for (int pass = 0; pass < 2; ++pass) {
        for (const auto& curve : curves) {
            if (!curve->isVisible || curve->isRaw != raw || !curve->x || !curve->y || curve->isStrong != (pass == 1)) continue;
            const auto& x = *curve->x;
            const auto& y = *curve->y;
            const std::size_t n = std::min(x.size(), y.size());
            if (n == 0) continue;
            auto first = static_cast<std::size_t>(std::lower_bound(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(n), static_cast<float>(low)) - x.begin());
            auto last = static_cast<std::size_t>(std::upper_bound(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(n), static_cast<float>(high)) - x.begin());
            if (first > 0) --first;
            if (last < n) ++last;
            line.clear();
            const double columns = area.width();
            // Pixel mapping by hand: coordToPixel per point is a virtual call and a division.
            const double xScale = columns / (high - low), yBottom = area.bottom() + 1, yLow = m_plot->yAxis->range().lower, yHigh = m_plot->yAxis->range().upper;
            const double yScale = m_isLog ? area.height() / std::log(yHigh / yLow) : area.height() / (yHigh - yLow);
            const auto toY = [&](float v) { return yBottom - (m_isLog ? std::log(std::max(static_cast<double>(v), 1e-12) / yLow) : v - yLow) * yScale; };
            const bool isDense = static_cast<double>(last - first) > columns * 2;
            if (isDense && isRaster) {
                strips.clear();
                const double ratio = m_canvas.ratio(), perColumn = xScale * ratio;
                const int stride = isCrowded ? static_cast<int>(std::ceil(2 * ratio)) : 1;
                eachColumn(x, low, perColumn, m_canvas.columns(), stride, first, last, [&](int column, std::size_t begin, std::size_t end) {
                    const MinMax range = curve->pyramid.query(y, begin, end);
                    if (!range.isEmpty()) strips.push_back({column, static_cast<float>((toY(range.high) - area.top()) * ratio), static_cast<float>((toY(range.low) - area.top()) * ratio)});
                });
                if (curve->isFilled)
                    for (const Strip& strip : strips) line.emplace_back(area.left() + strip.column / ratio, area.top() + strip.top / ratio);
                else
                    m_canvas.add(strips, stride, curve->color, isCrowded && !curve->isStrong ? 1.0 : curve->width, curve->dash);
                if (!curve->isFilled) continue;
            } else if (!isDense) {
                for (std::size_t i = first; i < last; ++i)
                    if (std::isfinite(y[i])) line.emplace_back(area.left() + (x[i] - low) * xScale, toY(y[i]));
            } else {
                double previous = 0;
                eachColumn(x, low, xScale, static_cast<int>(columns) + 1, isCrowded ? 2 : 1, first, last, [&](int column, std::size_t begin, std::size_t end) {
                    const MinMax range = curve->pyramid.query(y, begin, end);
                    if (range.isEmpty()) return;
                    const double px1 = area.left() + column + 0.5, top = toY(range.high), bottom = toY(range.low);
                    if (bottom - top < 1.2) {
                        line.emplace_back(px1, (top + bottom) / 2);
                    } else if (std::fabs(previous - top) < std::fabs(previous - bottom)) {
                        line.emplace_back(px1, top);
                        line.emplace_back(px1, bottom);
                    } else {
                        line.emplace_back(px1, bottom);
                        line.emplace_back(px1, top);
                    }
                    previous = line.back().y();
                });
            }
            if (curve->isFilled && line.size() > 1) {
                QPolygonF shape(QList<QPointF>(line.begin(), line.end()));
                shape << QPointF(line.back().x(), area.bottom()) << QPointF(line.front().x(), area.bottom());
                p.setPen(Qt::NoPen);
                p.setBrush(withAlpha(curve->color, 0.16));
                p.drawPolygon(shape);
            }
            QPen pen(curve->color, isCrowded && !curve->isStrong ? 1.0 : curve->width, Qt::SolidLine, Qt::FlatCap, Qt::BevelJoin);
            if (!curve->dash.isEmpty() && !isCrowded) {
                QList<qreal> dash;
                for (qreal length : curve->dash) dash << length / std::max(1.0, curve->width);
                pen.setDashPattern(dash);
            }
            if (curve->isStrong) p.setRenderHint(QPainter::Antialiasing, true);
            p.setPen(pen);
            p.setBrush(Qt::NoBrush);
            if (line.size() > 1) p.drawPolyline(line.data(), static_cast<int>(line.size()));
            else if (line.size() == 1) p.drawPoint(line.front());
        }
        if (isRaster) m_canvas.paint(p);
    }
}

void Plot::paintEvents(QPainter& p) {
    const Tokens& t = m_isExporting ? exportTokens() : Theme::tokens();
    const QRectF area = plotRect();
    m_labels.clear();
    p.setRenderHint(QPainter::Antialiasing);
    if (!points.empty()) {
        QPolygonF path;
        for (const PlotPoint& point : points)
            if (point.x >= m_group.low() && point.x <= m_group.high() && std::isfinite(point.y)) path << QPointF(pixelX(point.x), pixelY(point.y));
        p.setPen(QPen(withAlpha(t.t2, 0.7), 1, Qt::DashLine));
        p.drawPolyline(path);
        QPointF best(-1, 1e9);
        double bestY = 1e30;
        std::size_t at = 0;
        for (const PlotPoint& point : points) {
            if (point.x < m_group.low() || point.x > m_group.high() || !std::isfinite(point.y)) continue;
            const QPointF c = path[static_cast<qsizetype>(at++)];
            p.setPen(QPen(t.t1, 1.5));
            p.setBrush(t.bg1);
            if (area.adjusted(-4, -4, 4, 4).contains(c)) p.drawPolygon(QPolygonF(QList<QPointF>{c + QPointF(0, -4.5), c + QPointF(4.5, 0), c + QPointF(0, 4.5), c + QPointF(-4.5, 0)}));
            if (point.y <= bestY) {
                bestY = point.y;
                best = c;
            }
        }
        if (!pointLabel.isEmpty() && best.x() > 0) {
            p.setFont(themeFont(Type::Caption));
            const double w = p.fontMetrics().horizontalAdvance(pointLabel) + 2;
            paintLabel(p, pointLabel, {best + QPointF(14, -8), best + QPointF(8, -26), best + QPointF(8, 10), best + QPointF(-w / 2, -30), best + QPointF(-w / 2, 14), best + QPointF(-w - 8, -26),
                                       best + QPointF(-w - 8, 10), best + QPointF(8, -44), best + QPointF(8, 28)}, t.t1);
        }
    }
    if (const double from = std::max(pixelX(hatchFrom), area.left()); hatchTo > hatchFrom && !hatchLabel.isEmpty()) {
        p.setFont(themeFont(Type::Table));
        if (area.right() - from > p.fontMetrics().horizontalAdvance(hatchLabel) + 24) paintLabel(p, hatchLabel, {QPointF(from + 12, area.top() + 8), QPointF(from + 12, area.bottom() - 28)}, t.t3);
    }
    for (const PlotLine& line : lines) {
        const double y = pixelY(line.y);
        if (y < area.top() - 1 || y > area.bottom() + 1 || line.label.isEmpty()) continue;
        p.setFont(themeFont(Type::Caption));
        const double w = p.fontMetrics().horizontalAdvance(line.label) + 4;
        QList<QPointF> corners;
        for (double x : {area.right() - w, area.left() + 4, area.center().x() - w / 2})
            for (double top : {y - 18, y + 3}) corners << QPointF(x, top);
        paintLabel(p, line.label, corners, t.t2);
    }
    for (const PlotMark& mark : marks) {
        if (mark.x < m_group.low() || mark.x > m_group.high()) continue;
        const QPointF foot(std::round(pixelX(mark.x)) + 0.5, area.bottom());
        const QColor color = mark.kind == PlotMark::Warning ? t.warn : mark.kind == PlotMark::Checkpoint ? t.t3 : t.t2;
        p.setPen(QPen(color, 1.2));
        p.setBrush(color);
        p.drawLine(foot, foot - QPointF(0, 9));
        if (mark.kind == PlotMark::Resume) p.drawPolygon(QPolygonF(QList<QPointF>{foot + QPointF(0, -9), foot + QPointF(5, -6), foot + QPointF(0, -3)}));
        else if (mark.kind == PlotMark::Rate) p.drawPolygon(QPolygonF(QList<QPointF>{foot + QPointF(-3.5, -6), foot + QPointF(0, -11), foot + QPointF(3.5, -6)}));
        else if (mark.kind == PlotMark::Warning) p.drawEllipse(foot - QPointF(0, 10), 2.2, 2.2);
        else p.drawPolygon(QPolygonF(QList<QPointF>{foot + QPointF(0, -9), foot + QPointF(6, -9), foot + QPointF(4, -6.5), foot + QPointF(6, -4), foot + QPointF(0, -4)}));
    }
    if (!xLabel.isEmpty()) {
        p.setFont(themeFont(Type::Caption));
        const double w = p.fontMetrics().horizontalAdvance(xLabel) + 6;
        const QRectF box(area.right() - w + 2, area.bottom() + 5, w, 16);
        p.fillRect(box, t.bg1);
        p.setPen(t.t3);
        p.drawText(box, Qt::AlignRight | Qt::AlignVCenter, xLabel);
    }
    if (showEndLabels) paintEndLabels(p);
}

bool Plot::isUnderXLabel(double tick, const QString& text) const {
    if (xLabel.isEmpty()) return false;
    const QFontMetrics metrics(themeFont(Type::Caption));
    return pixelX(tick) + metrics.horizontalAdvance(text) / 2.0 + 8 > plotRect().right() - metrics.horizontalAdvance(xLabel);
}

/// How much a text in `box` would hide or leave the plot; 0 = nothing. Curves are looked at in a few places only.
double Plot::crowding(const QRectF& box) const {
    const QRectF area = plotRect();
    double sum = area.contains(box) ? 0 : 50;
    for (const QRectF& taken : m_labels) sum += taken.intersects(box) ? 100 : 0;
    const QRectF wide = box.adjusted(-2, -2, 2, 2);
    for (const PlotPoint& point : points) sum += wide.contains(QPointF(pixelX(point.x), pixelY(point.y))) ? 4 : 0;
    for (const auto& curve : curves) {
        if (!curve->isVisible || !curve->x || curve->x->empty()) continue;
        for (int i = 0; i <= 8; ++i) {
            const double x = m_plot->xAxis->pixelToCoord(box.left() + box.width() * i / 8);
            if (x > curve->x->back()) break;
            const int at = nearest(*curve, x);
            if (at >= 0 && wide.contains(QPointF(box.center().x(), pixelY((*curve->y)[static_cast<std::size_t>(at)])))) sum += curve->isRaw ? 0.4 : 1;
        }
    }
    return sum;
}

/// Draws `text` with its top left corner at the least crowded of `corners`; the first of equals wins.
void Plot::paintLabel(QPainter& p, const QString& text, const QList<QPointF>& corners, const QColor& color) {
    const Tokens& t = m_isExporting ? exportTokens() : Theme::tokens();
    const QSizeF size(p.fontMetrics().horizontalAdvance(text) + 2, 16);
    QRectF chosen;
    double least = 1e9;
    for (const QPointF& corner : corners) {
        const QRectF box(corner, size);
        const double crowd = crowding(box);
        if (crowd >= least) continue;
        least = crowd;
        chosen = box;
    }
    p.fillRect(chosen.adjusted(-2, 0, 2, 0), withAlpha(t.bg1, 0.85));
    p.setPen(color);
    p.drawText(chosen, Qt::AlignCenter, text);
    m_labels << chosen;
}

void Plot::paintEndLabels(QPainter& p) {
    struct End { double y, wanted, x; const PlotCurve* curve; };
    std::vector<End> ends;
    const QRectF area = plotRect();
    for (const auto& curve : curves) {
        if (!curve->isVisible || curve->isRaw || curve->label.isEmpty() || !curve->x || curve->x->empty()) continue;
        const auto& x = *curve->x;
        auto i = static_cast<std::size_t>(std::upper_bound(x.begin(), x.end(), static_cast<float>(m_group.high())) - x.begin());
        if (i == 0 || i > curve->y->size()) continue;
        const double y = pixelY((*curve->y)[i - 1]);
        ends.push_back({std::clamp(y, area.top(), area.bottom()), y, pixelX(x[i - 1]), curve.get()});
    }
    if (ends.size() > 30) return;
    std::sort(ends.begin(), ends.end(), [](const End& a, const End& b) { return a.y < b.y; });
    const double gap = px(13);
    for (int round = 0; round < 60; ++round) {
        bool moved = false;
        for (std::size_t i = 1; i < ends.size(); ++i) {
            const double lack = gap - (ends[i].y - ends[i - 1].y);
            if (lack <= 0.1) continue;
            ends[i - 1].y = std::max(area.top(), ends[i - 1].y - lack / 2);
            ends[i].y = std::min(area.bottom() - 2, ends[i].y + lack / 2);
            moved = true;
        }
        if (!moved) break;
    }
    const Tokens& t = m_isExporting ? exportTokens() : Theme::tokens();
    for (const End& end : ends) {
        p.setPen(QPen(withAlpha(end.curve->color, 0.45), 1, Qt::DotLine));   // leads to its name, is no value
        const double start = std::min(end.x, area.right());
        p.drawPolyline(QPolygonF(QList<QPointF>{{start, std::clamp(end.wanted, area.top(), area.bottom())}, {area.right() + 4, end.y}, {area.right() + 9, end.y}}));
        p.setFont(themeFont(end.curve->isStrong ? Type::CaptionStrong : Type::Caption));
        p.setPen(end.curve->isStrong ? t.t1 : t.t2);
        p.drawText(QRectF(area.right() + 12, end.y - 8, m_endLabelWidth + 2, 16), Qt::AlignVCenter, p.fontMetrics().elidedText(end.curve->label, Qt::ElideMiddle, m_endLabelWidth));
    }
}

int Plot::nearest(const PlotCurve& curve, double x) {
    if (!curve.x || curve.x->empty()) return -1;
    const auto& xs = *curve.x;
    const std::size_t n = std::min(xs.size(), curve.y ? curve.y->size() : 0);
    if (n == 0) return -1;
    auto i = static_cast<std::size_t>(std::lower_bound(xs.begin(), xs.begin() + static_cast<std::ptrdiff_t>(n), static_cast<float>(x)) - xs.begin());
    if (i >= n) i = n - 1;
    if (i > 0 && std::fabs(xs[i - 1] - x) < std::fabs(xs[i] - x)) --i;
    return static_cast<int>(i);
}

QString Plot::xWords(double x) const {
    if (m_group.unit() == XUnit::Time) return format::duration(x);
    if (m_group.unit() == XUnit::Tokens) return tr("%1 tokens").arg(format::shortCount(x));
    return tr("step %1").arg(format::count(static_cast<std::int64_t>(std::llround(x))));
}

QString Plot::summary() const {
    constexpr std::size_t kNamed = 12;
    QStringList parts;
    std::size_t shown = 0;
    const auto text = [this](float value) { return yText ? yText(value) : format::loss(value); };
    for (const auto& curve : curves) {
        if (curve->isRaw || !curve->isVisible || !curve->y || curve->y->empty()) continue;
        if (++shown > kNamed) continue;
        const QString values = tr("%1 at the start, %2 at the end, %3 points").arg(text(curve->y->front()), text(curve->y->back()), format::count(static_cast<std::int64_t>(curve->y->size())));
        parts << (curve->label.isEmpty() ? values : tr("%1 %2").arg(curve->label, values));
    }
    if (shown > kNamed) parts << tr("and %1 more curves").arg(shown - kNamed);
    if (!pointLabel.isEmpty()) parts << pointLabel;
    return parts.isEmpty() ? tr("%1: no points yet.").arg(accessibleName()) : accessibleName() + ": " + parts.join("; ") + ".";
}

PlotNumbers Plot::numbers() const {
    constexpr int kRows = 60;
    PlotNumbers numbers;
    std::vector<const PlotCurve*> shown;
    const PlotCurve* longest = nullptr;
    for (const auto& curve : curves) {
        if (!curve->isVisible || !curve->x || !curve->y || curve->x->empty()) continue;
        shown.push_back(curve.get());
        if (!longest || curve->x->size() > longest->x->size()) longest = curve.get();
    }
    if (!longest) return numbers;
    numbers.columns << (m_group.unit() == XUnit::Step ? tr("step") : m_group.unit() == XUnit::Tokens ? tr("tokens") : tr("time"));
    for (const PlotCurve* curve : shown) numbers.columns << (!curve->label.isEmpty() ? curve->label : curve->isRaw ? tr("raw") : accessibleName());
    const auto& x = *longest->x;
    const auto first = std::lower_bound(x.begin(), x.end(), static_cast<float>(m_group.low())) - x.begin();
    const auto last = std::upper_bound(x.begin(), x.end(), static_cast<float>(m_group.high())) - x.begin();
    const auto count = std::min<std::ptrdiff_t>(kRows, last - first);
    for (std::ptrdiff_t i = 0; i < count; ++i) {
        const float at = x[static_cast<std::size_t>(count < 2 ? first : first + i * (last - 1 - first) / (count - 1))];
        QStringList row{axisNumber(at, m_group.unit())};
        for (const PlotCurve* curve : shown) {
            const int k = at > curve->x->back() ? -1 : nearest(*curve, at);
            const float value = k < 0 ? std::numeric_limits<float>::quiet_NaN() : (*curve->y)[static_cast<std::size_t>(k)];
            row << (yText && std::isfinite(value) ? yText(value) : format::loss(value));
        }
        numbers.rows.push_back(row);
    }
    return numbers;
}

void Plot::paintOverlay(QPainter& p) {
    const double at = m_group.crosshair();
    if (std::isnan(at) || m_isExporting) return;
    const QRectF area = plotRect();
    const double x = std::round(pixelX(at)) + 0.5;
    if (x < area.left() || x > area.right()) return;
    const Tokens& t = Theme::tokens();
    p.setRenderHint(QPainter::Antialiasing, false);
    p.setPen(QPen(t.t2, 1));
    p.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()));
    p.setRenderHint(QPainter::Antialiasing);
    int dots = 0;
    for (const auto& curve : curves) {
        if (curve->isRaw || !curve->isVisible || ++dots > 40) continue;
        const int i = nearest(*curve, at);
        if (i < 0) continue;
        const QPointF c(pixelX((*curve->x)[static_cast<std::size_t>(i)]), pixelY((*curve->y)[static_cast<std::size_t>(i)]));
        if (!area.contains(c) || std::fabs(c.x() - x) > 8) continue;
        p.setPen(QPen(t.bg1, 1.5));
        p.setBrush(curve->color == t.t2 ? t.acc : curve->color);
        p.drawEllipse(c, 3.5, 3.5);
    }
    if (showXTag) {
        p.setFont(themeFont(Type::CaptionStrong));
        const QString words = xWords(at);
        const double w = p.fontMetrics().horizontalAdvance(words) + 12;
        const QRectF tag(std::clamp(x - w / 2, 0.0, width() - w), area.bottom() + 4, w, 18);
        p.setPen(Qt::NoPen);
        p.setBrush(t.t1);
        p.drawRoundedRect(tag, 4, 4);
        p.setPen(t.bg1);
        p.drawText(tag, Qt::AlignCenter, words);
    }
    if (tip) paintTip(p, at);
}

void Plot::paintTip(QPainter& p, double atX) {
    const std::vector<TipRow> rows = tip(atX);
    if (rows.empty()) return;
    const Tokens& t = Theme::tokens();
    const QFont font = themeFont(Type::Caption);
    const QFontMetrics metrics(font), strong(themeFont(Type::CaptionStrong));
    int nameWidth = 0, valueWidth = 0, differenceWidth = 0;
    for (const TipRow& row : rows) {
        nameWidth = std::max(nameWidth, strong.horizontalAdvance(row.name));
        valueWidth = std::max(valueWidth, strong.horizontalAdvance(row.value));
        differenceWidth = std::max(differenceWidth, row.difference.isEmpty() ? 0 : metrics.horizontalAdvance(row.difference) + 12);
    }
    nameWidth = std::min(nameWidth, px(180));
    const double lineHeight = px(16), w = 28 + nameWidth + 14 + valueWidth + differenceWidth + 10;
    const QRectF area = plotRect();
    const auto shown = std::min<std::size_t>(rows.size(), static_cast<std::size_t>(std::max(1.0, (area.height() - 20) / lineHeight)));
    const double h = static_cast<double>(shown) * lineHeight + 14;
    double left = pixelX(atX) + 12;
    if (left + w > area.right()) left = pixelX(atX) - 12 - w;
    const QRectF box(std::max(left, 4.0), area.top() + 2, w, h);
    p.setPen(QPen(t.line2, 1));
    p.setBrush(t.tip);
    p.drawRoundedRect(box.adjusted(0.5, 0.5, -0.5, -0.5), 8, 8);
    for (std::size_t i = 0; i < shown; ++i) {
        const TipRow& row = rows[i];
        const QRectF line(box.left() + 10, box.top() + 7 + static_cast<double>(i) * lineHeight, w - 20, lineHeight);
        if (row.isStrong && rows.size() > 4) p.fillRect(QRectF(box.left() + 1, line.top(), w - 2, lineHeight), t.soft);
        const double cy = line.center().y();
        if (row.shape == TipRow::Diamond) {
            p.setPen(QPen(t.t1, 1.4));
            p.setBrush(Qt::NoBrush);
            const QPointF c(line.left() + 4, cy);
            p.drawPolygon(QPolygonF(QList<QPointF>{c + QPointF(0, -4), c + QPointF(4, 0), c + QPointF(0, 4), c + QPointF(-4, 0)}));
        } else if (row.shape == TipRow::Line) {
            QPen pen(row.color, 2);
            if (!row.dash.isEmpty()) pen.setDashPattern({1.5, 1});
            p.setPen(pen);
            p.drawLine(QPointF(line.left(), cy), QPointF(line.left() + 9, cy));
        }
        p.setFont(row.isStrong ? themeFont(Type::CaptionStrong) : font);
        p.setPen(row.isStrong ? t.t1 : t.t2);
        p.drawText(line.adjusted(18, 0, 0, 0), Qt::AlignVCenter, p.fontMetrics().elidedText(row.name, Qt::ElideMiddle, nameWidth));
        p.setFont(themeFont(Type::CaptionStrong));
        p.setPen(t.t1);
        p.drawText(line.adjusted(0, 0, -differenceWidth, 0), Qt::AlignVCenter | Qt::AlignRight, row.value);
        p.setFont(font);
        p.setPen(t.t3);
        p.drawText(line, Qt::AlignVCenter | Qt::AlignRight, row.difference);
    }
}

int Plot::curveNear(QPointF point) const {
    const double x = m_plot->xAxis->pixelToCoord(point.x());
    int best = -1;
    double bestDistance = 8;
    for (std::size_t i = 0; i < curves.size(); ++i) {
        if (!curves[i]->isVisible || curves[i]->isRaw) continue;
        const int at = nearest(*curves[i], x);
        if (at < 0) continue;
        const double distance = std::fabs(pixelY((*curves[i]->y)[static_cast<std::size_t>(at)]) - point.y());
        if (distance < bestDistance) {
            bestDistance = distance;
            best = static_cast<int>(i);
        }
    }
    return best;
}

bool Plot::eventFilter(QObject*, QEvent* event) {
    const auto coord = [this](QPointF point) { return m_plot->xAxis->pixelToCoord(std::clamp(point.x(), plotRect().left(), plotRect().right())); };
    switch (event->type()) {
        case QEvent::MouseMove: {
            auto* mouse = static_cast<QMouseEvent*>(event);
            const double x = coord(mouse->position());
            if (!std::isnan(m_panFrom)) {
                m_group.pan(m_panFrom - x);
                return true;
            }
            if (!std::isnan(m_dragFrom)) {
                m_dragTo = x;
                refresh();
            }
            if (!plotRect().contains(mouse->position())) {
                m_group.setCrosshair(std::numeric_limits<double>::quiet_NaN(), nullptr);
                return true;
            }
            double snapped = x;
            for (const auto& curve : curves) {
                const int i = curve->isVisible ? nearest(*curve, x) : -1;
                if (i < 0) continue;
                snapped = (*curve->x)[static_cast<std::size_t>(i)];
                if (curve->isStrong || curves.size() < 4) break;
            }
            if (std::fabs(pixelX(snapped) - pixelX(x)) > 40) snapped = x;
            m_group.setCrosshair(snapped, this);
            emit curveHovered(curveNear(mouse->position()));
            return true;
        }
        case QEvent::Leave:
            m_group.setCrosshair(std::numeric_limits<double>::quiet_NaN(), nullptr);
            emit curveHovered(-1);
            return false;
        case QEvent::MouseButtonPress: {
            auto* mouse = static_cast<QMouseEvent*>(event);
            setFocus(Qt::MouseFocusReason);
            if (mouse->button() == Qt::LeftButton && plotRect().contains(mouse->position())) m_dragFrom = coord(mouse->position());
            if (mouse->button() == Qt::MiddleButton) m_panFrom = coord(mouse->position());
            return true;
        }
        case QEvent::MouseButtonRelease: {
            auto* mouse = static_cast<QMouseEvent*>(event);
            const double from = std::exchange(m_dragFrom, std::numeric_limits<double>::quiet_NaN());
            m_dragTo = m_panFrom = std::numeric_limits<double>::quiet_NaN();
            if (mouse->button() == Qt::LeftButton && !std::isnan(from)) {
                const double to = coord(mouse->position());
                if (std::fabs(pixelX(to) - pixelX(from)) > 6) m_group.setRange(std::min(from, to), std::max(from, to));
                else if (const int curve = curveNear(mouse->position()); curve >= 0) emit curveClicked(curve);
            }
            refresh();
            return true;
        }
        case QEvent::MouseButtonDblClick: m_group.resetZoom(); return true;
        case QEvent::Wheel: {
            auto* wheel = static_cast<QWheelEvent*>(event);
            if (!(wheel->modifiers() & Qt::ControlModifier)) {
                wheel->ignore();
                return true;
            }
            const double x = coord(wheel->position()), factor = std::pow(0.85, wheel->angleDelta().y() / 120.0);
            m_group.setRange(x - (x - m_group.low()) * factor, x + (m_group.high() - x) * factor);
            return true;
        }
        default: return false;
    }
}

void Plot::keyPressEvent(QKeyEvent* event) {
    const auto zoom = [this](double factor) {
        const double centre = std::isnan(m_group.crosshair()) ? (m_group.low() + m_group.high()) / 2 : m_group.crosshair();
        m_group.setRange(centre - (centre - m_group.low()) * factor, centre + (m_group.high() - centre) * factor);
    };
    switch (event->key()) {
        case Qt::Key_Left:
        case Qt::Key_Right: {
            for (const auto& curve : curves) {
                if (!curve->isVisible || !curve->x || curve->x->empty()) continue;
                int at = std::isnan(m_group.crosshair()) ? static_cast<int>(curve->x->size()) : nearest(*curve, m_group.crosshair());
                at += (event->key() == Qt::Key_Left ? -1 : 1) * (event->modifiers() & Qt::ShiftModifier ? 10 : 1);
                at = std::clamp(at, 0, static_cast<int>(curve->x->size()) - 1);
                m_group.setCrosshair((*curve->x)[static_cast<std::size_t>(at)], this);
                setAccessibleDescription(tr("%1: %2").arg(xWords((*curve->x)[static_cast<std::size_t>(at)]), format::loss((*curve->y)[static_cast<std::size_t>(at)])));
                return;
            }
            return;
        }
        case Qt::Key_Plus:
        case Qt::Key_Equal: return zoom(0.7);
        case Qt::Key_Minus: return zoom(1.4);
        case Qt::Key_0: return m_group.resetZoom();
        case Qt::Key_X: emit m_group.unitKeyPressed(); return;
        case Qt::Key_L: emit m_group.logKeyPressed(); return;
        default: QWidget::keyPressEvent(event);
    }
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
