// SPDX-License-Identifier: Apache-2.0
#include "peft/saved_head.h"

#include "model/functions.h"
#include "peft/method.h"
#include "peft/targets.h"
#include "peft/training_hooks.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

namespace luthier {

namespace {

/// One layer of the head as this adapter has it: y = x W'^T + b', or in a weighted sum base + w (own - base).
class OwnLinear final : public LinearHook {
public:
    OwnLinear(LinearSite site, const Weights& weights) : m_site(std::move(site)), m_baseWeight(*weights.find(m_site.path + ".weight")), m_weight(leaf(m_baseWeight)) {
        if (!m_site.hasBias) return;
        m_baseBias = *weights.find(m_site.path + ".bias");
        m_bias = leaf(m_baseBias);
    }

    at::Tensor forward(const at::Tensor& x, const Projection& below) override {
        const at::Tensor own = nn::linear(x, m_weight, m_bias, nn::WeightLayout::OutIn);
        if (m_share == 1) return own;
        return below(x) + (own - nn::linear(x, m_baseWeight, m_baseBias, nn::WeightLayout::OutIn)) * m_share;
    }

    const LinearSite& site() const { return m_site; }
    const at::Tensor& weight() const { return m_weight; }
    const at::Tensor& bias() const { return m_bias; }
    void setShare(double share) { m_share = share; }

private:
    LinearSite m_site;
    const at::Tensor& m_baseWeight;
    at::Tensor m_baseBias;
    at::Tensor m_weight;  // [out, in] f32
    at::Tensor m_bias;    // [out] f32, or undefined
    double m_share = 1;
};

class WithSavedHead final : public Adapter, public TrainingHooks {
public:
    WithSavedHead(std::shared_ptr<Adapter> inner, Model& model) : m_inner(std::move(inner)), m_saved(savedHeadOf(model.sites())) {
        for (const std::size_t index : m_saved.linears) m_layers.push_back(std::make_unique<OwnLinear>(model.sites().linears[index], model.weights()));
        // Prompts have no module around the model, so the files of their methods know one prefix less.
        const Method* method = findMethod(m_inner->method());
        const bool isPrompt = method != nullptr && (method->peftType == "PROMPT_TUNING" || method->peftType == "P_TUNING" || method->peftType == "PREFIX_TUNING");
        m_prefix = isPrompt ? "base_model." : "base_model.model.";
    }

    std::string method() const override { return m_inner->method(); }
    std::vector<TrainedParameter> parameters() const override {
        std::vector<TrainedParameter> all = m_inner->parameters();
        for (const auto& layer : m_layers) {
            const std::string& path = layer->site().path;
            all.push_back({path + ".weight", layer->weight(), lastName(path)});
            if (layer->bias().defined()) all.push_back({path + ".bias", layer->bias(), lastName(path)});
        }
        return all;
    }
    void install(SiteHooks& hooks) override {
        m_inner->install(hooks);
        for (std::size_t i = 0; i < m_layers.size(); ++i) hooks.addLinear(m_saved.linears[i], m_layers[i].get());
    }
    void beginPass(const RandomKey& key) override { m_inner->beginPass(key); }

    // What the inner method wants of the training loop.
    at::Tensor regularisation() const override {
        const auto* hooks = dynamic_cast<const TrainingHooks*>(m_inner.get());
        return hooks != nullptr ? hooks->regularisation() : at::Tensor();
    }
    void afterUpdate(std::int64_t step, std::int64_t totalSteps) override {
        if (auto* hooks = dynamic_cast<TrainingHooks*>(m_inner.get())) hooks->afterUpdate(step, totalSteps);
    }
    std::vector<NamedTensor> trainingState() const override {
        const auto* hooks = dynamic_cast<const TrainingHooks*>(m_inner.get());
        return hooks != nullptr ? hooks->trainingState() : std::vector<NamedTensor>{};
    }
    Result<void> setWeight(double weight) override {
        for (const auto& layer : m_layers) layer->setShare(weight);
        return m_inner->setWeight(weight);
    }

    std::vector<NamedTensor> fileTensors() const override {
        std::vector<NamedTensor> all = m_inner->fileTensors();
        for (const NamedTensor& tensor : headTensors()) all.push_back(tensor);
        return all;
    }
    Json fileConfig() const override {
        Json config = m_inner->fileConfig();
        config["modules_to_save"] = m_saved.modules;
        return config;
    }
    Result<void> load(const TensorMap& tensors) override {
        TensorMap inner = tensors;
        TensorMap own;
        for (const NamedTensor& slot : headTensors())
            if (auto node = inner.extract(slot.name)) own.insert(std::move(node));
        Result<void> loaded = m_inner->load(inner);
        return loaded ? loadSlots(headTensors(), own) : loaded;
    }
    Result<void> merge(Model& model) override {
        Result<void> merged = m_inner->merge(model);
        if (!merged) return merged;
        for (const auto& layer : m_layers) {
            model.weights().assign(layer->site().path + ".weight", layer->weight());
            if (layer->bias().defined()) model.weights().assign(layer->site().path + ".bias", layer->bias());
        }
        return {};
    }

private:
    std::vector<NamedTensor> headTensors() const {
        std::vector<NamedTensor> all;
        for (const auto& layer : m_layers) {
            const std::string path = m_prefix + layer->site().path;
            all.push_back({path + ".weight", layer->weight()});
            if (layer->bias().defined()) all.push_back({path + ".bias", layer->bias()});
        }
        return all;
    }

    std::shared_ptr<Adapter> m_inner;
    SavedHead m_saved;
    std::vector<std::unique_ptr<OwnLinear>> m_layers;
    std::string m_prefix;
};

}  // namespace

SavedHead savedHeadOf(const ModelSites& sites) {
    SavedHead saved;
    for (std::size_t i = 0; i < sites.linears.size(); ++i) {
        const LinearSite& site = sites.linears[i];
        if (site.role != LinearRole::Pooler && site.role != LinearRole::Head) continue;
        // "classifier.dense" belongs to the module "classifier"; "bert.pooler.dense" and "pooler.dense" are the encoder's.
        const std::string module = site.path.substr(0, site.path.find('.'));
        if (site.role == LinearRole::Pooler && (module == "bert" || module == "pooler")) continue;
        saved.linears.push_back(i);
        if (std::find(saved.modules.begin(), saved.modules.end(), module) == saved.modules.end()) saved.modules.push_back(module);
    }
    return saved;
}

std::shared_ptr<Adapter> withSavedHead(std::shared_ptr<Adapter> inner, Model& model) { return std::make_shared<WithSavedHead>(std::move(inner), model); }

}  // namespace luthier
