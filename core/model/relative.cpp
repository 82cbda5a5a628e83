// SPDX-License-Identifier: Apache-2.0
#include "model/relative.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>

namespace luthier {

namespace {

/// key - query of each pair, [queries, keys] i64.
at::Tensor distances(std::int64_t first, std::int64_t queries, std::int64_t keys) {
    const auto options = at::TensorOptions(at::kLong);
    return at::arange(keys, options).unsqueeze(0) -
           (at::arange(queries, options).unsqueeze(1) + first);
}

}  // namespace

at::Tensor t5Buckets(const RelativeSpec& spec, bool isBidirectional, std::int64_t first,
                     std::int64_t queries, std::int64_t keys) {
    at::Tensor distance = distances(first, queries, keys);
    std::int64_t buckets = spec.buckets;
    at::Tensor bucket = at::zeros_like(distance);
    if (isBidirectional) {
        buckets /= 2;
        bucket = (distance > 0).to(at::kLong) * buckets;
        distance = distance.abs();
    } else {
        distance = -at::minimum(distance, at::zeros_like(distance));
    }
    // Half of the buckets hold one distance each, the others ever wider ranges up to spec.distance.
    const std::int64_t exact = buckets / 2;
    const double width = std::log(static_cast<double>(spec.distance) / static_cast<double>(exact));
    const at::Tensor wide =
        exact + ((distance.to(at::kFloat) / exact).log() / width * (buckets - exact)).to(at::kLong);
    return bucket + at::where(distance < exact, distance,
                              at::minimum(wide, at::full_like(wide, buckets - 1)));
}

at::Tensor debertaPositions(const RelativeSpec& spec, std::int64_t length) {
    const at::Tensor distance = -distances(0, length, length);
    if (spec.buckets <= 0) return distance;
    const std::int64_t middle = spec.buckets / 2;
    const at::Tensor size = at::where((distance < middle).logical_and(distance > -middle),
                                      at::full_like(distance, middle - 1), distance.abs());
    const auto range = std::log(
        static_cast<float>(static_cast<double>(spec.distance - 1) / static_cast<double>(middle)));
    const at::Tensor bucket =
        ((size.to(at::kFloat) / middle).log() / range * (middle - 1)).ceil() + middle;
    return at::where(size <= middle, distance.to(at::kFloat), bucket * distance.sign())
        .to(at::kLong);
}

}  // namespace luthier
