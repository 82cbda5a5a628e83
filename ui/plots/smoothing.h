// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Exponential moving average over all points, before any thinning: s_t = w s_{t-1} + (1 - w) x_t,
// divided by 1 - w^t so that the first values are not pulled to zero (as TensorBoard does). A value
// that is not finite is passed over and repeats the last.

#include <cstddef>
#include <vector>

namespace luthier::ui {

class Smoother final {
public:
    explicit Smoother(double weight = 0.9) : m_weight(weight) {}
    void setWeight(double weight);
    double weight() const { return m_weight; }
    /// Appends to `output` what `input` has more; starts over when the input shrank or the weight
    /// changed.
    void extend(const std::vector<float>& input, std::vector<float>& output);

private:
    double m_weight, m_state = 0, m_norm = 1;
    bool m_restart = false;
};

}  // namespace luthier::ui
