// SPDX-License-Identifier: GPL-3.0-or-later
// What a plot shows beside its curves: levels, hatch, selection, evaluations, flags, and the texts,
// which make room for each other.
#include "plots/plot.h"

#include "theme/theme.h"
#include "widgets/basics.h"

#include <qcustomplot.h>

#include <cmath>

namespace luthier::ui {

void Plot::paintBackground(QPainter& p) {
    const Tokens& t = tokens();
    const QRectF area = plotRect();
    if (hatchTo > hatchFrom) {
        const double from = std::clamp(pixelX(hatchFrom), area.left(), area.right());
        if (from < area.right() - 2) {
            p.setRenderHint(QPainter::Antialiasing);
            p.setPen(QPen(withAlpha(t.t3, 0.16), 1));
            p.setClipRect(QRectF(from, area.top(), area.right() - from, area.height()));
            for (double x = from - area.height(); x < area.right(); x += 7)
                p.drawLine(QPointF(x, area.bottom()), QPointF(x + area.height(), area.top()));
            p.setClipping(false);
        }
    }
    if (!std::isnan(m_dragFrom) && !std::isnan(m_dragTo)) {
        const double a = pixelX(std::min(m_dragFrom, m_dragTo)),
                     b = pixelX(std::max(m_dragFrom, m_dragTo));
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

void Plot::paintPoints(QPainter& p) {
    const Tokens& t = tokens();
    const QRectF area = plotRect();
    QPolygonF path;
    for (const PlotPoint& point : points)
        if (point.x >= m_group.low() && point.x <= m_group.high() && std::isfinite(point.y))
            path << QPointF(pixelX(point.x), pixelY(point.y));
    p.setPen(QPen(withAlpha(t.t2, 0.7), 1, Qt::DashLine));
    p.drawPolyline(path);
    QPointF best(-1, 1e9);
    double bestY = 1e30;
    std::size_t at = 0;
    for (const PlotPoint& point : points) {
        if (point.x < m_group.low() || point.x > m_group.high() || !std::isfinite(point.y))
            continue;
        const QPointF c = path[static_cast<qsizetype>(at++)];
        p.setPen(QPen(t.t1, 1.5));
        p.setBrush(t.bg1);
        if (area.adjusted(-4, -4, 4, 4).contains(c))
            p.drawPolygon(QPolygonF(QList<QPointF>{c + QPointF(0, -4.5), c + QPointF(4.5, 0),
                                                   c + QPointF(0, 4.5), c + QPointF(-4.5, 0)}));
        if (point.y <= bestY) {
            bestY = point.y;
            best = c;
        }
    }
    if (!pointLabel.isEmpty() && best.x() > 0) {
        p.setFont(themeFont(Type::Caption));
        const double w = p.fontMetrics().horizontalAdvance(pointLabel) + 2;
        paintLabel(
            p, pointLabel,
            {best + QPointF(14, -8), best + QPointF(8, -26), best + QPointF(8, 10),
             best + QPointF(-w / 2, -30), best + QPointF(-w / 2, 14), best + QPointF(-w - 8, -26),
             best + QPointF(-w - 8, 10), best + QPointF(8, -44), best + QPointF(8, 28)},
            t.t1);
    }
}

void Plot::paintLineLabels(QPainter& p) {
    const QRectF area = plotRect();
    for (const PlotLine& line : lines) {
        const double y = pixelY(line.y);
        if (y < area.top() - 1 || y > area.bottom() + 1 || line.label.isEmpty()) continue;
        p.setFont(themeFont(Type::Caption));
        const double w = p.fontMetrics().horizontalAdvance(line.label) + 4;
        QList<QPointF> corners;
        for (double x : {area.right() - w, area.left() + 4, area.center().x() - w / 2})
            for (double top : {y - 18, y + 3}) corners << QPointF(x, top);
        paintLabel(p, line.label, corners, tokens().t2);
    }
}

void Plot::paintMark(QPainter& p, const PlotMark& mark) {
    const Tokens& t = tokens();
    const QPointF foot(std::round(pixelX(mark.x)) + 0.5, plotRect().bottom());
    const QColor color = mark.kind == PlotMark::Warning      ? t.warn
                         : mark.kind == PlotMark::Checkpoint ? t.t3
                                                             : t.t2;
    p.setPen(QPen(color, 1.2));
    p.setBrush(color);
    p.drawLine(foot, foot - QPointF(0, 9));
    if (mark.kind == PlotMark::Resume)
        p.drawPolygon(QPolygonF(
            QList<QPointF>{foot + QPointF(0, -9), foot + QPointF(5, -6), foot + QPointF(0, -3)}));
    else if (mark.kind == PlotMark::Rate)
        p.drawPolygon(QPolygonF(QList<QPointF>{foot + QPointF(-3.5, -6), foot + QPointF(0, -11),
                                               foot + QPointF(3.5, -6)}));
    else if (mark.kind == PlotMark::Warning)
        p.drawEllipse(foot - QPointF(0, 10), 2.2, 2.2);
    else
        p.drawPolygon(QPolygonF(QList<QPointF>{foot + QPointF(0, -9), foot + QPointF(6, -9),
                                               foot + QPointF(4, -6.5), foot + QPointF(6, -4),
                                               foot + QPointF(0, -4)}));
}

void Plot::paintEvents(QPainter& p) {
    const Tokens& t = tokens();
    const QRectF area = plotRect();
    m_labels.clear();
    p.setRenderHint(QPainter::Antialiasing);
    if (!points.empty()) paintPoints(p);
    if (const double from = std::max(pixelX(hatchFrom), area.left());
        hatchTo > hatchFrom && !hatchLabel.isEmpty()) {
        p.setFont(themeFont(Type::Table));
        if (area.right() - from > p.fontMetrics().horizontalAdvance(hatchLabel) + 24)
            paintLabel(p, hatchLabel,
                       {QPointF(from + 12, area.top() + 8), QPointF(from + 12, area.bottom() - 28)},
                       t.t3);
    }
    paintLineLabels(p);
    for (const PlotMark& mark : marks)
        if (mark.x >= m_group.low() && mark.x <= m_group.high()) paintMark(p, mark);
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

/// How much a text in `box` would hide or leave the plot; 0 = nothing. Curves are looked at in a
/// few places only.
double Plot::crowding(const QRectF& box) const {
    const QRectF area = plotRect();
    double sum = area.contains(box) ? 0 : 50;
    for (const QRectF& taken : m_labels) sum += taken.intersects(box) ? 100 : 0;
    const QRectF wide = box.adjusted(-2, -2, 2, 2);
    for (const PlotPoint& point : points)
        sum += wide.contains(QPointF(pixelX(point.x), pixelY(point.y))) ? 4 : 0;
    for (const auto& curve : curves) {
        if (!curve->isVisible || !curve->x || curve->x->empty()) continue;
        for (int i = 0; i <= 8; ++i) {
            const double x = m_plot->xAxis->pixelToCoord(box.left() + box.width() * i / 8);
            if (x > curve->x->back()) break;
            const int at = nearest(*curve, x);
            if (at >= 0 &&
                wide.contains(
                    QPointF(box.center().x(), pixelY((*curve->y)[static_cast<std::size_t>(at)]))))
                sum += curve->isRaw ? 0.4 : 1;
        }
    }
    return sum;
}

/// Draws `text` with its top left corner at the least crowded of `corners`; the first of equals
/// wins.
void Plot::paintLabel(QPainter& p, const QString& text, const QList<QPointF>& corners,
                      const QColor& color) {
    const Tokens& t = tokens();
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
    struct End {
        double y, wanted, x;
        const PlotCurve* curve;
    };
    std::vector<End> ends;
    const QRectF area = plotRect();
    for (const auto& curve : curves) {
        if (!curve->isVisible || curve->isRaw || curve->label.isEmpty() || !curve->x ||
            curve->x->empty())
            continue;
        const auto& x = *curve->x;
        auto i = static_cast<std::size_t>(
            std::upper_bound(x.begin(), x.end(), static_cast<float>(m_group.high())) - x.begin());
        if (i == 0 || i > curve->y->size()) continue;
        const double y = pixelY((*curve->y)[i - 1]);
        ends.push_back(
            {std::clamp(y, area.top(), area.bottom()), y, pixelX(x[i - 1]), curve.get()});
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
    const Tokens& t = tokens();
    for (const End& end : ends) {
        p.setPen(QPen(withAlpha(end.curve->color, 0.45), 1,
                      Qt::DotLine));  // leads to its name, is no value
        const double start = std::min(end.x, area.right());
        p.drawPolyline(
            QPolygonF(QList<QPointF>{{start, std::clamp(end.wanted, area.top(), area.bottom())},
                                     {area.right() + 4, end.y},
                                     {area.right() + 9, end.y}}));
        p.setFont(themeFont(end.curve->isStrong ? Type::CaptionStrong : Type::Caption));
        p.setPen(end.curve->isStrong ? t.t1 : t.t2);
        p.drawText(QRectF(area.right() + 12, end.y - 8, m_endLabelWidth + 2, 16), Qt::AlignVCenter,
                   p.fontMetrics().elidedText(end.curve->label, Qt::ElideMiddle, m_endLabelWidth));
    }
}

}  // namespace luthier::ui
