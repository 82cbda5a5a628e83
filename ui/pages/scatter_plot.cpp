// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/compare_page.h"

#include "theme/format.h"
#include "theme/theme.h"

#include <QMouseEvent>
#include <QHelpEvent>
#include <QPainter>
#include <QToolTip>

#include <cmath>

namespace luthier::ui {

namespace {

/// Powers of ten from 10^a to 10^b, and 2 and 5 times them where fewer than two of them are in
/// view.
std::vector<double> ticksOfTen(double a, double b) {
    std::vector<double> ticks;
    const auto collect = [&](std::initializer_list<double> factors) {
        ticks.clear();
        for (int e = static_cast<int>(std::floor(a)); e <= b; ++e)
            for (double factor : factors)
                if (const double value = factor * std::pow(10, e);
                    std::log10(value) >= a && std::log10(value) <= b)
                    ticks.push_back(value);
    };
    collect({1});
    if (ticks.size() < 2) collect({1, 2, 5});
    return ticks;
}

/// Powers of two, every second, fourth or tenth of them where there are many; a few of their
/// eighths on a short axis.
std::vector<double> ticksOfTwo(double a, double b) {
    const double low = a / std::log10(2.0), high = b / std::log10(2.0);
    const int stride = high - low > 16 ? 4 : high - low > 8 ? 2 : 1;
    std::vector<double> ticks;
    for (int e = static_cast<int>(std::floor(low)); e <= high; ++e)
        for (int part = 8; part < (high - low < 2 ? 16 : 9); ++part) {
            const double value = std::pow(2, e) * part / 8;
            if (e % stride == 0 && std::log10(value) >= a && std::log10(value) <= b)
                ticks.push_back(value);
        }
    return ticks;
}

}  // namespace

void ScatterPlot::set(std::vector<Point> points, const QString& xLabel, Ticks ticks,
                      std::function<QString(double)> xText, const QString& selected) {
    m_points = std::move(points);
    m_xLabel = xLabel;
    m_ticks = ticks;
    m_xText = std::move(xText);
    m_selected = selected;
    QStringList rows;
    for (const Point& point : m_points) rows << words(point);
    setAccessibleDescription(rows.join("; "));
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
    const double a = std::log10(lowX) - 0.25, b = std::log10(highX) + 0.35;
    const double padY = std::max((highY - lowY) * 0.12, std::fabs(highY) * 0.005);
    lowY -= padY;
    highY += padY;
    const auto toX = [&](double x) {
        return area.left() + (std::log10(x) - a) / (b - a) * area.width();
    };
    const auto toY = [&](double y) {
        return area.bottom() - (y - lowY) / (highY - lowY) * area.height();
    };
    const double rough = (highY - lowY) / 5,
                 magnitude = std::pow(10, std::floor(std::log10(rough)));
    double step = magnitude;
    for (double m : {1.0, 2.0, 5.0, 10.0})
        if (m * magnitude >= rough) {
            step = m * magnitude;
            break;
        }
    p.setRenderHint(QPainter::Antialiasing, false);
    for (double y = std::ceil(lowY / step) * step; y <= highY; y += step) {
        p.setPen(t.line);
        p.drawLine(QPointF(area.left(), std::round(toY(y)) + 0.5),
                   QPointF(area.right(), std::round(toY(y)) + 0.5));
        p.setPen(t.t3);
        p.drawText(QRectF(0, toY(y) - 8, area.left() - 8, 16), Qt::AlignRight | Qt::AlignVCenter,
                   QString::number(y, 'f', step < 0.1 ? 2 : 1));
    }
    const std::vector<double> ticks = m_ticks == Ticks::OfTwo ? ticksOfTwo(a, b) : ticksOfTen(a, b);
    double labelled = -1e9;
    for (double tick : ticks) {
        const double x = toX(tick);
        p.setPen(t.line);
        p.drawLine(QPointF(std::round(x) + 0.5, area.top()),
                   QPointF(std::round(x) + 0.5, area.bottom()));
        const QString text = m_xText(tick);
        const double half = p.fontMetrics().horizontalAdvance(text) / 2.0 + 4;
        if (x - half < labelled || x + half > width()) continue;
        labelled = x + half;
        p.setPen(t.t3);
        p.drawText(QRectF(x - half, area.bottom() + 6, 2 * half, 16), Qt::AlignCenter, text);
    }
    p.setPen(t.line2);
    p.drawLine(QPointF(area.left(), std::round(area.bottom()) + 0.5),
               QPointF(area.right(), std::round(area.bottom()) + 0.5));
    p.setRenderHint(QPainter::Antialiasing);
    // Front: from the cheapest on, each point better than all cheaper ones.
    std::vector<std::size_t> order(m_points.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](std::size_t l, std::size_t r) {
        return m_points[l].x != m_points[r].x ? m_points[l].x < m_points[r].x
                                              : m_points[l].y < m_points[r].y;
    });
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
    }
    paintLabels(p, area, front);
    p.setFont(themeFont(Type::Caption));
    p.setPen(QPen(t.t2, 1, Qt::DashLine));
    const double foot = height() - px(12);
    p.drawLine(QPointF(16, foot), QPointF(34, foot));
    p.setPen(t.t2);
    p.drawText(QRectF(40, foot - 8, 120, 16), Qt::AlignVCenter, tr("Pareto front"));
    p.setPen(t.t3);
    p.drawText(QRectF(0, foot - 8, width() - 16, 16), Qt::AlignVCenter | Qt::AlignRight, m_xLabel);
}

