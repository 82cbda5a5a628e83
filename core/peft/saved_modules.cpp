// SPDX-License-Identifier: Apache-2.0
#include "peft/saved_modules.h"

#include "peft/method.h"
#include "peft/methods/own_copies.h"
#include "peft/targets.h"
#include "peft/training_hooks.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/embedding.h>

#include <algorithm>
#include <set>

namespace luthier {

namespace {

/// A table of token embeddings as this adapter has it; in a weighted sum below + w (own - base).
class OwnEmbedding final : public EmbeddingHook {
public:
    OwnEmbedding(EmbeddingSite site, const at::Tensor& base)
        : m_site(std::move(site)), m_base(base), m_copy(leaf(base)) {}

    at::Tensor forward(const at::Tensor& ids, const at::Tensor& below, bool isPlain) override {
        const at::Tensor own = at::embedding(m_copy, ids, m_site.padding);
        if (m_share == 1 && isPlain) return own.to(below.scalar_type());
        return below + ((own - at::embedding(m_base, ids).to(at::kFloat)) * m_share)
                           .to(below.scalar_type());
    }

    const EmbeddingSite& site() const { return m_site; }
    const at::Tensor& copy() const { return m_copy; }
    at::Tensor merged(const at::Tensor& below) const {
        return m_share == 1 && below.is_same(m_base)
                   ? m_copy
                   : below.to(at::kFloat) + (m_copy - m_base.to(at::kFloat)) * m_share;
    }
    void setShare(double share) { m_share = share; }

private:
    EmbeddingSite m_site;
    at::Tensor m_base;  // [V, width]
    at::Tensor m_copy;  // [V, width] f32
    double m_share = 1;
};

struct SavedParts {
    std::vector<std::unique_ptr<OwnCopy>> parameters;
    std::vector<std::size_t> embeddingSites;
    std::vector<std::unique_ptr<OwnEmbedding>> embeddings;
    Json config = Json::object();  ///< what adapter_config.json says of them
    double vectorRate =
        1;  ///< rateFactor of what has one dimension: PEFT's LoRA+ puts biases and norms beside B
};

class WithSavedModules final : public Adapter, public TrainingHooks {
public:
    WithSavedModules(std::shared_ptr<Adapter> inner, SavedParts parts, std::string prefix)
        : m_inner(std::move(inner)), m_parts(std::move(parts)), m_prefix(std::move(prefix)) {}

    std::string method() const override { return m_inner->method(); }
    std::vector<TrainedParameter> parameters() const override {
        std::vector<TrainedParameter> all = m_inner->parameters();
        for (const auto& copy : m_parts.parameters)
            all.push_back({copy->name(), copy->copy(),
                           lastName(copy->name().substr(0, copy->name().rfind('.'))),
                           copy->copy().dim() == 1 ? m_parts.vectorRate : 1});
        for (const auto& table : m_parts.embeddings)
            all.push_back(
                {table->site().path + ".weight", table->copy(), lastName(table->site().path)});
        return all;
    }
    void install(SiteHooks& hooks) override {
        m_inner->install(hooks);
        for (const auto& copy : m_parts.parameters) hooks.addParameter(&copy->base(), copy.get());
        for (std::size_t i = 0; i < m_parts.embeddings.size(); ++i)
            hooks.addEmbedding(m_parts.embeddingSites[i], m_parts.embeddings[i].get());
    }
    void beginPass(const RandomKey& key) override { m_inner->beginPass(key); }

    // What the inner method wants of the training loop.
    Json beforeStep(std::int64_t step) override {
        auto* hooks = dynamic_cast<TrainingHooks*>(m_inner.get());
        return hooks != nullptr ? hooks->beforeStep(step) : Json();
    }
    at::Tensor regularisation() const override {
        const auto* hooks = dynamic_cast<const TrainingHooks*>(m_inner.get());
        return hooks != nullptr ? hooks->regularisation() : at::Tensor();
    }
    void afterUpdate(std::int64_t step, std::int64_t totalSteps) override {
        if (auto* hooks = dynamic_cast<TrainingHooks*>(m_inner.get()))
            hooks->afterUpdate(step, totalSteps);
    }
    std::vector<NamedTensor> trainingState() const override {
        const auto* hooks = dynamic_cast<const TrainingHooks*>(m_inner.get());
        return hooks != nullptr ? hooks->trainingState() : std::vector<NamedTensor>{};
    }
    Result<void> setWeight(double weight) override {
        for (const auto& copy : m_parts.parameters) copy->setWeight(weight);
        for (const auto& table : m_parts.embeddings) table->setShare(weight);
        return m_inner->setWeight(weight);
    }

