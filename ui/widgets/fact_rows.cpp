// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/fact_rows.h"

#include "theme/theme.h"

#include <QPainter>

#include <algorithm>

namespace luthier::ui {

FactRows::FactRows(Values values, int rowHeight) : m_values(values), m_rowHeight(rowHeight) {
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
}

void FactRows::set(std::vector<Fact> facts) {
    const bool sameCount = facts.size() == m_facts.size();
    m_facts = std::move(facts);
    QStringList lines;
    for (const Fact& fact : m_facts)
        lines << (fact.name + "  " + fact.value +
                  (fact.note.isEmpty() ? QString() : "  " + fact.note))
                     .trimmed();
    setAccessibleDescription(lines.join("; "));
    setToolTip(lines.join("\n"));
    if (!sameCount) updateGeometry();
    update();
}

QSize FactRows::sizeHint() const {
    return {200, static_cast<int>(m_facts.size()) * px(m_rowHeight)};
}

void FactRows::paintEvent(QPaintEvent*) {
    const Tokens& t = Theme::tokens();
    QPainter p(this);
    const QFont plain = themeFont(Type::Table), mono = themeFont(Type::MonoSmall),
                strong = themeFont(Type::TableStrong);
    int nameWidth = 0, noteWidth = 0, valueWidth = 0;
    for (const Fact& fact : m_facts) {
        nameWidth = std::max(
            nameWidth, QFontMetrics(fact.isMono ? mono : plain).horizontalAdvance(fact.name) + 3);
        noteWidth = std::max(noteWidth, QFontMetrics(plain).horizontalAdvance(fact.note) +
                                            (fact.note.isEmpty() ? 0 : 12));
        valueWidth = std::max(valueWidth, QFontMetrics(strong).horizontalAdvance(fact.value));
    }
    const bool isBeside = m_values == Values::Beside;
    for (std::size_t i = 0; i < m_facts.size(); ++i) {
        const Fact& fact = m_facts[i];
        const QRectF line(0, static_cast<double>(i) * px(m_rowHeight), width(), px(m_rowHeight));
        double left = 0;
        if (fact.dot.isValid()) {
            p.fillRect(QRectF(1, line.center().y() - 4, 8, 8), fact.dot);
            left = px(18);
        }
        const int nameRoom = static_cast<int>(
            isBeside
                ? std::min(nameWidth, width() * 2 / 5)
                : std::max(40.0,
                           width() - left - noteWidth - 12 -
                               (fact.isMono ? valueWidth
                                            : QFontMetrics(strong).horizontalAdvance(fact.value))));
        p.setFont(fact.isMono ? mono : plain);
        p.setPen(fact.isMono ? t.t1 : t.t2);
        p.drawText(line.adjusted(left, 0, 0, 0), Qt::AlignVCenter,
                   p.fontMetrics().elidedText(
                       fact.name, fact.isMono ? Qt::ElideMiddle : Qt::ElideRight, nameRoom));
        p.setFont(strong);
        p.setPen(fact.color.isValid() ? fact.color : t.t1);
        if (isBeside) {
            const double at = left + nameRoom + 14;
            const QString value = p.fontMetrics().elidedText(fact.value, Qt::ElideMiddle,
                                                             static_cast<int>(width() - at));
            p.drawText(line.adjusted(at, 0, 0, 0), Qt::AlignVCenter, value);
            const double used = at + p.fontMetrics().horizontalAdvance(value) + 8;
            p.setFont(plain);
            p.setPen(t.t3);
            if (!fact.note.isEmpty() && used < width())
                p.drawText(line.adjusted(used, 0, 0, 0), Qt::AlignVCenter,
                           p.fontMetrics().elidedText(fact.note, Qt::ElideRight,
                                                      static_cast<int>(width() - used)));
            continue;
        }
        p.drawText(line.adjusted(0, 0, -noteWidth, 0), Qt::AlignVCenter | Qt::AlignRight,
                   fact.value);
        p.setFont(fact.isMono ? mono : plain);
        p.setPen(t.t3);
        p.drawText(line, Qt::AlignVCenter | Qt::AlignRight, fact.note);
    }
}

}  // namespace luthier::ui
