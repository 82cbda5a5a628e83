// SPDX-License-Identifier: GPL-3.0-or-later
#include "plots/plot_group.h"

#include "theme/format.h"

#include <algorithm>
#include <cmath>

namespace luthier::ui {

QString PlotGroup::xNumber(double x) const {
    if (m_unit == XUnit::Time) return format::duration(x);
    if (std::fabs(x) >= 10000) return format::shortCount(x);
    return format::count(static_cast<std::int64_t>(std::llround(x)));
}

void PlotGroup::setUnit(XUnit unit) {
    if (unit == m_unit) return;
    m_unit = unit;
    m_isZoomed = false;
    setCrosshair(std::numeric_limits<double>::quiet_NaN(), nullptr);
    emit unitChanged();
}

void PlotGroup::setExtent(double low, double high) {
    if (low == m_extentLow && high == m_extentHigh) return;
    // A view at the right edge follows the data; a zoom elsewhere stays where the user put it.
    if (m_isZoomed && m_high >= m_extentHigh - 1e-9 && m_high < high) {
        const double move = high - m_high;
        m_low += move;
        m_high += move;
    }
    m_extentLow = low;
    m_extentHigh = high;
    emit rangeChanged();
}

void PlotGroup::setRange(double low, double high) {
    const double least = (m_extentHigh - m_extentLow) * 1e-5 + 1e-9;
    if (high - low < least) return;
    m_low = std::max(low, m_extentLow);
    m_high = std::min(high, m_extentHigh);
    m_isZoomed = m_low > m_extentLow || m_high < m_extentHigh;
    emit rangeChanged();
}

void PlotGroup::pan(double delta) {
    if (!m_isZoomed) return;
    delta = std::clamp(delta, m_extentLow - m_low, m_extentHigh - m_high);
    m_low += delta;
    m_high += delta;
    emit rangeChanged();
}

void PlotGroup::resetZoom() {
    m_isZoomed = false;
    emit rangeChanged();
}

void PlotGroup::setCrosshair(double x, Plot* source) {
    if (x == m_crosshair || (std::isnan(x) && std::isnan(m_crosshair))) return;
    m_crosshair = x;
    m_source = source;
    emit crosshairChanged();
}

}  // namespace luthier::ui
