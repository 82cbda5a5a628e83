// SPDX-License-Identifier: Apache-2.0
// VeRA (Kopiczko et al. 2023, arXiv 2310.11454): y = W x + b + l_b (.) B (l_d (.) A x). A [R,
// largest in] and B [largest out, R] are random, frozen and shared by all layers, which take the
// part they need; only l_b [out] and l_d [R] are trained. l_b starts at 0. A and B follow from
// projection_prng_key: torch's CPU generator, A first, each uniform in +-sqrt(6 / second
// dimension). File: PEFT's `vera_lambda_b`, `vera_lambda_d`, and once `base_model.vera_A`,
// `base_model.vera_B`.
#include "peft/methods/delta_weights.h"
#include "peft/dropout.h"
#include "peft/targets.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

namespace luthier {

namespace {

class VeraLayer final : public DeltaLayer {
public:
    /// `A` [R, in] and `B` [out, R] are views of the shared ones.
    VeraLayer(LinearSite site, at::Tensor A, at::Tensor B, at::Tensor lambdaB, at::Tensor lambdaD)
        : DeltaLayer(std::move(site), {{"vera_lambda_b", std::move(lambdaB)},
                                       {"vera_lambda_d", std::move(lambdaD)}}),
          m_A(std::move(A)),
          m_B(std::move(B)) {}

    at::Tensor delta() const override {
        return at::mm(tensor(0).unsqueeze(1) * m_B, tensor(1).unsqueeze(1) * m_A);
    }
    at::Tensor applied(const at::Tensor& x) const override {
        return at::mm(at::mm(x, m_A.t()) * tensor(1), m_B.t()) * tensor(0);
    }

private:
    at::Tensor m_A;
    at::Tensor m_B;
};

/// The shared A [R, in] and B [out, R] of a key.
std::pair<at::Tensor, at::Tensor> projections(std::int64_t R, std::int64_t in, std::int64_t out,
                                              std::uint64_t key, const at::Device& device) {
    at::Generator generator = at::detail::createCPUGenerator(key);
    const auto drawn = [&](at::IntArrayRef shape) {
        const double bound = std::sqrt(6.0 / static_cast<double>(shape[1]));
        return at::empty(shape, at::kFloat).uniform_(-bound, bound, generator);
    };
    const at::Tensor A = drawn({R, in});
    const at::Tensor B = drawn({out, R});
    return {A.to(device), B.to(device)};
}

Result<std::shared_ptr<Adapter>> createVera(const MethodContext& context) {
    const Json& settings = context.settings;
    const ModelSites& sites = context.model.sites();
    Result<std::vector<std::size_t>> matched = targetsOf(context, DefaultTargets::SharedMatrices);
    if (!matched) return matched.problems();
    const auto R = settings.at("r").get<std::int64_t>();
    std::int64_t in = 0;
    std::int64_t out = 0;
    for (const std::size_t index : *matched) {
        in = std::max(in, sites.linears[index].in);
        out = std::max(out, sites.linears[index].out);
    }
    const at::Device& device = context.model.device();
    const auto key = settings.at("projection_prng_key").get<std::uint64_t>();
    const auto [A, B] = projections(R, in, out, key, device);
    const bool savesProjection = settings.at("save_projection");
    Json config{{"peft_type", "VERA"},
                {"r", R},
                {"target_modules", targetNames(sites, *matched)},
                {"save_projection", savesProjection},
                {"projection_prng_key", key}};
    if (sites.linears[matched->front()].isConv1D) config["fan_in_fan_out"] = true;
    const DeltaDropout dropout{.input = settings.at("vera_dropout")};
    if (dropout.input > 0) config["vera_dropout"] = dropout.input;
    std::vector<NamedTensor> shared;
    if (savesProjection) shared = {{"base_model.vera_A", A}, {"base_model.vera_B", B}};
    auto adapter = std::make_shared<DeltaAdapter>("vera", std::move(config), std::move(shared));
    const auto options = at::TensorOptions(at::kFloat).device(device);
    for (const std::size_t index : *matched) {
        const LinearSite& site = sites.linears[index];
        auto layer = std::make_unique<VeraLayer>(
            site, A.narrow(1, 0, site.in), B.narrow(0, 0, site.out),
            leaf(at::zeros({site.out}, options)),
            leaf(at::full({R}, settings.at("d_initial").get<double>(), options)));
        layer->setDropout(dropout);
        adapter->add(index, std::move(layer));
    }
    return std::shared_ptr<Adapter>(adapter);
}

}  // namespace

Method veraMethod() {
    Method method{"vera",
                  "VeRA",
                  "Add low-rank weights",
                  "Scales between random matrices that all layers share.",
                  "VERA",
                  true,
                  {},
                  &createVera};
    Setting initial{"d_initial", SettingType::Real, 0.1, "Initial scale",
                    "First value of the inner scales."};
    initial.isUsual = false;
    Setting key{"projection_prng_key", SettingType::Integer, 0, "Projection seed",
                "Seed of the random matrices; all VeRA adapters of a model share one."};
    key.minimum = 0;
    key.isUsual = false;
    Setting save{
        "save_projection", SettingType::Boolean, true, "Save the projections",
        "Write the random matrices into the file, so that it does not depend on the generator."};
    save.isUsual = false;
    method.schema = {"vera",
                     {rankSetting(256),
                      dropoutSetting("vera_dropout", "Dropout",
                                     "Share of the adapter's inputs dropped while training."),
                      initial, key, save}};
    for (Setting& setting : targetSettings()) method.schema.settings.push_back(std::move(setting));
    method.usualRate = {4e-3, "Kopiczko et al. 2024"};
    method.ownBias = "vera_only";
    method.keepsInputs = true;
    method.glyph =
        "layers 0 15 0 line 1.2 18 3 28 17 28 3 18 17 18 3 bar 22 0 2.4 2.4 bar 22 17 2.4 2.4";
    method.words = {{"r", "r %1"}};
    return method;
}

}  // namespace luthier
