// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/run_list.h"

#include "theme/icons.h"
#include "theme/theme.h"

#include <QPainter>
#include <QStyledItemDelegate>

namespace luthier::ui {

namespace {

enum Role { IdRole = Qt::UserRole, NoteRole, ColorRole, MarkRole };

class TwoLineDelegate final : public QStyledItemDelegate {
public:
    using QStyledItemDelegate::QStyledItemDelegate;
    QSize sizeHint(const QStyleOptionViewItem&, const QModelIndex&) const override {
        return {100, Theme::instance().rowHeight() + px(22)};
    }
    void paint(QPainter* painter, const QStyleOptionViewItem& option,
               const QModelIndex& index) const override {
        const Tokens& t = Theme::tokens();
        QPainter& p = *painter;
        p.save();
        if (option.state & QStyle::State_Selected)
            p.fillRect(option.rect, t.soft);
        else if (option.state & QStyle::State_MouseOver)
            p.fillRect(option.rect, t.bg3);
        p.fillRect(QRect(option.rect.left(), option.rect.bottom(), option.rect.width(), 1), t.line);
        const QRectF box = QRectF(option.rect).adjusted(16, 0, -16, -1);
        const double first = box.center().y() - px(19);
        p.setRenderHint(QPainter::Antialiasing);
        p.setPen(Qt::NoPen);
        p.setBrush(index.data(ColorRole).value<QColor>());
        p.drawRoundedRect(QRectF(box.left(), first + px(5), 8, 8), 2, 2);
        const bool isMarked = index.data(MarkRole).toBool();
        if (isMarked) drawIcon(p, "ok", QRectF(box.right() - 16, first + 1, 16, 16), t.ok);
        const double left = box.left() + px(16), room = box.right() - left - (isMarked ? 22 : 0);
        p.setFont(themeFont(Type::Name));
        p.setPen(t.t1);
        p.drawText(QRectF(left, first, room, px(18)), Qt::AlignVCenter,
                   p.fontMetrics().elidedText(index.data(Qt::DisplayRole).toString(),
                                              Qt::ElideRight, static_cast<int>(room)));
        p.setFont(themeFont(Type::Table));
        p.setPen(t.t2);
        p.drawText(QRectF(left, first + px(20), box.right() - left, px(16)), Qt::AlignVCenter,
                   p.fontMetrics().elidedText(index.data(NoteRole).toString(), Qt::ElideRight,
                                              static_cast<int>(box.right() - left)));
        p.restore();
    }
};

}  // namespace

RunList::RunList(const QString& accessibleName) {
    setAccessibleName(accessibleName);
    setItemDelegate(new TwoLineDelegate(this));
    setVerticalScrollMode(ScrollPerPixel);
    setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    setMouseTracking(true);
    setUniformItemSizes(true);
    connect(this, &QListWidget::currentItemChanged, this,
            [this](QListWidgetItem* now, QListWidgetItem*) {
                if (now) emit chosen(now->data(IdRole).toString());
            });
}

void RunList::setEntries(const std::vector<RunListEntry>& entries) {
    const QString kept = currentId();
    const QSignalBlocker block(this);
    while (count() > static_cast<int>(entries.size())) delete takeItem(count() - 1);
    while (count() < static_cast<int>(entries.size())) addItem(new QListWidgetItem);
    for (int i = 0; i < count(); ++i) {
        const RunListEntry& entry = entries[static_cast<std::size_t>(i)];
        item(i)->setText(entry.name);
        item(i)->setData(IdRole, entry.id);
        item(i)->setData(NoteRole, entry.note);
        item(i)->setData(ColorRole, entry.color);
        item(i)->setData(MarkRole, entry.isMarked);
        item(i)->setData(Qt::AccessibleDescriptionRole, entry.note);
        item(i)->setHidden(
            !m_filter.isEmpty() &&
            !(entry.name + " " + entry.note).contains(m_filter, Qt::CaseInsensitive));
    }
    if (!kept.isEmpty()) select(kept);
    viewport()->update();
}

void RunList::setFilter(const QString& text) {
    m_filter = text;
    for (int i = 0; i < count(); ++i)
        item(i)->setHidden(!text.isEmpty() &&
                           !(item(i)->text() + " " + item(i)->data(NoteRole).toString())
                                .contains(text, Qt::CaseInsensitive));
}

QString RunList::currentId() const {
    return currentItem() ? currentItem()->data(IdRole).toString() : QString();
}

void RunList::select(const QString& id) {
    for (int i = 0; i < count(); ++i)
        if (item(i)->data(IdRole).toString() == id) return setCurrentRow(i);
}

}  // namespace luthier::ui
