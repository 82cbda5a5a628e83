// SPDX-License-Identifier: Apache-2.0
#include "peft/mixed_stack.h"

#include <algorithm>
#include <set>

namespace luthier {

namespace {

std::int64_t longest(const std::vector<const SiteHooks*>& tables,
                     std::int64_t (SiteHooks::*length)() const) {
    std::int64_t most = 0;
    for (const SiteHooks* table : tables) most = std::max(most, (table->*length)());
    return most;
}

/// A parameter that the adapters train and that no row has to itself: neither a projection's nor a
/// norm's. Empty: there is none.
std::string sharedParameter(const Model& model, const SiteHooks& hooks) {
    std::set<std::string> own{model.description().names.embedding};  // of a tied head
    for (const LinearSite& site : model.sites().linears) own.insert(site.path);
    for (const NormSite& site : model.sites().norms) own.insert(site.path);
    own.erase(model.description().names.relativeNorm);
    for (const std::string& name : model.weights().names())
        if (hooks.replaces(&model.weights().at(name)) &&
            !own.contains(name.substr(0, name.rfind('.'))))
            return name;
    return {};
}

}  // namespace

MixedStack::MixedStack(const Model& model, std::vector<AdapterStack*> rows,
                       std::vector<const SiteHooks*> tables)
    : m_stacks(std::move(rows)),
      m_prompt(longest(tables, &SiteHooks::promptLength)),
      m_prefix(longest(tables, &SiteHooks::prefixLength)),
      m_rows(std::move(tables)),
      m_hooks(model.sites()) {
    m_hooks.addInput(&m_prompt);
    m_hooks.addKeyValue(&m_prefix);
    m_hooks.mix(&m_rows);
}

Result<std::unique_ptr<MixedStack>> MixedStack::create(const Model& model,
                                                       std::vector<AdapterStack*> rows) {
    std::vector<const SiteHooks*> tables;
    for (const AdapterStack* stack : rows) {
        if (const std::string name = sharedParameter(model, stack->hooks()); !name.empty())
            return Problem{"cannot_mix",
                           "A " + stack->adapters().front()->method() + " adapter trains " + name +
                               ", which all rows of a batch look into, and its rows cannot share "
                               "one with those of other adapters.",
                           "Run its rows by themselves.", "adapter", ExitCode::BadUsage};
        tables.push_back(&stack->hooks());
    }
    return std::unique_ptr<MixedStack>(new MixedStack(model, std::move(rows), std::move(tables)));
}

void MixedStack::beginPass(const RandomKey& key) {
    for (AdapterStack* stack : std::set<AdapterStack*>(m_stacks.begin(), m_stacks.end()))
        stack->beginPass(key);
}

}  // namespace luthier
