// SPDX-License-Identifier: GPL-3.0-or-later
// The crosshair, its tag on the axis and its table: drawn alone while the mouse moves.
#include "plots/plot.h"

#include "theme/theme.h"
#include "widgets/basics.h"

#include <qcustomplot.h>

#include <cmath>

namespace luthier::ui {

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
        const QPointF c(pixelX((*curve->x)[static_cast<std::size_t>(i)]),
                        pixelY((*curve->y)[static_cast<std::size_t>(i)]));
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
        differenceWidth =
            std::max(differenceWidth,
                     row.difference.isEmpty() ? 0 : metrics.horizontalAdvance(row.difference) + 12);
    }
    nameWidth = std::min(nameWidth, px(180));
    const double lineHeight = px(16), w = 28 + nameWidth + 14 + valueWidth + differenceWidth + 10;
    const QRectF area = plotRect();
    const auto shown = std::min<std::size_t>(
        rows.size(), static_cast<std::size_t>(std::max(1.0, (area.height() - 20) / lineHeight)));
    const double h = static_cast<double>(shown) * lineHeight + 14;
    double left = pixelX(atX) + 12;
    if (left + w > area.right()) left = pixelX(atX) - 12 - w;
    const QRectF box(std::max(left, 4.0), area.top() + 2, w, h);
    p.setPen(QPen(t.line2, 1));
    p.setBrush(t.tip);
    p.drawRoundedRect(box.adjusted(0.5, 0.5, -0.5, -0.5), 8, 8);
    for (std::size_t i = 0; i < shown; ++i) {
        const TipRow& row = rows[i];
        const QRectF line(box.left() + 10, box.top() + 7 + static_cast<double>(i) * lineHeight,
                          w - 20, lineHeight);
        if (row.isStrong && rows.size() > 4)
            p.fillRect(QRectF(box.left() + 1, line.top(), w - 2, lineHeight), t.soft);
        const double cy = line.center().y();
        if (row.shape == TipRow::Diamond) {
            p.setPen(QPen(t.t1, 1.4));
            p.setBrush(Qt::NoBrush);
            const QPointF c(line.left() + 4, cy);
            p.drawPolygon(QPolygonF(QList<QPointF>{c + QPointF(0, -4), c + QPointF(4, 0),
                                                   c + QPointF(0, 4), c + QPointF(-4, 0)}));
        } else if (row.shape == TipRow::Line) {
            QPen pen(row.color, 2);
            pen.setCapStyle(Qt::FlatCap);
            if (!row.dash.isEmpty()) pen.setDashPattern({row.dash[0] / 2, row.dash[1] / 2});
            p.setPen(pen);
            p.drawLine(QPointF(line.left(), cy), QPointF(line.left() + 13, cy));
        }
        p.setFont(row.isStrong ? themeFont(Type::CaptionStrong) : font);
        p.setPen(row.isStrong ? t.t1 : t.t2);
        p.drawText(line.adjusted(18, 0, 0, 0), Qt::AlignVCenter,
                   p.fontMetrics().elidedText(row.name, Qt::ElideMiddle, nameWidth));
        p.setFont(themeFont(Type::CaptionStrong));
        p.setPen(t.t1);
        p.drawText(line.adjusted(0, 0, -differenceWidth, 0), Qt::AlignVCenter | Qt::AlignRight,
                   row.value);
        p.setFont(font);
        p.setPen(t.t3);
        p.drawText(line, Qt::AlignVCenter | Qt::AlignRight, row.difference);
    }
}

}  // namespace luthier::ui
