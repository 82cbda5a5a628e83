// SPDX-License-Identifier: Apache-2.0
// Rows with choices: trained with T-Few's losses, measured by rank classification. An encoder reads
// the input once and its states serve all choices; a decoder alone reads the input before each.
#include "task/choices.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/expm1.h>
#include <ATen/ops/log.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

namespace luthier {

namespace {

struct ChoicesInput {
    Predicted predicted;
    ChoiceLayout layout;
};

std::vector<std::int64_t> wide(std::span<const std::int32_t> ids) {
    return {ids.begin(), ids.end()};
}

/// What a decoder alone reads before a choice: ids without the answer that ends them.
std::span<const std::int32_t> promptOf(const Example& row) {
    return row.ids.first(row.ids.size() - row.choices[static_cast<std::size_t>(row.answer)].size());
}

class Choices final : public Task {
public:
    Choices(const ModelDescription& description, const TaskOptions& options)
        : m_description(description),
          m_options(options),
          m_plain(description.encoder ? seq2seqLmTask(description, options)
                                      : causalLmTask(options)) {}

    std::int64_t labelCount(const Example& row) const override { return m_plain->labelCount(row); }

    std::int64_t tokenCount(const Example& row) const override {
        if (!isRanked()) return m_plain->tokenCount(row);
        std::size_t count =
            m_description.encoder ? row.ids.size() : row.choices.size() * promptOf(row).size();
        for (const std::vector<std::int32_t>& choice : row.choices) count += choice.size();
        return static_cast<std::int64_t>(count);
    }

    LossCounts counts(const Example& row) const override {
        LossCounts counts{labelCount(row), 1, 0};
        for (std::size_t n = 0; n < row.choices.size(); ++n)
            if (static_cast<std::int32_t>(n) != row.answer)
                counts.wrongTokens += static_cast<std::int64_t>(row.choices[n].size());
        return counts;
    }

    Loss loss(const Model& model, std::span<const Example> rows, const LossCounts& step,
              const Pass& pass) const override {
        if (!isRanked()) return m_plain->loss(model, rows, step, pass);
        ChoicesInput input = inputOf(rows, model.device());
        addEmbeddingNoise(input.predicted.input, model, m_options.noiseAlpha, pass.key);
        const nn::TokenLosses tokens =
            model.tokenLosses(input.predicted.input, input.predicted.places, input.predicted.labels,
                              pass.hooks, pass.activations);
        return weighed(choiceSums(tokens.losses, input.layout, m_options.unlikelihoodForm), step);
    }

    std::vector<at::Tensor> logitsOfEach(const Model& model, std::span<const Example> rows,
                                         const SiteHooks& hooks) const override {
        return m_plain->logitsOfEach(model, rows, hooks);
    }

    Measured measure(const Model& model, AdapterStack& stack, std::span<const Example> rows,
                     const Measuring& how) const override {
        const at::NoGradGuard guard;
        LossCounts all;
        for (const Example& row : rows) all += counts(row);
        double total = 0;
        std::int64_t right = 0;
        std::int64_t rightTokens = 0;
        LossTerms terms;
        const bool isWhole =
            inBatches(rows, how, [&](std::span<const Example> part, std::span<const std::int64_t>) {
                stack.beginPass({});
                const ChoicesInput input = inputOf(part, model.device());
                const nn::TokenLosses tokens =
                    model.tokenLosses(input.predicted.input, input.predicted.places,
                                      input.predicted.labels, stack.hooks());
                const ChoiceSums sums =
                    choiceSums(tokens.losses, input.layout, m_options.unlikelihoodForm);
                const Loss share = weighed(sums, all);
                total += share.value.item<double>();
                for (std::size_t i = 0; i < share.terms.size(); ++i) {
                    if (terms.size() <= i) terms.emplace_back(share.terms[i].first, 0.0);
                    terms[i].second += share.terms[i].second;
                }
                const std::vector<std::int64_t> predicted = rankedFirst(sums.scores, input.layout);
                for (std::size_t i = 0; i < part.size(); ++i)
                    right += predicted[i] == part[i].answer ? 1 : 0;
                rightTokens += rightIn(tokens.isBest, input.layout);
            });
        Measured measured{total * static_cast<double>(all.labels), all.labels};
        measured.isWhole = isWhole;
        setNumber(measured.metrics, "perplexity",
                  std::exp(terms.empty() ? 0 : terms.front().second));
        setNumber(measured.metrics, "accuracy",
                  static_cast<double>(rightTokens) /
                      static_cast<double>(std::max<std::int64_t>(1, all.labels)));
        setNumber(
            measured.metrics, "rank_accuracy",
            static_cast<double>(right) / static_cast<double>(std::max<std::int64_t>(1, all.rows)));
        if (isRanked())
            for (const auto& [name, value] : terms)
                setNumber(measured.metrics, name + "_loss", value);
        return measured;
    }

