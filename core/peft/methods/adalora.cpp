// SPDX-License-Identifier: Apache-2.0
// AdaLoRA (Zhang et al. 2023, arXiv 2303.10512): y = W x + b + alpha / (R + 1e-5) B (E (.) A x), A
// [R, in], B [out, R], E [R, 1], R = init_r for the life of the adapter. The loss gains
// orth_reg_weight times the mean over all A and B of |A A^T - I|_F, |B^T B - I|_F. Ranks are cut as
// the run goes on, from R a layer to target_r on average. After each update t (from 1):
//   importance of a value  I = |w dL/dw|,  I' = b1 I' + (1 - b1) I,  U' = b2 U' + (1 - b2) |I -
//   I'|,  score I' U' score of a triplet     that of its E, plus the means over its row of A and
//   its column of B budget(t)              all before tinit; then target + (all - target) (1 - (t -
//   tinit) / (T - tfinal - tinit))^3; the E of the triplets with
//                          the lowest scores become 0 every deltaT steps; from T - tfinal on the
//                          choice is fixed
// File: PEFT's `lora_A`, `lora_B`, `lora_E` without the rows that were cut, and rank_pattern in the
// config.
#include "peft/methods/delta_weights.h"
#include "peft/dropout.h"
#include "peft/targets.h"
#include "peft/training_hooks.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>

namespace luthier {

namespace {

class AdaLoraLayer final : public DeltaLayer {
public:
    AdaLoraLayer(LinearSite site, at::Tensor A, at::Tensor B, at::Tensor E, double alpha)
        : DeltaLayer(
              std::move(site),
              {{"lora_A", std::move(A)}, {"lora_B", std::move(B)}, {"lora_E", std::move(E)}}),
          m_scale(alpha / (static_cast<double>(tensor(0).size(0)) + 1e-5)),
          m_kept(at::ones({tensor(0).size(0)}, tensor(0).options().requires_grad(false))) {
        for (const NamedTensor& value : tensors()) {
            m_importance.push_back(at::zeros_like(value.tensor.detach()));
            m_uncertainty.push_back(at::zeros_like(value.tensor.detach()));
        }
    }

    at::Tensor delta() const override { return at::mm(tensor(1), tensor(0) * tensor(2)) * m_scale; }
    at::Tensor applied(const at::Tensor& x) const override {
        return at::mm(at::mm(x, (tensor(0) * tensor(2)).t()), tensor(1).t()) * m_scale;
    }

    /// |A A^T - I|_F + |B^T B - I|_F
    at::Tensor distanceFromOrthogonal() const {
        const at::Tensor I = at::eye(tensor(0).size(0), tensor(0).options());
        return at::linalg_vector_norm(at::mm(tensor(0), tensor(0).t()) - I) +
               at::linalg_vector_norm(at::mm(tensor(1).t(), tensor(1)) - I);
    }

    void weigh(double beta1, double beta2) {
        for (std::size_t i = 0; i < tensors().size(); ++i) {
            if (!tensor(i).grad().defined()) continue;
            const at::Tensor now = (tensor(i) * tensor(i).grad()).abs();
            m_importance[i].copy_(beta1 * m_importance[i] + (1 - beta1) * now);
            m_uncertainty[i].copy_(beta2 * m_uncertainty[i] +
                                   (1 - beta2) * (now - m_importance[i]).abs());
        }
    }

    /// Of each triplet, [R].
    at::Tensor scores() const {
        const auto of = [this](std::size_t i) { return m_importance[i] * m_uncertainty[i]; };
        return of(2).flatten() + (of(0).mean(1) + of(1).mean(0));
    }

    void forget() {
        for (std::size_t i = 0; i < tensors().size(); ++i) {
            m_importance[i].zero_();
            m_uncertainty[i].zero_();
        }
    }

    /// Cuts the triplets that are not above the threshold; a later, lower one brings their rows
    /// back into play with E = 0.
    void cut(double threshold) {
        m_kept.copy_(scores().gt(threshold));
        applyCut();
    }
    void applyCut() { at::Tensor(tensor(2)).mul_(m_kept.unsqueeze(1)); }

    /// Puts file tensors of k <= R rows in front; the other rows count as cut.
    void fill(const at::Tensor& A, const at::Tensor& B, const at::Tensor& E) {
        const std::int64_t k = A.size(0);
        at::Tensor(tensor(0)).zero_().narrow(0, 0, k).copy_(A);
        at::Tensor(tensor(1)).zero_().narrow(1, 0, k).copy_(B);
        at::Tensor(tensor(2)).zero_().narrow(0, 0, k).copy_(E);
        m_kept.zero_().narrow(0, 0, k).fill_(1);
    }

