// SPDX-License-Identifier: Apache-2.0
// IA3 (Liu et al. 2022, "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than
// In-Context Learning"): y = l (.) (W x + b) with l [out]; at feed-forward modules y = W (l (.) x)
// + b with l [in]. l starts at 1. File format: PEFT's `ia3_l`, [out, 1] or [1, in].
#include "peft/combine_ia3.h"
#include "peft/method.h"
#include "peft/targets.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones.h>

#include <algorithm>

namespace luthier {

namespace {

enum class Ia3Side { Output, Input };

class Ia3Layer final : public LinearHook {
public:
    Ia3Layer(LinearSite site, Ia3Side side, at::Tensor l)
        : m_site(std::move(site)), m_side(side), m_l(std::move(l)) {}

    at::Tensor forward(const at::Tensor& x, const Projection& base) override {
        // In a weighted sum, l = 1 + w (l - 1): weight 0 is the base, 1 the adapter.
        const at::Tensor flat = m_l.flatten();
        const at::Tensor l = (m_weight == 1 ? flat : 1 + (flat - 1) * m_weight).to(x.scalar_type());
        return m_side == Ia3Side::Output ? base(x) * l : base(x * l);
    }

    const LinearSite& site() const { return m_site; }
    Ia3Side side() const { return m_side; }
    const at::Tensor& l() const { return m_l; }
    void setWeight(double weight) { m_weight = weight; }

    void merge(Model& model) const {
        const at::NoGradGuard guard;
        untieFor(model, m_site);
        const std::string name = m_site.path + ".weight";
        const at::Tensor weight = model.weights().at(name).to(at::kFloat);
        const at::Tensor l = 1 + (m_l.flatten() - 1) * m_weight;
        // Rows of W [out, in] for an output scale, columns for an input scale; Conv1D stores the
        // transpose.
        const bool scalesRows = (m_side == Ia3Side::Output) != m_site.isConv1D;
        model.weights().assign(name,
                               scalesRows ? weight * l.unsqueeze(1) : weight * l.unsqueeze(0));
        if (m_side == Ia3Side::Output && m_site.hasBias) {
            const std::string bias = m_site.path + ".bias";
            model.weights().assign(bias, model.weights().at(bias).to(at::kFloat) * l);
        }
    }

private:
    LinearSite m_site;
    Ia3Side m_side;
    at::Tensor m_l;  // [out, 1] or [1, in] f32
    double m_weight = 1;
};

class Ia3Adapter final : public Adapter {
public:
    Ia3Adapter(std::vector<std::string> targets, std::vector<std::string> feedForward)
        : m_targets(std::move(targets)), m_feedForward(std::move(feedForward)) {}

    void add(std::size_t siteIndex, std::unique_ptr<Ia3Layer> layer) {
        m_sites.push_back(siteIndex);
        m_layers.push_back(std::move(layer));
    }

    std::string method() const override { return "ia3"; }

    std::vector<TrainedParameter> parameters() const override {
        std::vector<TrainedParameter> all;
        for (const auto& layer : m_layers)
            all.push_back(
                {layer->site().path + ".ia3_l", layer->l(), lastName(layer->site().path)});
        return all;
    }

    void install(SiteHooks& hooks) override {
        for (std::size_t i = 0; i < m_layers.size(); ++i)
            hooks.addLinear(m_sites[i], m_layers[i].get());
    }

    Result<void> setWeight(double weight) override {
        for (const auto& layer : m_layers) layer->setWeight(weight);
        return {};
    }

    std::vector<NamedTensor> fileTensors() const override {
        std::vector<NamedTensor> tensors;
        for (const TrainedParameter& parameter : parameters())
            tensors.push_back({"base_model.model." + parameter.name, parameter.tensor});
        return tensors;
    }

    Json fileConfig() const override {
        Json config{{"peft_type", "IA3"},
                    {"target_modules", m_targets},
                    {"feedforward_modules", m_feedForward}};
        if (!m_layers.empty() && m_layers.front()->site().isConv1D) config["fan_in_fan_out"] = true;
        return config;
    }

