// SPDX-License-Identifier: Apache-2.0
#include "model/linears.h"

#include "model/functions.h"

namespace luthier {

namespace {

nn::WeightLayout layoutOf(const LinearWeights& weights) {
    return weights.isConv1D ? nn::WeightLayout::InOut : nn::WeightLayout::OutIn;
}

/// A layer's projection with its hooks above it; each link hands the next a shorter chain.
class HookedProjection final : public Projection {
public:
    HookedProjection(const LinearWeights& weights, const std::vector<LinearHook*>& hooks,
                     std::size_t count)
        : m_weights(weights), m_hooks(hooks), m_count(count) {}

    at::Tensor operator()(const at::Tensor& x) const override {
        if (m_count == 0)
            return nn::linear(x, m_weights.weight, m_weights.bias, layoutOf(m_weights));
        return m_hooks[m_count - 1]->forward(x, HookedProjection(m_weights, m_hooks, m_count - 1));
    }
    const LinearWeights* plain() const override { return m_count == 0 ? &m_weights : nullptr; }

private:
    const LinearWeights& m_weights;
    const std::vector<LinearHook*>& m_hooks;
    std::size_t m_count;
};

/// The hooks of some rows above a product that is made for all rows at once. A hook that changes
/// the rows before the product gets one of its own.
class SharedProjection final : public Projection {
public:
    /// `rows`: those of this chain; `product`: what the layer makes of them.
    SharedProjection(const LinearWeights& weights, const at::Tensor& rows,
                     const at::Tensor& product, const std::vector<LinearHook*>& hooks,
                     std::size_t count)
        : m_weights(weights), m_rows(rows), m_product(product), m_hooks(hooks), m_count(count) {}

    at::Tensor operator()(const at::Tensor& x) const override {
        if (m_count > 0)
            return m_hooks[m_count - 1]->forward(
                x, SharedProjection(m_weights, m_rows, m_product, m_hooks, m_count - 1));
        return x.is_same(m_rows)
                   ? m_product
                   : nn::linear(x, m_weights.weight, m_weights.bias, layoutOf(m_weights));
    }

private:
    const LinearWeights& m_weights;
    const at::Tensor& m_rows;
    const at::Tensor& m_product;
    const std::vector<LinearHook*>& m_hooks;
    std::size_t m_count;
};

}  // namespace

Linears::Linears(const ModelDescription& description, const ModelSites& sites,
                 const Weights& weights)
    : m_sites(sites) {
    bind(description, weights);
}

void Linears::bind(const ModelDescription& description, const Weights& weights) {
    m_weight.clear();
    m_bias.clear();
    for (const LinearSite& site : m_sites.linears) {
        const bool isTiedHead = site.role == LinearRole::Head && description.isTied;
        m_weight.push_back(
            weights.find((isTiedHead ? description.names.embedding : site.path) + ".weight"));
        m_bias.push_back(site.hasBias ? weights.find(site.path + ".bias") : &m_none);
    }
}

at::Tensor Linears::project(int site, const at::Tensor& x, const SiteHooks& hooks) const {
    const auto index = static_cast<std::size_t>(site);
    if (hooks.mixed() != nullptr) return projectMixed(index, x, *hooks.mixed());
    const at::Tensor weight = hooks.current(*m_weight[index]);
    const at::Tensor bias = hooks.current(*m_bias[index]);
    const LinearWeights weights{weight, bias, m_sites.linears[index].isConv1D};
    const std::vector<LinearHook*>& chain = hooks.linear(index);
    return HookedProjection(weights, chain, chain.size())(x);
}

at::Tensor Linears::projectMixed(std::size_t site, const at::Tensor& x,
                                 const MixedRows& rows) const {
    const LinearWeights weights{*m_weight[site], *m_bias[site], m_sites.linears[site].isConv1D};
    const at::Tensor product =
        nn::linear(x, weights.weight, weights.bias, layoutOf(weights));  // [N, out]
    return rows.each([&](const SiteHooks& table, std::int64_t first, std::int64_t count) {
        const at::Tensor own = x.narrow(0, first, count);
        if (table.replaces(m_weight[site]) || table.replaces(m_bias[site]))
            return project(static_cast<int>(site), own, table);
        const at::Tensor ownProduct = product.narrow(0, first, count);
        const std::vector<LinearHook*>& chain = table.linear(site);
        return SharedProjection(weights, own, ownProduct, chain, chain.size())(own);
    });
}

bool Linears::isTrained(std::size_t site, const SiteHooks& hooks) const {
    const auto learns = [&](const at::Tensor* tensor) {
        return tensor->defined() && (tensor->requires_grad() || hooks.replaces(tensor));
    };
    return !hooks.linear(site).empty() || learns(m_weight[site]) || learns(m_bias[site]);
}

}  // namespace luthier
