// SPDX-License-Identifier: Apache-2.0
// Sequence to sequence: the encoder reads `ids`, the decoder is to write `labels` and sees them one place to the right behind its start
// token (transformers' `shift_tokens_right`). Cross entropy of every label that is not ignored.
#include "task/task.h"

#include <ATen/ops/tensor.h>

#include <algorithm>

namespace luthier {

namespace {

class Seq2SeqLm final : public Task {
public:
    explicit Seq2SeqLm(const ModelDescription& description)
        : m_start(description.decoderStart), m_startsWithLast(description.startsWithLast), m_padding(description.paddingId >= 0 ? description.paddingId : description.decoderStart) {}

    std::int64_t labelCount(const Example& row) const override {
        std::int64_t count = 0;
        for (const std::int32_t label : row.labels) count += label != kNoLabel ? 1 : 0;
        return count;
    }
    std::int64_t tokenCount(const Example& row) const override { return static_cast<std::int64_t>(row.ids.size() + row.labels.size()); }

    at::Tensor loss(const Model& model, std::span<const Example> rows, double scale, const SiteHooks& hooks, Activations activations) const override {
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
        const at::Device& device = model.device();
        return model.loss(input(rows, device), at::tensor(places, at::kLong).to(device), at::tensor(labels, at::kLong).to(device), scale, hooks, activations);
    }

    at::Tensor logits(const Model& model, const Example& row, const SiteHooks& hooks) const override {
        return model.logits(model.hidden(input({&row, 1}, model.device()), {}, hooks), hooks);
    }

    Measured measure(const Model& model, AdapterStack& stack, std::span<const Example> rows, std::size_t batch) const override {
        return measureLanguage(*this, model, stack, rows, batch);
    }

private:
    TokenRows input(std::span<const Example> rows, const at::Device& device) const {
        std::vector<std::vector<std::int64_t>> shifted;
        for (const Example& row : rows) {
            std::vector<std::int64_t> ids{startOf(row)};
            for (std::size_t i = 0; i + 1 < row.labels.size(); ++i) ids.push_back(row.labels[i] == kNoLabel ? m_padding : row.labels[i]);
            shifted.push_back(std::move(ids));
        }
        TokenRows decoder = TokenRows::of(shifted, device);
        decoder.source = std::make_shared<const TokenRows>(textOf(rows, device));
        return decoder;
    }

    std::int64_t startOf(const Example& row) const {
        // transformers counts the labels that are not padding and takes the one at that place, wherever ignored labels stand.
        if (!m_startsWithLast) return m_start;
        const auto isText = [this](std::int32_t label) { return label != kNoLabel && label != m_padding; };
        const auto count = std::count_if(row.labels.begin(), row.labels.end(), isText);
        if (count > 0 && isText(row.labels[static_cast<std::size_t>(count) - 1])) return row.labels[static_cast<std::size_t>(count) - 1];
        return m_start;
    }

    std::int64_t m_start;
    bool m_startsWithLast;
    std::int64_t m_padding;
};

}  // namespace

std::unique_ptr<Task> seq2seqLmTask(const ModelDescription& description) { return std::make_unique<Seq2SeqLm>(description); }

}  // namespace luthier
