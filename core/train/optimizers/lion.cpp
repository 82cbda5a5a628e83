// SPDX-License-Identifier: Apache-2.0
// Lion (Chen et al. 2023) as bitsandbytes' 32-bit one: p *= 1 - lr wd; p -= lr sign(b1 m + (1-b1)
// g); m = b2 m + (1-b2) g.
#include "train/optimizers/rules.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>

namespace luthier {

namespace {

class Lion final : public Optimizer {
public:
    Lion(std::vector<TrainedParameter> parameters, const OptimizerSettings& settings)
        : Optimizer(std::move(parameters)), m_settings(settings) {
        for (const TrainedParameter& parameter : m_parameters)
            m_first.push_back(at::zeros_like(parameter.tensor.detach()));
    }

    void step(double learningRate) override {
        const at::NoGradGuard guard;
        for (std::size_t i = 0; i < m_parameters.size(); ++i) {
            at::Tensor value = m_parameters[i].tensor;
            const at::Tensor& gradient = value.grad();
            if (!gradient.defined()) continue;
            const double rate = learningRate * m_parameters[i].rateFactor;
            if (const double decay = decayOf(m_settings, m_parameters[i].name); decay != 0)
                value.mul_(1 - rate * decay);
            value.add_(
                m_first[i].mul(m_settings.beta1).add_(gradient, 1 - m_settings.beta1).sign_(),
                -rate);
            m_first[i].mul_(m_settings.beta2).add_(gradient, 1 - m_settings.beta2);
        }
    }

    std::vector<NamedTensor> state() const override {
        std::vector<NamedTensor> state;
        for (std::size_t i = 0; i < m_first.size(); ++i)
            state.push_back({"optimizer." + m_parameters[i].name + ".exp_avg", m_first[i]});
        return state;
    }

private:
    OptimizerSettings m_settings;
    std::vector<at::Tensor> m_first;  // f32, shape of the parameter
};

}  // namespace

std::unique_ptr<Optimizer> makeLion(std::vector<TrainedParameter> parameters,
                                    const OptimizerSettings& settings) {
    return std::make_unique<Lion>(std::move(parameters), settings);
}

}  // namespace luthier
