// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// What the window shows while a file or folder is held over it: what letting go will do.

#include <QString>
#include <QWidget>

namespace luthier::ui {

class DropVeil final : public QWidget {
    Q_OBJECT
public:
    explicit DropVeil(QWidget* window);
    void show(const QString& title, const QString& text);

protected:
    void paintEvent(QPaintEvent*) override;

private:
    QString m_title, m_text;
};

}  // namespace luthier::ui
