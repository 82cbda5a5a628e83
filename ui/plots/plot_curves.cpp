// SPDX-License-Identifier: GPL-3.0-or-later
// The curves of a plot: as drawn lines where few points are in view, else as one stroke a pixel
// column.
#include "plots/plot.h"

#include "theme/theme.h"

#include <qcustomplot.h>

#include <cmath>

namespace luthier::ui {

namespace {

/// Values to pixels by hand: QCustomPlot's way is a virtual call and a division a point.
struct Scale {
    QRectF area;
    double low, xScale, yLow, yScale;
    bool isLog;
    double x(double value) const { return area.left() + (value - low) * xScale; }
    double y(float value) const {
        return area.bottom() + 1 -
               (isLog ? std::log(std::max(static_cast<double>(value), 1e-12) / yLow)
                      : value - yLow) *
                   yScale;
    }
};

/// The points of a curve that are in view, and one beyond each side.
struct Span {
    const PlotCurve& curve;
    std::size_t first, last;
};

/// Calls visit(column, begin, end) with the points of each `stride` columns from `low` on; `scale`
/// columns a unit of x. Empty ones are left out.
template <class Visit>
void eachColumn(const Span& span, double low, double scale, int columns, int stride, Visit visit) {
    const std::vector<float>& x = *span.curve.x;
    std::size_t at = span.first;
    const std::size_t last = span.last;
    for (int column = 0; column < columns && at < last; column += stride) {
        const auto border = static_cast<float>(low + (column + stride) / scale);
        // The next border is near where even spacing would put it; search around that.
        const std::size_t guess = at + (last - at) / static_cast<std::size_t>(std::max(
                                                         1, (columns - 1 - column) / stride + 1));
        std::size_t from = at, to = last;
        if (guess + 8 < last && x[guess + 8] >= border) to = guess + 8;
        if (guess > at + 8 && x[guess - 8] < border) from = guess - 8;
        const auto next = static_cast<std::size_t>(
            std::lower_bound(x.begin() + static_cast<std::ptrdiff_t>(from),
                             x.begin() + static_cast<std::ptrdiff_t>(to), border) -
            x.begin());
        if (next != at) visit(column, at, next);
        at = next;
    }
}

std::vector<QPointF> everyPoint(const Span& span, const Scale& scale) {
    const auto &x = *span.curve.x, &y = *span.curve.y;
    std::vector<QPointF> line;
    line.reserve(span.last - span.first);
    for (std::size_t i = span.first; i < span.last; ++i)
        if (std::isfinite(y[i])) line.emplace_back(scale.x(x[i]), scale.y(y[i]));
    return line;
}

/// Least and greatest value of each column, in the order that joins neighbours by the shorter way.
std::vector<QPointF> zigzag(const Span& span, const Scale& scale, int stride) {
    std::vector<QPointF> line;
    line.reserve(static_cast<std::size_t>(scale.area.width()) * 2 + 8);
    double previous = 0;
    eachColumn(span, scale.low, scale.xScale, static_cast<int>(scale.area.width()) + 1, stride,
               [&](int column, std::size_t begin, std::size_t end) {
                   const MinMax range = span.curve.pyramid.query(*span.curve.y, begin, end);
                   if (range.isEmpty()) return;
                   const double x = scale.area.left() + column + 0.5, top = scale.y(range.high),
                                bottom = scale.y(range.low);
                   if (bottom - top < 1.2) {
                       line.emplace_back(x, (top + bottom) / 2);
                   } else {
                       const bool isTopFirst =
                           std::fabs(previous - top) < std::fabs(previous - bottom);
                       line.emplace_back(x, isTopFirst ? top : bottom);
                       line.emplace_back(x, isTopFirst ? bottom : top);
                   }
                   previous = line.back().y();
               });
    return line;
}

std::vector<Strip> strips(const Span& span, const Scale& scale, const StripCanvas& canvas,
                          int stride) {
    std::vector<Strip> strips;
    const double ratio = canvas.ratio();
    eachColumn(
        span, scale.low, scale.xScale * ratio, canvas.columns(), stride,
        [&](int column, std::size_t begin, std::size_t end) {
            const MinMax range = span.curve.pyramid.query(*span.curve.y, begin, end);
            if (!range.isEmpty())
                strips.push_back(
                    {column, static_cast<float>((scale.y(range.high) - scale.area.top()) * ratio),
                     static_cast<float>((scale.y(range.low) - scale.area.top()) * ratio)});
        });
    return strips;
}

void fillToAxis(QPainter& p, const std::vector<QPointF>& line, const QRectF& area,
                const QColor& color) {
    if (line.size() < 2) return;
    QPolygonF shape(QList<QPointF>(line.begin(), line.end()));
    shape << QPointF(line.back().x(), area.bottom()) << QPointF(line.front().x(), area.bottom());
    p.setPen(Qt::NoPen);
    p.setBrush(withAlpha(color, 0.16));
    p.drawPolygon(shape);
}

QPen penOf(const PlotCurve& curve, bool isCrowded) {
    QPen pen(curve.color, isCrowded && !curve.isStrong ? 1.0 : curve.width, Qt::SolidLine,
             Qt::FlatCap, Qt::BevelJoin);
    if (curve.dash.isEmpty() || isCrowded) return pen;
    QList<qreal> dash;
    for (qreal length : curve.dash) dash << length / std::max(1.0, curve.width);
    pen.setDashPattern(dash);
    return pen;
}

Span spanOf(const PlotCurve& curve, double low, double high) {
    const auto& x = *curve.x;
    const std::size_t n = std::min(x.size(), curve.y->size());
    const auto end = x.begin() + static_cast<std::ptrdiff_t>(n);
    auto first = static_cast<std::size_t>(
        std::lower_bound(x.begin(), end, static_cast<float>(low)) - x.begin());
    auto last = static_cast<std::size_t>(
        std::upper_bound(x.begin(), end, static_cast<float>(high)) - x.begin());
    if (first > 0) --first;
    if (last < n) ++last;
    return {curve, first, last};
}

}  // namespace

void Plot::paintCurves(QPainter& p, bool raw) {
    const double low = m_group.low(), high = m_group.high();
    const QRectF area = plotRect();
    int visible = 0;
    for (const auto& curve : curves) visible += curve->isVisible && curve->isRaw == raw;
    const bool isCrowded =
        visible > 24;  // many curves: thin lines without smoothing keep panning fluent
    p.setRenderHint(QPainter::Antialiasing, !isCrowded && !raw);
    const bool isRaster =
        !m_isExporting && p.paintEngine() && p.paintEngine()->type() == QPaintEngine::Raster;
    if (isRaster) m_canvas.begin(area, p.device()->devicePixelRatioF());
    const QCPRange y = m_plot->yAxis->range();
    const Scale scale{area,
                      low,
                      area.width() / (high - low),
                      y.lower,
                      area.height() / (m_isLog ? std::log(y.upper / y.lower) : y.upper - y.lower),
                      m_isLog};
    for (bool isStrong : {false, true}) {
        for (const auto& curve : curves) {
            if (!curve->isVisible || curve->isRaw != raw || !curve->x || !curve->y ||
                curve->isStrong != isStrong)
                continue;
            if (curve->x->empty() || curve->y->empty()) continue;
            const Span span = spanOf(*curve, low, high);
            const bool isDense = static_cast<double>(span.last - span.first) > area.width() * 2;
            std::vector<QPointF> line;
            if (!isDense) {
                line = everyPoint(span, scale);
            } else if (isRaster) {
                const int stride =
                    isCrowded ? static_cast<int>(std::ceil(2 * m_canvas.ratio())) : 1;
                const std::vector<Strip> columns = strips(span, scale, m_canvas, stride);
                if (!curve->isFilled) {
                    m_canvas.add(columns, stride, curve->color,
                                 isCrowded && !curve->isStrong ? 1.0 : curve->width, curve->dash);
                    continue;
                }
                for (const Strip& strip : columns)
                    line.emplace_back(area.left() + strip.column / m_canvas.ratio(),
                                      area.top() + strip.top / m_canvas.ratio());
            } else {
                line = zigzag(span, scale, isCrowded ? 2 : 1);
            }
            if (curve->isFilled) fillToAxis(p, line, area, curve->color);
            if (curve->isStrong) p.setRenderHint(QPainter::Antialiasing, true);
            p.setPen(penOf(*curve, isCrowded));
            p.setBrush(Qt::NoBrush);
            if (line.size() > 1)
                p.drawPolyline(line.data(), static_cast<int>(line.size()));
            else if (line.size() == 1)
                p.drawPoint(line.front());
        }
        if (isRaster) m_canvas.paint(p);
    }
}

}  // namespace luthier::ui