    Result<void> merge(Model& model) override {
        for (const auto& layer : m_layers) layer->merge(model);
        return {};
    }

private:
    std::vector<std::string> m_targets;
    std::vector<std::string> m_feedForward;
    std::vector<std::size_t> m_sites;
    std::vector<std::unique_ptr<Ia3Layer>> m_layers;
};

std::vector<std::string> namesOf(const Json& value) {
    if (value.is_string()) return {value.get<std::string>()};
    return value.is_null() ? std::vector<std::string>{} : value.get<std::vector<std::string>>();
}

Result<std::shared_ptr<Adapter>> createIa3(const MethodContext& context) {
    const Json& settings = context.settings;
    const ModelSites& sites = context.model.sites();
    Result<std::vector<std::size_t>> matched =
        matchLinears(sites, settings, DefaultTargets::Scaled);
    if (!matched) return matched.problems();
    const bool isDefault =
        settings.at("feedforward_modules").is_null() && settings.at("target_modules").is_null();
    const std::vector<std::string> feedForward =
        isDefault ? defaultTargets(DefaultTargets::ScaledFeedForward, sites.family)
                  : namesOf(settings.at("feedforward_modules"));
    // PEFT compares ends as plain text, without a segment boundary.
    const auto isFeedForwardSite = [&](const LinearSite& site) {
        return std::any_of(feedForward.begin(), feedForward.end(),
                           [&](const std::string& name) { return site.path.ends_with(name); });
    };
    // In the file each feed-forward module stands under the very name that it has among the
    // targets: PEFT wants a subset.
    const std::vector<std::string> targets = targetNames(sites, *matched);
    std::vector<std::string> written;
    for (const std::string& name : targets)
        if (std::any_of(matched->begin(), matched->end(), [&](std::size_t index) {
                return isFeedForwardSite(sites.linears[index]) &&
                       endsWithModule(sites.linears[index].path, name);
            }))
            written.push_back(name);
    auto adapter = std::make_shared<Ia3Adapter>(targets, written);
    for (const std::size_t index : *matched) {
        const LinearSite& site = sites.linears[index];
        const bool isFeedForward = isFeedForwardSite(site);
        const auto options = at::TensorOptions(at::kFloat).device(context.model.device());
        const at::Tensor l =
            isFeedForward ? at::ones({1, site.in}, options) : at::ones({site.out, 1}, options);
        adapter->add(index, std::make_unique<Ia3Layer>(
                                site, isFeedForward ? Ia3Side::Input : Ia3Side::Output, leaf(l)));
    }
    return std::shared_ptr<Adapter>(adapter);
}

}  // namespace

Method ia3Method() {
    Method method{"ia3",
                  "IA³",
                  "Scale activations",
                  "Three learned scales per block: keys, values, feed-forward.",
                  "IA3",
                  true,
                  {},
                  &createIa3};
    Setting targets{"target_modules", SettingType::Names, nullptr, "Target modules",
                    "Layers that get a scale; empty: PEFT's default for the family."};
    targets.isNullable = true;
    Setting feedForward{"feedforward_modules", SettingType::Names, nullptr, "Feed-forward modules",
                        "Targets whose input is scaled instead of their output."};
    feedForward.isNullable = true;
    feedForward.isUsual = false;
    Setting excluded{"exclude_modules", SettingType::Names, nullptr, "Excluded modules",
                     "Layers left out though they match."};
    excluded.isUsual = false;
    excluded.isNullable = true;
    Setting initFrom{"init_from", SettingType::Path, nullptr, "Continue from",
                     "An adapter folder in PEFT format."};
    initFrom.isUsual = false;
    initFrom.isNullable = true;
    method.schema = {"ia3", {targets, feedForward, excluded, initFrom}};
    method.usualRate = {3e-3, "Liu et al. 2022"};
    method.combine = &combineIa3;
    method.glyph = "layers 2 26 0 bar 9 0 2.2 20 bar 19 0 2.2 20";
    return method;
}

}  // namespace luthier
