// SPDX-License-Identifier: GPL-3.0-or-later
#include "theme/style.h"

namespace luthier::ui {

int Style::styleHint(StyleHint hint, const QStyleOption* option, const QWidget* widget,
                     QStyleHintReturn* data) const {
    switch (hint) {
        case SH_ToolTip_WakeUpDelay:
            return 400;
        case SH_ComboBox_Popup:
            return 0;
        case SH_EtchDisabledText:
        case SH_UnderlineShortcut:
        case SH_ItemView_ShowDecorationSelected:
            return 0;
        default:
            return QProxyStyle::styleHint(hint, option, widget, data);
    }
}

void Style::drawPrimitive(PrimitiveElement element, const QStyleOption* option, QPainter* painter,
                          const QWidget* widget) const {
    if (element == PE_FrameFocusRect) return;
    QProxyStyle::drawPrimitive(element, option, painter, widget);
}

int Style::pixelMetric(PixelMetric metric, const QStyleOption* option,
                       const QWidget* widget) const {
    if (metric == PM_SplitterWidth) return 1;
    return QProxyStyle::pixelMetric(metric, option, widget);
}

}  // namespace luthier::ui
