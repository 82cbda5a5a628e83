// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/compare_page.h"

#include "theme/format.h"
#include "theme/theme.h"

#include <QMouseEvent>
#include <QPainter>

#include <cmath>

namespace luthier::ui {

void ScatterPlot::set(std::vector<Point> points, const QString& xLabel, std::function<QString(double)> xText, const QString& selected) {
    m_points = std::move(points);
    m_xLabel = xLabel;
    m_xText = std::move(xText);
    m_selected = selected;
    update();
}

void ScatterPlot::paintEvent(QPaintEvent*) {
    const Tokens& t = Theme::tokens();
    QPainter p(this);
    p.setRenderHint(QPainter::Antialiasing);
    const QRectF area(px(46), px(10), width() - px(46) - px(20), height() - px(10) - px(46));
    m_at.assign(m_points.size(), QPointF(-100, -100));
    p.setFont(themeFont(Type::Caption));
    if (m_points.empty()) {
        p.setPen(t.t3);
        p.drawText(rect(), Qt::AlignCenter, tr("Runs with an evaluation appear here."));
        return;
    }
    double lowX = 1e300, highX = 0, lowY = 1e300, highY = -1e300;
    for (const Point& point : m_points) {
        lowX = std::min(lowX, point.x);
        highX = std::max(highX, point.x);
        lowY = std::min(lowY, point.y);
        highY = std::max(highY, point.y);
    }
    double a = std::floor(std::log10(lowX)), b = std::ceil(std::log10(highX));
    if (b <= a) b = a + 1;
    if (b - a > 1 || true) { a = std::log10(lowX) - 0.25; b = std::log10(highX) + 0.35; }
    const double padY = std::max((highY - lowY) * 0.12, std::fabs(highY) * 0.005);
    lowY -= padY;
    highY += padY;
    const auto toX = [&](double x) { return area.left() + (std::log10(x) - a) / (b - a) * area.width(); };
    const auto toY = [&](double y) { return area.bottom() - (y - lowY) / (highY - lowY) * area.height(); };
    const double rough = (highY - lowY) / 5, magnitude = std::pow(10, std::floor(std::log10(rough)));
    double step = magnitude;
    for (double m : {1.0, 2.0, 5.0, 10.0}) if (m * magnitude >= rough) { step = m * magnitude; break; }
    p.setRenderHint(QPainter::Antialiasing, false);
    for (double y = std::ceil(lowY / step) * step; y <= highY; y += step) {
        p.setPen(t.line);
        p.drawLine(QPointF(area.left(), std::round(toY(y)) + 0.5), QPointF(area.right(), std::round(toY(y)) + 0.5));
        p.setPen(t.t3);
        p.drawText(QRectF(0, toY(y) - 8, area.left() - 8, 16), Qt::AlignRight | Qt::AlignVCenter, QString::number(y, 'f', step < 0.1 ? 2 : 1));
    }
    for (int e = static_cast<int>(std::ceil(a)); e <= b; ++e) {
        const double x = toX(std::pow(10, e));
        p.setPen(t.line);
        p.drawLine(QPointF(std::round(x) + 0.5, area.top()), QPointF(std::round(x) + 0.5, area.bottom()));
        p.setPen(t.t3);
        p.drawText(QRectF(x - 40, area.bottom() + 6, 80, 16), Qt::AlignCenter, m_xText(std::pow(10, e)));
    }
    p.setPen(t.line2);
    p.drawLine(QPointF(area.left(), std::round(area.bottom()) + 0.5), QPointF(area.right(), std::round(area.bottom()) + 0.5));
    p.setRenderHint(QPainter::Antialiasing);
    // Front: from the cheapest on, each point better than all cheaper ones.
    std::vector<std::size_t> order(m_points.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](std::size_t l, std::size_t r) { return m_points[l].x != m_points[r].x ? m_points[l].x < m_points[r].x : m_points[l].y < m_points[r].y; });
    std::vector<bool> onFront(m_points.size());
    QPolygonF front;
    double best = 1e300;
    for (std::size_t i : order) {
        const QPointF at(toX(m_points[i].x), toY(m_points[i].y));
        m_at[i] = at;
        if (m_points[i].y >= best) continue;
        if (!front.isEmpty()) front << QPointF(at.x(), front.back().y());
        front << at;
        best = m_points[i].y;
        onFront[i] = true;
    }
    p.setPen(QPen(t.t2, 1, Qt::DashLine));
    p.setBrush(Qt::NoBrush);
    p.drawPolyline(front);
    for (std::size_t i = 0; i < m_points.size(); ++i) {
        const Point& point = m_points[i];
        const bool isSelected = point.id == m_selected;
        p.setPen(QPen(point.color, 2));
        p.setBrush(onFront[i] ? point.color : t.bg1);
        p.drawEllipse(m_at[i], 5, 5);
        if (isSelected) {
            p.setPen(QPen(t.t1, 1.5));
            p.setBrush(Qt::NoBrush);
            p.drawEllipse(m_at[i], 8, 8);
        }
        if (m_points.size() > 24) continue;
        p.setFont(themeFont(isSelected ? Type::CaptionStrong : Type::Caption));
        p.setPen(isSelected ? t.t1 : t.t2);
        const double w = std::min<double>(p.fontMetrics().horizontalAdvance(point.label) + 2, 130);
        const bool left = m_at[i].x() + w + 14 > width();
        p.drawText(QRectF(left ? m_at[i].x() - w - 11 : m_at[i].x() + 11, m_at[i].y() - 8, w, 16), Qt::AlignVCenter | (left ? Qt::AlignRight : Qt::AlignLeft), p.fontMetrics().elidedText(point.label, Qt::ElideMiddle, 128));
    }
    p.setFont(themeFont(Type::Caption));
    p.setPen(QPen(t.t2, 1, Qt::DashLine));
    const double foot = height() - px(12);
    p.drawLine(QPointF(16, foot), QPointF(34, foot));
    p.setPen(t.t2);
    p.drawText(QRectF(40, foot - 8, 120, 16), Qt::AlignVCenter, tr("Pareto front"));
    p.setPen(t.t3);
    p.drawText(QRectF(0, foot - 8, width() - 16, 16), Qt::AlignVCenter | Qt::AlignRight, m_xLabel);
}

void ScatterPlot::mousePressEvent(QMouseEvent* event) {
    for (std::size_t i = 0; i < m_at.size(); ++i)
        if (QLineF(m_at[i], event->position()).length() < 12) return emit clicked(m_points[i].id);
}

}  // namespace luthier::ui
