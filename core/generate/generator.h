// SPDX-License-Identifier: Apache-2.0
#pragma once
// Text from a model, token by token, with a key-value cache. Sampling follows transformers' order:
// repetition penalty, temperature, then top-k, then top-p. A draw depends on (seed, position)
// alone, so the same prompt and seed give the same text in every column.

#include "model/model.h"
#include "peft/adapter.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace luthier {

struct SamplingSettings {
    std::int64_t maxNewTokens = 64;
    double temperature = 0;  ///< 0: always the most probable token
    double topP = 1;
    std::int64_t topK = 0;         ///< 0: all
    double repetitionPenalty = 1;  ///< Keskar et al. 2019 (CTRL), as in transformers: logits of
                                   ///< tokens already seen / or * this
    std::uint64_t seed = 42;
    std::int64_t alternatives = 0;  ///< most probable tokens reported beside each chosen one
};

struct TokenProbability {
    std::int64_t id = 0;
    double probability = 0;  ///< under the model, before penalty, temperature and cuts
};

struct GeneratedToken {
    std::int64_t id = 0;
    double probability = 0;                      ///< as in TokenProbability
    std::vector<TokenProbability> alternatives;  ///< most probable first; may hold the chosen one
};

struct Generated {
    std::vector<std::int64_t> ids;  ///< without the prompt; the end token left out
    std::string finishReason;       ///< "stop" (end token), "length", "cancelled"
    double meanLogProbability = 0;
    double seconds = 0;
};

/// One text being continued. Several may advance in turn on one model: each has its own cache and
/// its own stack of adapters.
class Continuation final {
public:
    /// `model` and `stack` outlive it. Nothing is computed before the first next().
    Continuation(const Model& model, AdapterStack& stack, std::vector<std::int64_t> prompt,
                 std::vector<std::int64_t> endIds, SamplingSettings settings);

    /// The next token; nullopt once the text is over.
    std::optional<GeneratedToken> next();
    /// Ends it from outside: "cancelled", or "stop" at a stop text.
    void finish(const std::string& reason) { m_result.finishReason = reason; }
    bool isFinished() const { return !m_result.finishReason.empty(); }
    /// What there is so far; `seconds` counts only time spent in next().
    const Generated& result() const { return m_result; }
    /// Bytes of keys and values kept.
    std::int64_t cacheBytes() const;

private:
    friend std::vector<std::optional<GeneratedToken>> nextOfEach(
        const Model& model, const std::vector<Continuation*>& texts);
    /// Whether its next token needs nothing but one pass over the one token before.
    bool canGoOnTogether() const;
    /// The token that `logits` [V] f32 give; nullopt at an end token.
    std::optional<GeneratedToken> take(const at::Tensor& logits);

    const Model& m_model;
    AdapterStack& m_stack;
    std::vector<std::int64_t> m_source;   // what an encoder reads; empty without one
    std::vector<std::int64_t> m_pending;  // ids that the model has not read yet
    std::vector<std::int64_t> m_endIds;
    SamplingSettings m_settings;
    std::set<std::int64_t> m_seen;  // filled only under a repetition penalty
    KeyValueCache m_cache;
    Generated m_result;
    double m_logSum = 0;
    std::int64_t m_room = -1;  // new tokens that fit; known after the prompt is read
};

/// The next token of each of several texts on `model`, as next() gives it: texts that have begun
/// pass together, with one product at each projection for all of them and each text's own adapters
/// above it (peft/mixed_stack.h).
std::vector<std::optional<GeneratedToken>> nextOfEach(const Model& model,
                                                      const std::vector<Continuation*>& texts);

/// Continues to the end. @param onToken called after each token; returning false ends with
/// "cancelled".
Generated generate(const Model& model, AdapterStack& stack, const std::vector<std::int64_t>& prompt,
                   const std::vector<std::int64_t>& endIds, const SamplingSettings& settings,
                   const std::function<bool(const GeneratedToken&)>& onToken = {});

/// The id to take from logits [V] f32 at `position`.
std::int64_t chooseToken(const at::Tensor& logits, const SamplingSettings& settings,
                         std::int64_t position);

/// What a model thinks of given tokens: entry i is about ids[i] given ids[0 .. i-1]; entry 0 has
/// nothing before it and is NaN.
struct TokenScores {
    std::vector<double> logProbability;  ///< nats
    std::vector<double> divergence;  ///< KL(stack || reference) of the distribution at that place,
                                     ///< nats; empty without reference
    std::vector<double>
        referenceLogProbability;  ///< of the same tokens under `reference`; empty without it
};

/// One pass over `ids` (at least one) for the stack, and one for `reference` when there is one.
TokenScores scoreTokens(const Model& model, AdapterStack& stack, AdapterStack* reference,
                        const std::vector<std::int64_t>& ids);

}  // namespace luthier
