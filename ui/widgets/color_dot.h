// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// The small square that stands for a run's colour beside its name; several colours share it in
// stripes, none is the base (t2).

#include "theme/theme.h"

#include <QLabel>
#include <QPainter>

namespace luthier::ui {

class ColorDot final : public QLabel {
public:
    explicit ColorDot(const QColor& color = {}) {
        setFixedSize(px(10), px(10));
        setColor(color);
    }
    void setColor(const QColor& color) {
        setColors(color.isValid() ? QList<QColor>{color} : QList<QColor>{});
    }
    void setColors(const QList<QColor>& colors) {
        m_colors = colors;
        update();
    }

protected:
    void paintEvent(QPaintEvent*) override {
        QPainter p(this);
        p.setRenderHint(QPainter::Antialiasing);
        p.setPen(Qt::NoPen);
        const QRectF box(1, 1, width() - 2, height() - 2);
        if (m_colors.size() < 2) {
            p.setBrush(m_colors.isEmpty() ? Theme::tokens().t2 : m_colors.first());
            p.drawRoundedRect(box, 2, 2);
            return;
        }
        const double each = box.width() / static_cast<double>(m_colors.size());
        for (qsizetype i = 0; i < m_colors.size(); ++i)
            p.fillRect(
                QRectF(box.left() + each * static_cast<double>(i), box.top(), each, box.height()),
                m_colors[i]);
    }

private:
    QList<QColor> m_colors;
};

}  // namespace luthier::ui
