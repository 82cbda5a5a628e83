// SPDX-License-Identifier: Apache-2.0
#pragma once
// Different adapters in different rows of one batch, over one frozen base: each projection is made once for all rows, and every row's
// adapters then do to their rows what they would do alone. Adapters that put rows or keys before the text, and those that train the
// base's own parameters (norms, biases, whole modules), change what rows share and cannot be mixed within one pass.

#include "peft/adapter.h"

#include <memory>
#include <vector>

namespace luthier {

class MixedStack final {
public:
    /// What rows will pass: the whole text, or one token more of each after caches that hold virtual rows already.
    enum class Passes { Text, NextToken };

    /// One stack of adapters for each row of the batch; the same one may stand there more than once. They outlive this. Problem
    /// codes: cannot_mix.
    static Result<std::unique_ptr<MixedStack>> create(const Model& model, std::vector<AdapterStack*> rows, Passes passes);

    const SiteHooks& hooks() const { return m_hooks; }
    void beginPass(const RandomKey& key = {});

private:
    MixedStack(const Model& model, std::vector<AdapterStack*> rows, std::vector<const SiteHooks*> tables);

    std::vector<AdapterStack*> m_stacks;
    MixedRows m_rows;
    SiteHooks m_hooks;
};

}  // namespace luthier
