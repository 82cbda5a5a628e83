// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// One theme to choose, shown as a small window drawn in its own colours over its name; and the run
// palette under three simulations of colour vision.

#include "theme/theme.h"

#include <QAbstractButton>

namespace luthier::ui {

class ThemeCard final : public QAbstractButton {
    Q_OBJECT
public:
    ThemeCard(ThemeChoice choice, const QString& name);
    QSize sizeHint() const override { return {px(148), px(130)}; }
    QSize minimumSizeHint() const override { return {px(76), px(130)}; }

protected:
    void paintEvent(QPaintEvent*) override;
    void enterEvent(QEnterEvent*) override { update(); }
    void leaveEvent(QEvent*) override { update(); }

private:
    ThemeChoice m_choice;
};

enum class ColorVision { Full, Deuteranopia, Protanopia, Tritanopia };

/// What `color` looks like without one kind of cone: Machado, Oliveira, Fernandes 2009, severity 1,
/// in linear RGB.
QColor simulated(const QColor& color, ColorVision vision);

class PaletteRows final : public QWidget {
    Q_OBJECT
public:
    PaletteRows();
    QSize sizeHint() const override { return {px(404), px(4) + 4 * px(24)}; }
    QSize minimumSizeHint() const override { return {px(300), sizeHint().height()}; }

protected:
    void paintEvent(QPaintEvent*) override;
};

}  // namespace luthier::ui