    /// The choices of all rows as one padding-free input, and the places that predict their tokens.
    ChoicesInput inputOf(std::span<const Example> rows, const at::Device& device) const {
        ChoicesInput input;
        std::vector<std::vector<std::int64_t>> texts;
        std::vector<std::int64_t> places, labels, readers;
        std::int64_t first = 0;
        for (const Example& row : rows) {
            const std::span<const std::int32_t> prompt =
                m_description.encoder ? std::span<const std::int32_t>{} : promptOf(row);
            for (const std::vector<std::int32_t>& choice : row.choices) {
                std::vector<std::int64_t> text =
                    m_description.encoder ? shiftedRight(choice, m_description) : wide(prompt);
                if (!m_description.encoder) text.insert(text.end(), choice.begin(), choice.end());
                const std::int64_t before =
                    m_description.encoder ? 0 : static_cast<std::int64_t>(prompt.size()) - 1;
                for (std::size_t t = 0; t < choice.size(); ++t) {
                    places.push_back(first + before + static_cast<std::int64_t>(t));
                    labels.push_back(choice[t]);
                }
                first += static_cast<std::int64_t>(text.size());
                texts.push_back(std::move(text));
                input.layout.lengths.push_back(static_cast<std::int64_t>(choice.size()));
            }
            readers.push_back(static_cast<std::int64_t>(row.choices.size()));
            input.layout.answers.push_back(row.answer);
        }
        input.layout.counts = readers;
        TokenRows read = TokenRows::of(texts, device);
        if (m_description.encoder) {
            read.source = std::make_shared<const TokenRows>(textOf(rows, device));
            read.readers = readers;
        }
        input.predicted = {std::move(read), at::tensor(places, at::kLong).to(device),
                           at::tensor(labels, at::kLong).to(device)};
        return input;
    }

private:
    bool isRanked() const { return m_options.unlikelihood > 0 || m_options.lengthNormalized > 0; }

    Loss weighed(const ChoiceSums& sums, const LossCounts& step) const {
        const auto mean = [](const at::Tensor& sum, std::int64_t count) {
            return sum / static_cast<double>(std::max<std::int64_t>(1, count));
        };
        const at::Tensor lm = mean(sums.lm, step.labels);
        const at::Tensor unlikelihood = mean(sums.unlikelihood, step.wrongTokens);
        const at::Tensor lengthNormalized = mean(sums.lengthNormalized, step.rows);
        at::Tensor value = lm;
        if (m_options.unlikelihood > 0) value = value + unlikelihood * m_options.unlikelihood;
        if (m_options.lengthNormalized > 0)
            value = value + lengthNormalized * m_options.lengthNormalized;
        return {value,
                {{"lm", lm.item<double>()},
                 {"unlikelihood", unlikelihood.item<double>()},
                 {"length_normalized", lengthNormalized.item<double>()}}};
    }

    /// Tokens of right choices that are the most probable ones at their place.
    static std::int64_t rightIn(const at::Tensor& isBest, const ChoiceLayout& layout) {
        const std::vector<at::Tensor> choices = isBest.split_with_sizes(layout.lengths);
        std::int64_t right = 0;
        std::size_t first = 0;
        for (std::size_t row = 0; row < layout.counts.size(); ++row) {
            right += choices[first + static_cast<std::size_t>(layout.answers[row])]
                         .sum()
                         .item<std::int64_t>();
            first += static_cast<std::size_t>(layout.counts[row]);
        }
        return right;
    }

    const ModelDescription& m_description;
    TaskOptions m_options;
    std::unique_ptr<Task> m_plain;
};

}  // namespace

ChoiceSums choiceSums(const at::Tensor& losses, const ChoiceLayout& layout, UnlikelihoodForm form) {
    const std::vector<at::Tensor> choices = losses.split_with_sizes(layout.lengths);
    std::vector<at::Tensor> scores, right, wrong, ranks;
    std::size_t first = 0;
    for (std::size_t row = 0; row < layout.counts.size(); ++row) {
        const auto count = static_cast<std::size_t>(layout.counts[row]);
        const std::size_t answer = first + static_cast<std::size_t>(layout.answers[row]);
        for (std::size_t n = first; n < first + count; ++n) {
            scores.push_back(choices[n].mean());
            (n == answer ? right : wrong).push_back(choices[n]);
        }
        const at::Tensor beta = at::stack(at::TensorList(scores).slice(first));
        ranks.push_back(at::logsumexp(-beta, 0) + scores[answer]);
        first += count;
    }
    ChoiceSums sums{at::cat(right).sum(), at::zeros({}, losses.options()), at::stack(ranks).sum(),
                    at::stack(scores)};
    if (wrong.empty()) return sums;
    const at::Tensor rest = -at::expm1(-at::cat(wrong));  // 1 - p
    // Where p rounds to 1 the paper's logarithm is that of the smallest step below 1, not infinity.
    if (form == UnlikelihoodForm::Paper) {
        sums.unlikelihood = -at::log(rest.clamp_min(std::ldexp(1.0, -24))).sum();
        return sums;
    }
    const std::int64_t longest = *std::max_element(layout.lengths.begin(), layout.lengths.end());
    const std::int64_t masked =
        static_cast<std::int64_t>(layout.lengths.size()) * longest - rest.numel();
    sums.unlikelihood = -at::log(rest + 0.01).sum() - static_cast<double>(masked) * std::log(1.01);
    return sums;
}

std::vector<std::int64_t> rankedFirst(const at::Tensor& scores, const ChoiceLayout& layout) {
    const at::Tensor values = scores.to(at::kCPU, at::kFloat).contiguous();
    const float* at = values.const_data_ptr<float>();
    std::vector<std::int64_t> predicted;
    for (const std::int64_t count : layout.counts) {
        predicted.push_back(std::min_element(at, at + count) - at);
        at += count;
    }
    return predicted;
}

std::vector<at::Tensor> choiceScores(const Model& model, AdapterStack& stack,
                                     std::span<const Example> rows) {
    const at::NoGradGuard guard;
    const Choices task(model.description(), {});
    stack.beginPass({});
    const ChoicesInput input = task.inputOf(rows, model.device());
    const nn::TokenLosses tokens = model.tokenLosses(input.predicted.input, input.predicted.places,
                                                     input.predicted.labels, stack.hooks());
    return choiceSums(tokens.losses, input.layout, UnlikelihoodForm::Paper)
        .scores.split_with_sizes(input.layout.counts);
}

std::unique_ptr<Task> choicesTask(const ModelDescription& description, const TaskOptions& options) {
    return std::make_unique<Choices>(description, options);
}

}  // namespace luthier
