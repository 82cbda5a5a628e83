// SPDX-License-Identifier: Apache-2.0
#pragma once
// Different adapters in different rows of one batch, over one frozen base: each projection is made
// once for all rows, and every row's adapters then do to their rows what they would do alone,
// prompts and prefixes of any length included. Only adapters that train a table which all rows look
// into (positions, token types, relative positions) cannot share a batch.

#include "peft/adapter.h"

#include <memory>
#include <vector>

namespace luthier {

class MixedStack final {
public:
    /// One stack of adapters for each row of the batch; the same one may stand there more than
    /// once. They outlive this. Problem codes: cannot_mix.
    static Result<std::unique_ptr<MixedStack>> create(const Model& model,
                                                      std::vector<AdapterStack*> rows);

    const SiteHooks& hooks() const { return m_hooks; }
    void beginPass(const RandomKey& key = {});

private:
    /// Stands in the common table for the rows' own prompts or prefixes: its length is that of the
    /// longest. A pass asks each row's table for what is there.
    struct LongestPrompt final : InputHook {
        explicit LongestPrompt(std::int64_t rows) : count(rows) {}
        at::Tensor prompt() override { return {}; }
        std::int64_t length() const override { return count; }
        std::int64_t count;
    };
    struct LongestPrefix final : KeyValueHook {
        explicit LongestPrefix(std::int64_t keys) : count(keys) {}
        std::pair<at::Tensor, at::Tensor> prefix(int) override { return {}; }
        std::int64_t length() const override { return count; }
        std::int64_t count;
    };

    MixedStack(const Model& model, std::vector<AdapterStack*> rows,
               std::vector<const SiteHooks*> tables);

    std::vector<AdapterStack*> m_stacks;
    LongestPrompt m_prompt;
    LongestPrefix m_prefix;
    MixedRows m_rows;
    SiteHooks m_hooks;
};

}  // namespace luthier