    bool isCut() const { return !m_kept.is_meta() && m_kept.min().item<float>() == 0; }
    at::Tensor keptRows() const { return m_kept.nonzero().flatten(); }
    const at::Tensor& kept() const { return m_kept; }

    std::vector<NamedTensor> trainingState() const {
        std::vector<NamedTensor> state{{site().path + ".kept", m_kept}};
        for (std::size_t i = 0; i < tensors().size(); ++i) {
            state.push_back(
                {site().path + "." + tensors()[i].name + ".importance", m_importance[i]});
            state.push_back(
                {site().path + "." + tensors()[i].name + ".uncertainty", m_uncertainty[i]});
        }
        return state;
    }

private:
    double m_scale;
    at::Tensor m_kept;                      // [R] f32, 1 or 0
    std::vector<at::Tensor> m_importance;   // I' of A, B, E
    std::vector<at::Tensor> m_uncertainty;  // U'
};

class AdaLoraAdapter final : public Adapter, public TrainingHooks {
public:
    AdaLoraAdapter(Json settings, std::vector<std::string> targets, bool isConv1D)
        : m_settings(std::move(settings)), m_targets(std::move(targets)), m_isConv1D(isConv1D) {}

    void add(std::size_t siteIndex, std::unique_ptr<AdaLoraLayer> layer) {
        m_sites.push_back(siteIndex);
        m_layers.push_back(std::move(layer));
    }

    std::string method() const override { return "adalora"; }

    std::vector<TrainedParameter> parameters() const override {
        std::vector<TrainedParameter> all;
        for (const auto& layer : m_layers)
            for (const NamedTensor& tensor : layer->tensors())
                all.push_back({layer->site().path + "." + tensor.name, tensor.tensor,
                               lastName(layer->site().path)});
        return all;
    }

    void install(SiteHooks& hooks) override {
        for (std::size_t i = 0; i < m_layers.size(); ++i)
            hooks.addLinear(m_sites[i], m_layers[i].get());
    }

    void beginPass(const RandomKey& key) override {
        for (const auto& layer : m_layers) layer->setRandom(key);
    }

    Result<void> setWeight(double weight) override {
        for (const auto& layer : m_layers) layer->setWeight(weight);
        return {};
    }

    at::Tensor regularisation() const override {
        const double weight = m_settings.at("orth_reg_weight");
        if (weight == 0) return {};
        at::Tensor sum;
        for (const auto& layer : m_layers)
            sum = sum.defined() ? sum + layer->distanceFromOrthogonal()
                                : layer->distanceFromOrthogonal();
        return sum * (weight / (2.0 * static_cast<double>(m_layers.size())));
    }

    void afterUpdate(std::int64_t step, std::int64_t totalSteps) override {
        const at::NoGradGuard guard;
        m_totalSteps = m_settings.at("total_step").is_null()
                           ? totalSteps
                           : m_settings.at("total_step").get<std::int64_t>();
        const auto first = m_settings.at("tinit").get<std::int64_t>();
        const std::int64_t last = m_totalSteps - m_settings.at("tfinal").get<std::int64_t>();
        if (step > last) {
            for (const auto& layer : m_layers) layer->applyCut();
            return;
        }
        if (step < last)
            for (const auto& layer : m_layers)
                layer->weigh(m_settings.at("beta1"), m_settings.at("beta2"));
        const std::int64_t all = static_cast<std::int64_t>(m_layers.size()) *
                                 m_settings.at("init_r").get<std::int64_t>();
        const std::int64_t target = static_cast<std::int64_t>(m_layers.size()) *
                                    m_settings.at("target_r").get<std::int64_t>();
        if (step == last ||
            (step > first && step % m_settings.at("deltaT").get<std::int64_t>() == 0)) {
            const double left = step <= first ? 1
                                              : 1 - static_cast<double>(step - first) /
                                                        static_cast<double>(last - first);
            cutTo(all - static_cast<std::int64_t>(static_cast<double>(all - target) *
                                                      (left * left * left) +
                                                  static_cast<double>(target)));
        }
        if (step == last)
            for (const auto& layer : m_layers) layer->forget();
    }

    std::vector<NamedTensor> trainingState() const override {
        std::vector<NamedTensor> state;
        for (const auto& layer : m_layers)
            for (NamedTensor& tensor : layer->trainingState()) state.push_back(std::move(tensor));
        return state;
    }

    std::vector<NamedTensor> fileTensors() const override {
        std::vector<NamedTensor> tensors;
        for (const auto& layer : m_layers)
            for (const NamedTensor& tensor : layer->tensors()) {
                const bool isB = tensor.name == "lora_B";
                tensors.push_back({"base_model.model." + layer->site().path + "." + tensor.name,
                                   layer->isCut() ? tensor.tensor.detach().index_select(
                                                        isB ? 1 : 0, layer->keptRows())
                                                  : tensor.tensor});
            }
        return tensors;
    }

