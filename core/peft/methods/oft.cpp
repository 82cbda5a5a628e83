// SPDX-License-Identifier: Apache-2.0
// OFT (Qiu et al. 2023, arXiv 2306.07280; Liu et al. 2024, arXiv 2311.06243): y = W (x R) + b,
// where R [in, in] is made of orthogonal blocks of k x k. A block is the Cayley transform of a
// skew-symmetric Q, whose k (k - 1) / 2 values fill its strict upper triangle row by row:  R = (I -
// Q) (I + Q)^-1, or with use_cayley_neumann its series cut at N terms, I + 2 Q + 2 Q^2 + … +
// Q^(N-1), the last one once. Q starts at 0, so R at I. File: PEFT's `oft_R.weight` [blocks or 1, k
// (k - 1) / 2].
#include "peft/methods/delta_weights.h"
#include "peft/dropout.h"
#include "peft/targets.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_solve.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/triu_indices.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <cmath>

namespace luthier {

namespace {

struct OftSettings {
    std::int64_t blockSize = 32;
    bool isShared = false;   ///< one block for all
    bool isSeries = true;    ///< use_cayley_neumann
    std::int64_t terms = 5;  ///< of the series
    double dropout = 0;      ///< share of the blocks that turn nothing in a step of training
    double limit = 0;  ///< COFT's eps: the largest norm of a block's Q over sqrt(blocks); 0: none
};

class OftLayer final : public LinearHook {
public:
    OftLayer(LinearSite site, const OftSettings& settings, at::Tensor values)
        : m_site(std::move(site)), m_settings(settings), m_values(std::move(values)) {}

    at::Tensor forward(const at::Tensor& x, const Projection& base) override {
        return base(rotated(x.to(at::kFloat)).to(x.scalar_type()));
    }

    /// W R^T [out, in] f32
    at::Tensor mergedWeight(const at::Tensor& weight) {
        const at::NoGradGuard guard;
        constrain();
        // Each row of W is turned like an input by the transposed blocks: (W R^T)_o = W_o R^T.
        return applied(weight.to(at::kFloat), blocks().transpose(1, 2));
    }

    /// COFT: Q of each block no longer than eps / sqrt(blocks).
    void constrain() {
        if (m_settings.limit <= 0) return;
        const at::NoGradGuard guard;
        const double limit = m_settings.limit / std::sqrt(static_cast<double>(m_values.size(0)));
        // The norm of Q holds every value twice.
        const at::Tensor norm = at::linalg_vector_norm(m_values, 2, {1}, true) * std::sqrt(2.0);
        m_values.copy_(at::where(norm.le(limit), m_values, m_values * (limit / norm)));
    }

    void setRandom(const RandomKey& random) { m_random = random; }
    const LinearSite& site() const { return m_site; }
    const at::Tensor& values() const { return m_values; }

private:
    /// R's blocks [blocks or 1, k, k]
    at::Tensor blocks() const {
        const std::int64_t k = m_settings.blockSize;
        const at::Tensor upper =
            at::triu_indices(k, k, 1, at::TensorOptions(at::kLong).device(m_values.device()));
        at::Tensor Q = at::zeros({m_values.size(0), k * k}, m_values.options());
        Q = Q.index_add(1, upper[0] * k + upper[1], m_values).reshape({-1, k, k});
        Q = Q - Q.transpose(1, 2);
        const at::Tensor I = at::eye(k, m_values.options());
        if (!m_settings.isSeries) return at::linalg_solve(I + Q, I - Q, /*left=*/false);
        at::Tensor R = I + at::zeros_like(Q);
        if (m_settings.terms <= 1) return R;
        R = R + 2 * Q;
        if (m_settings.terms <= 2) return R;
        at::Tensor power = at::bmm(Q, Q);
        R = R + 2 * power;
        for (std::int64_t term = 3; term < m_settings.terms - 1; ++term) {
            power = at::bmm(power, Q);
            R = R + 2 * power;
        }
        return R + at::bmm(power, Q);
    }

