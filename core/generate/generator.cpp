// SPDX-License-Identifier: Apache-2.0
#include "generate/generator.h"

#include "peft/method.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/sort.h>

#include <algorithm>
#include <chrono>

namespace luthier {

namespace {

/// Uniform in [0, 1) from (seed, position).
double uniformAt(std::uint64_t seed, std::int64_t position) {
    return static_cast<double>(tensorSeed(seed, "token " + std::to_string(position)) >> 11) * 0x1.0p-53;
}

}  // namespace

std::int64_t chooseToken(const at::Tensor& logits, const SamplingSettings& settings, std::int64_t position) {
    if (settings.temperature <= 0) return at::argmax(logits).item<std::int64_t>();
    const auto [sorted, order] = at::sort(logits / settings.temperature, -1, true);
    std::int64_t count = sorted.size(0);
    if (settings.topK > 0) count = std::min(count, settings.topK);
    const at::Tensor probabilities = at::softmax(sorted.narrow(0, 0, count).to(at::kDouble), 0).contiguous();
    const double* p = probabilities.const_data_ptr<double>();
    // Top-p keeps the smallest head whose sum reaches p, at least one token.
    double kept = 0;
    std::int64_t last = 0;
    while (last < count) {
        kept += p[last++];
        if (kept >= settings.topP) break;
    }
    double target = uniformAt(settings.seed, position) * kept;
    std::int64_t index = 0;
    while (index + 1 < last && target >= p[index]) target -= p[index++];
    return order[index].item<std::int64_t>();
}

Generated generate(const Decoder& model, AdapterStack& stack, const std::vector<std::int64_t>& prompt, const std::vector<std::int64_t>& endIds,
                   const SamplingSettings& settings, const std::function<bool(const GeneratedToken&)>& onToken) {
    const at::NoGradGuard guard;
    const auto start = std::chrono::steady_clock::now();
    Generated result;
    result.finishReason = "length";
    stack.beginPass({});
    KeyValueCache cache(model.description().layers);
    at::Tensor logits = model.next(prompt, cache, stack.hooks());
    double logSum = 0;
    const std::int64_t room = model.description().position == PositionKind::Learned
                                  ? model.description().maxPositions - cache.length() : settings.maxNewTokens;
    for (std::int64_t step = 0; step < std::min(settings.maxNewTokens, room); ++step) {
        const std::int64_t id = chooseToken(logits, settings, step);
        const double logProbability = at::log_softmax(logits, -1)[id].item<double>();
        if (std::find(endIds.begin(), endIds.end(), id) != endIds.end()) {
            result.finishReason = "stop";
            break;
        }
        result.ids.push_back(id);
        logSum += logProbability;
        if (onToken && !onToken({id, std::exp(logProbability)})) {
            result.finishReason = "cancelled";
            break;
        }
        if (step + 1 < std::min(settings.maxNewTokens, room)) logits = model.next({id}, cache, stack.hooks());
    }
    if (!result.ids.empty()) result.meanLogProbability = logSum / static_cast<double>(result.ids.size());
    result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return result;
}

}  // namespace luthier
