// SPDX-License-Identifier: Apache-2.0
#include "peft/methods/own_copies.h"

#include "peft/method.h"
#include "peft/targets.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

namespace luthier {

OwnCopy::OwnCopy(const at::Tensor& base, std::string name, std::string fileName)
    : m_base(base),
      m_baseValue(base),
      m_copy(leaf(base)),
      m_name(std::move(name)),
      m_fileName(std::move(fileName)) {}

at::Tensor OwnCopy::forward(const at::Tensor& below) { return merged(below); }

at::Tensor OwnCopy::merged(const at::Tensor& below) const {
    if (m_weight == 1 && below.is_same(m_baseValue)) return m_copy;
    return below.to(at::kFloat) + (m_copy - m_baseValue.to(at::kFloat)) * m_weight;
}

std::vector<TrainedParameter> OwnCopiesAdapter::parameters() const {
    std::vector<TrainedParameter> all;
    for (const auto& copy : m_copies)
        all.push_back({copy->name(), copy->copy(),
                       lastName(copy->name().substr(0, copy->name().rfind('.')))});
    return all;
}

void OwnCopiesAdapter::install(SiteHooks& hooks) {
    for (const auto& copy : m_copies) hooks.addParameter(&copy->base(), copy.get());
}

Result<void> OwnCopiesAdapter::setWeight(double weight) {
    for (const auto& copy : m_copies) copy->setWeight(weight);
    return {};
}

std::vector<NamedTensor> OwnCopiesAdapter::fileTensors() const {
    std::vector<NamedTensor> tensors = m_constants;
    for (const auto& copy : m_copies) tensors.push_back({copy->fileName(), copy->copy()});
    return tensors;
}

Result<void> OwnCopiesAdapter::load(const TensorMap& tensors) {
    std::vector<at::Tensor> before;
    for (const NamedTensor& constant : m_constants) before.push_back(constant.tensor.clone());
    Result<void> loaded = Adapter::load(tensors);
    if (!loaded) return loaded;
    for (std::size_t i = 0; i < before.size(); ++i)
        if (!m_constants[i].tensor.equal(before[i]))
            return Problem{"adapter_feature",
                           "The adapter file trains " + m_constants[i].name +
                               " besides the biases, which Luthier does not compute.",
                           "Open it with PEFT.", m_constants[i].name};
    return {};
}

Result<void> OwnCopiesAdapter::merge(Model& model) {
    const at::NoGradGuard guard;
    for (const auto& copy : m_copies)
        model.weights().assign(copy->name(), copy->merged(model.weights().at(copy->name())));
    return {};
}

}  // namespace luthier
