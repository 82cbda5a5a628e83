// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// The dashed box that says a page takes drops, with a button for those who would rather choose.

#include <QWidget>

class QPushButton;

namespace luthier::ui {

class DropArea final : public QWidget {
    Q_OBJECT
public:
    DropArea(const QString& title, const QString& text, const QString& button);
    void setActive(bool isActive);  ///< something that can be dropped is over the page
    QPushButton* button() { return m_button; }

protected:
    void paintEvent(QPaintEvent*) override;

private:
    bool m_isActive = false;
    QPushButton* m_button;
};

}  // namespace luthier::ui
