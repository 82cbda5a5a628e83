// SPDX-License-Identifier: Apache-2.0
#pragma once
// Attention with linear biases (Press et al. 2022) in the three spellings of Hugging Face's
// modeling_bloom, modeling_falcon and modeling_mpt.

#include "model/description.h"

#include <ATen/core/Tensor.h>

#include <vector>

namespace luthier {

/// The slope of each head.
std::vector<float> alibiSlopes(AlibiKind kind, std::int64_t heads);

/// What is added to the score of key p for each head, [H, keys] f32. It grows with p instead of
/// falling with the distance: the softmax of a row does not see the difference.
at::Tensor alibiBias(const ModelDescription& description, std::int64_t keys);

}  // namespace luthier
