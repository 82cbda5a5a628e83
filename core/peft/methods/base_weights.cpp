// SPDX-License-Identifier: Apache-2.0
#include "peft/methods/base_weights.h"

#include "peft/targets.h"

#include <cmath>
#include <functional>
#include <iterator>
#include <set>

namespace luthier {

namespace {

bool liesIn(const std::string& name, const std::string& path) {
    return !path.empty() && name.compare(0, path.size(), path) == 0 &&
           (name.size() == path.size() || name[path.size()] == '.');
}

/// The block of `stack` that a parameter belongs to, or -1.
std::int64_t blockOf(const ModelDescription& stack, const std::string& name) {
    if (name.rfind(stack.names.layers, 0) != 0) return -1;
    return std::stoll(name.substr(stack.names.layers.size()));
}

std::int64_t depthOf(const Model& model, const std::string& name) {
    const ModelDescription& d = model.description();
    const std::int64_t below = d.encoder ? d.encoder->layers : 0;
    if (d.encoder) {
        if (const std::int64_t block = blockOf(*d.encoder, name); block >= 0) return block + 1;
        if (liesIn(name, d.encoder->names.finalNorm))
            return below;  // with the encoder's last block
    }
    if (const std::int64_t block = blockOf(d, name); block >= 0) return below + block + 1;
    for (const std::string& path :
         {d.names.head, d.names.finalNorm, d.names.projectOut, d.classifier.dense})
        if (liesIn(name, path)) return below + d.layers + 1;
    return 0;
}

}  // namespace

BaseWeightsAdapter::BaseWeightsAdapter(std::string method, Model& model,
                                       std::vector<std::string> names, const Json& settings)
    : m_method(std::move(method)),
      m_model(model),
      m_names(std::move(names)),
      m_top(model.sites().encoderLayers + model.sites().layers + 1),
      m_decay(settings.at("layer_lr_decay")),
      m_unfreezeEvery(settings.at("unfreeze_every")) {
    for (const std::string& name : m_names) {
        m_model.weights().makeTrainable(name);
        m_depths.push_back(depthOf(model, name));
    }
}

std::vector<TrainedParameter> BaseWeightsAdapter::parameters() const {
    std::vector<TrainedParameter> all;
    for (std::size_t i = 0; i < m_names.size(); ++i) {
        const double factor =
            m_decay == 1 ? 1 : std::pow(m_decay, static_cast<double>(m_top - m_depths[i]));
        all.push_back({m_names[i], m_model.weights().at(m_names[i]),
                       lastName(m_names[i].substr(0, m_names[i].rfind('.'))), factor});
    }
    return all;
}

Json BaseWeightsAdapter::beforeStep(std::int64_t step) {
    if (m_unfreezeEvery == 0) return nullptr;
    // Depths from the top, the head and the last block as one.
    std::set<std::int64_t, std::greater<>> depths;
    for (const std::int64_t depth : m_depths) depths.insert(std::min(depth, m_top - 1));
    auto lowest = depths.begin();
    for (std::int64_t i = (step - 1) / m_unfreezeEvery; i > 0 && std::next(lowest) != depths.end();
         --i)
        ++lowest;
    if (*lowest == m_lowest) return nullptr;
    m_lowest = *lowest;
    std::int64_t trainable = 0;
    std::int64_t frozen = 0;
    for (std::size_t i = 0; i < m_names.size(); ++i) {
        at::Tensor weight = m_model.weights().at(m_names[i]);
        const bool learns = m_depths[i] >= m_lowest;
        weight.set_requires_grad(learns);
        (learns ? trainable : frozen) += weight.numel();
    }
    return {{"type", "unfrozen"}, {"step", step}, {"trainable", trainable}, {"frozen_yet", frozen}};
}

std::vector<NamedTensor> BaseWeightsAdapter::fileTensors() const {
    std::vector<NamedTensor> tensors;
    for (const std::string& name : m_names) tensors.push_back({name, m_model.weights().at(name)});
    return tensors;
}

std::vector<Setting> depthSettings() {
    Setting decay{"layer_lr_decay", SettingType::Real, 1.0, "Rate per depth",
                  "Learning rate of each block over that of the block above it; the head learns at "
                  "the run's rate, the embeddings slowest. 1: all alike."};
    decay.minimum = 0;
    decay.minimumExclusive = true;
    decay.maximum = 1;
    decay.isUsual = false;
    Setting every{"unfreeze_every", SettingType::Integer, 0, "Unfreeze every",
                  "Steps after which the next lower block starts to learn; at first only the last "
                  "one and what lies above it do. 0: all from the start."};
    every.minimum = 0;
    every.maximum = 1e9;
    every.unit = "steps";
    every.isUsual = false;
    return {decay, every};
}

}  // namespace luthier
