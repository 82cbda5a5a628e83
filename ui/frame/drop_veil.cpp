// SPDX-License-Identifier: GPL-3.0-or-later
#include "frame/drop_veil.h"

#include "theme/icons.h"
#include "theme/theme.h"
#include "widgets/basics.h"

#include <QPainter>

namespace luthier::ui {

DropVeil::DropVeil(QWidget* window) : QWidget(window) {
    setAttribute(Qt::WA_TransparentForMouseEvents);  // the drag stays with the window
    hide();
}

void DropVeil::show(const QString& title, const QString& text) {
    m_title = title;
    m_text = text;
    setAccessibleName(title);
    setGeometry(parentWidget()->rect());
    QWidget::show();
    raise();
    update();
}

void DropVeil::paintEvent(QPaintEvent*) {
    const Tokens& t = Theme::tokens();
    QPainter p(this);
    p.setRenderHint(QPainter::Antialiasing);
    p.fillRect(rect(), withAlpha(t.bg0, 0.72));
    QRectF box(0, 0, std::min<double>(px(560), width() - 48), px(152));
    box.moveCenter(rect().center());
    p.setPen(QPen(t.acc, 1.5, Qt::DashLine));
    p.setBrush(t.soft);
    p.drawRoundedRect(box, 8, 8);
    drawIcon(p, "inbox", QRectF(box.center().x() - 14, box.top() + px(24), 28, 28), t.acc);
    p.setFont(themeFont(Type::Title));
    p.setPen(t.t1);
    p.drawText(
        box.adjusted(24, px(66), -24, 0), Qt::AlignHCenter | Qt::AlignTop,
        p.fontMetrics().elidedText(m_title, Qt::ElideMiddle, static_cast<int>(box.width()) - 48));
    p.setFont(themeFont(Type::Table));
    p.setPen(t.t2);
    p.drawText(box.adjusted(24, px(98), -24, -8),
               Qt::AlignHCenter | Qt::AlignTop | Qt::TextWordWrap, m_text);
}

}  // namespace luthier::ui
