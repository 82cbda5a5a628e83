// SPDX-License-Identifier: Apache-2.0
// LoRA (Hu et al. 2021, arXiv 2106.09685): y = W x + b + s B A dropout(x), A [R, in], B [out, R], s
// = alpha / R, or alpha / sqrt(R) with use_rslora (Kalajdzievski 2023). File format: PEFT's,
// `lora_A.weight`, `lora_B.weight`.
//   DoRA (Liu et al. 2024, arXiv 2402.09353): y = m / c (W x + s B A x) + b, c_i = |W_i + s (B
//   A)_i|, a constant in the backward
//     pass; m [out] starts at |W_i + s (B A)_i|. File: `lora_magnitude_vector`.
//   PiSSA (Meng et al. 2024, arXiv 2404.02948): A and B start at the R largest singular values of
//   W, W = U S V^T, A0 = sqrt(S / s) V^T,
//     B0 = U sqrt(S / s). The base stays as it is: y = W x + b + s (B A - B0 A0) x, a plain LoRA of
//     rank 2 R, and written as one.
//   lora_bias: B has a bias too, y = ... + s b_B. At an embedding: lora_embedding.h.
//   LoRA+ (Hayou et al. 2024, arXiv 2402.12354): B and m learn with a rate of their own.
#include "peft/combine_lora.h"
#include "peft/method.h"
#include "contract/json.h"
#include "peft/dropout.h"
#include "peft/methods/lora_embedding.h"
#include "peft/targets.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <filesystem>
#include <tuple>

namespace luthier {

namespace {

/// What a layer trains, and what PiSSA takes off again.
struct LoraTensors {
    at::Tensor A;          // [R, in] f32
    at::Tensor B;          // [out, R] f32
    at::Tensor magnitude;  // DoRA's m [out] f32, or undefined
    at::Tensor startA;     // PiSSA's A0 [R, in], frozen, or undefined
    at::Tensor startB;     // PiSSA's B0 [out, R]
    at::Tensor bias;       // of B, [out] f32, or undefined
};

bool isPissa(const Json& settings) {
    const Json& init = settings.at("init_lora_weights");
    return init.is_string() && init.get<std::string>().rfind("pissa", 0) == 0;
}

class LoraLayer final : public LinearHook {
public:
    /// `weight`: the layer's W as stored, which outlives this.
    LoraLayer(LinearSite site, const at::Tensor& weight, LoraTensors tensors, double scale,
              double dropout)
        : m_site(std::move(site)),
          m_weightOfBase(weight),
          m_tensors(std::move(tensors)),
          m_scale(scale),
          m_dropout(dropout) {}

    at::Tensor forward(const at::Tensor& x, const Projection& base) override {
        const bool drops = m_dropout > 0 && m_random.isTraining;
        if (m_tensors.magnitude.defined()) return directed(x, base, drops);
        const double scale = m_scale * m_weight;
        const LinearWeights* plain = base.plain();
        const bool isFused = plain != nullptr && !drops && !plain->weight.requires_grad() &&
                             !m_tensors.bias.defined() &&
                             !(plain->bias.defined() && plain->bias.requires_grad());
        if (isFused)
            return nn::loraLinear(x, plain->weight, plain->bias, layout(), fullA(), fullB(), scale);
        at::Tensor delta = lowRank(drops ? droppedOut(x, m_dropout, m_random, m_site.path) : x,
                                   m_tensors.A, m_tensors.B);
        if (m_tensors.startA.defined())
            delta = delta - lowRank(x, m_tensors.startA, m_tensors.startB);
        if (m_tensors.bias.defined()) delta = delta + m_tensors.bias;
        return base(x) + (delta * scale).to(x.scalar_type());
    }

    /// What merging adds to the base weight, in its layout.
    at::Tensor deltaWeight() const {
        const at::NoGradGuard guard;
        at::Tensor delta = at::mm(fullB(), fullA()) * m_scale;
        if (m_tensors.magnitude.defined()) {
            const at::Tensor W = weightOutIn();
            delta = (W + delta) * (m_tensors.magnitude / rowNorms(W + delta)).unsqueeze(1) - W;
        }
        delta = delta * m_weight;
        return m_site.isConv1D ? delta.t() : delta;
    }

