// SPDX-License-Identifier: Apache-2.0
// Sequence classification with transformers' three losses, each a mean over a row's outputs: one
// class of several (cross entropy), several classes at once (binary cross entropy with logits),
// regression (squared error). A row counts as one label.
//
//   measured of        metrics
//   one class          accuracy, f1 (of class 1 where there are two, else macro), f1_macro,
//   matthews several classes    accuracy (rows with all classes right), label_accuracy, f1 (micro);
//   a class is predicted where its logit is above 0 a regression       mse, pearson, spearman; the
//   mean over outputs where there are several
#include "task/task.h"

#include "task/metrics.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/binary_cross_entropy_with_logits.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/mse_loss.h>
#include <ATen/ops/tensor.h>

#include <algorithm>

namespace luthier {

namespace {

class Classification final : public Task {
public:
    Classification(const ModelDescription& description, const TaskOptions& options)
        : m_options(options),
          m_pooling(description.classifier.pooling),
          m_classes(description.classifier.classes),
          m_padding(description.paddingId),
          m_end(description.endId),
          m_isRegression(description.classifier.problem == "regression" ||
                         description.classifier.classes == 1) {}

    std::int64_t labelCount(const Example& row) const override {
        return row.classIndex >= 0 || !row.targets.empty() ? 1 : 0;
    }

    Loss loss(const Model& model, std::span<const Example> rows, const LossCounts& step,
              const Pass& pass) const override {
        const double smoothing = pass.key.isTraining ? m_options.labelSmoothing : 0;
        return {lossOf(classLogits(model, rows, pass), rows, smoothing) /
                static_cast<double>(step.labels)};
    }

    std::vector<at::Tensor> logitsOfEach(const Model& model, std::span<const Example> rows,
                                         const SiteHooks& hooks) const override {
        return classLogits(model, rows, {hooks}).unbind(0);
    }

    Measured measure(const Model& model, AdapterStack& stack, std::span<const Example> rows,
                     const Measuring& how) const override {
        const at::NoGradGuard guard;
        Measured measured;
        at::Tensor logits;  // [rows, classes] f32, in the order of rows
        measured.isWhole = inBatches(
            rows, how, [&](std::span<const Example> part, std::span<const std::int64_t> places) {
                stack.beginPass({});
                const at::Tensor some = classLogits(model, part, {stack.hooks()});
                measured.lossSum += lossOf(some, part, 0).item<double>();
                measured.labels += static_cast<std::int64_t>(part.size());
                const at::Tensor here = some.to(at::kCPU);
                if (!logits.defined())
                    logits = at::empty({static_cast<std::int64_t>(rows.size()), here.size(1)},
                                       here.options());
                logits.index_copy_(
                    0, at::tensor(std::vector<std::int64_t>(places.begin(), places.end())), here);
            });
        if (!logits.defined() || !measured.isWhole) return measured;
        if (rows.front().classIndex >= 0)
            judgeClasses(logits, rows, measured.metrics);
        else if (m_isRegression)
            judgeValues(logits, rows, measured.metrics);
        else
            judgeSets(logits, rows, measured.metrics);
        return measured;
    }

private:
    /// The place in a row that the classifier looks at, where that is not its first.
    std::int64_t pooled(const Example& row) const {
        const auto length = static_cast<std::int64_t>(row.ids.size());
        std::int64_t place = length - 1;
        if (m_pooling == Pooling::LastToken) {
            while (place > 0 && m_padding >= 0 &&
                   row.ids[static_cast<std::size_t>(place)] == m_padding)
                --place;
            return place;
        }
        while (place >= 0 && row.ids[static_cast<std::size_t>(place)] != m_end) --place;
        if (place < 0)
            throw Failure({"bad_row",
                           "A row of the data has no end-of-text token " + std::to_string(m_end) +
                               ", where this model's classifier looks.",
                           "End every row with that token.", "data.train.path"});
        return place;
    }

    /// logits [rows, classes]
    void judgeClasses(const at::Tensor& logits, std::span<const Example> rows,
                      Json& metrics) const {
        Confusion confusion(m_classes);
        const at::Tensor best = logits.argmax(1);
        for (std::size_t i = 0; i < rows.size(); ++i)
            confusion.add(rows[i].classIndex, best.const_data_ptr<std::int64_t>()[i]);
        metrics["accuracy"] = confusion.accuracy();
        metrics["f1"] = m_classes == 2 ? confusion.f1(1) : confusion.macroF1();
        metrics["f1_macro"] = confusion.macroF1();
        metrics["matthews"] = confusion.matthews();
    }

