// SPDX-License-Identifier: Apache-2.0
// Causal language modelling: cross entropy of each supervised next token, as transformers'
// ForCausalLMLoss, and its LabelSmoother. A text's first token has nothing before it but a prompt's
// virtual tokens: where there are any, the last of them predicts it, as PEFT's prompt methods count
// it.
#include "task/task.h"

#include <ATen/ops/tensor.h>

namespace luthier {

namespace {

class CausalLm final : public Task {
public:
    explicit CausalLm(const TaskOptions& options) : m_options(options) {}

    std::int64_t labelCount(const Example& row) const override {
        std::int64_t count = 0;
        for (std::size_t i = firstPredicted(); i < row.labels.size(); ++i)
            count += row.labels[i] != kNoLabel ? 1 : 0;
        return count;
    }

    Loss loss(const Model& model, std::span<const Example> rows, const LossCounts& step,
              const Pass& pass) const override {
        return languageLoss(predictedOf(rows, model.device()), model, m_options, step, pass);
    }

    std::vector<at::Tensor> logitsOfEach(const Model& model, std::span<const Example> rows,
                                         const SiteHooks& hooks) const override {
        const TokenRows input = textOf(rows, model.device());
        return model.logits(model.hidden(input, {}, hooks), hooks)
            .split_with_sizes(input.segments, 0);
    }

    Measured measure(const Model& model, AdapterStack& stack, std::span<const Example> rows,
                     const Measuring& how) const override {
        return measureLanguage(
            [&](std::span<const Example> part) { return predictedOf(part, model.device()); }, model,
            stack, rows, how);
    }

private:
    std::size_t firstPredicted() const { return m_options.hasPrompt ? 0 : 1; }

    Predicted predictedOf(std::span<const Example> rows, const at::Device& device) const {
        std::vector<std::int64_t> places, labels;
        std::int64_t first = 0, number = 0;
        for (const Example& row : rows) {
            for (std::size_t i = firstPredicted(); i < row.labels.size(); ++i)
                if (row.labels[i] != kNoLabel) {
                    places.push_back(i == 0 ? TokenRows::beforeText(number)
                                            : first + static_cast<std::int64_t>(i) - 1);
                    labels.push_back(row.labels[i]);
                }
            first += static_cast<std::int64_t>(row.ids.size());
            ++number;
        }
        return {textOf(rows, device), at::tensor(places, at::kLong).to(device),
                at::tensor(labels, at::kLong).to(device)};
    }

    TaskOptions m_options;
};

}  // namespace

std::unique_ptr<Task> causalLmTask(const TaskOptions& options) {
    return std::make_unique<CausalLm>(options);
}

}  // namespace luthier
