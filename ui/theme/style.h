// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Fusion with two changes: tooltips come after 400 ms, and the dotted focus rectangle is gone
// because FocusRing draws one ring for every control.

#include <QProxyStyle>

namespace luthier::ui {

class Style final : public QProxyStyle {
    Q_OBJECT
public:
    using QProxyStyle::QProxyStyle;
    int styleHint(StyleHint hint, const QStyleOption* option, const QWidget* widget,
                  QStyleHintReturn* data) const override;
    void drawPrimitive(PrimitiveElement element, const QStyleOption* option, QPainter* painter,
                       const QWidget* widget) const override;
    int pixelMetric(PixelMetric metric, const QStyleOption* option,
                    const QWidget* widget) const override;
};

}  // namespace luthier::ui
