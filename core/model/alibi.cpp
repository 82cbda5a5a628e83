// SPDX-License-Identifier: Apache-2.0
#include "model/alibi.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>

#include <bit>
#include <cmath>

namespace luthier {

namespace {

/// 2^(-8/n), 2^(-16/n), … for n a power of two, as float32 powers of a float32 base.
std::vector<float> powersFor(std::int64_t n, std::int64_t step, std::int64_t count) {
    const float base =
        static_cast<float>(std::pow(2.0, -std::pow(2.0, -(std::log2(static_cast<double>(n)) - 3))));
    std::vector<float> values;
    for (std::int64_t i = 0; i < count; ++i)
        values.push_back(std::pow(base, static_cast<float>(1 + step * i)));
    return values;
}

std::vector<float> bloomSlopes(std::int64_t heads) {
    const auto closest =
        static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(heads)));
    std::vector<float> slopes = powersFor(closest, 1, closest);
    for (const float slope : powersFor(2 * closest, 2, std::min(closest, heads - closest)))
        slopes.push_back(slope);
    return slopes;
}

std::vector<float> mptSlopes(std::int64_t heads) {
    const auto power = static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(heads)));
    const auto slope = [&](std::int64_t i) {
        return 1.0f /
               std::pow(2.0f, static_cast<float>(i + 1) * (8.0f / static_cast<float>(power)));
    };
    std::vector<float> slopes;
    if (power == heads) {
        for (std::int64_t i = 0; i < heads; ++i) slopes.push_back(slope(i));
        return slopes;
    }
    for (std::int64_t first : {1, 0})
        for (std::int64_t i = first; i < power; i += 2) slopes.push_back(slope(i));
    slopes.resize(static_cast<std::size_t>(heads));
    return slopes;
}

}  // namespace

std::vector<float> alibiSlopes(AlibiKind kind, std::int64_t heads) {
    return kind == AlibiKind::Mpt ? mptSlopes(heads) : bloomSlopes(heads);
}

at::Tensor alibiBias(const ModelDescription& d, std::int64_t keys) {
    const at::Tensor slopes = at::tensor(alibiSlopes(d.alibi, d.heads), at::kFloat).unsqueeze(1);
    if (d.alibi != AlibiKind::Falcon) return slopes * at::arange(keys, at::kFloat);
    const at::Tensor coarse = slopes.to(at::kBFloat16) * at::arange(keys, at::kLong);
    return coarse.to(at::kFloat) / std::sqrt(static_cast<double>(d.headSize));
}

}  // namespace luthier