    /// What merging adds to the layer's bias, or undefined.
    at::Tensor deltaBias() const {
        return m_tensors.bias.defined() ? m_tensors.bias.detach() * (m_scale * m_weight)
                                        : at::Tensor();
    }

    /// m = |W_i + s (B A)_i|.
    void startMagnitude() {
        const at::NoGradGuard guard;
        m_tensors.magnitude =
            leaf(rowNorms(weightOutIn() + at::mm(m_tensors.B, m_tensors.A) * m_scale));
    }

    const LinearSite& site() const { return m_site; }
    const LoraTensors& tensors() const { return m_tensors; }
    /// A and B as they stand in a file: with PiSSA's start taken off, [2 R, in] and [out, 2 R].
    at::Tensor fullA() const {
        return m_tensors.startA.defined() ? at::cat({m_tensors.A, m_tensors.startA}, 0)
                                          : m_tensors.A;
    }
    at::Tensor fullB() const {
        return m_tensors.startB.defined() ? at::cat({m_tensors.B, -m_tensors.startB}, 1)
                                          : m_tensors.B;
    }
    void setWeight(double weight) { m_weight = weight; }
    void setRandom(const RandomKey& random) { m_random = random; }

private:
    nn::WeightLayout layout() const {
        return m_site.isConv1D ? nn::WeightLayout::InOut : nn::WeightLayout::OutIn;
    }
    at::Tensor weightOutIn() const {
        return (m_site.isConv1D ? m_weightOfBase.t() : m_weightOfBase).to(at::kFloat);
    }
    static at::Tensor rowNorms(const at::Tensor& W) { return at::linalg_vector_norm(W, 2, {1}); }

    /// B A x, [N, out] f32
    static at::Tensor lowRank(const at::Tensor& x, const at::Tensor& A, const at::Tensor& B) {
        return at::mm(at::mm(x.to(at::kFloat), A.t()), B.t());
    }

    /// DoRA. Dropout acts on both terms, and on nothing that other adapters see.
    at::Tensor directed(const at::Tensor& x, const Projection& base, bool drops) const {
        at::Tensor c;
        {
            const at::NoGradGuard guard;
            c = rowNorms(weightOutIn() + at::mm(m_tensors.B, m_tensors.A) * m_scale);
        }
        const at::Tensor ratio = m_tensors.magnitude / c;  // [out]
        const LinearWeights* plain = base.plain();
        if (plain != nullptr && !drops && m_weight == 1) {
            const at::Tensor direction =
                nn::loraLinear(x, m_weightOfBase, {}, layout(), m_tensors.A, m_tensors.B, m_scale);
            const at::Tensor y = direction.to(at::kFloat) * ratio;
            return (plain->bias.defined() ? y + plain->bias.to(at::kFloat) : y).to(x.scalar_type());
        }
        const at::Tensor in = drops ? droppedOut(x, m_dropout, m_random, m_site.path) : x;
        const at::Tensor direction = nn::linear(in, m_weightOfBase, {}, layout()).to(at::kFloat);
        const at::Tensor delta =
            (ratio - 1) * direction + ratio * (lowRank(in, m_tensors.A, m_tensors.B) * m_scale);
        return base(x) + (delta * m_weight).to(x.scalar_type());
    }

    LinearSite m_site;
    const at::Tensor& m_weightOfBase;
    LoraTensors m_tensors;
    double m_scale;
    double m_dropout;
    double m_weight = 1;
    RandomKey m_random;
};

class LoraAdapter final : public Adapter {
public:
    LoraAdapter(Json settings, std::vector<std::string> targets)
        : m_settings(std::move(settings)), m_targets(std::move(targets)) {}

    void add(std::size_t siteIndex, std::unique_ptr<LoraLayer> layer) {
        m_sites.push_back(siteIndex);
        m_layers.push_back(std::move(layer));
    }