    /// Rows of x [N, in], block by block.
    at::Tensor applied(const at::Tensor& x, const at::Tensor& R) const {
        const std::int64_t k = m_settings.blockSize;
        const at::Tensor parts = x.reshape({x.size(0), -1, k}).transpose(0, 1);  // [blocks, N, k]
        return at::bmm(parts, R.expand({parts.size(0), k, k})).transpose(0, 1).reshape(x.sizes());
    }
    at::Tensor rotated(const at::Tensor& x) const {
        const at::Tensor R = blocks();
        const auto still =
            static_cast<std::int64_t>(m_settings.dropout * static_cast<double>(R.size(0)));
        if (!m_random.isTraining || still == 0 || R.size(0) == 1) return applied(x, R);
        const at::Tensor drawn =
            uniformTensor({R.size(0)}, 1.0, tensorSeed(m_random.key, m_site.path), at::kCPU);
        const at::Tensor isStill = drawn.argsort()
                                       .argsort()
                                       .lt(still)
                                       .to(R.device())
                                       .reshape({-1, 1, 1});  // `still` blocks of all
        return applied(x, at::where(isStill, at::eye(R.size(1), R.options()), R));
    }

    LinearSite m_site;
    OftSettings m_settings;
    at::Tensor m_values;  // [blocks or 1, k (k - 1) / 2] f32
    RandomKey m_random;
};

class OftAdapter final : public Adapter {
public:
    explicit OftAdapter(Json fileConfig) : m_fileConfig(std::move(fileConfig)) {}

    void add(std::size_t siteIndex, std::unique_ptr<OftLayer> layer) {
        m_sites.push_back(siteIndex);
        m_layers.push_back(std::move(layer));
    }

    std::string method() const override { return "oft"; }

    std::vector<TrainedParameter> parameters() const override {
        std::vector<TrainedParameter> all;
        for (const auto& layer : m_layers)
            all.push_back({layer->site().path + ".oft_R.weight", layer->values(),
                           lastName(layer->site().path)});
        return all;
    }

    void install(SiteHooks& hooks) override {
        for (std::size_t i = 0; i < m_layers.size(); ++i)
            hooks.addLinear(m_sites[i], m_layers[i].get());
    }

    void beginPass(const RandomKey& key) override {
        for (const auto& layer : m_layers) {
            layer->constrain();
            layer->setRandom(key);
        }
    }

    Result<void> setWeight(double weight) override {
        if (weight == 1) return {};
        return Problem{"cannot_weight", "A rotation (OFT) cannot be given a weight other than 1.",
                       "Use weight 1 or another method.", "", ExitCode::BadUsage};
    }

    std::vector<NamedTensor> fileTensors() const override {
        std::vector<NamedTensor> tensors;
        for (const TrainedParameter& parameter : parameters())
            tensors.push_back({"base_model.model." + parameter.name, parameter.tensor});
        return tensors;
    }

    Json fileConfig() const override { return m_fileConfig; }

