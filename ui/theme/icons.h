// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Our icons: one-colour SVG files on a 16 px grid, tinted when drawn, so they follow the text
// beside them and the theme.

#include <QIcon>
#include <QPixmap>
#include <QString>

class QPainter;

namespace luthier::ui {

/// A tinted pixmap of `size` design pixels; cached.
QPixmap iconPixmap(const QString& name, const QColor& color, int size = 16, qreal ratio = 0);
/// Drawn at `rect` with the painter's device ratio.
void drawIcon(QPainter& painter, const QString& name, const QRectF& rect, const QColor& color);
/// For buttons: t1 at rest, dis when disabled; resolved at paint time, so it survives a theme
/// change.
QIcon themedIcon(const QString& name);
QIcon tintedIcon(const QString& name, const QColor& color);

}  // namespace luthier::ui
