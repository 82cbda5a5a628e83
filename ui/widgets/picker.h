// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// The tall fields of the New run strip: icon, caption, value. PickerButton opens a menu,
// PickerField takes text.

#include <QAbstractButton>
#include <QFrame>

class QLineEdit;

namespace luthier::ui {

class PickerButton final : public QAbstractButton {
    Q_OBJECT
public:
    PickerButton(const QString& icon, const QString& caption);
    void set(const QString& value, const QString& note = {});
    void setProblem(bool isProblem);
    QSize sizeHint() const override;
    QSize minimumSizeHint() const override { return {90, sizeHint().height()}; }

protected:
    void paintEvent(QPaintEvent*) override;
    void enterEvent(QEnterEvent*) override { update(); }
    void leaveEvent(QEvent*) override { update(); }

private:
    QString m_icon, m_caption, m_value, m_note;
    bool m_isProblem = false;
};

class PickerField final : public QWidget {
    Q_OBJECT
public:
    PickerField(const QString& icon, const QString& caption);
    QLineEdit* edit() { return m_edit; }
    QSize sizeHint() const override;

protected:
    void paintEvent(QPaintEvent*) override;

private:
    QString m_icon, m_caption;
    QLineEdit* m_edit;
};

}  // namespace luthier::ui