    Json fileConfig() const override {
        Json config{{"peft_type", "ADALORA"}, {"target_modules", m_targets}};
        for (const char* key : {"init_r", "target_r", "lora_alpha", "tinit", "tfinal", "deltaT",
                                "beta1", "beta2", "orth_reg_weight"})
            config[key] = m_settings.at(key);
        // Loaders refuse a file without total_step.
        config["total_step"] = !m_settings.at("total_step").is_null()
                                   ? m_settings.at("total_step")
                                   : Json(std::max<std::int64_t>(1, m_totalSteps));
        if (m_settings.at("lora_dropout") != 0.0)
            config["lora_dropout"] = m_settings.at("lora_dropout");
        if (m_isConv1D) config["fan_in_fan_out"] = true;
        Json pattern = Json::object();
        for (const auto& layer : m_layers) {
            if (layer->kept().is_meta()) return config;
            const at::Tensor kept = layer->kept().to(at::kCPU);
            for (std::int64_t i = 0; i < kept.size(0); ++i)
                pattern[layer->site().path + ".lora_E"].push_back(kept[i].item<float>() != 0);
        }
        for (const auto& layer : m_layers)
            if (layer->isCut()) config["rank_pattern"] = pattern;
        return config;
    }

    Result<void> load(const TensorMap& tensors) override {
        const at::NoGradGuard guard;
        Problems problems;
        if (tensors.size() != 3 * m_layers.size())
            problems.push_back({"adapter_tensor_unexpected",
                                "The adapter file holds " + std::to_string(tensors.size()) +
                                    " tensors; this model needs " +
                                    std::to_string(3 * m_layers.size()) + ".",
                                "It was made for another model or other target modules.", ""});
        for (const auto& layer : m_layers) {
            const auto part = [&](std::size_t i) {
                const std::string name =
                    "base_model.model." + layer->site().path + "." + layer->tensors()[i].name;
                const auto found = tensors.find(name);
                if (found == tensors.end())
                    problems.push_back(
                        {"adapter_tensor_missing", "The adapter file has no tensor " + name + ".",
                         "It was made for another model or other target modules.", name});
                return found == tensors.end() ? at::Tensor() : found->second;
            };
            const at::Tensor A = part(0), B = part(1), E = part(2);
            if (!A.defined() || !B.defined() || !E.defined()) continue;
            const std::int64_t k = A.size(0);
            const bool fits = A.dim() == 2 && B.dim() == 2 && A.size(1) == layer->site().in &&
                              B.size(0) == layer->site().out && B.size(1) == k && E.numel() == k &&
                              k <= layer->kept().size(0);
            if (fits)
                layer->fill(A, B, E.reshape({k, 1}));
            else
                problems.push_back(
                    {"adapter_tensor_shape",
                     "The tensors of " + layer->site().path + " do not fit a layer of " +
                         std::to_string(layer->site().in) + " x " +
                         std::to_string(layer->site().out) + " and init_r.",
                     "They were made for a model of another size.", layer->site().path});
        }
        if (!problems.empty()) return problems;
        return {};
    }

    Result<void> merge(Model& model) override {
        const at::NoGradGuard guard;
        for (const auto& layer : m_layers) {
            untieFor(model, layer->site());
            const std::string name = layer->site().path + ".weight";
            const at::Tensor delta = layer->delta() * layer->weight();
            model.weights().assign(name, model.weights().at(name).to(at::kFloat) +
                                             (layer->site().isConv1D ? delta.t() : delta));
        }
        return {};
    }

private:
    /// Cuts the `count` triplets of the lowest scores of all layers.
    void cutTo(std::int64_t count) {
        if (count < 1) return;
        std::vector<at::Tensor> scores;
        for (const auto& layer : m_layers) scores.push_back(layer->scores());
        const double threshold = std::get<0>(at::cat(scores).kthvalue(count)).item<double>();
        for (const auto& layer : m_layers) layer->cut(threshold);
    }

