// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/method_picker.h"

#include "theme/theme.h"
#include "widgets/basics.h"
#include "widgets/method_glyph.h"

#include <QGridLayout>
#include <QPainter>

namespace luthier::ui {

MethodCard::MethodCard(const MethodInfo& info) : m_info(info) {
    setCheckable(true);
    setAutoExclusive(true);
    setAccessibleName(info.title);
    setAccessibleDescription(info.summary);
    setFocusPolicy(Qt::TabFocus);
    QSizePolicy policy(QSizePolicy::Expanding, QSizePolicy::Preferred);
    policy.setHeightForWidth(true);
    setSizePolicy(policy);
}

void MethodCard::setReason(const QString& reason) {
    m_reason = reason;
    setToolTip(reason);
    updateGeometry();
    update();
}

QSize MethodCard::sizeHint() const { return {180, px(m_isRow ? (isChecked() ? 52 : 32) : 70)}; }

int MethodCard::heightForWidth(int width) const {
    const QString& sentence = m_reason.isEmpty() ? m_info.summary : m_reason;
    const QRect text = QFontMetrics(themeFont(Type::Table))
                           .boundingRect(QRect(0, 0, width - 20, 1000), Qt::TextWordWrap, sentence);
    return std::max(px(70), 31 + text.height() + 8);
}

void MethodCard::paintEvent(QPaintEvent*) {
    const Tokens& t = Theme::tokens();
    const bool isAvailable = m_reason.isEmpty();
    QPainter p(this);
    p.setRenderHint(QPainter::Antialiasing);
    if (!m_isRow || isChecked() || underMouse()) {
        p.setPen(QPen(isChecked() ? t.acc : m_isRow ? QColor(Qt::transparent) : t.line, 1));
        p.setBrush(isChecked()    ? t.soft
                   : underMouse() ? t.bg3
                   : isAvailable  ? t.bg2
                                  : QColor(Qt::transparent));
        p.drawRoundedRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5), 8, 8);
    }
    const double top = m_isRow ? (px(32) - 20) / 2.0 : 8;
    drawMethodGlyph(p, m_info.glyph, QPointF(12, top), isAvailable);
    const QRectF line(52, top, width() - 64, 20);
    p.setFont(themeFont(Type::Caption));
    const double countWidth = p.fontMetrics().horizontalAdvance(m_count) + 8;
    p.setPen(isChecked() ? t.acc : t.t3);
    p.drawText(line, Qt::AlignVCenter | Qt::AlignRight, m_count);
    p.setFont(themeFont(m_isRow && !isChecked() ? Type::Body : Type::Name));
    p.setPen(isAvailable ? t.t1 : t.t3);
    const QRectF nameBox = m_isRow ? line : line.adjusted(-5, 0, 0, 0);
    p.drawText(nameBox, Qt::AlignVCenter,
               p.fontMetrics().elidedText(m_info.title, Qt::ElideRight,
                                          static_cast<int>(nameBox.width() - countWidth)));
    const QString sentence = isAvailable ? m_info.summary : m_reason;
    p.setFont(themeFont(Type::Table));
    p.setPen(isChecked() || isAvailable ? t.t2 : t.t3);
    if (!m_isRow)
        p.drawText(QRectF(12, 31, width() - 20, height() - 33), Qt::TextWordWrap, sentence);
    else if (isChecked())
        p.drawText(QRectF(52, top + 21, width() - 60, 18), Qt::AlignVCenter,
                   p.fontMetrics().elidedText(sentence, Qt::ElideRight, width() - 60));
}

MethodPicker::MethodPicker() {
    m_content = new QWidget;
    m_content->setProperty("surface", "none");
    setWidget(m_content);
    setWidgetResizable(true);
    setFrameShape(QFrame::NoFrame);
    setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
}

void MethodPicker::setMethods(const std::vector<MethodInfo>& methods) {
    m_methods = methods;
    arrange();
}

void MethodPicker::setAsRows(bool rows) {
    if (rows == m_asRows) return;
    m_asRows = rows;
    for (MethodCard* card : m_cards) card->setIsRow(rows);
    arrange();
}

void MethodPicker::setCurrent(const QString& method) {
    m_current = method;
    for (MethodCard* card : m_cards) {
        card->setChecked(card->method() == method);
        card->updateGeometry();
    }
}

void MethodPicker::setCount(const QString& method, const QString& words, const QString& reason) {
    for (MethodCard* card : m_cards)
        if (card->method() == method) {
            card->setCount(words);
            card->setReason(reason);
        }
}

void MethodPicker::arrange() {
    delete m_content->layout();
    if (m_cards.size() != m_methods.size()) {
        qDeleteAll(m_cards);
        m_cards.clear();
        for (const MethodInfo& info : m_methods) {
            auto* card = new MethodCard(info);
            card->setParent(m_content);
            card->setIsRow(m_asRows);
            connect(card, &QAbstractButton::clicked, this,
                    [this, card] { emit chosen(card->method()); });
            m_cards.push_back(card);
        }
    }
    for (QWidget* old : m_content->findChildren<QWidget*>(QString(), Qt::FindDirectChildrenOnly))
        if (!qobject_cast<MethodCard*>(old)) delete old;
    auto* column = makeColumn(m_asRows ? 0 : 8);
    column->setContentsMargins(m_asRows ? 8 : 16, 12, m_asRows ? 8 : 8, 16);
    QStringList groups;
    for (const MethodInfo& info : m_methods)
        if (!groups.contains(info.group)) groups << info.group;
    for (const QString& group : groups) {
        auto* title = makeLabel(group, "group", "t3");
        title->setContentsMargins(m_asRows ? 8 : 0, column->count() > 0 ? 8 : 0, 0,
                                  m_asRows ? 2 : 0);
        column->addWidget(title);
        auto* grid = new QGridLayout;
        grid->setSpacing(m_asRows ? 0 : 8);
        int index = 0;
        for (MethodCard* card : m_cards) {
            const auto info =
                std::find_if(m_methods.begin(), m_methods.end(),
                             [&](const MethodInfo& m) { return m.name == card->method(); });
            if (info->group != group) continue;
            grid->addWidget(card, m_asRows ? index : index / 2, m_asRows ? 0 : index % 2);
            card->show();
            ++index;
        }
        grid->setColumnStretch(0, 1);
        if (!m_asRows) grid->setColumnStretch(1, 1);
        if (!m_asRows && index == 1)
            grid->addWidget(new QWidget, 0, 1);  // one card is as wide as two beside each other
        column->addLayout(grid);
    }
    column->addStretch(1);
    m_content->setLayout(column);
    setCurrent(m_current);
}

}  // namespace luthier::ui
