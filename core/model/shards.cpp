// SPDX-License-Identifier: Apache-2.0
#include "model/shards.h"

#include "io/atomic.h"
#include "io/safetensors.h"
#include "model/tensors.h"

#include <cstdio>

namespace luthier {

namespace {

std::string shardName(std::size_t index, std::size_t count) {
    char text[64];
    std::snprintf(text, sizeof text, "model-%05zu-of-%05zu.safetensors", index, count);
    return text;
}

}  // namespace

Result<std::int64_t> writeShards(const std::vector<ShardTensor>& tensors, const std::filesystem::path& folder, std::int64_t shardBytes) {
    std::vector<std::vector<const ShardTensor*>> shards(1);
    std::int64_t inShard = 0;
    std::int64_t total = 0;
    for (const ShardTensor& tensor : tensors) {
        if (inShard > 0 && inShard + tensor.bytes > shardBytes) {
            shards.emplace_back();
            inShard = 0;
        }
        shards.back().push_back(&tensor);
        inShard += tensor.bytes;
        total += tensor.bytes;
    }
    Json weightMap = Json::object();
    for (std::size_t i = 0; i < shards.size(); ++i) {
        const std::string file = shards.size() == 1 ? "model.safetensors" : shardName(i + 1, shards.size());
        std::vector<at::Tensor> storage;
        std::vector<TensorView> views;
        for (const ShardTensor* tensor : shards[i]) {
            views.push_back(viewOf(tensor->name, tensor->value(), storage));
            weightMap[tensor->name] = file;
        }
        Result<std::uint64_t> written = writeSafetensors(folder / file, views, {{"format", "pt"}});
        if (!written) return written.problems();
    }
    if (shards.size() > 1) {
        Result<void> done = writeJsonAtomically(folder / "model.safetensors.index.json", Json{{"metadata", {{"total_size", total}}}, {"weight_map", weightMap}});
        if (!done) return done.problems();
    }
    return total;
}

}  // namespace luthier
