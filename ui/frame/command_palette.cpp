// SPDX-License-Identifier: GPL-3.0-or-later
#include "frame/command_palette.h"

#include "theme/icons.h"
#include "theme/theme.h"
#include "widgets/basics.h"

#include <QKeyEvent>
#include <QLineEdit>
#include <QListWidget>
#include <QTimer>

namespace luthier::ui {

CommandPalette::CommandPalette(std::vector<PaletteEntry> entries, QWidget* window)
    : QDialog(window, Qt::Popup | Qt::FramelessWindowHint), m_entries(std::move(entries)) {
    setAttribute(Qt::WA_DeleteOnClose);
    auto* frame = new QFrame;
    frame->setProperty("popover", "true");
    auto* column = makeColumn(6, 8);
    m_field = new QLineEdit;
    m_field->setPlaceholderText(tr("Page, command, run or model"));
    m_field->setAccessibleName(m_field->placeholderText());
    m_list = new QListWidget;
    m_list->setFocusPolicy(Qt::NoFocus);
    m_list->setIconSize({16, 16});
    m_list->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    column->addWidget(m_field);
    column->addWidget(m_list);
    frame->setLayout(column);
    auto* outer = makeColumn(0);
    outer->addWidget(frame);
    setLayout(outer);
    resize(px(480), px(360));
    move(window->mapToGlobal(QPoint((window->width() - width()) / 2, px(56))));
    m_field->installEventFilter(this);
    connect(m_field, &QLineEdit::textChanged, this, &CommandPalette::fill);
    connect(m_list, &QListWidget::itemClicked, this, &CommandPalette::runCurrent);
    fill({});
    m_field->setFocus();
}

void CommandPalette::fill(const QString& filter) {
    m_list->clear();
    const QStringList words = filter.split(' ', Qt::SkipEmptyParts);
    for (std::size_t i = 0; i < m_entries.size(); ++i) {
        const QString text = m_entries[i].title + " " + m_entries[i].note;
        bool fits = true;
        for (const QString& word : words) fits = fits && text.contains(word, Qt::CaseInsensitive);
        if (!fits) continue;
        auto* item = new QListWidgetItem(
            themedIcon(m_entries[i].icon),
            m_entries[i].title +
                (m_entries[i].note.isEmpty() ? QString() : "   ·   " + m_entries[i].note));
        item->setData(Qt::UserRole, static_cast<int>(i));
        item->setSizeHint({0, px(28)});
        m_list->addItem(item);
    }
    m_list->setCurrentRow(0);
}

bool CommandPalette::eventFilter(QObject*, QEvent* event) {
    if (event->type() != QEvent::KeyPress) return false;
    const int key = static_cast<QKeyEvent*>(event)->key();
    if (key == Qt::Key_Down || key == Qt::Key_Up) {
        const int to = m_list->currentRow() + (key == Qt::Key_Down ? 1 : -1);
        m_list->setCurrentRow(qBound(0, to, m_list->count() - 1));
        return true;
    }
    if (key == Qt::Key_Return || key == Qt::Key_Enter) {
        runCurrent();
        return true;
    }
    return false;
}

void CommandPalette::runCurrent() {
    const QListWidgetItem* item = m_list->currentItem();
    if (!item) return;
    const auto run = m_entries[static_cast<std::size_t>(item->data(Qt::UserRole).toInt())].run;
    close();
    QTimer::singleShot(0, run);
}

}  // namespace luthier::ui
