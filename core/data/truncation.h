// SPDX-License-Identifier: Apache-2.0
#pragma once
// Cutting a framed text as transformers' truncation=True does (longest_first): what the tokenizer
// put around the texts stays, and of two texts the longer one gives way first, until both are half
// of the room.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace luthier {

/// Which of the tokens with these `parts` (FramedText) stay when there is room for `limit` of them;
/// ascending.
std::vector<std::size_t> keptTokens(std::span<const std::int8_t> parts, std::size_t limit);

}  // namespace luthier