    std::vector<NamedTensor> fileTensors() const override {
        std::vector<NamedTensor> all = m_inner->fileTensors();
        for (const NamedTensor& tensor : ownTensors()) all.push_back(tensor);
        return all;
    }
    Json fileConfig() const override {
        Json config = m_inner->fileConfig();
        config.update(m_parts.config);
        return config;
    }
    Result<void> load(const TensorMap& tensors) override {
        TensorMap inner;
        TensorMap own;
        std::set<std::string> names;
        for (const NamedTensor& slot : ownTensors()) names.insert(slot.name);
        for (const auto& [name, tensor] : tensors) {
            // With bias "all" PEFT writes a classifier's bias three times.
            if (name.find(".original_module.") != std::string::npos ||
                name.find(".modules_to_save.") != std::string::npos)
                continue;
            (names.contains(name) ? own : inner)[name] = tensor;
        }
        Result<void> loaded = m_inner->load(inner);
        return loaded ? loadSlots(ownTensors(), own) : loaded;
    }
    Result<void> merge(Model& model) override {
        const at::NoGradGuard guard;
        const ModelSites& sites = model.sites();
        if (!m_parts.embeddings.empty() && sites.isEncoderDecoder())
            return Problem{"cannot_merge",
                           "The adapter trains the embeddings of encoder and decoder apart; a " +
                               sites.architecture + " folder has one table for both.",
                           "Export it as an adapter folder instead.", "modules_to_save",
                           ExitCode::BadUsage};
        const bool trainsHead = std::any_of(
            m_parts.parameters.begin(), m_parts.parameters.end(),
            [&](const auto& copy) { return copy->name() == sites.headPath + ".weight"; });
        if (trainsHead || !m_parts.embeddings.empty()) model.untieHead();
        Result<void> merged = m_inner->merge(model);
        if (!merged) return merged;
        for (const auto& copy : m_parts.parameters)
            model.weights().assign(copy->name(), copy->merged(model.weights().at(copy->name())));
        for (const auto& table : m_parts.embeddings) {
            const std::string name = table->site().path + ".weight";
            model.weights().assign(name, table->merged(model.weights().at(name)));
        }
        return {};
    }

private:
    std::vector<NamedTensor> ownTensors() const {
        std::vector<NamedTensor> all;
        for (const auto& copy : m_parts.parameters) all.push_back({copy->fileName(), copy->copy()});
        for (const auto& table : m_parts.embeddings)
            all.push_back({m_prefix + table->site().path + ".weight", table->copy()});
        return all;
    }