    void judgeSets(const at::Tensor& logits, std::span<const Example> rows, Json& metrics) const {
        const float* value = logits.const_data_ptr<float>();
        std::int64_t both = 0, named = 0, rightLabels = 0, rightRows = 0;
        for (const Example& row : rows) {
            std::int64_t right = 0;
            for (const float target : row.targets) {
                const bool isPredicted = *value++ > 0;
                const bool isTrue = target > 0.5F;
                both += isPredicted && isTrue ? 1 : 0;
                named += (isPredicted ? 1 : 0) + (isTrue ? 1 : 0);
                right += isPredicted == isTrue ? 1 : 0;
            }
            rightLabels += right;
            rightRows += right == m_classes ? 1 : 0;
        }
        metrics["accuracy"] = static_cast<double>(rightRows) / static_cast<double>(rows.size());
        metrics["label_accuracy"] =
            static_cast<double>(rightLabels) / static_cast<double>(logits.numel());
        metrics["f1"] =
            named == 0 ? 0.0 : 2.0 * static_cast<double>(both) / static_cast<double>(named);
    }

    void judgeValues(const at::Tensor& logits, std::span<const Example> rows, Json& metrics) const {
        double squares = 0, linear = 0, ranked = 0;
        for (std::int64_t output = 0; output < m_classes; ++output) {
            std::vector<double> predicted, right;
            for (std::size_t i = 0; i < rows.size(); ++i) {
                predicted.push_back(
                    logits.const_data_ptr<float>()[static_cast<std::int64_t>(i) * m_classes +
                                                   output]);
                right.push_back(rows[i].targets[static_cast<std::size_t>(output)]);
                squares += (predicted.back() - right.back()) * (predicted.back() - right.back());
            }
            linear += pearson(predicted, right);
            ranked += spearman(predicted, right);
        }
        setNumber(metrics, "mse", squares / static_cast<double>(logits.numel()));
        setNumber(metrics, "pearson", linear / static_cast<double>(m_classes));
        setNumber(metrics, "spearman", ranked / static_cast<double>(m_classes));
    }

    TokenRows input(std::span<const Example> rows, const Model& model, const RandomKey& key) const {
        TokenRows text = textOf(rows, model.device());
        addEmbeddingNoise(text, model, m_options.noiseAlpha, key);
        if (!model.description().encoder) return text;
        // The decoder reads the same text, one place to the right behind its start token.
        std::vector<std::vector<std::int64_t>> shifted;
        for (const Example& row : rows)
            shifted.push_back(shiftedRight(row.ids, model.description()));
        TokenRows decoder = TokenRows::of(shifted, model.device());
        decoder.source = std::make_shared<const TokenRows>(std::move(text));
        return decoder;
    }

    /// [B, classes] f32
    at::Tensor classLogits(const Model& model, std::span<const Example> rows,
                           const Pass& pass) const {
        if (m_pooling == Pooling::FirstToken)
            return model.logits(
                model.firstHidden(input(rows, model, pass.key), pass.hooks, pass.activations),
                pass.hooks);
        std::vector<std::int64_t> places;
        std::int64_t first = 0;
        for (const Example& row : rows) {
            places.push_back(first + pooled(row));
            first += static_cast<std::int64_t>(row.ids.size());
        }
        const at::Tensor hidden = model.hidden(input(rows, model, pass.key),
                                               at::tensor(places, at::kLong).to(model.device()),
                                               pass.hooks, pass.activations);
        return model.logits(hidden, pass.hooks);
    }

    static at::Tensor classesOf(std::span<const Example> rows, const at::Device& device) {
        std::vector<std::int64_t> classes;
        for (const Example& row : rows) classes.push_back(row.classIndex);
        return at::tensor(classes, at::kLong).to(device);
    }

    /// Sum over rows. [] f32
    at::Tensor lossOf(const at::Tensor& logits, std::span<const Example> rows,
                      double smoothing) const {
        if (rows.front().targets.empty())
            return nn::logitsLoss(logits, classesOf(rows, logits.device()), 1.0, smoothing);
        std::vector<float> values;
        for (const Example& row : rows)
            values.insert(values.end(), row.targets.begin(), row.targets.end());
        const at::Tensor targets = at::tensor(values).view(logits.sizes()).to(logits.device());
        const auto sum = at::Reduction::Sum;
        const at::Tensor total =
            m_isRegression ? at::mse_loss(logits, targets, sum)
                           : at::binary_cross_entropy_with_logits(logits, targets, {}, {}, sum);
        return total / m_classes;
    }

    TaskOptions m_options;
    Pooling m_pooling;
    std::int64_t m_classes;
    std::int64_t m_padding;
    std::int64_t m_end;
    bool m_isRegression;
};

}  // namespace

std::unique_ptr<Task> classificationTask(const ModelDescription& description,
                                         const TaskOptions& options) {
    return std::make_unique<Classification>(description, options);
}

}  // namespace luthier
