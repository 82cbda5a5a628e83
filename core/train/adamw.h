// SPDX-License-Identifier: Apache-2.0
#pragma once
// AdamW (Loshchilov & Hutter 2019) as torch.optim.AdamW computes it, one fused pass over each
// tensor: p *= 1 - lr wd; m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; p -= lr / (1-b1^t) * m /
// (sqrt(v) / sqrt(1-b2^t) + eps).

#include "train/optimizer.h"

#include <ATen/core/Tensor.h>

#include <vector>

namespace luthier {

class AdamW final : public Optimizer {
public:
    AdamW(const std::vector<TrainedParameter>& parameters, OptimizerSettings settings);

    void step(double learningRate) override;
    /// First and second moments and step counts, by the parameters' names.
    std::vector<NamedTensor> state() const override;

private:
    OptimizerSettings m_settings;
    std::vector<at::Tensor> m_first;  // f32, shape of the parameter
    std::vector<at::Tensor> m_second;
    std::vector<at::Tensor> m_steps;  // [] f32
};

}  // namespace luthier