/// The selected point first, then the others from left to right. A label that finds no free place
/// is left out: its point still answers to the mouse, and the table above names every run.
void ScatterPlot::paintLabels(QPainter& p, const QRectF& area, const QPolygonF& front) const {
    const Tokens& t = Theme::tokens();
    std::vector<std::size_t> order(m_points.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](std::size_t l, std::size_t r) {
        const bool isLeftSelected = m_points[l].id == m_selected,
                   isRightSelected = m_points[r].id == m_selected;
        return isLeftSelected != isRightSelected ? isLeftSelected : m_at[l].x() < m_at[r].x();
    });
    QList<QRectF> taken;
    for (const QPointF& at : m_at) taken << QRectF(at.x() - 7, at.y() - 7, 14, 14);
    const QRectF room = QRectF(2, 2, width() - 4, area.bottom() - 2);
    for (qsizetype i = 1; i < front.size(); ++i)
        taken << QRectF(front[i - 1], front[i]).normalized().adjusted(-1, -1, 1, 1);
    for (std::size_t i : order) {
        const bool isSelected = m_points[i].id == m_selected;
        p.setFont(themeFont(isSelected ? Type::CaptionStrong : Type::Caption));
        const QString text =
            p.fontMetrics().elidedText(m_points[i].label, Qt::ElideMiddle, px(128));
        const double w = p.fontMetrics().horizontalAdvance(text) + 2, h = p.fontMetrics().height();
        const QPointF c = m_at[i];
        for (const QPointF& corner :
             {c + QPointF(11, -h / 2), c + QPointF(-11 - w, -h / 2), c + QPointF(-w / 2, -9 - h),
              c + QPointF(-w / 2, 9), c + QPointF(8, -8 - h), c + QPointF(8, 8),
              c + QPointF(-8 - w, -8 - h), c + QPointF(-8 - w, 8)}) {
            const QRectF box(corner, QSizeF(w, h));
            const auto isInTheWay = [&](const QRectF& other) {
                return other.intersects(box) && other.center() != c;
            };
            if (!room.contains(box) || std::any_of(taken.begin(), taken.end(), isInTheWay))
                continue;
            p.setPen(isSelected ? t.t1 : t.t2);
            p.drawText(box, Qt::AlignCenter, text);
            taken << box;
            break;
        }
    }
}

bool ScatterPlot::event(QEvent* event) {
    if (event->type() != QEvent::ToolTip) return QWidget::event(event);
    auto* help = static_cast<QHelpEvent*>(event);
    const int i = pointAt(help->pos());
    if (i < 0)
        QToolTip::hideText();
    else
        QToolTip::showText(help->globalPos(), words(m_points[static_cast<std::size_t>(i)]), this);
    return true;
}

QString ScatterPlot::words(const Point& point) const {
    return tr("%1: loss %2 at %3").arg(point.label, format::loss(point.y), m_xText(point.x));
}

int ScatterPlot::pointAt(QPointF position) const {
    int best = -1;
    double nearest = 12;
    for (std::size_t i = 0; i < m_at.size(); ++i)
        if (const double distance = QLineF(m_at[i], position).length(); distance < nearest) {
            nearest = distance;
            best = static_cast<int>(i);
        }
    return best;
}

void ScatterPlot::mousePressEvent(QMouseEvent* event) {
    if (const int i = pointAt(event->position()); i >= 0)
        emit clicked(m_points[static_cast<std::size_t>(i)].id);
}

}  // namespace luthier::ui