    void addEmbedding(std::size_t siteIndex, std::unique_ptr<LoraEmbedding> table) {
        m_embeddingSites.push_back(siteIndex);
        m_embeddings.push_back(std::move(table));
    }

    std::string method() const override { return "lora"; }

    std::vector<TrainedParameter> parameters() const override {
        std::vector<TrainedParameter> all;
        for (const auto& layer : m_layers) {
            const std::string& path = layer->site().path;
            const double ratio = m_settings.at("loraplus_lr_ratio");
            all.push_back({path + ".lora_A.weight", layer->tensors().A, lastName(path)});
            all.push_back({path + ".lora_B.weight", layer->tensors().B, lastName(path), ratio});
            if (layer->tensors().bias.defined())
                all.push_back(
                    {path + ".lora_B.bias", layer->tensors().bias, lastName(path), ratio});
            if (layer->tensors().magnitude.defined())
                all.push_back({path + ".lora_magnitude_vector", layer->tensors().magnitude,
                               lastName(path), ratio});
        }
        for (const auto& table : m_embeddings) {
            const std::string& path = table->site().path;
            all.push_back({path + ".lora_embedding_A", table->A(), lastName(path)});
            all.push_back({path + ".lora_embedding_B", table->B(), lastName(path)});
        }
        return all;
    }

    void install(SiteHooks& hooks) override {
        for (std::size_t i = 0; i < m_layers.size(); ++i)
            hooks.addLinear(m_sites[i], m_layers[i].get());
        for (std::size_t i = 0; i < m_embeddings.size(); ++i)
            hooks.addEmbedding(m_embeddingSites[i], m_embeddings[i].get());
    }

    void beginPass(const RandomKey& key) override {
        for (const auto& layer : m_layers) layer->setRandom(key);
    }

    Result<void> setWeight(double weight) override {
        for (const auto& layer : m_layers) layer->setWeight(weight);
        for (const auto& table : m_embeddings) table->setWeight(weight);
        return {};
    }

    std::vector<NamedTensor> fileTensors() const override {
        std::vector<NamedTensor> tensors;
        for (const auto& layer : m_layers) {
            const std::string path = "base_model.model." + layer->site().path;
            tensors.push_back({path + ".lora_A.weight", layer->fullA()});
            tensors.push_back({path + ".lora_B.weight", layer->fullB()});
            if (layer->tensors().bias.defined())
                tensors.push_back({path + ".lora_B.bias", layer->tensors().bias});
            if (layer->tensors().magnitude.defined())
                tensors.push_back({path + ".lora_magnitude_vector", layer->tensors().magnitude});
        }
        for (const auto& table : m_embeddings) {
            const std::string path = "base_model.model." + table->site().path;
            tensors.push_back({path + ".lora_embedding_A", table->A()});
            tensors.push_back({path + ".lora_embedding_B", table->B()});
        }
        return tensors;
    }

    Json fileConfig() const override {
        Json settings = m_settings;
        if (isPissa(m_settings)) {
            // Twice the rank at the same scale.
            const double more = m_settings.at("use_rslora") == true ? std::sqrt(2.0) : 2.0;
            settings["r"] = 2 * settings["r"].get<std::int64_t>();
            settings["lora_alpha"] = more * settings["lora_alpha"].get<double>();
            for (Json& rank : settings["rank_pattern"]) rank = 2 * rank.get<std::int64_t>();
            for (Json& alpha : settings["alpha_pattern"]) alpha = more * alpha.get<double>();
        }
        Json config{{"peft_type", "LORA"},
                    {"r", settings.at("r")},
                    {"lora_alpha", settings.at("lora_alpha")},
                    {"target_modules", m_targets},
                    {"lora_dropout", m_settings.at("lora_dropout")},
                    {"bias", "none"}};
        if (m_settings.at("use_rslora") == true) config["use_rslora"] = true;
        if (m_settings.at("use_dora") == true) config["use_dora"] = true;
        if (m_settings.at("lora_bias") == true) config["lora_bias"] = true;
        if (!m_layers.empty() && m_layers.front()->site().isConv1D) config["fan_in_fan_out"] = true;
        for (const char* key : {"rank_pattern", "alpha_pattern"})
            if (!settings.at(key).empty()) config[key] = settings.at(key);
        return config;
    }

