// SPDX-License-Identifier: Apache-2.0
#include "peft/mixed_stack.h"

#include <set>

namespace luthier {

MixedStack::MixedStack(const Model& model, std::vector<AdapterStack*> rows, std::vector<const SiteHooks*> tables)
    : m_stacks(std::move(rows)), m_rows(std::move(tables)), m_hooks(model.sites()) {
    m_hooks.mix(&m_rows);
}

Result<std::unique_ptr<MixedStack>> MixedStack::create(const Model& model, std::vector<AdapterStack*> rows, Passes passes) {
    std::vector<const SiteHooks*> tables;
    for (const AdapterStack* stack : rows) {
        const SiteHooks& table = stack->hooks();
        const bool putsRows = passes == Passes::Text && (!table.input().empty() || !table.keyValue().empty());
        if (putsRows || table.replacesParameters())
            return Problem{"cannot_mix", "A " + stack->adapters().front()->method() + " adapter " + (putsRows ? "puts virtual tokens before the text" : "trains parameters of the base itself") +
                                             " and cannot share a batch with rows of other adapters.",
                           "Run its rows by themselves.", "adapter", ExitCode::BadUsage};
        tables.push_back(&table);
    }
    return std::unique_ptr<MixedStack>(new MixedStack(model, std::move(rows), std::move(tables)));
}

void MixedStack::beginPass(const RandomKey& key) {
    for (AdapterStack* stack : std::set<AdapterStack*>(m_stacks.begin(), m_stacks.end())) stack->beginPass(key);
}

}  // namespace luthier
