// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// 32x20 pictures of methods: grey bars are layers, accent shapes are what the method adds.

#include <QRectF>
#include <QString>

class QPainter;

namespace luthier::ui {

void drawMethodGlyph(QPainter& painter, const QString& method, QPointF corner, bool isAvailable);

}  // namespace luthier::ui
