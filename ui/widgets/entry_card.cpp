// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/entry_card.h"

#include "theme/icons.h"
#include "theme/theme.h"

#include <QPainter>

namespace luthier::ui {

EntryCard::EntryCard(const QString& icon, const QString& title, const QString& keys,
                     Drawing drawing)
    : m_icon(icon), m_keys(keys), m_drawing(std::move(drawing)) {
    setText(title);
    setAccessibleName(title);
    setFocusPolicy(Qt::TabFocus);
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
}

void EntryCard::setWords(const QString& words) {
    m_words = words;
    setAccessibleDescription(words);
    update();
}

void EntryCard::setLeading(bool isLeading) {
    m_isLeading = isLeading;
    update();
}

QSize EntryCard::sizeHint() const { return {px(280), px(214)}; }
QSize EntryCard::minimumSizeHint() const { return {px(160), px(214)}; }

void EntryCard::paintEvent(QPaintEvent*) {
    const Tokens& t = Theme::tokens();
    QPainter p(this);
    p.setRenderHint(QPainter::Antialiasing);
    p.setPen(QPen(m_isLeading ? t.acc : t.line, 1));
    p.setBrush(isDown() ? t.bg0 : underMouse() ? t.bg3 : t.bg2);
    p.drawRoundedRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5), 8, 8);
    const QRectF picture(16, 16, width() - 32, px(96));
    p.setPen(Qt::NoPen);
    p.setBrush(t.bg1);
    p.drawRoundedRect(picture, 6, 6);
    p.save();
    p.setClipRect(picture);
    const double wide = std::min(picture.width() - 32, px(280) * 1.0);
    m_drawing(p, QRectF(picture.center().x() - wide / 2, picture.top() + 14, wide,
                        picture.height() - 28));
    p.restore();
    const double y = picture.bottom() + px(14);
    drawIcon(p, m_icon, QRectF(17, y + px(3), 18, 18), m_isLeading ? t.acc : t.t2);
    p.setFont(themeFont(Type::Caption));
    const double keyWidth = p.fontMetrics().horizontalAdvance(m_keys) + 10;
    const QRectF cap(width() - 16 - keyWidth + 0.5, y + px(3) + 0.5, keyWidth - 1, px(18));
    p.setPen(QPen(t.line2, 1));
    p.setBrush(Qt::NoBrush);
    p.drawRoundedRect(cap, 4, 4);
    p.setPen(t.t2);
    p.drawText(cap, Qt::AlignCenter, m_keys);
    p.setFont(themeFont(Type::Title));
    p.setPen(t.t1);
    p.drawText(QRectF(44, y, width() - 44 - keyWidth - 24, px(24)), Qt::AlignVCenter,
               p.fontMetrics().elidedText(text(), Qt::ElideRight,
                                          static_cast<int>(width() - 44 - keyWidth - 24)));
    p.setFont(themeFont(Type::Body));
    p.setPen(t.t2);
    p.drawText(QRectF(16, y + px(30), width() - 32, height() - y - px(36)),
               Qt::TextWordWrap | Qt::AlignTop | Qt::AlignLeft, m_words);
}

}  // namespace luthier::ui
