// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/stat_strip.h"

#include "theme/theme.h"

#include <QPainter>

#include <algorithm>

namespace luthier::ui {

StatStrip::StatStrip() { setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed); }

void StatStrip::set(std::vector<StatEntry> entries) {
    m_entries = std::move(entries);
    QStringList words;
    for (const StatEntry& entry : m_entries)
        words << entry.caption + " " + entry.value +
                     (entry.note.isEmpty() ? QString() : " " + entry.note);
    setAccessibleName(words.join(", "));
    setToolTip(words.join("\n"));
    update();
}

QSize StatStrip::sizeHint() const { return {240, px(36)}; }

void StatStrip::paintEvent(QPaintEvent*) {
    const Tokens& t = Theme::tokens();
    QPainter p(this);
    if (m_entries.empty()) return;
    // Each takes what its words need; what is left over is shared.
    const QFontMetrics captions(themeFont(Type::Caption)), values(themeFont(Type::Strong)),
        notes(themeFont(Type::Table));
    std::vector<double> widths;
    double sum = 0;
    for (const StatEntry& entry : m_entries) {
        const int value = values.horizontalAdvance(entry.value) +
                          (entry.note.isEmpty() ? 0 : notes.horizontalAdvance(entry.note) + 6);
        widths.push_back(std::max(captions.horizontalAdvance(entry.caption), value) + 2.0);
        sum += widths.back();
    }
    const double spare = (width() - sum) / static_cast<double>(m_entries.size());
    double left = 0;
    for (std::size_t i = 0; i < m_entries.size(); ++i) {
        const QRectF box(left, 0, std::max(8.0, widths[i] + std::min(0.0, spare)), height());
        left += widths[i] + spare;
        p.setFont(themeFont(Type::Caption));
        p.setPen(t.t2);
        p.drawText(box, Qt::AlignTop | Qt::AlignLeft,
                   p.fontMetrics().elidedText(m_entries[i].caption, Qt::ElideRight,
                                              static_cast<int>(box.width())));
        p.setFont(themeFont(Type::Strong));
        p.setPen(t.t1);
        const QString value = p.fontMetrics().elidedText(m_entries[i].value, Qt::ElideRight,
                                                         static_cast<int>(box.width()));
        p.drawText(box, Qt::AlignBottom | Qt::AlignLeft, value);
        const double used = p.fontMetrics().horizontalAdvance(value) + 5;
        p.setFont(themeFont(Type::Table));
        p.setPen(t.t3);
        if (!m_entries[i].note.isEmpty())
            p.drawText(box.adjusted(used, 0, 0, 0), Qt::AlignBottom | Qt::AlignLeft,
                       p.fontMetrics().elidedText(m_entries[i].note, Qt::ElideRight,
                                                  static_cast<int>(box.width() - used)));
    }
}

}  // namespace luthier::ui
