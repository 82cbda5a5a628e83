// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/parts_bar.h"

#include "theme/format.h"
#include "theme/theme.h"

#include <QPainter>

#include <algorithm>
#include <cmath>

namespace luthier::ui {

namespace {

QColor shadeOf(std::size_t index) {
    const Tokens& t = Theme::tokens();
    static const double shares[] = {0.85, 0.6, 0.38, 0.72, 0.22, 0.5};
    return mix(t.bg3, t.t2, shares[index % 6]);
}

}  // namespace

PartsBar::PartsBar() { setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed); }

void PartsBar::set(std::vector<PartShare> parts) {
    m_parts = std::move(parts);
    QStringList words;
    for (const PartShare& part : m_parts)
        words << part.name + " " + format::count(std::llround(part.count));
    setAccessibleName(tr("Where the parameters are"));
    setAccessibleDescription(words.join("; "));
    updateGeometry();
    update();
}

QSize PartsBar::sizeHint() const {
    return {280, px(20) + static_cast<int>(m_parts.size()) * px(20)};
}

void PartsBar::paintEvent(QPaintEvent*) {
    const Tokens& t = Theme::tokens();
    QPainter p(this);
    double sum = 0;
    for (const PartShare& part : m_parts) sum += part.count;
    if (sum <= 0) return;
    double x = 0;
    for (std::size_t i = 0; i < m_parts.size(); ++i) {
        const double w = std::max(1.0, width() * m_parts[i].count / sum);
        p.fillRect(QRectF(x, 0, std::max(1.0, w - 1), px(12)), shadeOf(i));
        x += w;
    }
    p.setFont(themeFont(Type::Table));
    const int shareWidth = p.fontMetrics().horizontalAdvance("0.0000 %") + 8;
    for (std::size_t i = 0; i < m_parts.size(); ++i) {
        const QRectF line(0, px(20) + static_cast<double>(i) * px(20), width(), px(20));
        p.fillRect(QRectF(1, line.center().y() - 4, 8, 8), shadeOf(i));
        p.setPen(t.t1);
        p.drawText(line.adjusted(px(18), 0, 0, 0), Qt::AlignVCenter, m_parts[i].name);
        p.drawText(line.adjusted(0, 0, -shareWidth, 0), Qt::AlignVCenter | Qt::AlignRight,
                   format::count(std::llround(m_parts[i].count)));
        p.setPen(t.t2);
        p.drawText(line, Qt::AlignVCenter | Qt::AlignRight,
                   format::percent(m_parts[i].count / sum));
    }
}

FitBars::FitBars() { setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed); }

void FitBars::set(std::vector<FitRow> rows, double capacity) {
    m_rows = std::move(rows);
    m_capacity = capacity;
    QStringList words;
    for (const FitRow& row : m_rows)
        words << row.name + " " + (row.problem.isEmpty() ? format::bytes(row.bytes) : row.problem);
    setAccessibleDescription(words.join("; "));
    setToolTip(words.join("\n"));
    updateGeometry();
    update();
}

QSize FitBars::sizeHint() const { return {280, static_cast<int>(m_rows.size()) * px(22)}; }

void FitBars::paintEvent(QPaintEvent*) {
    const Tokens& t = Theme::tokens();
    QPainter p(this);
    p.setRenderHint(QPainter::Antialiasing);
    p.setFont(themeFont(Type::Table));
    double nameWidth = 0;
    for (const FitRow& row : m_rows)
        nameWidth = std::max<double>(nameWidth, p.fontMetrics().horizontalAdvance(row.name));
    nameWidth = std::min(nameWidth + 12, width() * 0.5);
    const double valueWidth = px(76), room = std::max(20.0, width() - nameWidth - valueWidth);
    for (std::size_t i = 0; i < m_rows.size(); ++i) {
        const FitRow& row = m_rows[i];
        const QRectF line(0, static_cast<double>(i) * px(22), width(), px(22));
        p.setFont(themeFont(Type::Table));
        p.setPen(t.t2);
        p.drawText(line, Qt::AlignVCenter, row.name);
        const double share = m_capacity > 0 && row.bytes > 0 ? row.bytes / m_capacity : 0;
        p.setPen(Qt::NoPen);
        p.setBrush(t.bg3);
        p.drawRoundedRect(QRectF(nameWidth, line.center().y() - 2.5, room, 5), 2.5, 2.5);
        p.setBrush(share > 1 ? t.err : share > 0.75 ? t.warn : t.ok);
        if (share > 0)
            p.drawRoundedRect(QRectF(nameWidth, line.center().y() - 2.5,
                                     std::max(5.0, room * std::min(1.0, share)), 5),
                              2.5, 2.5);
        p.setFont(themeFont(Type::TableStrong));
        p.setPen(!row.problem.isEmpty() || share > 1 ? t.err : t.t1);
        p.drawText(line, Qt::AlignVCenter | Qt::AlignRight,
                   !row.problem.isEmpty() ? tr("not possible")
                   : row.bytes < 0        ? QStringLiteral("…")
                                          : format::bytes(row.bytes));
    }
}

}  // namespace luthier::ui
