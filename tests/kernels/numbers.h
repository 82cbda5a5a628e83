// SPDX-License-Identifier: Apache-2.0
#pragma once
// Random tensors that depend on their seed alone, closeness by named tolerances, and central
// differences.

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

namespace luthier::test {

inline at::Tensor normal(at::IntArrayRef shape, std::uint64_t seed,
                         at::ScalarType dtype = at::kDouble, double deviation = 1) {
    return at::empty(shape, at::kDouble)
        .normal_(0, deviation, at::detail::createCPUGenerator(seed))
        .to(dtype);
}

/// One float32 result is a few dozen roundings of 6e-8 away from the exact one; sums over a row add
/// their own.
constexpr double kFloatTolerance = 1e-5;
/// A result computed in float32 and rounded to bfloat16 once: half a unit in the last of 8 bits.
constexpr double kBfloat16Tolerance = 1.0 / 256;

/// Largest |actual - exact| / (tolerance * (|exact| + scale)), where `scale` is the size of the
/// terms that were summed up; at most 1 when close. NaN where the exact value is none counts as
/// infinitely far.
inline double distance(const at::Tensor& actual, const at::Tensor& exact, at::ScalarType dtype,
                       double scale = 1e-2) {
    REQUIRE(actual.sizes() == exact.sizes());
    REQUIRE((actual.scalar_type() == dtype));
    if (actual.numel() == 0) return 0;
    const double tolerance = dtype == at::kBFloat16 ? kBfloat16Tolerance : kFloatTolerance;
    const at::Tensor e = exact.to(at::kDouble);
    const at::Tensor relative =
        (actual.to(at::kDouble) - e).abs() / ((e.abs() + scale) * tolerance);
    const double worst = relative.max().item<double>();
    return std::isnan(worst) ? INFINITY : worst;
}

/// The gradients that backward() leaves in `inputs` (float64 leaves) against central differences of
/// `f`, at up to `places` elements of each.
inline double gradientError(const std::function<at::Tensor()>& f,
                            const std::vector<at::Tensor>& inputs, std::int64_t places = 25) {
    for (const at::Tensor& input : inputs) input.mutable_grad() = at::Tensor();
    f().backward();
    const at::NoGradGuard guard;
    constexpr double kStep = 1e-5;  // truncation ~1e-10, rounding ~1e-11 for values of order 1
    double worst = 0;
    for (const at::Tensor& input : inputs) {
        REQUIRE(input.grad().defined());
        at::Tensor flat = input.detach().view(-1);  // shares memory
        const at::Tensor gradient = input.grad().reshape(-1);
        const std::int64_t stride = std::max<std::int64_t>(1, flat.numel() / places);
        for (std::int64_t i = 0; i < flat.numel(); i += stride) {
            const double value = flat[i].item<double>();
            flat[i].fill_(value + kStep);
            const double above = f().item<double>();
            flat[i].fill_(value - kStep);
            const double below = f().item<double>();
            flat[i].fill_(value);
            const double slope = (above - below) / (2 * kStep);
            worst = std::max(worst, std::abs(slope - gradient[i].item<double>()) /
                                        std::max(1.0, std::abs(slope)));
        }
    }
    return worst;
}

}  // namespace luthier::test
