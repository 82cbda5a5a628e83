// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/value_slider.h"

#include "theme/theme.h"
#include "widgets/basics.h"
#include "widgets/color_dot.h"

#include <QSlider>

#include <cmath>

namespace luthier::ui {

ValueSlider::ValueSlider(const QString& name, double low, double high, double step,
                         Arrangement arrangement)
    : m_low(low), m_step(step) {
    const int decimals = step >= 1 ? 0 : 2;
    m_format = [decimals](double value) { return QString::number(value, 'f', decimals); };
    m_slider = new QSlider(Qt::Horizontal);
    m_slider->setRange(0, static_cast<int>(std::lround((high - low) / step)));
    m_slider->setPageStep(std::max(1, m_slider->maximum() / 10));
    m_slider->setAccessibleName(name);
    m_value = makeLabel({}, arrangement == Arrangement::Stacked ? "name" : "tablename");
    m_value->setAlignment(Qt::AlignRight | Qt::AlignVCenter);
    setFocusProxy(m_slider);
    if (arrangement == Arrangement::Stacked) {
        auto* column = makeColumn(0);
        auto* row = makeRow(8);
        row->addWidget(makeLabel(name, "body", "t2"));
        row->addStretch(1);
        row->addWidget(m_value);
        column->addLayout(row);
        column->addWidget(m_slider);
        setLayout(column);
    } else {
        auto* row = makeRow(8);
        m_dot = new ColorDot;
        m_dot->hide();
        auto* label = new ElidedLabel(name, "table", "t2");
        label->setFixedWidth(px(76));
        m_value->setFixedWidth(px(34));
        row->addWidget(m_dot);
        row->addWidget(label);
        row->addWidget(m_slider, 1);
        row->addWidget(m_value);
        setLayout(row);
    }
    m_rest.setSingleShot(true);
    m_rest.setInterval(350);
    connect(m_slider, &QSlider::valueChanged, this, [this] {
        showValue();
        emit moved(value());
        if (!m_rest.isActive() && !m_slider->isSliderDown())
            m_rest.start();
        else if (m_rest.isActive())
            m_rest.start();
    });
    connect(m_slider, &QSlider::sliderReleased, &m_rest, qOverload<>(&QTimer::start));
    connect(&m_rest, &QTimer::timeout, this, [this] {
        if (m_slider->isSliderDown() || value() == m_before) return;
        emit edited(std::exchange(m_before, value()), value());
    });
    showValue();
    m_before = value();
}

double ValueSlider::value() const { return m_low + m_slider->value() * m_step; }

void ValueSlider::setValue(double value) {
    if (m_slider->isSliderDown() || m_rest.isActive()) return;  // a hand is on it
    const QSignalBlocker block(m_slider);
    m_slider->setValue(static_cast<int>(std::lround((value - m_low) / m_step)));
    m_before = this->value();
    showValue();
}

void ValueSlider::setFormat(std::function<QString(double)> format) {
    m_format = std::move(format);
    showValue();
}

void ValueSlider::setDot(const QColor& color) {
    if (!m_dot) return;
    static_cast<ColorDot*>(m_dot)->setColor(color);
    m_dot->show();
}

void ValueSlider::showValue() {
    m_value->setText(m_format(value()));
    m_slider->setAccessibleDescription(m_value->text());
}

}  // namespace luthier::ui
