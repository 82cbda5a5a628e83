// SPDX-License-Identifier: Apache-2.0
#include "train/adamw.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <map>
#include <utility>

namespace luthier {

AdamW::AdamW(const std::vector<TrainedParameter>& parameters, OptimizerSettings settings)
    : Optimizer(parameters), m_settings(settings) {
    for (const TrainedParameter& parameter : m_parameters) {
        m_first.push_back(at::zeros_like(parameter.tensor.detach()));
        m_second.push_back(at::zeros_like(parameter.tensor.detach()));
        m_steps.push_back(
            at::zeros({}, at::TensorOptions(at::kFloat).device(parameter.tensor.device())));
    }
}

void AdamW::step(double learningRate) {
    const at::NoGradGuard guard;
    struct Group {
        std::vector<at::Tensor> values, gradients, first, second, steps;
    };
    std::map<std::pair<double, double>, Group> groups;  // by rateFactor and decay
    for (std::size_t i = 0; i < m_parameters.size(); ++i) {
        const at::Tensor& gradient = m_parameters[i].tensor.grad();
        if (!gradient.defined()) continue;
        m_steps[i].add_(1);
        Group& group =
            groups[{m_parameters[i].rateFactor, decayOf(m_settings, m_parameters[i].name)}];
        group.values.push_back(m_parameters[i].tensor);
        group.gradients.push_back(gradient.contiguous());
        group.first.push_back(m_first[i]);
        group.second.push_back(m_second[i]);
        group.steps.push_back(m_steps[i]);
    }
    for (auto& [kind, group] : groups)
        at::_fused_adamw_(group.values, group.gradients, group.first, group.second, {}, group.steps,
                          learningRate * kind.first, m_settings.beta1, m_settings.beta2,
                          kind.second, m_settings.epsilon, false, false);
}

std::vector<NamedTensor> AdamW::state() const {
    std::vector<NamedTensor> state;
    for (std::size_t i = 0; i < m_parameters.size(); ++i) {
        state.push_back({"optimizer." + m_parameters[i].name + ".exp_avg", m_first[i]});
        state.push_back({"optimizer." + m_parameters[i].name + ".exp_avg_sq", m_second[i]});
        state.push_back({"optimizer." + m_parameters[i].name + ".step", m_steps[i]});
    }
    return state;
}

}  // namespace luthier