    std::shared_ptr<Adapter> m_inner;
    SavedParts m_parts;
    std::string m_prefix;
};

/// Whether PEFT wraps a module that holds this parameter: the path of one of its modules ends with
/// an entry, as plain text.
bool isSaved(const std::string& parameter, const std::vector<std::string>& entries) {
    for (std::size_t end = parameter.rfind('.'); end != std::string::npos;
         end = parameter.rfind('.', end - 1)) {
        const std::string module = parameter.substr(0, end);
        if (std::any_of(entries.begin(), entries.end(),
                        [&](const std::string& entry) { return module.ends_with(entry); }))
            return true;
        if (end == 0) break;
    }
    return false;
}

/// Parameters that a pass reads through their hooks: all but those of experts.
std::set<std::string> readThroughHooks(const Model& model) {
    const ModelSites& sites = model.sites();
    std::set<std::string> names;
    const auto add = [&](const std::string& path) {
        for (const char* part : {".weight", ".bias"}) names.insert(path + part);
    };
    for (const LinearSite& site : sites.linears) add(site.path);
    for (const NormSite& site : sites.norms) add(site.path);
    const ModelDescription& d = model.description();
    for (const ModelDescription* stack : {&d, d.encoder.get()})
        if (stack != nullptr)
            for (const std::string& path :
                 {stack->names.positions, stack->names.tokenTypes, stack->names.relative})
                add(path);
    return names;
}

/// Fills `parts` with what `entries` name. `isRequired`: whether every entry must name something.
Result<void> addModules(const Model& model, const std::vector<std::string>& entries,
                        const std::vector<std::string>& required, const std::string& prefix,
                        SavedParts& parts) {
    const ModelSites& sites = model.sites();
    const std::string table = sites.embeddingPath + ".weight";
    const std::set<std::string> known = readThroughHooks(model);
    std::vector<std::string> saved;
    for (const std::string& name : model.weights().names()) {
        if (name == table || !isSaved(name, entries)) continue;
        if (!known.contains(name))
            return Problem{"unsupported_module",
                           "modules_to_save covers " + name +
                               ", which Luthier cannot train beside an adapter.",
                           "Name other modules.", "method.modules_to_save", ExitCode::BadUsage};
        saved.push_back(name);
        parts.parameters.push_back(
            std::make_unique<OwnCopy>(model.weights().at(name), name, prefix + name));
    }
    if (const std::string head = sites.headPath + ".weight";
        sites.isTied && isSaved(head, entries)) {
        saved.push_back(head);
        parts.parameters.push_back(
            std::make_unique<OwnCopy>(model.weights().at(table), head, prefix + head));
    }
    for (std::size_t i = 0; i < sites.embeddings.size(); ++i) {
        const std::string name = sites.embeddings[i].path + ".weight";
        if (!isSaved(name, entries)) continue;
        saved.push_back(name);
        parts.embeddingSites.push_back(i);
        parts.embeddings.push_back(
            std::make_unique<OwnEmbedding>(sites.embeddings[i], model.weights().at(table)));
    }
    for (const std::string& entry : required) {
        if (std::any_of(saved.begin(), saved.end(),
                        [&](const std::string& name) { return isSaved(name, {entry}); }))
            continue;
        return Problem{"no_target_matches",
                       "modules_to_save names \"" + entry +
                           "\", but no module that this model computes with ends so.",
                       "For example \"" + lastName(sites.embeddings.back().path) + "\" or \"" +
                           sites.headPath + "\".",
                       "method.modules_to_save", ExitCode::BadUsage};
    }
    return {};
}

/// `bias`: "all" or "…_only". A bias of a layer that the adapter wraps lies one module deeper in
/// the file.
void addBiases(const Model& model, Adapter& inner, const std::string& which, SavedParts& parts) {
    const ModelSites& sites = model.sites();
    SiteHooks installed(sites);
    inner.install(installed);
    std::set<std::string> wrapped, taken;
    for (std::size_t i = 0; i < sites.linears.size(); ++i)
        if (!installed.linear(i).empty()) wrapped.insert(sites.linears[i].path + ".bias");
    for (const auto& copy : parts.parameters) taken.insert(copy->name());
    for (const std::string& name : model.weights().names()) {
        if (!name.ends_with(".bias") || taken.contains(name) ||
            (which != "all" && !wrapped.contains(name)))
            continue;
        const std::string inFile =
            wrapped.contains(name) ? name.substr(0, name.size() - 4) + "base_layer.bias" : name;
        parts.parameters.push_back(std::make_unique<OwnCopy>(model.weights().at(name), name,
                                                             "base_model.model." + inFile));
    }
    parts.config["bias"] = which;
}

}  // namespace

SavedHead savedHeadOf(const ModelSites& sites) {
    SavedHead saved;
    for (std::size_t i = 0; i < sites.linears.size(); ++i) {
        const LinearSite& site = sites.linears[i];
        if (site.role != LinearRole::Pooler && site.role != LinearRole::Head) continue;
        if (site.role == LinearRole::Pooler && sites.keepsPooler) continue;
        // "classifier.dense" belongs to the module "classifier".
        const std::string module = site.path.substr(0, site.path.find('.'));
        saved.linears.push_back(i);
        if (std::find(saved.modules.begin(), saved.modules.end(), module) == saved.modules.end())
            saved.modules.push_back(module);
    }
    return saved;
}

Result<std::shared_ptr<Adapter>> withSavedModules(std::shared_ptr<Adapter> inner,
                                                  const Json& settings, Model& model) {
    const Json own = settings.value("modules_to_save", Json());
    std::vector<std::string> entries;
    std::vector<std::string> required;
    if (model.sites().classes > 0) entries = savedHeadOf(model.sites()).modules;
    if (own.is_array())
        for (const Json& item : own) {
            const auto entry = item.get<std::string>();
            if (std::find(entries.begin(), entries.end(), entry) != entries.end()) continue;
            entries.push_back(entry);
            // PEFT names both in a classifier's file, whichever the model has.
            if (model.sites().classes == 0 || (entry != "classifier" && entry != "score"))
                required.push_back(entry);
        }
    // Prompts have no module around the model, so the files of their methods know one prefix less.
    const Method* method = findMethod(inner->method());
    const std::string prefix =
        method != nullptr && method->isPrompt ? "base_model." : "base_model.model.";
    SavedParts parts;
    parts.vectorRate = settings.value("loraplus_lr_ratio", 1.0);
    if (!entries.empty()) {
        Result<void> added = addModules(model, entries, required, prefix, parts);
        if (!added) return added.problems();
        parts.config["modules_to_save"] = entries;
    }
    if (const std::string which = settings.value("bias", Json("none")).get<std::string>();
        which != "none") {
        addBiases(model, *inner, which, parts);
        // A file may say so of a model without biases, where it says nothing; a new run would not
        // do what it was asked for.
        if (parts.parameters.empty() && settings.value("init_from", Json()).is_null())
            return Problem{"no_target_matches",
                           "method.bias is \"" + which + "\", but this " + model.sites().family +
                               " model has no such biases.",
                           "Set method.bias to \"none\".", "method.bias", ExitCode::BadUsage};
    }
    if (parts.parameters.empty() && parts.embeddings.empty()) return inner;
    return std::shared_ptr<Adapter>(
        std::make_shared<WithSavedModules>(std::move(inner), std::move(parts), prefix));
}

}  // namespace luthier
