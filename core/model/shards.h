// SPDX-License-Identifier: Apache-2.0
#pragma once
// The weights of a model folder as transformers lays them out: model.safetensors, or numbered
// shards with an index.

#include "contract/problem.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace luthier {

inline constexpr std::int64_t kShardBytes = 5'000'000'000;

struct ShardTensor {
    std::string name;
    at::ScalarType type = at::kFloat;
    std::vector<std::int64_t> shape;
    std::function<at::Tensor()> value;  ///< of that type and shape; asked for when its turn has
                                        ///< come, so that one tensor is held at a time
};

/// Bytes of all.
std::int64_t bytesOf(const std::vector<ShardTensor>& tensors);

/// Order as given. @returns the bytes of all tensors. Problem codes: those of writeSafetensors.
Result<std::int64_t> writeShards(const std::vector<ShardTensor>& tensors,
                                 const std::filesystem::path& folder,
                                 std::int64_t shardBytes = kShardBytes);

}  // namespace luthier
