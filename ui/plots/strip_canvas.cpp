// SPDX-License-Identifier: GPL-3.0-or-later
#include "plots/strip_canvas.h"

#include <QPainter>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace luthier::ui {

namespace {

/// source over destination, both premultiplied, with the source's coverage 0..255.
QRgb blend(QRgb source, QRgb destination, int coverage) {
    const auto scale = [](QRgb pixel, unsigned by) {  // two channels at a time, rounded
        const auto half = [by](unsigned pair) {
            const unsigned product = pair * by;
            return ((product + ((product >> 8) & 0xff00ff) + 0x800080) >> 8) & 0xff00ff;
        };
        return half(pixel & 0xff00ff) | (half((pixel >> 8) & 0xff00ff) << 8);
    };
    const QRgb part = scale(source, static_cast<unsigned>(coverage));
    return part + scale(destination, 255u - static_cast<unsigned>(qAlpha(part)));
}

}  // namespace

void StripCanvas::begin(const QRectF& area, double ratio) {
    const QSize size(static_cast<int>(std::ceil(area.width() * ratio)),
                     static_cast<int>(std::ceil(area.height() * ratio)));
    if (m_image.size() != size) {
        m_image = QImage(size.expandedTo({1, 1}), QImage::Format_ARGB32_Premultiplied);
        m_isEmpty = false;
    }
    if (!m_isEmpty) m_image.fill(Qt::transparent);
    m_image.setDevicePixelRatio(ratio);
    m_area = area;
    m_ratio = ratio;
    m_isEmpty = true;
}

void StripCanvas::add(std::vector<Strip> strips, int stride, const QColor& color, double width,
                      const QList<qreal>& dash) {
    for (std::size_t i = 1; i < strips.size(); ++i) {
        const Strip& before = strips[i - 1];
        if (strips[i].top > before.bottom)
            strips[i].top = before.bottom;
        else if (strips[i].bottom < before.top)
            strips[i].bottom = before.top;
    }
    const QRgb ink = qPremultiply(color.rgba());
    const auto pen = static_cast<float>(width * m_ratio);
    const int wide = std::max(
        stride,
        static_cast<int>(std::lround(pen - 0.25f)));  // a thick line is thick where it climbs, too
    const double period = std::accumulate(dash.begin(), dash.end(), 0.0) * m_ratio;
    for (const Strip& strip : strips) {
        if (period > 0) {
            double at = std::fmod(strip.column, period);
            qsizetype part = 0;
            while (part < dash.size() && at >= dash[part] * m_ratio) at -= dash[part++] * m_ratio;
            if (part % 2 == 1) continue;
        }
        const float lack = std::max(0.0f, pen - (strip.bottom - strip.top)) / 2;
        for (int i = 0; i < wide; ++i)
            fill(strip.column + i - (wide - stride) / 2, strip.top - lack, strip.bottom + lack, ink,
                 255);
    }
    m_isEmpty = m_isEmpty && strips.empty();
}

void StripCanvas::fill(int column, float top, float bottom, QRgb color, int alpha) {
    if (column < 0 || column >= m_image.width()) return;
    top = std::max(top, 0.0f);
    bottom = std::min(bottom, static_cast<float>(m_image.height()));
    if (!(bottom > top)) return;
    const int first = static_cast<int>(top),
              last = std::min(static_cast<int>(bottom), m_image.height() - 1);
    const auto stride = m_image.bytesPerLine() / static_cast<qsizetype>(sizeof(QRgb));
    QRgb* pixel = reinterpret_cast<QRgb*>(m_image.bits()) + first * stride + column;
    for (int y = first; y <= last; ++y, pixel += stride) {
        const float covered =
            std::min(bottom, static_cast<float>(y) + 1) - std::max(top, static_cast<float>(y));
        const int coverage =
            covered >= 1 ? alpha
                         : static_cast<int>(static_cast<float>(alpha) * std::max(covered, 0.0f));
        *pixel = coverage == 255 && qAlpha(color) == 255 ? color : blend(color, *pixel, coverage);
    }
}

void StripCanvas::paint(QPainter& painter) {
    if (m_isEmpty) return;
    painter.drawImage(m_area.topLeft(), m_image);
    m_image.fill(Qt::transparent);
    m_isEmpty = true;
}

}  // namespace luthier::ui
