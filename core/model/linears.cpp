// SPDX-License-Identifier: Apache-2.0
#include "model/linears.h"

#include "model/functions.h"

namespace luthier {

namespace {

/// A layer's projection with its hooks above it; each link hands the next a shorter chain.
class HookedProjection final : public Projection {
public:
    HookedProjection(const LinearWeights& weights, const std::vector<LinearHook*>& hooks, std::size_t count)
        : m_weights(weights), m_hooks(hooks), m_count(count) {}

    at::Tensor operator()(const at::Tensor& x) const override {
        if (m_count == 0)
            return nn::linear(x, m_weights.weight, m_weights.bias,
                              m_weights.isConv1D ? nn::WeightLayout::InOut : nn::WeightLayout::OutIn);
        return m_hooks[m_count - 1]->forward(x, HookedProjection(m_weights, m_hooks, m_count - 1));
    }
    const LinearWeights* plain() const override { return m_count == 0 ? &m_weights : nullptr; }

private:
    const LinearWeights& m_weights;
    const std::vector<LinearHook*>& m_hooks;
    std::size_t m_count;
};

}  // namespace

Linears::Linears(const ModelDescription& description, const ModelSites& sites, const Weights& weights) : m_sites(sites) {
    for (const LinearSite& site : sites.linears) {
        const bool isTiedHead = site.role == LinearRole::Head && description.isTied;
        m_weight.push_back(weights.find((isTiedHead ? description.names.embedding : site.path) + ".weight"));
        m_bias.push_back(site.hasBias ? weights.find(site.path + ".bias") : &m_none);
    }
}

at::Tensor Linears::project(int site, const at::Tensor& x, const SiteHooks& hooks) const {
    const auto index = static_cast<std::size_t>(site);
    const at::Tensor bias = hooks.current(*m_bias[index]);
    const LinearWeights weights{*m_weight[index], bias, m_sites.linears[index].isConv1D};
    const std::vector<LinearHook*>& chain = hooks.linear(index);
    return HookedProjection(weights, chain, chain.size())(x);
}

bool Linears::isTrained(std::size_t site, const SiteHooks& hooks) const {
    const auto learns = [&](const at::Tensor* tensor) { return tensor->defined() && (tensor->requires_grad() || hooks.replaces(tensor)); };
    return !hooks.linear(site).empty() || learns(m_weight[site]) || learns(m_bias[site]);
}

}  // namespace luthier
