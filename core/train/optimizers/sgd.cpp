// SPDX-License-Identifier: Apache-2.0
// torch.optim.SGD with dampening 0: g += wd p; buf = mu buf + g; step buf, or g + mu buf
// (Nesterov). torch starts with buf = g, which a buffer of zeros gives as well.
#include "train/optimizers/rules.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>

namespace luthier {

namespace {

class Sgd final : public Optimizer {
public:
    Sgd(std::vector<TrainedParameter> parameters, const OptimizerSettings& settings)
        : Optimizer(std::move(parameters)), m_settings(settings) {
        if (m_settings.momentum <= 0) return;
        for (const TrainedParameter& parameter : m_parameters)
            m_buffers.push_back(at::zeros_like(parameter.tensor.detach()));
    }

    void step(double learningRate) override {
        const at::NoGradGuard guard;
        for (std::size_t i = 0; i < m_parameters.size(); ++i) {
            at::Tensor value = m_parameters[i].tensor;
            at::Tensor gradient = value.grad();
            if (!gradient.defined()) continue;
            if (const double decay = decayOf(m_settings, m_parameters[i].name); decay != 0)
                gradient = gradient.add(value, decay);
            if (m_settings.momentum > 0) {
                m_buffers[i].mul_(m_settings.momentum).add_(gradient);
                gradient = m_settings.nesterov ? gradient.add(m_buffers[i], m_settings.momentum)
                                               : m_buffers[i];
            }
            value.add_(gradient, -learningRate * m_parameters[i].rateFactor);
        }
    }

    std::vector<NamedTensor> state() const override {
        std::vector<NamedTensor> state;
        for (std::size_t i = 0; i < m_buffers.size(); ++i)
            state.push_back(
                {"optimizer." + m_parameters[i].name + ".momentum_buffer", m_buffers[i]});
        return state;
    }

private:
    OptimizerSettings m_settings;
    std::vector<at::Tensor> m_buffers;  // f32, shape of the parameter; none without momentum
};

}  // namespace

std::unique_ptr<Optimizer> makeSgd(std::vector<TrainedParameter> parameters,
                                   const OptimizerSettings& settings) {
    return std::make_unique<Sgd>(std::move(parameters), settings);
}

}  // namespace luthier
