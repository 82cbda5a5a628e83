// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// 32x20 pictures of methods: grey bars are layers, accent shapes are what the method adds. The
// engine brings them as text, one command behind the other (core/peft/method.h says which).

#include <QRectF>
#include <QString>

class QPainter;

namespace luthier::ui {

/// @param glyph MethodInfo::glyph
void drawMethodGlyph(QPainter& painter, const QString& glyph, QPointF corner, bool isAvailable);

}  // namespace luthier::ui