    /// PEFT repeats a whole embedding or head in the file when an adapter sits in it; the base has
    /// it.
    Result<void> load(const TensorMap& tensors) override {
        TensorMap own = tensors;
        std::erase_if(own, [](const auto& entry) {
            return entry.first.ends_with("embed_tokens.base_layer.weight") ||
                   entry.first.ends_with("lm_head.base_layer.weight");
        });
        return Adapter::load(own);
    }

    Result<void> merge(Model& model) override {
        const at::NoGradGuard guard;
        for (const auto& layer : m_layers)
            if (layer->tensors().bias.defined() && !layer->site().hasBias)
                return Problem{"cannot_merge",
                               "The adapter has a bias at " + layer->site().path +
                                   " (lora_bias), which has none itself.",
                               "Export it as an adapter folder instead.", "lora_bias",
                               ExitCode::BadUsage};
        if (!m_embeddings.empty() && model.sites().isEncoderDecoder())
            return Problem{"cannot_merge",
                           "The adapter changes the embeddings of encoder and decoder apart; a " +
                               model.sites().architecture + " folder has one table for both.",
                           "Export it as an adapter folder instead.", "target_modules",
                           ExitCode::BadUsage};
        if (!m_embeddings.empty()) model.untieHead();
        for (const auto& layer : m_layers) untieFor(model, layer->site());
        for (const auto& table : m_embeddings) {
            const std::string name = table->site().path + ".weight";
            model.weights().assign(name,
                                   model.weights().at(name).to(at::kFloat) + table->deltaWeight());
        }
        for (const auto& layer : m_layers) {
            if (const at::Tensor bias = layer->deltaBias(); bias.defined()) {
                const std::string name = layer->site().path + ".bias";
                model.weights().assign(name, model.weights().at(name).to(at::kFloat) + bias);
            }
            const std::string name = layer->site().path + ".weight";
            const at::Tensor& weight = model.weights().at(name);
            model.weights().assign(
                name, weight.to(at::kFloat) + layer->deltaWeight().to(weight.device()));
        }
        return {};
    }

protected:
    /// A PiSSA folder that PEFT wrote holds A and B alone: every reader finds A0 and B0 in the base
    /// again.
    std::vector<NamedTensor> fileSlots() const override {
        std::vector<NamedTensor> slots = fileTensors();
        for (NamedTensor& slot : slots)
            for (const auto& layer : m_layers)
                if (slot.name.rfind("base_model.model." + layer->site().path + ".lora_", 0) == 0)
                    slot.tensor = slot.name.ends_with("lora_A.weight")   ? layer->tensors().A
                                  : slot.name.ends_with("lora_B.weight") ? layer->tensors().B
                                                                         : slot.tensor;
        return slots;
    }

private:
    Json m_settings;
    std::vector<std::string> m_targets;
    std::vector<std::size_t> m_sites;
    std::vector<std::unique_ptr<LoraLayer>> m_layers;
    std::vector<std::size_t> m_embeddingSites;
    std::vector<std::unique_ptr<LoraEmbedding>> m_embeddings;
};

/// U [out, K], S [K] and V^T [K, in] of the K >= R largest singular values: all of them, or by
/// `rounds` of subspace iteration from a random start (Halko et al. 2011, algorithm 4.4).
std::tuple<at::Tensor, at::Tensor, at::Tensor> singularValues(const at::Tensor& W, std::int64_t R,
                                                              int rounds, std::uint64_t seed) {
    if (rounds < 0) return at::linalg_svd(W, false);
    at::Tensor Q =
        std::get<0>(at::linalg_qr(at::mm(W, normalTensor({W.size(1), R}, 1.0, seed, W.device()))));
    for (int round = 0; round < rounds; ++round) {
        Q = std::get<0>(at::linalg_qr(at::mm(W.t(), Q)));
        Q = std::get<0>(at::linalg_qr(at::mm(W, Q)));
    }
    const auto [U, S, V] = at::linalg_svd(at::mm(Q.t(), W), false);
    return {at::mm(Q, U), S, V};
}

/// PiSSA's start for W [out, in] f32. `init`: "pissa" or "pissa_niter_N".
LoraTensors principal(const at::Tensor& W, std::int64_t R, double scale, const std::string& init,
                      std::uint64_t seed) {
    if (W.is_meta()) {
        const at::Tensor A = at::empty({R, W.size(1)}, W.options()),
                         B = at::empty({W.size(0), R}, W.options());
        return {A, B, {}, A, B, {}};
    }
    const std::string withRounds = "pissa_niter_";
    const auto [U, S, V] = singularValues(
        W, R, init.rfind(withRounds, 0) == 0 ? std::stoi(init.substr(withRounds.size())) : -1,
        seed);
    const at::Tensor root = (S.narrow(0, 0, R) / scale).sqrt();
    const at::Tensor A = (root.unsqueeze(1) * V.narrow(0, 0, R)).contiguous();
    const at::Tensor B = (U.narrow(1, 0, R) * root).contiguous();
    return {A, B, {}, A, B, {}};
}

/// A PiSSA file holds what is left of the start in A and B, any other file what is added: one
/// cannot be read as the other.
Problems contradictions(const Json& settings) {
    if (!settings.at("init_from").is_null()) {
        const std::filesystem::path folder = settings.at("init_from").get<std::string>();
        Result<Json> config = readJsonFile(folder / "adapter_config.json", 4u << 20);
        const Json init = config && config->is_object()
                              ? config->value("init_lora_weights", Json(true))
                              : Json(true);
        const bool wasPissa = init.is_string() && init.get<std::string>().rfind("pissa", 0) == 0;
        if (wasPissa != isPissa(settings))
            return {{"bad_combination",
                     folder.string() +
                         (wasPissa ? " was started by PiSSA and written as PEFT writes it"
                                   : " was not written as a PiSSA adapter") +
                         ", but method.init_lora_weights is " +
                         dumpLine(settings.at("init_lora_weights")) + ".",
                     wasPissa ? "Set method.init_lora_weights to \"pissa\"."
                              : "Set method.init_lora_weights to true; a PiSSA run of Luthier "
                                "leaves a plain LoRA of twice its rank.",
                     "method.init_lora_weights", ExitCode::BadUsage}};
    }
    const bool isStartedPlain = settings.at("init_lora_weights").is_boolean();
    if (settings.at("lora_bias") == true && (settings.at("use_dora") == true || !isStartedPlain))
        return {
            {"bad_combination",
             "method.lora_bias goes neither with DoRA nor with another start than true or false.",
             "Set method.lora_bias to false.", "method.lora_bias", ExitCode::BadUsage}};
    if (!isPissa(settings) || settings.at("use_dora") == false) return {};
    return {{"bad_combination",
             "DoRA cannot start from PiSSA: PiSSA is written as a plain LoRA of twice the rank, "
             "which has no magnitude.",
             "Set method.use_dora to false, or method.init_lora_weights to true.",
             "method.use_dora", ExitCode::BadUsage}};
}

struct Strength {
    std::int64_t rank;
    double scale;
};

/// Rank and scale of one module of in x out.
Result<Strength> strengthAt(const Json& settings, const std::string& path, std::int64_t in,
                            std::int64_t out) {
    Result<double> rank = patternValue(settings.at("rank_pattern"), path,
                                       settings.at("r").get<double>(), "method.rank_pattern");
    if (!rank) return rank.problems();
    Result<double> alpha =
        patternValue(settings.at("alpha_pattern"), path, settings.at("lora_alpha").get<double>(),
                     "method.alpha_pattern");
    if (!alpha) return alpha.problems();
    const auto R = static_cast<std::int64_t>(*rank);
    if (R < 1 || R > std::min(in, out))
        return Problem{"rank_too_large",
                       "The rank " + std::to_string(R) + " does not fit " + path + ", a layer of " +
                           std::to_string(in) + " x " + std::to_string(out) + ".",
                       "Choose r from 1 to " + std::to_string(std::min(in, out)) + ".", "method.r",
                       ExitCode::BadUsage};
    return Strength{R, *alpha / (settings.at("use_rslora") == true ? std::sqrt(*rank) : *rank)};
}

Result<void> addEmbeddings(const MethodContext& context, const std::vector<std::size_t>& matched,
                           LoraAdapter& adapter) {
    const Json& settings = context.settings;
    for (const std::size_t index : matched) {
        const EmbeddingSite& site = context.model.sites().embeddings[index];
        const bool isPlain = settings.at("use_dora") == false &&
                             settings.at("lora_bias") == false && !isPissa(settings) &&
                             settings.at("loraplus_lr_ratio") == 1.0;
        if (!isPlain)
            return Problem{"bad_combination",
                           "An adapter at the embedding " + site.path +
                               " goes with plain LoRA alone: no DoRA, PiSSA, lora_bias or LoRA+.",
                           "Leave " + lastName(site.path) +
                               " out of target_modules, or name it in modules_to_save.",
                           "method.target_modules", ExitCode::BadUsage};
        Result<Strength> strength = strengthAt(settings, site.path, site.rows, site.width);
        if (!strength) return strength.problems();
        const auto [R, scale] = *strength;
        const at::Device& device = context.model.device();
        const auto drawn = [&](at::IntArrayRef shape, const char* name) {
            return normalTensor(shape, 1.0, tensorSeed(context.seed, site.path + name), device);
        };
        const bool changesNothing = settings.at("init_lora_weights") != false;
        const at::Tensor B = drawn({site.width, R}, ".lora_embedding_B");
        const at::Tensor A = changesNothing ? at::zeros({R, site.rows}, B.options())
                                            : drawn({R, site.rows}, ".lora_embedding_A");
        adapter.addEmbedding(index, std::make_unique<LoraEmbedding>(site, leaf(A), leaf(B), scale));
    }
    return {};
}

Result<std::shared_ptr<Adapter>> createLora(const MethodContext& context) {
    if (Problems problems = contradictions(context.settings); !problems.empty()) return problems;
    const Json& settings = context.settings;
    const ModelSites& sites = context.model.sites();
    Result<MatchedSites> matched = matchSites(sites, settings, DefaultTargets::LowRank);
    if (!matched) return matched.problems();
    auto adapter = std::make_shared<LoraAdapter>(settings, targetNames(sites, *matched));
    const Json& init = settings.at("init_lora_weights");
    if (Result<void> added = addEmbeddings(context, matched->embeddings, *adapter); !added)
        return added.problems();
    for (const std::size_t index : matched->linears) {
        const LinearSite& site = sites.linears[index];
        Result<Strength> strength = strengthAt(settings, site.path, site.in, site.out);
        if (!strength) return strength.problems();
        const auto [R, scale] = *strength;
        const at::Device& device = context.model.device();
        // Kaiming-uniform with a = sqrt(5) is uniform in +-1/sqrt(in).
        const std::uint64_t seedA = tensorSeed(context.seed, site.path + ".lora_A");
        const at::Tensor A =
            init == "gaussian"
                ? normalTensor({R, site.in}, 1.0 / static_cast<double>(R), seedA, device)
                : uniformTensor({R, site.in}, 1.0 / std::sqrt(static_cast<double>(site.in)), seedA,
                                device);
        const at::Tensor B =
            init == false ? uniformTensor({site.out, R}, 1.0 / std::sqrt(static_cast<double>(R)),
                                          tensorSeed(context.seed, site.path + ".lora_B"), device)
                          : at::zeros({site.out, R}, A.options());
        const at::Tensor& weight = weightAt(context.model, site);
        LoraTensors tensors{A, B, {}, {}, {}, {}};
        // torch's Linear draws a bias in +-1/sqrt(in), here R; a start that changes nothing has
        // none.
        if (settings.at("lora_bias") == true)
            tensors.bias = leaf(
                init == false
                    ? uniformTensor({site.out}, 1.0 / std::sqrt(static_cast<double>(R)),
                                    tensorSeed(context.seed, site.path + ".lora_B.bias"), device)
                    : at::zeros({site.out}, A.options()));
        if (isPissa(settings))
            tensors = principal((site.isConv1D ? weight.t() : weight).to(at::kFloat), R, scale,
                                init, seedA);
        tensors.A = leaf(tensors.A);
        tensors.B = leaf(tensors.B);
        auto layer = std::make_unique<LoraLayer>(site, weight, std::move(tensors), scale,
                                                 settings.at("lora_dropout").get<double>());
        if (settings.at("use_dora") == true) layer->startMagnitude();
        adapter->add(index, std::move(layer));
    }
    return std::shared_ptr<Adapter>(adapter);
}

}  // namespace

Method loraMethod() {
    Method method{"lora",
                  "LoRA",
                  "Add low-rank weights",
                  "Two thin matrices beside each chosen weight.",
                  "LORA",
                  true,
                  {},
                  &createLora};
    Setting rank{"r", SettingType::Integer, 8, "Rank",
                 "Width of the two matrices. More learns more and costs in proportion."};
    rank.minimum = 1;
    rank.maximum = 8192;
    Setting alpha{"lora_alpha", SettingType::Real, 16, "Alpha",
                  "Strength of the adapter: its output is scaled by alpha / rank."};
    alpha.minimum = 0;
    alpha.minimumExclusive = true;
    const Setting dropout = dropoutSetting("lora_dropout", "Dropout",
                                           "Share of the adapter's inputs dropped while training.");
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
    Setting init{
        "init_lora_weights", SettingType::BooleanOrChoice, true, "Initial values",
        "true: uniform A, zero B; gaussian: normal A, zero B; pissa: the largest singular values "
        "of the weight (pissa_niter_N: found faster, in N rounds); false: both random."};
    init.choices = {"gaussian", "pissa", "pissa_niter_4", "pissa_niter_8", "pissa_niter_16"};
    init.isUsual = false;
    Setting rslora{"use_rslora", SettingType::Boolean, false, "rsLoRA",
                   "Scale by alpha / sqrt(rank), which keeps high ranks stable."};
    Setting dora{"use_dora", SettingType::Boolean, false, "DoRA",
                 "Learn the length of every weight row apart from its direction."};
    dora.isUsual = false;
    Setting loraBias{"lora_bias", SettingType::Boolean, false, "Bias of B",
                     "Learn a bias beside B; it can be merged only where the layer has a bias."};
    loraBias.isUsual = false;
    Setting plus{"loraplus_lr_ratio", SettingType::Real, 1.0, "LoRA+ ratio",
                 "Learning rate of B over that of A; LoRA+ suggests 16."};
    plus.minimum = 0;
    plus.minimumExclusive = true;
    plus.isUsual = false;
    Setting initFrom{"init_from", SettingType::Path, nullptr, "Continue from",
                     "An adapter folder in PEFT format."};
    initFrom.isUsual = false;
    initFrom.isNullable = true;
    method.schema = {"lora",
                     {rank, alpha, dropout, targets, rslora, dora, init, plus, loraBias, excluded,
                      layers, layersPatternSetting()}};
    for (Setting& setting : patternSettings()) method.schema.settings.push_back(std::move(setting));
    method.schema.settings.push_back(std::move(initFrom));
    method.usualRate = {2e-4, "Hu et al. 2022 (GPT-2), Dettmers et al. 2023"};
    method.isDefault = true;
    method.ownBias = "lora_only";
    method.keepsInputs = true;
    method.ggufType = "lora";
    method.combine = &combineLora;
    method.words = {{"r", "r %1"}};
    return method;
}

}  // namespace luthier
