// SPDX-License-Identifier: GPL-3.0-or-later
#include "frame/toast.h"

#include "theme/icons.h"
#include "theme/theme.h"
#include "widgets/basics.h"

#include <QAccessible>
#include <QEvent>
#include <QTimer>

namespace luthier::ui {

ToastArea::ToastArea(QWidget* window) : QObject(window), m_window(window) {
    window->installEventFilter(this);
}

void ToastArea::show(const QString& text, const QString& action, std::function<void()> run,
                     const QString& kind) {
    // The same words again only start the time anew.
    for (QFrame* shown : m_toasts)
        if (shown->accessibleName() == text)
            return shown->findChild<QTimer*>()->start(kind == "err" ? 12000 : 6000);
    auto* toast = new QFrame(m_window);
    toast->setProperty("toast", "true");
    auto* row = makeRow(8);
    row->setContentsMargins(12, 7, 8, 7);
    auto* icon = new QLabel;
    const Tokens& t = Theme::tokens();
    icon->setPixmap(iconPixmap(kind == "err"    ? "error"
                               : kind == "warn" ? "warning"
                               : kind == "note" ? "info"
                                                : "ok",
                               kind == "err"    ? t.err
                               : kind == "warn" ? t.warn
                               : kind == "note" ? t.t2
                                                : t.ok));
    auto* words = makeLabel(text, "body");
    words->setWordWrap(text.size() > 70);
    words->setMaximumWidth(480);
    row->addWidget(icon, 0, Qt::AlignTop);
    row->addWidget(words, 1);
    const auto close = [this, toast] {
        m_toasts.removeOne(toast);
        toast->deleteLater();
        place();
    };
    if (!action.isEmpty()) {
        auto* button = makeButton(action, "link", 24);
        connect(button, &QPushButton::clicked, this, [run, close] {
            if (run) run();
            close();
        });
        row->addWidget(button);
    }
    auto* cross = makeIconButton("close", tr("Close message"), 24);
    connect(cross, &QPushButton::clicked, this, close);
    row->addWidget(cross);
    toast->setLayout(row);
    toast->setAccessibleName(text);
    m_toasts << toast;
    auto* timer = new QTimer(toast);
    connect(timer, &QTimer::timeout, this, [toast, close, timer] {
        if (toast->underMouse()) return timer->start(1500);
        close();
    });
    timer->start(kind == "err" ? 12000 : 6000);
    toast->adjustSize();
    toast->show();
    toast->raise();
    place();
    QAccessibleEvent announcement(toast, QAccessible::Alert);
    QAccessible::updateAccessibility(&announcement);
}

bool ToastArea::eventFilter(QObject*, QEvent* event) {
    if (event->type() == QEvent::Resize) place();
    return false;
}

void ToastArea::place() {
    int y = m_window->height() - px(24) - 16;
    for (auto it = m_toasts.rbegin(); it != m_toasts.rend(); ++it) {
        (*it)->adjustSize();
        y -= (*it)->height();
        (*it)->move(m_window->width() - (*it)->width() - 16, y);
        y -= 8;
    }
}

}  // namespace luthier::ui
