// SPDX-License-Identifier: Apache-2.0
#include "peft/methods/base_weights.h"

#include "peft/targets.h"

namespace luthier {

BaseWeightsAdapter::BaseWeightsAdapter(std::string method, Model& model, std::vector<std::string> names)
    : m_method(std::move(method)), m_model(model), m_names(std::move(names)) {
    for (const std::string& name : m_names) m_model.weights().makeTrainable(name);
}

std::vector<TrainedParameter> BaseWeightsAdapter::parameters() const {
    std::vector<TrainedParameter> all;
    for (const std::string& name : m_names) all.push_back({name, m_model.weights().at(name), lastName(name.substr(0, name.rfind('.')))});
    return all;
}

std::vector<NamedTensor> BaseWeightsAdapter::fileTensors() const {
    std::vector<NamedTensor> tensors;
    for (const std::string& name : m_names) tensors.push_back({name, m_model.weights().at(name)});
    return tensors;
}

}  // namespace luthier
