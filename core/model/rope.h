// SPDX-License-Identifier: Apache-2.0
#pragma once
// Rotary angles with every scaling of Hugging Face's modeling_rope_utils (default, linear, dynamic,
// yarn, llama3, longrope).

#include "contract/json.h"
#include "contract/problem.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace luthier {

enum class RopeScaling { Default, Linear, Dynamic, Yarn, Llama3, LongRope };

struct RopeSpec {
    RopeScaling scaling = RopeScaling::Default;
    double theta = 10000;
    std::int64_t rotary = 0;  ///< rotated part of a head, even
    double factor = 1;
    std::int64_t maxPositions = 2048;
    std::int64_t originalPositions = 2048;
    double attentionFactor = 1;  ///< multiplies cos and sin
    double betaFast = 32;
    double betaSlow = 1;
    bool truncate = true;
    double lowFrequencyFactor = 1;
    double highFrequencyFactor = 4;
    std::vector<double> shortFactor;
    std::vector<double> longFactor;
};

/// Reads `rope_parameters` (transformers 5) or `rope_theta` + `rope_scaling` (before) of a
/// config.json. `defaultPartial`: the share of a head that is rotated when the file does not say.
Result<RopeSpec> readRope(const Json& config, const std::string& file, std::int64_t headSize,
                          double defaultTheta, double defaultPartial = 1.0);

/// Inverse frequencies for a sequence of `length` tokens, [rotary / 2] f32.
at::Tensor inverseFrequencies(const RopeSpec& spec, std::int64_t length);

/// cos and sin of each row's angles for positions [N] i64 of sequences up to `length`, both [N,
/// rotary / 2] f32.
std::pair<at::Tensor, at::Tensor> rotaryAngles(const RopeSpec& spec, const at::Tensor& positions,
                                               std::int64_t length);

}  // namespace luthier