    Json m_settings;
    std::vector<std::string> m_targets;
    bool m_isConv1D;
    std::int64_t m_totalSteps = 0;
    std::vector<std::size_t> m_sites;
    std::vector<std::unique_ptr<AdaLoraLayer>> m_layers;
};

Problems contradictions(const Json& settings) {
    Problems problems;
    if (settings.at("target_r") > settings.at("init_r"))
        problems.push_back({"bad_combination",
                            "method.target_r is " + settings.at("target_r").dump() +
                                ", above method.init_r, " + settings.at("init_r").dump() +
                                ": ranks are only ever cut.",
                            "Choose an init_r of about 1.5 times target_r.", "method.target_r",
                            ExitCode::BadUsage});
    if (const Json& total = settings.at("total_step");
        !total.is_null() &&
        settings.at("tinit").get<std::int64_t>() >=
            total.get<std::int64_t>() - settings.at("tfinal").get<std::int64_t>())
        problems.push_back({"bad_combination",
                            "method.tinit and method.tfinal leave no step of method.total_step in "
                            "which ranks are cut.",
                            "Lower them, or raise total_step.", "method.tinit",
                            ExitCode::BadUsage});
    return problems;
}

Result<std::shared_ptr<Adapter>> createAdalora(const MethodContext& context) {
    const Json& settings = context.settings;
    if (Problems problems = contradictions(settings); !problems.empty()) return problems;
    const ModelSites& sites = context.model.sites();
    Result<std::vector<std::size_t>> matched = targetsOf(context, DefaultTargets::Adaptive);
    if (!matched) return matched.problems();
    const auto R = settings.at("init_r").get<std::int64_t>();
    auto adapter = std::make_shared<AdaLoraAdapter>(settings, targetNames(sites, *matched),
                                                    sites.linears[matched->front()].isConv1D);
    for (const std::size_t index : *matched) {
        const LinearSite& site = sites.linears[index];
        const auto drawn = [&](at::IntArrayRef shape, const char* name) {
            return leaf(normalTensor(shape, 0.02, tensorSeed(context.seed, site.path + name),
                                     context.model.device()));
        };
        const at::Tensor A = drawn({R, site.in}, ".lora_A");
        auto layer = std::make_unique<AdaLoraLayer>(
            site, A, drawn({site.out, R}, ".lora_B"),
            leaf(at::zeros({R, 1}, A.options().requires_grad(false))),
            settings.at("lora_alpha").get<double>());
        layer->setDropout({.input = settings.at("lora_dropout")});
        adapter->add(index, std::move(layer));
    }
    return std::shared_ptr<Adapter>(adapter);
}

Setting integer(const char* key, Json value, double minimum, const char* label, const char* help) {
    Setting setting{key, SettingType::Integer, std::move(value), label, help};
    setting.minimum = minimum;
    setting.maximum = 1e9;
    setting.isUsual = false;
    return setting;
}

Setting share(const char* key, const char* label, const char* help) {
    Setting setting{key, SettingType::Real, 0.85, label, help};
    setting.minimum = 0.0001;
    setting.maximum = 0.9999;
    setting.isUsual = false;
    return setting;
}

}  // namespace

Method adaloraMethod() {
    Method method{"adalora",
                  "AdaLoRA",
                  "Add low-rank weights",
                  "LoRA whose ranks go where they matter most while the run goes on.",
                  "ADALORA",
                  true,
                  {},
                  &createAdalora};
    Setting initial = integer("init_r", 12, 1, "First rank", "Rank of every layer at the start.");
    Setting target = integer("target_r", 8, 1, "Target rank", "Mean rank of a layer at the end.");
    initial.isUsual = target.isUsual = true;
    initial.maximum = target.maximum = 8192;
    Setting alpha{"lora_alpha", SettingType::Real, 8, "Alpha",
                  "Strength of the adapter: its output is scaled by alpha / first rank."};
    alpha.minimum = 0;
    alpha.minimumExclusive = true;
    Setting regular{"orth_reg_weight", SettingType::Real, 0.5, "Orthogonality",
                    "Weight in the loss of how far the matrices are from orthogonal."};
    regular.minimum = 0;
    regular.isUsual = false;
    Setting total = integer("total_step", nullptr, 1, "Steps of the schedule", "Empty: the run's.");
    total.isNullable = true;
    method.schema = {
        "adalora",
        {initial, target, alpha,
         dropoutSetting("lora_dropout", "Dropout",
                        "Share of the adapter's inputs dropped while training."),
         regular, integer("tinit", 0, 0, "First cut after", "Steps before ranks are cut."),
         integer("tfinal", 0, 0, "Last steps", "Steps at the end with fixed ranks."),
         integer("deltaT", 1, 1, "Every", "Steps from one cut to the next."), total,
         share("beta1", "Memory of importance", "How long a value's importance is remembered."),
         share("beta2", "Memory of uncertainty", "How long its swings are remembered.")}};
    for (Setting& setting : targetSettings()) method.schema.settings.push_back(std::move(setting));
    method.usualRate = {5e-4, "Zhang et al. 2023"};
    method.ownBias = "lora_only";
    method.keepsInputs = true;
    // Its file says by its shapes what rank_pattern says, and does not use these of LoRA's keys.
    method.unusedKeys = {"r", "rank_pattern", "alpha_pattern", "init_lora_weights", "lora_dropout"};
    method.glyph = "layers 0 15 0 tie 18 1 10 7 tie 19.5 8.5 7 5 tie 21 14.5 4 4";
    method.words = {{"init_r", "r %1"}, {"target_r", "%1 in the end"}};
    return method;
}

}  // namespace luthier
