// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/memory_bar.h"

#include "theme/theme.h"

#include <QPainter>

#include <algorithm>

namespace luthier::ui {

QColor memoryColor(MemoryPart part) {
    const Tokens& t = Theme::tokens();
    switch (part) {
        case MemoryPart::Frozen:
            return t.frozen;
        case MemoryPart::Trained:
            return t.acc;
        case MemoryPart::Activations:
            return t.act;
        case MemoryPart::Logits:
            return t.logit;
        case MemoryPart::Other:
            return t.t3;
    }
    return t.t3;
}

MemoryBar::MemoryBar(int barHeight) : m_barHeight(barHeight) {
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
}

void MemoryBar::set(std::vector<MemoryShare> shares, double capacity, double scale) {
    m_shares = std::move(shares);
    m_capacity = capacity;
    m_scale = scale;
    update();
}

void MemoryBar::paintEvent(QPaintEvent*) {
    const Tokens& t = Theme::tokens();
    QPainter p(this);
    double sum = 0;
    for (const MemoryShare& share : m_shares) sum += share.bytes;
    const double scale = m_scale > 0 ? m_scale : std::max(sum, m_capacity) * 1.04;
    if (scale <= 0) return;
    const double toX = (width() - 1) / scale, top = (height() - m_barHeight) / 2.0;
    const double capacityX = m_capacity * toX;
    p.fillRect(QRectF(0, top, capacityX > 0 ? capacityX : width(), m_barHeight), t.bg3);
    double x = 0;
    for (const MemoryShare& share : m_shares) {
        const double w = std::max(share.bytes > 0 ? 1.0 : 0.0, share.bytes * toX);
        const QRectF box(x, top, w, m_barHeight);
        if (share.part == MemoryPart::Other) {
            p.fillRect(box, t.bg3);
            p.fillRect(box, QBrush(t.t3, Qt::BDiagPattern));
        } else {
            p.fillRect(box, memoryColor(share.part));
        }
        x += w;
        if (w > 3) p.fillRect(QRectF(x - 1, top, 1, m_barHeight), t.bg1);
    }
    if (m_capacity > 0 && sum > m_capacity) {
        p.setPen(QPen(t.err, 1, Qt::DashLine));
        p.setBrush(Qt::NoBrush);
        p.drawRect(QRectF(capacityX + 0.5, top + 0.5, x - capacityX - 1, m_barHeight - 1));
    }
    if (m_capacity > 0)
        p.fillRect(QRectF(std::min(capacityX, width() - 1.0), 0, 1.5, height()), t.t1);
}

ParameterBar::ParameterBar() { setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed); }

void ParameterBar::set(double share) {
    m_share = share;
    update();
}

void ParameterBar::paintEvent(QPaintEvent*) {
    QPainter p(this);
    p.setRenderHint(QPainter::Antialiasing);
    p.setPen(Qt::NoPen);
    p.setBrush(Theme::tokens().frozen);
    p.drawRoundedRect(rect(), 3, 3);
    if (m_share <= 0) return;
    const double w = std::max(3.0, width() * m_share);
    p.setClipRect(QRectF(0, 0, w, height()));
    p.setBrush(Theme::tokens().acc);
    p.drawRoundedRect(rect(), 3, 3);
    p.setClipping(false);
    if (m_share < 1) p.fillRect(QRectF(w, 0, 1, height()), Theme::tokens().bg1);
}

CountBars::CountBars(bool monoNames) : m_monoNames(monoNames) {
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
}

void CountBars::set(std::vector<NamedCount> rows, double scale) {
    const bool sameCount = rows.size() == m_rows.size();
    m_rows = std::move(rows);
    m_scale = scale;
    QStringList words;
    for (const NamedCount& row : m_rows) words << row.name + " " + row.words;
    setAccessibleDescription(words.join("; "));
    if (!sameCount) updateGeometry();
    update();
}

QSize CountBars::sizeHint() const { return {200, static_cast<int>(m_rows.size()) * px(20)}; }

void CountBars::paintEvent(QPaintEvent*) {
    const Tokens& t = Theme::tokens();
    QPainter p(this);
    p.setRenderHint(QPainter::Antialiasing);
    const QFont nameFont = themeFont(m_monoNames ? Type::Mono : Type::Table),
                wordFont = themeFont(Type::Table);
    const QFontMetrics names(nameFont), words(wordFont);
    int nameWidth = 0, wordWidth = 0, noteWidth = 0;
    double scale = m_scale;
    for (const NamedCount& row : m_rows) {
        nameWidth = std::max(nameWidth, names.horizontalAdvance(row.name));
        wordWidth = std::max(wordWidth, words.horizontalAdvance(row.words));
        noteWidth =
            std::max(noteWidth, row.note.isEmpty() ? 0 : words.horizontalAdvance(row.note) + 8);
        if (m_scale <= 0) scale = std::max(scale, row.value);
    }
    nameWidth = std::min(nameWidth + 2, width() / 2);
    const double left = nameWidth + 12, right = width() - wordWidth - noteWidth - 12;
    for (std::size_t i = 0; i < m_rows.size(); ++i) {
        const NamedCount& row = m_rows[i];
        const QRectF line(0, static_cast<double>(i) * px(20), width(), px(20));
        p.setFont(nameFont);
        p.setPen(t.t2);
        p.drawText(line.adjusted(0, 0, nameWidth - width(), 0), Qt::AlignVCenter,
                   names.elidedText(row.name, Qt::ElideMiddle, nameWidth));
        p.setPen(Qt::NoPen);
        p.setBrush(row.color);
        if (scale > 0 && right > left && row.value > 0)
            p.drawRoundedRect(QRectF(left, line.center().y() - 2.5,
                                     std::max(4.0, (right - left) * row.value / scale), 5),
                              2.5, 2.5);
        p.setFont(wordFont);
        p.setPen(t.t1);
        p.drawText(line.adjusted(0, 0, -noteWidth, 0), Qt::AlignVCenter | Qt::AlignRight,
                   row.words);
        if (!row.note.isEmpty()) {
            p.setPen(t.t3);
            p.drawText(line, Qt::AlignVCenter | Qt::AlignRight, row.note);
        }
    }
}

}  // namespace luthier::ui
