// SPDX-License-Identifier: GPL-3.0-or-later
// Mouse and keys in a plot.
#include "plots/plot.h"

#include "theme/format.h"

#include <qcustomplot.h>

#include <QKeyEvent>

#include <cmath>

namespace luthier::ui {

int Plot::curveNear(QPointF point) const {
    const double x = m_plot->xAxis->pixelToCoord(point.x());
    int best = -1;
    double bestDistance = 8;
    for (std::size_t i = 0; i < curves.size(); ++i) {
        if (!curves[i]->isVisible || curves[i]->isRaw) continue;
        const int at = nearest(*curves[i], x);
        if (at < 0) continue;
        const double distance =
            std::fabs(pixelY((*curves[i]->y)[static_cast<std::size_t>(at)]) - point.y());
        if (distance < bestDistance) {
            bestDistance = distance;
            best = static_cast<int>(i);
        }
    }
    return best;
}

double Plot::coordinate(QPointF at) const {
    return m_plot->xAxis->pixelToCoord(std::clamp(at.x(), plotRect().left(), plotRect().right()));
}

void Plot::mouseMoved(QPointF at) {
    const double x = coordinate(at);
    if (!std::isnan(m_panFrom)) return m_group.pan(m_panFrom - x);
    if (!std::isnan(m_dragFrom)) {
        m_dragTo = x;
        refresh();
    }
    if (!plotRect().contains(at))
        return m_group.setCrosshair(std::numeric_limits<double>::quiet_NaN(), nullptr);
    double snapped = x;
    for (const auto& curve : curves) {
        const int i = curve->isVisible ? nearest(*curve, x) : -1;
        if (i < 0) continue;
        snapped = (*curve->x)[static_cast<std::size_t>(i)];
        if (curve->isStrong || curves.size() < 4) break;
    }
    if (std::fabs(pixelX(snapped) - pixelX(x)) > 40) snapped = x;
    m_group.setCrosshair(snapped, this);
    emit curveHovered(curveNear(at));
}

void Plot::mouseReleased(QPointF at, bool isLeft) {
    const double from = std::exchange(m_dragFrom, std::numeric_limits<double>::quiet_NaN());
    m_dragTo = m_panFrom = std::numeric_limits<double>::quiet_NaN();
    if (isLeft && !std::isnan(from)) {
        const double to = coordinate(at);
        if (std::fabs(pixelX(to) - pixelX(from)) > 6)
            m_group.setRange(std::min(from, to), std::max(from, to));
        else if (const int curve = curveNear(at); curve >= 0)
            emit curveClicked(curve);
    }
    refresh();
}

bool Plot::eventFilter(QObject*, QEvent* event) {
    switch (event->type()) {
        case QEvent::MouseMove:
            mouseMoved(static_cast<QMouseEvent*>(event)->position());
            return true;
        case QEvent::Leave:
            m_group.setCrosshair(std::numeric_limits<double>::quiet_NaN(), nullptr);
            emit curveHovered(-1);
            return false;
        case QEvent::MouseButtonPress: {
            auto* mouse = static_cast<QMouseEvent*>(event);
            setFocus(Qt::MouseFocusReason);
            if (mouse->button() == Qt::LeftButton && plotRect().contains(mouse->position()))
                m_dragFrom = coordinate(mouse->position());
            if (mouse->button() == Qt::MiddleButton) m_panFrom = coordinate(mouse->position());
            return true;
        }
        case QEvent::MouseButtonRelease: {
            auto* mouse = static_cast<QMouseEvent*>(event);
            mouseReleased(mouse->position(), mouse->button() == Qt::LeftButton);
            return true;
        }
        case QEvent::MouseButtonDblClick:
            m_group.resetZoom();
            return true;
        case QEvent::Wheel: {
            auto* wheel = static_cast<QWheelEvent*>(event);
            if (!(wheel->modifiers() & Qt::ControlModifier)) {
                wheel->ignore();
                return true;
            }
            const double x = coordinate(wheel->position()),
                         factor = std::pow(0.85, wheel->angleDelta().y() / 120.0);
            m_group.setRange(x - (x - m_group.low()) * factor, x + (m_group.high() - x) * factor);
            return true;
        }
        default:
            return false;
    }
}

void Plot::moveCrosshair(int by) {
    for (const auto& curve : curves) {
        if (!curve->isVisible || !curve->x || !curve->y) continue;
        const int count = static_cast<int>(std::min(
            curve->x->size(), curve->y->size()));  // a smoothed curve follows a moment later
        if (count == 0) continue;
        const int from =
            std::isnan(m_group.crosshair()) ? count : nearest(*curve, m_group.crosshair());
        const auto at = static_cast<std::size_t>(std::clamp(from + by, 0, count - 1));
        m_group.setCrosshair((*curve->x)[at], this);
        setAccessibleDescription(
            tr("%1: %2").arg(xWords((*curve->x)[at]), format::loss((*curve->y)[at])));
        return;
    }
}

void Plot::keyPressEvent(QKeyEvent* event) {
    const auto zoom = [this](double factor) {
        const double centre = std::isnan(m_group.crosshair()) ? (m_group.low() + m_group.high()) / 2
                                                              : m_group.crosshair();
        m_group.setRange(centre - (centre - m_group.low()) * factor,
                         centre + (m_group.high() - centre) * factor);
    };
    switch (event->key()) {
        case Qt::Key_Left:
            return moveCrosshair(event->modifiers() & Qt::ShiftModifier ? -10 : -1);
        case Qt::Key_Right:
            return moveCrosshair(event->modifiers() & Qt::ShiftModifier ? 10 : 1);
        case Qt::Key_Plus:
        case Qt::Key_Equal:
            return zoom(0.7);
        case Qt::Key_Minus:
            return zoom(1.4);
        case Qt::Key_0:
            return m_group.resetZoom();
        case Qt::Key_X:
            emit m_group.unitKeyPressed();
            return;
        case Qt::Key_L:
            emit m_group.logKeyPressed();
            return;
        default:
            QWidget::keyPressEvent(event);
    }
}

}  // namespace luthier::ui
