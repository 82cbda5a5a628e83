// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// What the plots of a page share: one x range, one crosshair, one x unit.

#include <QObject>
#include <QString>

#include <limits>

namespace luthier::ui {

enum class XUnit { Step, Tokens, Time };

class Plot;

class PlotGroup final : public QObject {
    Q_OBJECT
public:
    explicit PlotGroup(QObject* parent = nullptr) : QObject(parent) {}
    XUnit unit() const { return m_unit; }
    void setUnit(XUnit unit);
    /// The whole extent of the data; while nobody zoomed, it is what is shown.
    void setExtent(double low, double high);
    void setRange(double low, double high);  ///< a zoom by the user
    void pan(double delta);
    void resetZoom();
    QString xNumber(double x) const;  ///< x in its unit, as on the axis
    double low() const { return m_isZoomed ? m_low : m_extentLow; }
    double high() const { return m_isZoomed ? m_high : m_extentHigh; }
    bool isZoomed() const { return m_isZoomed; }
    void setCrosshair(double x, Plot* source);  ///< NaN hides it
    double crosshair() const { return m_crosshair; }
    Plot* crosshairSource() const { return m_source; }

signals:
    void rangeChanged();
    void crosshairChanged();
    void unitChanged();
    void unitKeyPressed();
    void logKeyPressed();

private:
    XUnit m_unit = XUnit::Step;
    double m_low = 0, m_high = 1, m_extentLow = 0, m_extentHigh = 1,
           m_crosshair = std::numeric_limits<double>::quiet_NaN();
    bool m_isZoomed = false;
    Plot* m_source = nullptr;
};

}  // namespace luthier::ui