    Result<void> merge(Model& model) override {
        for (const auto& layer : m_layers) {
            untieFor(model, layer->site());
            const std::string name = layer->site().path + ".weight";
            model.weights().assign(name, layer->mergedWeight(model.weights().at(name)));
        }
        return {};
    }

private:
    Json m_fileConfig;
    std::vector<std::size_t> m_sites;
    std::vector<std::unique_ptr<OftLayer>> m_layers;
};

/// The divisor of `in` that is nearest to `wanted`; the smaller of two.
std::int64_t nearestDivisor(std::int64_t in, std::int64_t wanted) {
    if (wanted >= in) return in;
    std::int64_t higher = wanted, lower = wanted;
    while (higher <= in && in % higher != 0) ++higher;
    while (lower > 1 && in % lower != 0) --lower;
    return wanted - lower <= higher - wanted ? lower : higher;
}

Result<std::shared_ptr<Adapter>> createOft(const MethodContext& context) {
    const Json& settings = context.settings;
    const ModelSites& sites = context.model.sites();
    Result<std::vector<std::size_t>> matched = targetsOf(context);
    if (!matched) return matched.problems();
    Result<void> allowed = refuseConv1D(sites, *matched, "OFT");
    if (!allowed) return allowed.problems();
    const auto wanted = settings.at("oft_block_size").get<std::int64_t>();
    const auto count = settings.at("r").get<std::int64_t>();
    if ((wanted == 0) == (count == 0))
        return Problem{"bad_combination",
                       "method.oft_block_size is " + std::to_string(wanted) + " and method.r is " +
                           std::to_string(count) + "; exactly one of them must be 0.",
                       "Set method.r to 0 to choose the size of the blocks.",
                       "method.oft_block_size", ExitCode::BadUsage};
    OftSettings oft{.isShared = settings.at("block_share"),
                    .isSeries = settings.at("use_cayley_neumann"),
                    .terms = settings.at("num_cayley_neumann_terms").get<std::int64_t>(),
                    .dropout = settings.at("module_dropout"),
                    .limit = settings.at("coft") == true ? settings.at("eps").get<double>() : 0};
    Json config{{"peft_type", "OFT"},
                {"r", count},
                {"oft_block_size", wanted},
                {"target_modules", targetNames(sites, *matched)},
                {"block_share", oft.isShared},
                {"use_cayley_neumann", oft.isSeries},
                {"num_cayley_neumann_terms", oft.terms},
                {"peft_version", "0.18.0"}};
    if (oft.limit > 0) {
        config["coft"] = true;
        config["eps"] = oft.limit;
    }
    if (oft.dropout > 0) config["module_dropout"] = oft.dropout;
    auto adapter = std::make_shared<OftAdapter>(std::move(config));
    for (const std::size_t index : *matched) {
        const LinearSite& site = sites.linears[index];
        oft.blockSize =
            wanted > 0 ? nearestDivisor(site.in, wanted) : site.in / nearestDivisor(site.in, count);
        const std::int64_t blocks = oft.isShared ? 1 : site.in / oft.blockSize;
        const auto options = at::TensorOptions(at::kFloat).device(context.model.device());
        adapter->add(
            index,
            std::make_unique<OftLayer>(
                site, oft,
                leaf(at::zeros({blocks, oft.blockSize * (oft.blockSize - 1) / 2}, options))));
    }
    return std::shared_ptr<Adapter>(adapter);
}

}  // namespace

Method oftMethod() {
    Method method{
        "oft",
        "OFT",
        "Adjust existing weights",
        "Rotates each layer's input in small blocks, so that angles between neurons stay.",
        "OFT",
        true,
        {},
        &createOft};
    Setting size{"oft_block_size", SettingType::Integer, 32, "Block size",
                 "Values turned together; the nearest divisor of the layer's width is taken. 0: r "
                 "says how many blocks."};
    size.minimum = 0;
    size.maximum = 8192;
    Setting count{"r", SettingType::Integer, 0, "Blocks",
                  "Number of blocks in a layer, when the block size is 0."};
    count.minimum = 0;
    count.maximum = 8192;
    count.isUsual = false;
    Setting share{"block_share", SettingType::Boolean, false, "One block for all",
                  "All blocks of a layer turn alike."};
    Setting series{"use_cayley_neumann", SettingType::Boolean, true, "Series",
                   "Approximate the rotation by a short series instead of solving for it: faster, "
                   "and a rotation only nearly."};
    series.isUsual = false;
    Setting terms{"num_cayley_neumann_terms", SettingType::Integer, 5, "Terms",
                  "Length of the series."};
    terms.minimum = 1;
    terms.maximum = 32;
    terms.appliesWhen = {"use_cayley_neumann", {true}};
    terms.isUsual = false;
    Setting dropout =
        dropoutSetting("module_dropout", "Dropout of blocks",
                       "Share of a layer's blocks that turn nothing in a step of training.");
    dropout.isUsual = false;
    Setting constrained{"coft", SettingType::Boolean, false, "Constrained (COFT)",
                        "Keep every rotation near to none."};
    constrained.isUsual = false;
    Setting limit{"eps", SettingType::Real, 6e-5, "Largest rotation",
                  "How far a constrained rotation may go."};
    limit.minimum = 0;
    limit.minimumExclusive = true;
    limit.appliesWhen = {"coft", {true}};
    limit.isUsual = false;
    method.schema = {"oft", {size, share, count, series, terms, dropout, constrained, limit}};
    for (Setting& setting : targetSettings()) method.schema.settings.push_back(std::move(setting));
    method.ownBias = "oft_only";
    method.keepsInputs = true;
    method.glyph = "frozen 0 8 11 4 arc 1.4 15 3 14 14 60 300 line 1.4 29 6 29 10 25 10";
    method.words = {{"r", "r %1"}, {"oft_block_size", "blocks of %1"}};
    return method;
}

}  // namespace luthier
