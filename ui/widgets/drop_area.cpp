// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/drop_area.h"

#include "theme/icons.h"
#include "theme/theme.h"
#include "widgets/basics.h"

#include <QPainter>

namespace luthier::ui {

DropArea::DropArea(const QString& title, const QString& text, const QString& button) {
    auto* row = makeRow(16);
    row->setContentsMargins(px(20) + 40, 14, 20, 14);
    auto* words = makeColumn(2);
    words->addWidget(makeLabel(title, "name"));
    auto* body = makeLabel(text, "table", "t2");
    body->setWordWrap(true);
    words->addWidget(body);
    m_button = makeButton(button, "plain", 28, "folder");
    row->addLayout(words, 1);
    row->addWidget(m_button);
    setLayout(row);
    setAccessibleName(title);
}

void DropArea::setActive(bool isActive) {
    m_isActive = isActive;
    update();
}

void DropArea::paintEvent(QPaintEvent*) {
    const Tokens& t = Theme::tokens();
    QPainter p(this);
    p.setRenderHint(QPainter::Antialiasing);
    p.setPen(QPen(m_isActive ? t.acc : t.ctl, 1, Qt::DashLine));
    p.setBrush(m_isActive ? QBrush(t.soft) : Qt::NoBrush);
    p.drawRoundedRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5), 8, 8);
    drawIcon(p, "inbox", QRectF(20, (height() - 24) / 2.0, 24, 24), t.acc);
}

}  // namespace luthier::ui
