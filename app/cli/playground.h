// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the window's playground asks of a serve session: several texts continued side by side on one
// base, the probability of each token of a given text, and a prompt as the model will see it.
// Requests and answers: core/contract/PROTOCOL.md.

#include "loaded.h"

#include "contract/fields.h"

#include <functional>

namespace luthier::cli {

/// The way back to whoever asked.
struct Reply {
    std::function<void(const char* type, const Json& fields)> send;
    std::function<bool()> isCancelled;
};

/// `generate`. A column whose adapter cannot be opened gets a "problem"; the others go on. Throws
/// Failure.
Json generateColumns(const Fields& request, const Loaded& base, const Reply& reply);

/// `perplexity`. Throws Failure.
Json scoreColumns(const Fields& request, const Loaded& base, const Reply& reply);

/// `tokenize`: as `tokenize --json`. Throws Failure.
Json tokenizePrompt(const Fields& request, const Tokenizer& tokenizer);

}  // namespace luthier::cli
