// SPDX-License-Identifier: GPL-3.0-or-later
#include "plots/smoothing.h"

#include <cmath>
#include <limits>

namespace luthier::ui {

void Smoother::setWeight(double weight) {
    if (weight == m_weight) return;
    m_weight = weight;
    m_restart = true;
}

void Smoother::extend(const std::vector<float>& input, std::vector<float>& output) {
    if (m_restart || input.size() < output.size() || output.empty()) {
        output.clear();
        m_state = 0;
        m_norm = 1;
        m_restart = false;
    }
    output.reserve(input.capacity());
    for (std::size_t i = output.size(); i < input.size(); ++i) {
        if (std::isfinite(input[i])) {
            m_state = m_weight * m_state + (1 - m_weight) * static_cast<double>(input[i]);
            m_norm *= m_weight;
            output.push_back(static_cast<float>(m_state / (1 - m_norm)));
        } else {
            output.push_back(output.empty() ? std::numeric_limits<float>::quiet_NaN()
                                            : output.back());
        }
    }
}

}  // namespace luthier::ui
