// SPDX-License-Identifier: Apache-2.0
// LoKr (Yeh et al. 2023, LyCORIS, arXiv 2309.14859; Edalati et al. 2022, KronA): delta = alpha / R
// kron(W1, W2), W1 [a, c], W2 [b, d], out = a b, in = c d. W1 is whole, or W1a W1b of rank R with
// decompose_both; W2 is W2a W2b of rank R where R is below half its larger side. W1 (or W1a) starts
// at zero. File: PEFT's `lokr_w1`, `lokr_w2_a`, ….
#include "peft/methods/delta_weights.h"
#include "peft/targets.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/kron.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <utility>

namespace luthier {

namespace {

/// The two factors of `size` that PEFT takes, the smaller first: (wanted, size / wanted) where that
/// divides, else the pair of divisors with the smallest sum whose first is at most `wanted`; -1 is
/// no limit.
std::pair<std::int64_t, std::int64_t> factorsOf(std::int64_t size, std::int64_t wanted) {
    if (wanted > 0 && size % wanted == 0) return {wanted, size / wanted};
    const std::int64_t limit = wanted == -1 ? size : wanted;
    std::int64_t small = 1;
    std::int64_t large = size;
    while (small < large) {
        std::int64_t next = small + 1;
        while (size % next != 0) ++next;
        if (next + size / next > small + large || next > limit) break;
        small = next;
        large = size / next;
    }
    return {std::min(small, large), std::max(small, large)};
}

class LokrLayer final : public DeltaLayer {
public:
    LokrLayer(LinearSite site, std::vector<NamedTensor> tensors, bool isFirstWhole,
              bool isSecondWhole, double scale)
        : DeltaLayer(std::move(site), std::move(tensors)),
          m_isFirstWhole(isFirstWhole),
          m_isSecondWhole(isSecondWhole),
          m_scale(scale) {}

    at::Tensor delta() const override {
        const std::size_t second = m_isFirstWhole ? 1 : 2;
        const at::Tensor w1 = m_isFirstWhole ? tensor(0) : at::mm(tensor(0), tensor(1));
        const at::Tensor w2 =
            m_isSecondWhole ? tensor(second) : at::mm(tensor(second), tensor(second + 1));
        return at::kron(w1, w2.contiguous()) * m_scale;
    }

private:
    bool m_isFirstWhole;
    bool m_isSecondWhole;
    double m_scale;
};

Result<std::shared_ptr<Adapter>> createLokr(const MethodContext& context) {
    const Json& settings = context.settings;
    const ModelSites& sites = context.model.sites();
    Result<std::vector<std::size_t>> matched = targetsOf(context);
    if (!matched) return matched.problems();
    if (Result<void> taken = refuseConv1D(sites, *matched, "LoKr"); !taken) return taken.problems();
    const auto factor = settings.at("decompose_factor").get<std::int64_t>();
    const bool decomposesBoth = settings.at("decompose_both");
    if (factor == 0)
        return Problem{"out_of_range", "method.decompose_factor is 0; it must be -1 or at least 1.",
                       "", "method.decompose_factor", ExitCode::BadUsage};
    Json config{{"peft_type", "LOKR"},
                {"r", settings.at("r")},
                {"alpha", settings.at("alpha")},
                {"target_modules", targetNames(sites, *matched)}};
    if (factor != -1) config["decompose_factor"] = factor;
    if (decomposesBoth) config["decompose_both"] = true;
    config.update(patternsOf(settings));
    config.update(deltaDropoutsOf(settings));
    const DeltaDropout dropout{.rows = settings.at("rank_dropout"),
                               .rescalesRows = settings.at("rank_dropout_scale"),
                               .whole = settings.at("module_dropout")};
    if (dropout.rescalesRows) config["rank_dropout_scale"] = true;
    auto adapter = std::make_shared<DeltaAdapter>("lokr", std::move(config));
    const at::Device& device = context.model.device();
    for (const std::size_t index : *matched) {
        const LinearSite& site = sites.linears[index];
        Result<DeltaStrength> strength = strengthAt(settings, site.path);
        if (!strength) return strength.problems();
        const std::int64_t R = strength->rank;
        const auto [c, d] = factorsOf(site.in, factor);
        const auto [a, b] = factorsOf(site.out, factor);
        const bool isFirstWhole =
            !(decomposesBoth && static_cast<double>(R) < static_cast<double>(std::max(a, c)) / 2);
        const bool isSecondWhole =
            !(static_cast<double>(R) < static_cast<double>(std::max(b, d)) / 2);
        const auto drawn = [&](const char* name, at::IntArrayRef shape) {
            return NamedTensor{
                name, leaf(kaimingTensor(shape, tensorSeed(context.seed, site.path + "." + name),
                                         device))};
        };
        const auto zero = [&](const char* name, at::IntArrayRef shape) {
            return NamedTensor{
                name, leaf(at::zeros(shape, at::TensorOptions(at::kFloat).device(device)))};
        };
        std::vector<NamedTensor> tensors;
        if (isFirstWhole) {
            tensors.push_back(zero("lokr_w1", {a, c}));
        } else {
            tensors.push_back(zero("lokr_w1_a", {a, R}));
            tensors.push_back(drawn("lokr_w1_b", {R, c}));
        }
        if (isSecondWhole) {
            tensors.push_back(drawn("lokr_w2", {b, d}));
        } else {
            tensors.push_back(drawn("lokr_w2_a", {b, R}));
            tensors.push_back(drawn("lokr_w2_b", {R, d}));
        }
        auto layer = std::make_unique<LokrLayer>(site, std::move(tensors), isFirstWhole,
                                                 isSecondWhole, strength->scale);
        layer->setDropout(dropout);
        adapter->add(index, std::move(layer));
    }
    return std::shared_ptr<Adapter>(adapter);
}

}  // namespace

Method lokrMethod() {
    Method method{"lokr",
                  "LoKr",
                  "Add low-rank weights",
                  "A Kronecker product of two small matrices.",
                  "LOKR",
                  true,
                  {},
                  &createLokr};
    Setting both{"decompose_both", SettingType::Boolean, false, "Decompose both",
                 "Make the first matrix of low rank as well."};
    both.isUsual = false;
    Setting factor{"decompose_factor", SettingType::Integer, -1, "Factor",
                   "Size of the first matrix; -1: as near to square as the layer allows."};
    factor.minimum = -1;
    factor.maximum = 65536;
    factor.isUsual = false;
    method.schema = {"lokr", {rankSetting(8), alphaSetting(), both, factor}};
    for (Setting& setting : patternSettings()) method.schema.settings.push_back(std::move(setting));
    for (Setting& setting : deltaDropoutSettings())
        method.schema.settings.push_back(std::move(setting));
    Setting rescales{"rank_dropout_scale", SettingType::Boolean, false,
                     "Make up for dropped outputs",
                     "Divide the outputs that stay by their share of all."};
    rescales.isUsual = false;
    method.schema.settings.push_back(std::move(rescales));
    for (Setting& setting : targetSettings()) method.schema.settings.push_back(std::move(setting));
    method.keepsInputs = true;
    method.glyph =
        "frozen 0 8 4 4 bar 6.5 8.7 2.6 2.6 bar 13 2 4.4 4.4 bar 19 2 4.4 4.4 bar 25 2 4.4 4.4 bar "
        "13 8 4.4 4.4 bar 19 8 4.4 4.4 bar 25 8 4.4 4.4 bar 13 14 4.4 4.4 bar 19 14 4.4 4.4 bar 25 "
        "14 4.4 4.4";
    method.words = {{"r", "r %1"}};
    return method;
}

}  // namespace luthier
