// SPDX-License-Identifier: Apache-2.0
// Sequence to sequence: the encoder reads `ids`, the decoder is to write `labels` and sees them one
// place to the right behind its start token (transformers' `shift_tokens_right`). Cross entropy of
// every label that is not ignored, smoothed as by transformers' LabelSmoother.
#include "task/task.h"

#include <ATen/ops/tensor.h>

namespace luthier {

namespace {

class Seq2SeqLm final : public Task {
public:
    Seq2SeqLm(const ModelDescription& description, const TaskOptions& options)
        : m_description(description), m_options(options) {}

    std::int64_t labelCount(const Example& row) const override {
        std::int64_t count = 0;
        for (const std::int32_t label : row.labels) count += label != kNoLabel ? 1 : 0;
        return count;
    }
    std::int64_t tokenCount(const Example& row) const override {
        return static_cast<std::int64_t>(row.ids.size() + row.labels.size());
    }

    Loss loss(const Model& model, std::span<const Example> rows, const LossCounts& step,
              const Pass& pass) const override {
        return languageLoss(predictedOf(rows, model.device()), model, m_options, step, pass);
    }

    std::vector<at::Tensor> logitsOfEach(const Model& model, std::span<const Example> rows,
                                         const SiteHooks& hooks) const override {
        const TokenRows text = input(rows, model.device());
        return model.logits(model.hidden(text, {}, hooks), hooks)
            .split_with_sizes(text.segments, 0);
    }

    Measured measure(const Model& model, AdapterStack& stack, std::span<const Example> rows,
                     const Measuring& how) const override {
        return measureLanguage(
            [&](std::span<const Example> part) { return predictedOf(part, model.device()); }, model,
            stack, rows, how);
    }

private:
    Predicted predictedOf(std::span<const Example> rows, const at::Device& device) const {
        std::vector<std::int64_t> places, labels;
        std::int64_t first = 0;
        for (const Example& row : rows)
            for (const std::int32_t label : row.labels) {
                if (label != kNoLabel) {
                    places.push_back(first);
                    labels.push_back(label);
                }
                ++first;
            }
        return {input(rows, device), at::tensor(places, at::kLong).to(device),
                at::tensor(labels, at::kLong).to(device)};
    }

    TokenRows input(std::span<const Example> rows, const at::Device& device) const {
        std::vector<std::vector<std::int64_t>> shifted;
        for (const Example& row : rows) shifted.push_back(shiftedRight(row.labels, m_description));
        TokenRows decoder = TokenRows::of(shifted, device);
        decoder.source = std::make_shared<const TokenRows>(textOf(rows, device));
        return decoder;
    }

    const ModelDescription& m_description;
    TaskOptions m_options;
};

}  // namespace

std::unique_ptr<Task> seq2seqLmTask(const ModelDescription& description,
                                    const TaskOptions& options) {
    return std::make_unique<Seq2SeqLm>(description, options);
}

}  // namespace luthier
