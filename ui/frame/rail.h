// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// The 72 px column at the left: the mark, eight pages, Settings at the foot; icon and label always.

#include "client/workbench.h"

#include <QAbstractButton>

namespace luthier::ui {

class RailItem final : public QAbstractButton {
    Q_OBJECT
public:
    RailItem(const QString& icon, const QString& label, const QString& keys);
    QSize sizeHint() const override;

protected:
    void paintEvent(QPaintEvent*) override;
    void enterEvent(QEnterEvent*) override { update(); }
    void leaveEvent(QEvent*) override { update(); }

private:
    QString m_icon;
};

class Rail final : public QWidget {
    Q_OBJECT
public:
    Rail();
    void setCurrent(PageId page);

signals:
    void chosen(luthier::ui::PageId page);

protected:
    void paintEvent(QPaintEvent*) override;

private:
    std::vector<RailItem*> m_items;
};

}  // namespace luthier::ui
