// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Draws thinned curves by columns: each column of pixels gets one vertical strip from the least to
// the greatest value in it, with softened ends. A zigzag of thousands of points costs what its
// pixels cost, where stroking it as a path costs a hundred times that.

#include <QColor>
#include <QImage>
#include <QList>
#include <QRectF>

#include <vector>

class QPainter;

namespace luthier::ui {

struct Strip {
    int column;         ///< device pixels from the left of the area
    float top, bottom;  ///< device pixels from its top, top <= bottom
};

class StripCanvas final {
public:
    /// Empties the canvas; `area` in widget coordinates, `ratio` device pixels a coordinate.
    void begin(const QRectF& area, double ratio);
    int columns() const { return m_image.width(); }
    double ratio() const { return m_ratio; }
    /// One curve, its strips in order of columns, each `stride` columns wide. Neighbours that do
    /// not touch are joined. `width` and `dash` in widget coordinates.
    void add(std::vector<Strip> strips, int stride, const QColor& color, double width,
             const QList<qreal>& dash);
    /// Puts what was added since the last time on the painter.
    void paint(QPainter& painter);

private:
    void fill(int column, float top, float bottom, QRgb color, int alpha);

    QImage m_image;
    QRectF m_area;
    double m_ratio = 1;
    bool m_isEmpty = true;
};

}  // namespace luthier::ui
