// SPDX-License-Identifier: Apache-2.0
#include "task/task.h"

#include "peft/method.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace luthier {

std::unique_ptr<Task> makeTask(const Model& model, const TaskOptions& options) {
    const ModelDescription& description = model.description();
    if (description.isClassifier()) return classificationTask(description, options);
    if (options.hasChoices) return choicesTask(description, options);
    return description.encoder ? seq2seqLmTask(description, options) : causalLmTask(options);
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

void addEmbeddingNoise(TokenRows& read, const Model& model, double alpha, const RandomKey& key) {
    if (alpha <= 0 || !key.isTraining) return;
    if (read.source) {
        TokenRows source = *read.source;
        addEmbeddingNoise(source, model, alpha, key);
        read.source = std::make_shared<const TokenRows>(std::move(source));
        return;
    }
    const std::int64_t width = model.sites().embeddingWidth;
    std::vector<float> bounds;  // [N]
    for (const std::int64_t length : read.segments)
        bounds.insert(bounds.end(), static_cast<std::size_t>(length),
                      static_cast<float>(alpha / std::sqrt(static_cast<double>(length * width))));
    const at::Tensor noise = uniformTensor({read.ids.size(0), width}, 1.0,
                                           tensorSeed(key.key, "embedding_noise"), at::kCPU);
    read.noise = (noise * at::tensor(bounds).unsqueeze(1)).to(read.ids.device());
}

std::vector<std::int64_t> shiftedRight(std::span<const std::int32_t> text,
                                       const ModelDescription& description) {
    const std::int64_t padding =
        description.paddingId >= 0 ? description.paddingId : description.decoderStart;
    std::int64_t start = description.decoderStart;
    if (description.startsWithLast) {
        // transformers counts the tokens that are not padding and takes the one at that place,
        // wherever ignored labels stand.
        const auto isText = [&](std::int32_t token) {
            return token != kNoLabel && token != padding;
        };
        const auto count = std::count_if(text.begin(), text.end(), isText);
        if (count > 0 && isText(text[static_cast<std::size_t>(count) - 1]))
            start = text[static_cast<std::size_t>(count) - 1];
    }
    std::vector<std::int64_t> ids{start};
    for (std::size_t i = 0; i + 1 < text.size(); ++i)
        ids.push_back(text[i] == kNoLabel ? padding : text[i]);
    return ids;
}

Loss languageLoss(Predicted predicted, const Model& model, const TaskOptions& options,
                  const LossCounts& step, const Pass& pass) {
    addEmbeddingNoise(predicted.input, model, options.noiseAlpha, pass.key);
    const double smoothing = pass.key.isTraining ? options.labelSmoothing : 0;
    return {model.loss(predicted.input, predicted.places, predicted.labels,
                       1.0 / static_cast<double>(step.labels), pass.hooks, pass.activations,
                       smoothing)};
}

bool inBatches(
    std::span<const Example> rows, const Measuring& how,
    const std::function<void(std::span<const Example>, std::span<const std::int64_t>)>& show) {
    const auto tokensOf = [&rows](std::int64_t place) {
        const Example& row = rows[static_cast<std::size_t>(place)];
        std::size_t tokens = std::max(row.ids.size(), row.labels.size());
        for (const std::vector<std::int32_t>& choice : row.choices) tokens += choice.size();
        return tokens;
    };
    std::vector<std::int64_t> order(rows.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::int64_t a, std::int64_t b) { return tokensOf(a) > tokensOf(b); });
    const std::size_t most = rows.empty() ? 0 : how.batch * tokensOf(order.front());
    std::vector<Example> batch;
    for (std::size_t first = 0; first < order.size(); first += batch.size()) {
        batch.clear();
        std::size_t tokens = 0;
        for (std::size_t i = first;
             i < order.size() && (batch.size() < how.batch || tokens + tokensOf(order[i]) <= most);
             ++i) {
            tokens += tokensOf(order[i]);
            batch.push_back(rows[static_cast<std::size_t>(order[i])]);
        }
        show(batch, std::span(order).subspan(first, batch.size()));
        if (how.goOn && !how.goOn(static_cast<std::int64_t>(first + batch.size()),
                                  static_cast<std::int64_t>(order.size())))
            return false;
    }
    return true;
}

Measured measureLanguage(const PredictedOf& predictedOf, const Model& model, AdapterStack& stack,
                         std::span<const Example> rows, const Measuring& how) {
    const at::NoGradGuard guard;
    Measured measured;
    std::int64_t right = 0;
    measured.isWhole =
        inBatches(rows, how, [&](std::span<const Example> batch, std::span<const std::int64_t>) {
            const Predicted predicted = predictedOf(batch);
            if (predicted.labels.size(0) == 0) return;
            stack.beginPass({});
            const nn::TokenLosses tokens = model.tokenLosses(predicted.input, predicted.places,
                                                             predicted.labels, stack.hooks());
            measured.lossSum += tokens.losses.sum(at::kDouble).item<double>();
            measured.labels += predicted.labels.size(0);
            right += tokens.isBest.sum().item<std::int64_t>();
        });
    setNumber(measured.metrics, "perplexity", std::exp(measured.loss()));
    setNumber(measured.metrics, "accuracy",
              static_cast<double>(right) /
                  static_cast<double>(std::max<std::int64_t>(1, measured.labels)));
    return measured;
}

}  // namespace luthier
