// SPDX-License-Identifier: Apache-2.0
#include "model/shards.h"

#include "io/atomic.h"
#include "io/safetensors_stream.h"
#include "model/tensors.h"

#include <cstdio>

namespace luthier {

namespace {

std::string shardName(std::size_t index, std::size_t count) {
    char text[64];
    std::snprintf(text, sizeof text, "model-%05zu-of-%05zu.safetensors", index, count);
    return text;
}

/// Without data.
TensorView viewOf(const ShardTensor& tensor) {
    std::size_t bytes = at::elementSize(tensor.type);
    for (const std::int64_t size : tensor.shape) bytes *= static_cast<std::size_t>(size);
    return {tensor.name, dtypeOf(tensor.type), tensor.shape, nullptr, bytes};
}

std::int64_t bytesOf(const ShardTensor& tensor) {
    return static_cast<std::int64_t>(viewOf(tensor).bytes);
}

}  // namespace

std::int64_t bytesOf(const std::vector<ShardTensor>& tensors) {
    std::int64_t bytes = 0;
    for (const ShardTensor& tensor : tensors) bytes += bytesOf(tensor);
    return bytes;
}

Result<std::int64_t> writeShards(const std::vector<ShardTensor>& tensors,
                                 const std::filesystem::path& folder, std::int64_t shardBytes) {
    std::vector<std::vector<const ShardTensor*>> shards(1);
    std::int64_t inShard = 0;
    std::int64_t total = 0;
    for (const ShardTensor& tensor : tensors) {
        if (inShard > 0 && inShard + bytesOf(tensor) > shardBytes) {
            shards.emplace_back();
            inShard = 0;
        }
        shards.back().push_back(&tensor);
        inShard += bytesOf(tensor);
        total += bytesOf(tensor);
    }
    Json weightMap = Json::object();
    for (std::size_t i = 0; i < shards.size(); ++i) {
        const std::string file =
            shards.size() == 1 ? "model.safetensors" : shardName(i + 1, shards.size());
        std::vector<TensorView> views;
        for (const ShardTensor* tensor : shards[i]) {
            views.push_back(viewOf(*tensor));
            weightMap[tensor->name] = file;
        }
        at::Tensor held;
        Result<std::uint64_t> written =
            streamSafetensors(folder / file, views, {{"format", "pt"}}, [&](std::size_t index) {
                held.reset();  // before the next is made
                held = shards[i][index]->value().detach().cpu().contiguous();
                if (held.nbytes() != views[index].bytes ||
                    held.scalar_type() != shards[i][index]->type)
                    throw Failure(
                        {"internal",
                         views[index].name + " is not of the type and shape that was announced.",
                         "", folder.string(), ExitCode::Internal});
                return static_cast<const std::byte*>(held.const_data_ptr());
            });
        if (!written) return written.problems();
    }
    if (shards.size() > 1) {
        Result<void> done = writeJsonAtomically(
            folder / "model.safetensors.index.json",
            Json{{"metadata", {{"total_size", total}}}, {"weight_map", weightMap}});
        if (!done) return done.problems();
    }
    return total;
}

}  // namespace luthier
