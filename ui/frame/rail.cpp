// SPDX-License-Identifier: GPL-3.0-or-later
#include "frame/rail.h"

#include "theme/icons.h"
#include "theme/theme.h"
#include "widgets/basics.h"

#include <QPainter>

namespace luthier::ui {

RailItem::RailItem(const QString& icon, const QString& label, const QString& keys) : m_icon(icon) {
    setText(label);
    setAccessibleName(label);
    setToolTip(keys.isEmpty() ? QString() : label + "  " + keys);
    setCheckable(true);
    setAutoExclusive(true);
    setFocusPolicy(Qt::TabFocus);
    setSizePolicy(QSizePolicy::Fixed, QSizePolicy::Fixed);
}

QSize RailItem::sizeHint() const { return {px(64), px(52)}; }

void RailItem::paintEvent(QPaintEvent*) {
    const Tokens& t = Theme::tokens();
    QPainter p(this);
    p.setRenderHint(QPainter::Antialiasing);
    if (isChecked() || underMouse()) {
        p.setPen(Qt::NoPen);
        p.setBrush(isChecked() ? t.bg3 : t.bg2);
        p.drawRoundedRect(rect(), 8, 8);
    }
    const double iconTop = height() / 2.0 - 19;
    drawIcon(p, m_icon, QRectF((width() - 20) / 2.0, iconTop, 20, 20), isChecked() ? t.acc : t.t2);
    p.setFont(themeFont(Type::Caption));
    if (isChecked()) {
        QFont font = p.font();
        font.setWeight(QFont::Medium);
        p.setFont(font);
    }
    p.setPen(isChecked() ? t.t1 : t.t2);
    p.drawText(QRectF(-4, iconTop + 22, width() + 8, height() - iconTop - 22),
               Qt::AlignHCenter | Qt::AlignTop, text());
}

Rail::Rail() {
    setFixedWidth(px(72));
    auto* column = makeColumn(4);
    column->setContentsMargins(px(4), px(56), px(4), px(8));
    const struct {
        const char* icon;
        QString label;
        QString keys;
    } items[] = {{"home", tr("Start"), "Alt+1"},
                 {"library", tr("Library"), "Alt+2"},
                 {"data", tr("Data"), "Alt+3"},
                 {"plus", tr("New run"), "Alt+4"},
                 {"runs", tr("Runs"), "Alt+5"},
                 {"compare", tr("Compare"), "Alt+6"},
                 {"playground", tr("Playground"), "Alt+7"},
                 {"export", tr("Export"), "Alt+8"},
                 {"settings", tr("Settings"), "Ctrl+,"}};
    for (const auto& item : items) {
        auto* button = new RailItem(item.icon, item.label, item.keys);
        const auto page = static_cast<PageId>(m_items.size());
        connect(button, &QAbstractButton::clicked, this, [this, page] { emit chosen(page); });
        if (page == PageId::Settings) column->addStretch(1);
        column->addWidget(button, 0, Qt::AlignHCenter);
        m_items.push_back(button);
    }
    setLayout(column);
}

void Rail::setCurrent(PageId page) {
    m_items[static_cast<std::size_t>(page)]->setChecked(true);
    update();
}

void Rail::paintEvent(QPaintEvent*) {
    const Tokens& t = Theme::tokens();
    QPainter p(this);
    p.fillRect(rect(), t.bg0);
    p.fillRect(width() - 1, 0, 1, height(), t.line);
    p.setRenderHint(QPainter::Antialiasing);
    p.setPen(Qt::NoPen);
    p.setBrush(t.bg3);
    const QRectF box((width() - 26) / 2.0, px(11), 26, 26);
    p.drawRoundedRect(box, 6, 6);
    drawIcon(p, "mark", box.adjusted(2, 2, -2, -2), t.acc);
    for (RailItem* item : m_items)
        if (item->isChecked()) {
            p.setBrush(t.acc);
            p.setPen(Qt::NoPen);
            p.drawRoundedRect(QRectF(-2, item->y() + (item->height() - 24) / 2.0, 4.5, 24), 2, 2);
        }
}

}  // namespace luthier::ui
