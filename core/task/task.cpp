// SPDX-License-Identifier: Apache-2.0
#include "task/task.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>

namespace luthier {

std::unique_ptr<Task> makeTask(const Model& model) {
    const ModelDescription& description = model.description();
    if (description.isClassifier()) return classificationTask(description);
    return description.encoder ? seq2seqLmTask(description) : causalLmTask();
}

TokenRows textOf(std::span<const Example> rows, const at::Device& device) {
    std::vector<std::vector<std::int64_t>> ids;
    std::vector<std::int64_t> types;
    bool hasTypes = false;
    for (const Example& row : rows) {
        ids.emplace_back(row.ids.begin(), row.ids.end());
        hasTypes = hasTypes || !row.types.empty();
        if (row.types.empty())
            types.insert(types.end(), row.ids.size(), 0);
        else
            types.insert(types.end(), row.types.begin(), row.types.end());
    }
    TokenRows text = TokenRows::of(ids, device);
    if (hasTypes) text.types = at::tensor(types, at::kLong).to(device);
    return text;
}

std::vector<std::int64_t> shiftedRight(std::span<const std::int32_t> text, const ModelDescription& description) {
    const std::int64_t padding = description.paddingId >= 0 ? description.paddingId : description.decoderStart;
    std::int64_t start = description.decoderStart;
    if (description.startsWithLast) {
        // transformers counts the tokens that are not padding and takes the one at that place, wherever ignored labels stand.
        const auto isText = [&](std::int32_t token) { return token != kNoLabel && token != padding; };
        const auto count = std::count_if(text.begin(), text.end(), isText);
        if (count > 0 && isText(text[static_cast<std::size_t>(count) - 1])) start = text[static_cast<std::size_t>(count) - 1];
    }
    std::vector<std::int64_t> ids{start};
    for (std::size_t i = 0; i + 1 < text.size(); ++i) ids.push_back(text[i] == kNoLabel ? padding : text[i]);
    return ids;
}

Measured measureLanguage(const Task& task, const Model& model, AdapterStack& stack, std::span<const Example> rows, std::size_t batch) {
    const at::NoGradGuard guard;
    Measured measured;
    for (std::size_t first = 0; first < rows.size(); first += batch) {
        const std::span<const Example> part = rows.subspan(first, std::min(batch, rows.size() - first));
        std::int64_t labels = 0;
        for (const Example& row : part) labels += task.labelCount(row);
        if (labels == 0) continue;
        stack.beginPass({});
        measured.lossSum += task.loss(model, part, 1.0, stack.hooks(), Activations::Keep).item<double>();
        measured.labels += labels;
    }
    setNumber(measured.metrics, "perplexity", std::exp(measured.loss()));
    return measured;
}

}  // namespace luthier
