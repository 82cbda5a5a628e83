// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a model is trained to do: how rows become its input, what their loss is and what is measured. A task is one file and one line in
// task.cpp. Losses are sums over rows that the caller scales, so that every label of an optimiser step weighs the same however the step is
// cut into micro-batches (interface.md).

#include "contract/json.h"
#include "model/model.h"
#include "peft/adapter.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace luthier {

/// The label of a token without loss.
constexpr std::int32_t kNoLabel = -100;

/// One row as the data room makes it; unshifted labels, the model compares position i with label i + 1.
struct Example {
    std::span<const std::int32_t> ids;     ///< of an encoder-decoder: what the encoder reads
    std::span<const std::int32_t> labels;  ///< as many as ids; of an encoder-decoder: what the decoder is to write, of any length
    std::span<const std::int32_t> types = {};   ///< token types, as many as ids, or none: all 0
    std::int32_t classIndex = -1;          ///< classification into one of several classes
    std::span<const float> targets = {};   ///< one value a class: 0 or 1 (several classes at once), or any (regression)
};

/// What a pass over evaluation rows found.
struct Measured {
    double lossSum = 0;
    std::int64_t labels = 0;         ///< that the sum is over
    Json metrics = Json::object();   ///< "perplexity", "accuracy", …

    double loss() const { return lossSum / static_cast<double>(labels > 0 ? labels : 1); }
};

class Task {
public:
    virtual ~Task() = default;

    /// Labels of a row that count in its loss.
    virtual std::int64_t labelCount(const Example& row) const = 0;
    /// Tokens that the model reads for a row.
    virtual std::int64_t tokenCount(const Example& row) const { return static_cast<std::int64_t>(row.ids.size()); }
    /// scale * sum of the losses of all labels of the rows, which have at least one. @returns [] f32
    virtual at::Tensor loss(const Model& model, std::span<const Example> rows, double scale, const SiteHooks& hooks, Activations activations) const = 0;
    /// What `score --what logits` gives of one row: [T, V], or [classes]. f32
    at::Tensor logits(const Model& model, const Example& row, const SiteHooks& hooks) const { return logitsOfEach(model, {&row, 1}, hooks).front(); }
    /// The same of several rows that pass together.
    virtual std::vector<at::Tensor> logitsOfEach(const Model& model, std::span<const Example> rows, const SiteHooks& hooks) const = 0;
    /// Loss and metrics over rows, `batch` at a time, without gradients.
    virtual Measured measure(const Model& model, AdapterStack& stack, std::span<const Example> rows, std::size_t batch) const = 0;
};

/// The task that `model` was opened for.
std::unique_ptr<Task> makeTask(const Model& model);

std::unique_ptr<Task> causalLmTask();
std::unique_ptr<Task> seq2seqLmTask(const ModelDescription& description);
std::unique_ptr<Task> classificationTask(const ModelDescription& description);

/// The rows' ids as one padding-free input.
TokenRows textOf(std::span<const Example> rows, const at::Device& device);
/// What a decoder reads while it writes `text`: its start token and the text but the last token, ignored labels as padding
/// (transformers' `shift_tokens_right`).
std::vector<std::int64_t> shiftedRight(std::span<const std::int32_t> text, const ModelDescription& description);
/// Loss over rows by the task's own loss(), and perplexity: what every language model measures.
Measured measureLanguage(const Task& task, const Model& model, AdapterStack& stack, std::span<const Example> rows, std::size_t batch);

}  // namespace luthier
