// SPDX-License-Identifier: Apache-2.0
#pragma once
// Text from a model, token by token, with a key-value cache. Sampling follows transformers' order: temperature, then top-k,
// then top-p. A draw depends on (seed, position) alone, so the same prompt and seed give the same text in every column.

#include "model/decoder.h"
#include "peft/adapter.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace luthier {

struct SamplingSettings {
    std::int64_t maxNewTokens = 64;
    double temperature = 0;    ///< 0: always the most probable token
    double topP = 1;
    std::int64_t topK = 0;     ///< 0: all
    std::uint64_t seed = 42;
};

struct GeneratedToken {
    std::int64_t id = 0;
    double probability = 0;    ///< under the model, before temperature and cuts
};

struct Generated {
    std::vector<std::int64_t> ids;   ///< without the prompt; the end token left out
    std::string finishReason;        ///< "stop" (end token), "length", "cancelled"
    double meanLogProbability = 0;
    double seconds = 0;
};

/// @param onToken called after each token; returning false ends with "cancelled".
Generated generate(const Decoder& model, AdapterStack& stack, const std::vector<std::int64_t>& prompt, const std::vector<std::int64_t>& endIds,
                   const SamplingSettings& settings, const std::function<bool(const GeneratedToken&)>& onToken = {});

/// The id to take from logits [V] f32 at `position`.
std::int64_t chooseToken(const at::Tensor& logits, const SamplingSettings& settings, std::int64_t position);

}  // namespace luthier
