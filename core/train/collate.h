// SPDX-License-Identifier: Apache-2.0
#pragma once
// Rows of token ids and labels as the model's padding-free input, and the positions that are supervised.

#include "model/model.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

namespace luthier {

/// The label of a token without loss.
constexpr std::int32_t kNoLabel = -100;

/// One row as the data room makes it; labels are not shifted. Both spans have the same length.
struct Example {
    std::span<const std::int32_t> ids;
    std::span<const std::int32_t> labels;
};

struct Collated {
    TokenRows input;
    at::Tensor rows;    ///< [M] i64: position i of each pair (i, i + 1) whose label at i + 1 counts
    at::Tensor labels;  ///< [M] i64: the label at i + 1
    std::int64_t tokens = 0;
    std::int64_t supervised = 0;  ///< M
};

Collated collate(std::span<const Example> examples, const at::Device& device);

/// Labels that count in a row: all but the first and those that are kNoLabel.
std::int64_t supervisedTokens(const Example& example);

}  // namespace luthier
