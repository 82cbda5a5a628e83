// SPDX-License-Identifier: Apache-2.0
#include "peft/methods/delta_weights.h"

#include "peft/dropout.h"
#include "peft/targets.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/mm.h>

#include <cmath>

namespace luthier {

at::Tensor DeltaLayer::forward(const at::Tensor& x, const Projection& base) {
    const auto acts = [&](double share) { return share > 0 && m_random.isTraining; };
    if (acts(m_dropout.whole) &&
        keepMask({1}, m_dropout.whole, m_random, m_site.path + " whole").item<float>() == 0)
        return base(x);
    const at::Tensor in = x.to(at::kFloat);
    at::Tensor change =
        applied(acts(m_dropout.input) ? droppedOut(in, m_dropout.input, m_random, m_site.path)
                                      : in);  // [N, out]
    if (acts(m_dropout.rows)) {
        const at::Tensor kept =
            keepMask({m_site.out}, m_dropout.rows, m_random, m_site.path + " rows");
        change = change * (m_dropout.rescalesRows
                               ? kept / kept.mean().clamp_min(1.0 / static_cast<double>(m_site.out))
                               : kept)
                              .to(x.device());
    }
    return base(x) + (change * m_weight).to(x.scalar_type());
}

at::Tensor DeltaLayer::applied(const at::Tensor& x) const { return at::mm(x, delta().t()); }

std::vector<TrainedParameter> DeltaAdapter::parameters() const {
    std::vector<TrainedParameter> all;
    for (const auto& layer : m_layers)
        for (const NamedTensor& tensor : layer->tensors())
            all.push_back({layer->site().path + "." + tensor.name, tensor.tensor,
                           lastName(layer->site().path)});
    return all;
}

void DeltaAdapter::install(SiteHooks& hooks) {
    for (std::size_t i = 0; i < m_layers.size(); ++i)
        hooks.addLinear(m_sites[i], m_layers[i].get());
}

void DeltaAdapter::beginPass(const RandomKey& key) {
    for (const auto& layer : m_layers) layer->setRandom(key);
}

Result<void> DeltaAdapter::setWeight(double weight) {
    for (const auto& layer : m_layers) layer->setWeight(weight);
    return {};
}

std::vector<NamedTensor> DeltaAdapter::fileTensors() const {
    std::vector<NamedTensor> tensors = m_shared;
    for (const TrainedParameter& parameter : parameters())
        tensors.push_back({"base_model.model." + parameter.name, parameter.tensor});
    return tensors;
}

Result<void> DeltaAdapter::merge(Model& model) {
    const at::NoGradGuard guard;
    for (const auto& layer : m_layers) {
        untieFor(model, layer->site());
        const std::string name = layer->site().path + ".weight";
        const at::Tensor& weight = model.weights().at(name);
        const at::Tensor delta = layer->delta() * layer->weight();
        model.weights().assign(
            name, weight.to(at::kFloat) + (layer->site().isConv1D ? delta.t() : delta));
    }
    return {};
}

Result<std::vector<std::size_t>> targetsOf(const MethodContext& context, DefaultTargets defaults) {
    return matchLinears(context.model.sites(), context.settings, defaults);
}

Result<void> refuseConv1D(const ModelSites& sites, const std::vector<std::size_t>& matched,
                          const std::string& method) {
    for (const std::size_t index : matched)
        if (sites.linears[index].isConv1D)
            return Problem{"unsupported_layer",
                           sites.linears[index].path +
                               " stores its weight transposed (Conv1D); PEFT's " + method +
                               " does not take such layers.",
                           "Use lora, vera or another method for " + sites.family + ".",
                           "method.target_modules", ExitCode::BadUsage};
    return {};
}

std::vector<Setting> targetSettings() {
    Setting targets{"target_modules", SettingType::Names, nullptr, "Target modules",
                    "Layers that get an adapter; empty: PEFT's default for the family."};
    targets.isNullable = true;
    Setting excluded{"exclude_modules", SettingType::Names, nullptr, "Excluded modules",
                     "Layers left out though they match."};
    excluded.isUsual = false;
    excluded.isNullable = true;
    Setting layers{"layers_to_transform", SettingType::Integers, nullptr, "Layers",
                   "Blocks that get an adapter; empty: all."};
    layers.isUsual = false;
    layers.isNullable = true;
    Setting initFrom{"init_from", SettingType::Path, nullptr, "Continue from",
                     "An adapter folder in PEFT format."};
    initFrom.isUsual = false;
    initFrom.isNullable = true;
    return {targets, excluded, layers, layersPatternSetting(), initFrom};
}

Result<DeltaStrength> strengthAt(const Json& settings, const std::string& path) {
    Result<double> rank = patternValue(settings.at("rank_pattern"), path,
                                       settings.at("r").get<double>(), "method.rank_pattern");
    if (!rank) return rank.problems();
    Result<double> alpha = patternValue(settings.at("alpha_pattern"), path,
                                        settings.at("alpha").get<double>(), "method.alpha_pattern");
    if (!alpha) return alpha.problems();
    if (*rank < 1 || *rank > 8192)
        return Problem{"out_of_range",
                       "method.rank_pattern gives " + path + " the rank " + dumpLine(*rank) +
                           "; it must be from 1 to 8192.",
                       "", "method.rank_pattern", ExitCode::BadUsage};
    return DeltaStrength{static_cast<std::int64_t>(*rank), *alpha / std::floor(*rank)};
}

Json patternsOf(const Json& settings) {
    Json written = Json::object();
    for (const char* key : {"rank_pattern", "alpha_pattern"})
        if (!settings.at(key).empty()) written[key] = settings.at(key);
    return written;
}

Setting rankSetting(std::int64_t value) {
    Setting rank{"r", SettingType::Integer, value, "Rank",
                 "Width of the small matrices. More learns more and costs in proportion."};
    rank.minimum = 1;
    rank.maximum = 8192;
    return rank;
}

Setting alphaSetting() {
    Setting alpha{"alpha", SettingType::Real, 8, "Alpha",
                  "Strength of the adapter: its output is scaled by alpha / rank."};
    alpha.minimum = 0;
    alpha.minimumExclusive = true;
    return alpha;
}

std::vector<Setting> deltaDropoutSettings() {
    Setting rows = dropoutSetting("rank_dropout", "Dropout of outputs",
                                  "Share of the adapter's outputs left out in a step of training.");
    rows.isUsual = false;
    Setting whole =
        dropoutSetting("module_dropout", "Dropout of layers",
                       "Share of the steps in which a layer is trained without its adapter.");
    whole.isUsual = false;
    return {rows, whole};
}

Json deltaDropoutsOf(const Json& settings) {
    Json written = Json::object();
    for (const char* key : {"rank_dropout", "module_dropout"})
        if (settings.at(key) != 0.0) written[key] = settings.at(key);
    return written;
}

at::Tensor kaimingTensor(at::IntArrayRef shape, std::uint64_t seed, const at::Device& device) {
    return uniformTensor(shape, 1.0 / std::sqrt(static_cast<double>(shape[1])), seed, device);
}

}  // namespace luthier
