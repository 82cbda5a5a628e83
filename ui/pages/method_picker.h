// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// The method cards of New run, two in a row with a sentence each; below 1360 px rows, the sentence
// on the chosen one only. Each card shows the trainable count for the chosen model.

#include "client/catalogue.h"

#include <QAbstractButton>
#include <QScrollArea>

class QGridLayout;

namespace luthier::ui {

class MethodCard final : public QAbstractButton {
    Q_OBJECT
public:
    explicit MethodCard(const MethodInfo& info);
    void setCount(const QString& words) {
        m_count = words;
        update();
    }
    void setReason(const QString& reason);  ///< why the method cannot apply; "" = it can
    void setIsRow(bool isRow) {
        m_isRow = isRow;
        updateGeometry();
        update();
    }
    const QString& method() const { return m_info.name; }
    QSize sizeHint() const override;
    QSize minimumSizeHint() const override { return {120, sizeHint().height()}; }
    bool hasHeightForWidth() const override { return !m_isRow; }
    int heightForWidth(int width) const override;

protected:
    void paintEvent(QPaintEvent*) override;
    void enterEvent(QEnterEvent*) override { update(); }
    void leaveEvent(QEvent*) override { update(); }
    void checkStateSet() override { updateGeometry(); }

private:
    MethodInfo m_info;
    QString m_count, m_reason;
    bool m_isRow = false;
};

class MethodPicker final : public QScrollArea {
    Q_OBJECT
public:
    MethodPicker();
    void setMethods(const std::vector<MethodInfo>& methods);
    void setCurrent(const QString& method);
    void setCount(const QString& method, const QString& words, const QString& reason = {});
    void setAsRows(bool rows);

signals:
    void chosen(const QString& method);

private:
    void arrange();
    std::vector<MethodInfo> m_methods;
    std::vector<MethodCard*> m_cards;
    QWidget* m_content;
    QString m_current;
    bool m_asRows = false;
};

}  // namespace luthier::ui
