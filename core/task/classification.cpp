// SPDX-License-Identifier: Apache-2.0
// Sequence classification with transformers' three losses, each a mean over a row's outputs: one class of several (cross entropy), several
// classes at once (binary cross entropy with logits), regression (squared error). A row counts as one label.
#include "task/task.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/binary_cross_entropy_with_logits.h>
#include <ATen/ops/mse_loss.h>
#include <ATen/ops/tensor.h>

#include <algorithm>

namespace luthier {

namespace {

class Classification final : public Task {
public:
    explicit Classification(const ModelDescription& description)
        : m_pooling(description.classifier.pooling), m_classes(description.classifier.classes), m_padding(description.paddingId), m_end(description.endId),
          m_isRegression(description.classifier.problem == "regression" || description.classifier.classes == 1) {}

    std::int64_t labelCount(const Example& row) const override { return row.classIndex >= 0 || !row.targets.empty() ? 1 : 0; }

    at::Tensor loss(const Model& model, std::span<const Example> rows, double scale, const SiteHooks& hooks, Activations activations) const override {
        return lossOf(classLogits(model, rows, hooks, activations), rows) * scale;
    }

    std::vector<at::Tensor> logitsOfEach(const Model& model, std::span<const Example> rows, const SiteHooks& hooks) const override {
        return classLogits(model, rows, hooks, Activations::Keep).unbind(0);
    }

    Measured measure(const Model& model, AdapterStack& stack, std::span<const Example> rows, std::size_t batch) const override {
        const at::NoGradGuard guard;
        Measured measured;
        std::int64_t right = 0;
        std::int64_t judged = 0;
        for (std::size_t first = 0; first < rows.size(); first += batch) {
            const std::span<const Example> part = rows.subspan(first, std::min(batch, rows.size() - first));
            stack.beginPass({});
            const at::Tensor logits = classLogits(model, part, stack.hooks(), Activations::Keep);
            measured.lossSum += lossOf(logits, part).item<double>();
            measured.labels += static_cast<std::int64_t>(part.size());
            if (part.front().classIndex < 0) continue;
            right += logits.argmax(1).eq(classesOf(part, logits.device())).sum().item<std::int64_t>();
            judged += static_cast<std::int64_t>(part.size());
        }
        if (judged > 0) measured.metrics["accuracy"] = static_cast<double>(right) / static_cast<double>(judged);
        return measured;
    }

private:
    /// The place in a row that the classifier looks at, where that is not its first.
    std::int64_t pooled(const Example& row) const {
        const auto length = static_cast<std::int64_t>(row.ids.size());
        std::int64_t place = length - 1;
        if (m_pooling == Pooling::LastToken) {
            while (place > 0 && m_padding >= 0 && row.ids[static_cast<std::size_t>(place)] == m_padding) --place;
            return place;
        }
        while (place >= 0 && row.ids[static_cast<std::size_t>(place)] != m_end) --place;
        if (place < 0)
            throw Failure({"bad_row", "A row of the data has no end-of-text token " + std::to_string(m_end) + ", where this model's classifier looks.",
                           "End every row with that token.", "data.train.path"});
        return place;
    }

    TokenRows input(std::span<const Example> rows, const Model& model) const {
        TokenRows text = textOf(rows, model.device());
        if (!model.description().encoder) return text;
        // The decoder reads the same text, one place to the right behind its start token.
        std::vector<std::vector<std::int64_t>> shifted;
        for (const Example& row : rows) shifted.push_back(shiftedRight(row.ids, model.description()));
        TokenRows decoder = TokenRows::of(shifted, model.device());
        decoder.source = std::make_shared<const TokenRows>(std::move(text));
        return decoder;
    }

    /// [B, classes] f32
    at::Tensor classLogits(const Model& model, std::span<const Example> rows, const SiteHooks& hooks, Activations activations) const {
        if (m_pooling == Pooling::FirstToken) return model.logits(model.firstHidden(input(rows, model), hooks, activations), hooks);
        std::vector<std::int64_t> places;
        std::int64_t first = 0;
        for (const Example& row : rows) {
            places.push_back(first + pooled(row));
            first += static_cast<std::int64_t>(row.ids.size());
        }
        const at::Tensor hidden = model.hidden(input(rows, model), at::tensor(places, at::kLong).to(model.device()), hooks, activations);
        return model.logits(hidden, hooks);
    }

    static at::Tensor classesOf(std::span<const Example> rows, const at::Device& device) {
        std::vector<std::int64_t> classes;
        for (const Example& row : rows) classes.push_back(row.classIndex);
        return at::tensor(classes, at::kLong).to(device);
    }

    /// Sum over rows. [] f32
    at::Tensor lossOf(const at::Tensor& logits, std::span<const Example> rows) const {
        if (rows.front().targets.empty()) return nn::logitsLoss(logits, classesOf(rows, logits.device()), 1.0);
        std::vector<float> values;
        for (const Example& row : rows) values.insert(values.end(), row.targets.begin(), row.targets.end());
        const at::Tensor targets = at::tensor(values).view(logits.sizes()).to(logits.device());
        const auto sum = at::Reduction::Sum;
        const at::Tensor total = m_isRegression ? at::mse_loss(logits, targets, sum) : at::binary_cross_entropy_with_logits(logits, targets, {}, {}, sum);
        return total / m_classes;
    }

    Pooling m_pooling;
    std::int64_t m_classes;
    std::int64_t m_padding;
    std::int64_t m_end;
    bool m_isRegression;
};

}  // namespace

std::unique_ptr<Task> classificationTask(const ModelDescription& description) { return std::make_unique<Classification>(description); }

}  // namespace luthier
