// SPDX-License-Identifier: Apache-2.0
// LoHa (Hyeon-Woo et al. 2021, FedPara, arXiv 2108.06098; LyCORIS): delta = alpha / R (W1a W1b) (.)
// (W2a W2b), a product element by element of two matrices of rank R, itself of rank up to R^2. W1a,
// W2a [out, R], W1b, W2b [R, in]; W2b starts at zero. File: PEFT's `hada_w1_a`, `hada_w1_b`,
// `hada_w2_a`, `hada_w2_b`.
#include "peft/methods/delta_weights.h"
#include "peft/targets.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>

namespace luthier {

namespace {

class LohaLayer final : public DeltaLayer {
public:
    LohaLayer(LinearSite site, std::vector<NamedTensor> tensors, double scale)
        : DeltaLayer(std::move(site), std::move(tensors)), m_scale(scale) {}
    at::Tensor delta() const override {
        return at::mm(tensor(0), tensor(1)) * at::mm(tensor(2), tensor(3)) * m_scale;
    }

private:
    double m_scale;
};

Result<std::shared_ptr<Adapter>> createLoha(const MethodContext& context) {
    const Json& settings = context.settings;
    const ModelSites& sites = context.model.sites();
    Result<std::vector<std::size_t>> matched = targetsOf(context);
    if (!matched) return matched.problems();
    if (Result<void> taken = refuseConv1D(sites, *matched, "LoHa"); !taken) return taken.problems();
    Json config{{"peft_type", "LOHA"},
                {"r", settings.at("r")},
                {"alpha", settings.at("alpha")},
                {"target_modules", targetNames(sites, *matched)}};
    config.update(patternsOf(settings));
    config.update(deltaDropoutsOf(settings));
    auto adapter = std::make_shared<DeltaAdapter>("loha", std::move(config));
    const DeltaDropout dropout{.rows = settings.at("rank_dropout"),
                               .whole = settings.at("module_dropout")};
    const at::Device& device = context.model.device();
    for (const std::size_t index : *matched) {
        const LinearSite& site = sites.linears[index];
        Result<DeltaStrength> strength = strengthAt(settings, site.path);
        if (!strength) return strength.problems();
        const std::int64_t R = strength->rank;
        const auto drawn = [&](const char* name, at::IntArrayRef shape) {
            return NamedTensor{
                name, leaf(kaimingTensor(shape, tensorSeed(context.seed, site.path + "." + name),
                                         device))};
        };
        std::vector<NamedTensor> tensors{
            drawn("hada_w1_a", {site.out, R}),
            drawn("hada_w1_b", {R, site.in}),
            drawn("hada_w2_a", {site.out, R}),
            {"hada_w2_b",
             leaf(at::zeros({R, site.in}, at::TensorOptions(at::kFloat).device(device)))}};
        auto layer = std::make_unique<LohaLayer>(site, std::move(tensors), strength->scale);
        layer->setDropout(dropout);
        adapter->add(index, std::move(layer));
    }
    return std::shared_ptr<Adapter>(adapter);
}

}  // namespace

Method lohaMethod() {
    Method method{"loha",
                  "LoHa",
                  "Add low-rank weights",
                  "Two low-rank products, multiplied element by element.",
                  "LOHA",
                  true,
                  {},
                  &createLoha};
    method.schema = {"loha", {rankSetting(8), alphaSetting()}};
    for (Setting& setting : patternSettings()) method.schema.settings.push_back(std::move(setting));
    for (Setting& setting : deltaDropoutSettings())
        method.schema.settings.push_back(std::move(setting));
    for (Setting& setting : targetSettings()) method.schema.settings.push_back(std::move(setting));
    method.keepsInputs = true;
    method.glyph = "frozen 0 8 9 4 tie 12 2 9 7 tie 12 11 9 7 tie 24 7.5 5 5";
    method.words = {{"r", "r %1"}};
    return method;
}

}  // namespace luthier
