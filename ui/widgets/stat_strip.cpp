// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/stat_strip.h"

#include "theme/theme.h"

#include <QPainter>

namespace luthier::ui {

StatStrip::StatStrip() { setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed); }

void StatStrip::set(std::vector<StatEntry> entries) {
    m_entries = std::move(entries);
    QStringList words;
    for (const StatEntry& entry : m_entries) words << entry.caption + " " + entry.value + (entry.note.isEmpty() ? QString() : " " + entry.note);
    setAccessibleName(words.join(", "));
    setToolTip(words.join("\n"));
    update();
}

QSize StatStrip::sizeHint() const { return {240, px(36)}; }

void StatStrip::paintEvent(QPaintEvent*) {
    const Tokens& t = Theme::tokens();
    QPainter p(this);
    if (m_entries.empty()) return;
    const double each = static_cast<double>(width()) / static_cast<double>(m_entries.size());
    for (std::size_t i = 0; i < m_entries.size(); ++i) {
        const QRectF box(each * static_cast<double>(i), 0, each - 2, height());
        p.setFont(themeFont(Type::Caption));
        p.setPen(t.t2);
        p.drawText(box, Qt::AlignTop | Qt::AlignLeft, p.fontMetrics().elidedText(m_entries[i].caption, Qt::ElideRight, static_cast<int>(box.width())));
        p.setFont(themeFont(Type::Strong));
        p.setPen(t.t1);
        const QString value = p.fontMetrics().elidedText(m_entries[i].value, Qt::ElideRight, static_cast<int>(box.width()));
        p.drawText(box, Qt::AlignBottom | Qt::AlignLeft, value);
        const double used = p.fontMetrics().horizontalAdvance(value) + 5;
        p.setFont(themeFont(Type::Table));
        p.setPen(t.t3);
        if (!m_entries[i].note.isEmpty()) p.drawText(box.adjusted(used, 0, 0, 0), Qt::AlignBottom | Qt::AlignLeft, p.fontMetrics().elidedText(m_entries[i].note, Qt::ElideRight, static_cast<int>(box.width() - used)));
    }
}

}  // namespace luthier::ui
