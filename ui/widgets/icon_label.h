// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// An icon that stands alone and follows the theme: its colour is asked for while painting.

#include "theme/icons.h"
#include "theme/theme.h"

#include <QPainter>
#include <QWidget>

#include <functional>

namespace luthier::ui {

class IconLabel final : public QWidget {
public:
    explicit IconLabel(
        const QString& icon, int size = 16,
        std::function<QColor()> color = [] { return Theme::tokens().t2; })
        : m_icon(icon), m_color(std::move(color)) {
        setFixedSize(size, size);
    }

protected:
    void paintEvent(QPaintEvent*) override {
        QPainter p(this);
        drawIcon(p, m_icon, rect(), m_color());
    }

private:
    QString m_icon;
    std::function<QColor()> m_color;
};

}  // namespace luthier::ui
