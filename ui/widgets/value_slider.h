// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// A named slider with its value at the right: arrows step, the value follows at once, and edited()
// comes when the hand rests.

#include <QTimer>
#include <QWidget>

#include <functional>

class QLabel;
class QSlider;

namespace luthier::ui {

class ElidedLabel;

class ValueSlider final : public QWidget {
    Q_OBJECT
public:
    enum class Arrangement {
        Stacked,
        OneLine
    };  ///< name and value over the slider, or all three in one line

    ValueSlider(const QString& name, double low, double high, double step,
                Arrangement arrangement = Arrangement::Stacked);
    double value() const;
    void setValue(double value);  ///< emits nothing; ignored while a hand moves it
    void setFormat(std::function<QString(double)> format);
    void setDot(const QColor& color);  ///< a square before the name, for one-line sliders

signals:
    void moved(double value);                  ///< with every step
    void edited(double before, double after);  ///< once a gesture

private:
    void showValue();
    double m_low, m_step;
    double m_before = 0;
    std::function<QString(double)> m_format;
    QLabel *m_dot = nullptr, *m_value;
    QSlider* m_slider;
    QTimer m_rest;
};

}  // namespace luthier::ui
