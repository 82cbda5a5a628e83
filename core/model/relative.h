// SPDX-License-Identifier: Apache-2.0
#pragma once
// Relative positions as numbers of rows in a learned table: T5's buckets and DeBERTa's.

#include "model/description.h"

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace luthier {

/// T5's bucket of each key's distance from each query (Raffel et al. 2020, transformers
/// `_relative_position_bucket`). Query i stands at position first + i, key j at j. @returns
/// [queries, keys] i64
at::Tensor t5Buckets(const RelativeSpec& spec, bool isBidirectional, std::int64_t first,
                     std::int64_t queries, std::int64_t keys);

/// DeBERTa's relative positions of queries to keys (He et al. 2021, transformers
/// `build_relative_position`), from -span to span.
/// @returns [length, length] i64
at::Tensor debertaPositions(const RelativeSpec& spec, std::int64_t length);

}  // namespace luthier
