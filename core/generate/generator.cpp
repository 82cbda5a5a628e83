// SPDX-License-Identifier: Apache-2.0
#include "generate/generator.h"

#include "peft/method.h"
#include "peft/mixed_stack.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

namespace luthier {

namespace {

/// Rows whose logits over the whole vocabulary exist at one time.
constexpr std::int64_t kScoredRows = 128;

/// Uniform in [0, 1) from (seed, position).
double uniformAt(std::uint64_t seed, std::int64_t position) {
    return static_cast<double>(tensorSeed(seed, "token " + std::to_string(position)) >> 11) *
           0x1.0p-53;
}

/// logits [V] f32 with those of `seen` ids made less likely: divided by the penalty where positive,
/// multiplied where negative.
at::Tensor penalised(const at::Tensor& logits, const std::set<std::int64_t>& seen, double penalty) {
    const at::Tensor ids =
        at::tensor(std::vector<std::int64_t>(seen.begin(), seen.end()), at::kLong)
            .to(logits.device());
    const at::Tensor values = logits.gather(0, ids);
    return logits.scatter(0, ids, at::where(values < 0, values * penalty, values / penalty));
}

std::vector<TokenProbability> mostProbable(const at::Tensor& logProbabilities, std::int64_t count) {
    if (count <= 0) return {};
    const auto [values, ids] =
        at::topk(logProbabilities, std::min(count, logProbabilities.size(0)));
    const at::Tensor p = values.to(at::kDouble).to(at::kCPU).contiguous();
    const at::Tensor order = ids.to(at::kCPU).contiguous();
    std::vector<TokenProbability> result;
    for (std::int64_t i = 0; i < p.size(0); ++i)
        result.push_back(
            {order.const_data_ptr<std::int64_t>()[i], std::exp(p.const_data_ptr<double>()[i])});
    return result;
}

}  // namespace

std::int64_t chooseToken(const at::Tensor& logits, const SamplingSettings& settings,
                         std::int64_t position) {
    if (settings.temperature <= 0) return at::argmax(logits).item<std::int64_t>();
    const auto [sorted, order] = at::sort(logits / settings.temperature, -1, true);
    std::int64_t count = sorted.size(0);
    if (settings.topK > 0) count = std::min(count, settings.topK);
    const at::Tensor probabilities =
        at::softmax(sorted.narrow(0, 0, count).to(at::kDouble), 0).contiguous();
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

Continuation::Continuation(const Model& model, AdapterStack& stack,
                           std::vector<std::int64_t> prompt, std::vector<std::int64_t> endIds,
                           SamplingSettings settings)
    : m_model(model),
      m_stack(stack),
      m_pending(std::move(prompt)),
      m_endIds(std::move(endIds)),
      m_settings(settings),
      m_cache(model.description().layers) {
    if (model.description().isClassifier())
        throw Failure(
            {"task_unsupported",
             "A " + model.description().architecture + " classifies texts and cannot write one.",
             "Open a language model.", "model"});
    if (model.description().encoder) {
        // The encoder reads the prompt; the decoder starts its own text.
        m_source = std::move(m_pending);
        m_pending = {model.description().decoderStart};
    }
    if (m_settings.repetitionPenalty != 1) m_seen.insert(m_pending.begin(), m_pending.end());
}

std::int64_t Continuation::cacheBytes() const {
    const ModelDescription& d = m_model.description();
    return 2 * d.layers * d.keyValueHeads * d.headSize * m_cache.length() *
           static_cast<std::int64_t>(at::elementSize(m_model.dtype()));
}

std::optional<GeneratedToken> Continuation::next() {
    if (isFinished()) return std::nullopt;
    const at::NoGradGuard guard;
    const auto start = std::chrono::steady_clock::now();
    const auto stopClock = [&] {
        m_result.seconds +=
            std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };
    const auto step = static_cast<std::int64_t>(m_result.ids.size());
    if (step == 0) {
        m_stack.beginPass({});
        if (!m_source.empty()) m_model.readSource(m_source, m_cache, m_stack.hooks());
    }
    if (m_room < 0 || step < m_room) {
        const at::Tensor logits = m_model.next(m_pending, m_cache, m_stack.hooks());  // [V] f32
        if (m_room < 0) {
            m_room = m_settings.maxNewTokens;
            if (m_model.description().position == PositionKind::Learned)
                m_room = std::min(m_room, m_model.description().maxPositions - m_cache.length());
        }
        if (step < m_room) {
            std::optional<GeneratedToken> token = take(logits);
            stopClock();
            return token;
        }
    }
    m_result.finishReason = "length";
    stopClock();
    return std::nullopt;
}

std::optional<GeneratedToken> Continuation::take(const at::Tensor& logits) {
    const auto step = static_cast<std::int64_t>(m_result.ids.size());
    const std::int64_t id = chooseToken(
        m_seen.empty() ? logits : penalised(logits, m_seen, m_settings.repetitionPenalty),
        m_settings, step);
    const at::Tensor logProbabilities = at::log_softmax(logits, -1);
    const double logProbability = logProbabilities[id].item<double>();
    if (std::find(m_endIds.begin(), m_endIds.end(), id) != m_endIds.end()) {
        m_result.finishReason = "stop";
        return std::nullopt;
    }
    m_pending = {id};
    if (m_settings.repetitionPenalty != 1) m_seen.insert(id);
    m_result.ids.push_back(id);
    m_logSum += logProbability;
    m_result.meanLogProbability = m_logSum / static_cast<double>(m_result.ids.size());
    return GeneratedToken{id, std::exp(logProbability),
                          mostProbable(logProbabilities, m_settings.alternatives)};
}

bool Continuation::canGoOnTogether() const {
    const auto step = static_cast<std::int64_t>(m_result.ids.size());
    return !isFinished() && !m_cache.isEmpty() && m_pending.size() == 1 && step < m_room &&
           m_model.canGoOnTogether() && !m_stack.hooks().replacesParameters();
}

std::vector<std::optional<GeneratedToken>> nextOfEach(const Model& model,
                                                      const std::vector<Continuation*>& texts) {
    const at::NoGradGuard guard;
    const auto start = std::chrono::steady_clock::now();
    std::vector<std::int64_t> ids;
    std::vector<KeyValueCache*> caches;
    std::vector<AdapterStack*> stacks;
    std::vector<std::size_t> together;
    for (std::size_t i = 0; i < texts.size(); ++i) {
        if (!texts[i]->canGoOnTogether()) continue;
        together.push_back(i);
        ids.push_back(texts[i]->m_pending.front());
        caches.push_back(&texts[i]->m_cache);
        stacks.push_back(&texts[i]->m_stack);
    }
    std::vector<std::optional<GeneratedToken>> tokens(texts.size());
    if (together.size() > 1) {
        const std::unique_ptr<MixedStack> mixed = MixedStack::create(model, stacks).orThrow();
        const at::Tensor logits = model.nextOfEach(ids, caches, mixed->hooks());  // [R, V]
        for (std::size_t row = 0; row < together.size(); ++row)
            tokens[together[row]] =
                texts[together[row]]->take(logits[static_cast<std::int64_t>(row)]);
        const double each =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() /
            static_cast<double>(together.size());
        for (const std::size_t i : together) texts[i]->m_result.seconds += each;
    } else {
        together.clear();
    }
    for (std::size_t i = 0; i < texts.size(); ++i)
        if (std::find(together.begin(), together.end(), i) == together.end())
            tokens[i] = texts[i]->next();
    return tokens;
}

Generated generate(const Model& model, AdapterStack& stack, const std::vector<std::int64_t>& prompt,
                   const std::vector<std::int64_t>& endIds, const SamplingSettings& settings,
                   const std::function<bool(const GeneratedToken&)>& onToken) {
    Continuation text(model, stack, prompt, endIds, settings);
    while (const std::optional<GeneratedToken> token = text.next())
        if (onToken && !onToken(*token)) text.finish("cancelled");
    return text.result();
}

TokenScores scoreTokens(const Model& model, AdapterStack& stack, AdapterStack* reference,
                        const std::vector<std::int64_t>& ids) {
    const at::NoGradGuard guard;
    const double none = std::numeric_limits<double>::quiet_NaN();
    TokenScores scores;
    if (model.description().encoder || model.description().isClassifier())
        throw Failure({"task_unsupported",
                       "A " + model.description().architecture +
                           " gives no probability to each token of one text.",
                       "Open a decoder, or measure rows with eval.", "model"});
    scores.logProbability.push_back(none);
    if (reference != nullptr) {
        scores.divergence.push_back(none);
        scores.referenceLogProbability.push_back(none);
    }
    const auto T = static_cast<std::int64_t>(ids.size());
    if (T < 2) return scores;
    const TokenRows input = TokenRows::single(ids, model.device());
    stack.beginPass({});
    const at::Tensor hidden = model.hidden(input, {}, stack.hooks());  // [T, C]
    at::Tensor referenceHidden;
    if (reference != nullptr) {
        reference->beginPass({});
        referenceHidden = model.hidden(input, {}, reference->hooks());
    }
    const auto append = [](std::vector<double>& target, const at::Tensor& values) {
        const at::Tensor plain = values.to(at::kDouble).to(at::kCPU).contiguous();
        target.insert(target.end(), plain.const_data_ptr<double>(),
                      plain.const_data_ptr<double>() + plain.numel());
    };
    for (std::int64_t first = 0; first + 1 < T; first += kScoredRows) {
        const std::int64_t count = std::min(kScoredRows, T - 1 - first);
        const at::Tensor next = input.ids.narrow(0, first + 1, count).unsqueeze(1);  // [n, 1]
        const at::Tensor logP = at::log_softmax(
            model.logits(hidden.narrow(0, first, count), stack.hooks()), -1);  // [n, V]
        append(scores.logProbability, logP.gather(1, next).squeeze(1));
        if (reference == nullptr) continue;
        const at::Tensor logQ = at::log_softmax(
            model.logits(referenceHidden.narrow(0, first, count), reference->hooks()), -1);
        append(scores.referenceLogProbability, logQ.gather(1, next).squeeze(1));
        append(scores.divergence, (logP.exp() * (logP - logQ)).sum(-1).clamp_min(0));
    }
    return scores;
}

}  // namespace luthier
