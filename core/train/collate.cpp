// SPDX-License-Identifier: Apache-2.0
#include "train/collate.h"

#include <ATen/ops/tensor.h>

namespace luthier {

Collated collate(std::span<const Example> examples, const at::Device& device) {
    std::vector<std::int64_t> ids, positions, rows, labels;
    Collated result;
    for (const Example& example : examples) {
        const auto first = static_cast<std::int64_t>(ids.size());
        const auto length = static_cast<std::int64_t>(example.ids.size());
        for (std::int64_t i = 0; i < length; ++i) {
            ids.push_back(example.ids[static_cast<std::size_t>(i)]);
            positions.push_back(i);
            const std::int32_t label = example.labels[static_cast<std::size_t>(i)];
            if (i == 0 || label == kNoLabel) continue;
            rows.push_back(first + i - 1);
            labels.push_back(label);
        }
        result.input.segments.push_back(length);
    }
    const auto options = at::TensorOptions(at::kLong);
    result.input.ids = at::tensor(ids, options).to(device);
    result.input.positions = at::tensor(positions, options).to(device);
    result.rows = at::tensor(rows, options).to(device);
    result.labels = at::tensor(labels, options).to(device);
    result.tokens = static_cast<std::int64_t>(ids.size());
    result.supervised = static_cast<std::int64_t>(rows.size());
    return result;
}

std::int64_t supervisedTokens(const Example& example) {
    std::int64_t count = 0;
    for (std::size_t i = 1; i < example.labels.size(); ++i) count += example.labels[i] != kNoLabel ? 1 : 0;
    return count;
}

}  // namespace luthier
