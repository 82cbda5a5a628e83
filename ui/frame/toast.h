// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Messages at the bottom right, 6 s each, newest lowest; hovering holds them.

#include <QFrame>
#include <QWidget>

#include <functional>

namespace luthier::ui {

class ToastArea final : public QObject {
    Q_OBJECT
public:
    explicit ToastArea(QWidget* window);
    void show(const QString& text, const QString& action, std::function<void()> run,
              const QString& kind);

protected:
    bool eventFilter(QObject* object, QEvent* event) override;

private:
    void place();
    QWidget* m_window;
    QList<QFrame*> m_toasts;
};

}  // namespace luthier::ui
