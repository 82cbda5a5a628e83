// SPDX-License-Identifier: Apache-2.0
#pragma once
// The projections of a model by the index of their site, and the parameters of its norms: the only
// way to them, so that no hook is missed.

#include "model/description.h"
#include "model/site.h"
#include "model/weights.h"

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <string>
#include <vector>

namespace luthier {

class Linears final {
public:
    Linears(const ModelDescription& description, const ModelSites& sites, const Weights& weights);

    const ModelSites& sites() const { return m_sites; }
    /// x W^T + b through the hooks of the site, [N, in] → [N, out]
    at::Tensor project(int site, const at::Tensor& x, const SiteHooks& hooks) const;
    /// Whether its weights take a gradient or a hook sits in it.
    bool isTrained(std::size_t site, const SiteHooks& hooks) const;
    const at::Tensor& weight(std::size_t site) const { return *m_weight[site]; }
    /// Finds the entries again, after the head was tied or untied.
    void bind(const ModelDescription& description, const Weights& weights);
    const at::Tensor& bias(std::size_t site) const { return *m_bias[site]; }

private:
    at::Tensor projectMixed(std::size_t site, const at::Tensor& x, const MixedRows& rows) const;

    const ModelSites& m_sites;
    std::vector<const at::Tensor*> m_weight;
    std::vector<const at::Tensor*> m_bias;  // an undefined tensor where there is none
    at::Tensor m_none;
};

}  // namespace luthier
