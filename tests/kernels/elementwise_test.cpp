// SPDX-License-Identifier: Apache-2.0
// Every fast kernel against its plain reference in float64, on odd shapes, in float32 and bfloat16;
// and the references' gradients against central differences of their own forward pass.
#include "kernels/elementwise.h"
#include "numbers.h"

#include <ATen/Parallel.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isnan.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <limits>
#include <string>
#include <utility>

using namespace luthier;
using namespace luthier::kernels;
using luthier::test::distance;
using luthier::test::normal;

namespace {

// Rows and columns below, at and above the widths of a vector (8, 16, 32) and of a parallel block
// (16 rows).
const std::vector<std::pair<std::int64_t, std::int64_t>> kShapes{
    {0, 8}, {1, 1}, {1, 15}, {3, 7}, {17, 33}, {40, 64}, {70, 129}};
const at::ScalarType kDtypes[] = {at::kFloat, at::kBFloat16};
const GateActivation kActivations[] = {GateActivation::Silu, GateActivation::GeluTanh,
                                       GateActivation::Gelu, GateActivation::Relu};

at::Tensor wide(const at::Tensor& x) { return x.to(at::kDouble); }

template <class Body>
void forEachCase(Body body) {
    for (const at::ScalarType dtype : kDtypes)
        for (const auto& [N, C] : kShapes) {
            CAPTURE(at::toString(dtype));
            CAPTURE(N);
            CAPTURE(C);
            body(dtype, N, C);
        }
}

/// cos and sin of N rows, [N, half] f32.
std::pair<at::Tensor, at::Tensor> angles(std::int64_t N, std::int64_t half) {
    const at::Tensor angle = normal({N, half}, 9, at::kFloat, 2.0);
    return {angle.cos(), angle.sin()};
}

}  // namespace

TEST_CASE("addRmsNormEqualsItsReference") {
    forEachCase([](at::ScalarType dtype, std::int64_t N, std::int64_t C) {
        for (const double offset : {0.0, 1.0}) {
            const at::Tensor x = normal({N, C}, 1, dtype);
            const at::Tensor delta = normal({N, C}, 2, dtype);
            const at::Tensor weight = normal({C}, 3, at::kFloat);
            const auto [sum, y, rstd] = addRmsNorm(x, delta, weight, 1e-6, offset);
            CHECK(at::equal(sum, x + delta));  // one addition: no tolerance
            const auto [exactSum, exactY, exactRstd] =
                reference::addRmsNorm(wide(sum), {}, wide(weight), 1e-6, offset);
            CHECK(distance(y, exactY, dtype) <= 1);
            CHECK(distance(rstd, exactRstd, at::kFloat) <= 1);
        }
    });
}

TEST_CASE("addRmsNormWithoutADeltaReturnsItsInputAsTheSum") {
    forEachCase([](at::ScalarType dtype, std::int64_t N, std::int64_t C) {
        const at::Tensor x = normal({N, C}, 1, dtype);
        const at::Tensor weight = normal({C}, 3, at::kFloat);
        const auto [sum, y, rstd] = addRmsNorm(x, {}, weight, 1e-5, 0);
        CHECK(sum.is_same(x));
        CHECK(distance(y, std::get<1>(reference::addRmsNorm(wide(x), {}, wide(weight), 1e-5, 0)),
                       dtype) <= 1);
    });
}

TEST_CASE("rmsNormBackwardEqualsItsReference") {
    forEachCase([](at::ScalarType dtype, std::int64_t N, std::int64_t C) {
        for (const bool hasSum : {false, true}) {
            const at::Tensor sum = normal({N, C}, 1, dtype);
            const at::Tensor dY = normal({N, C}, 2, dtype);
            const at::Tensor dSum = hasSum ? normal({N, C}, 4, dtype) : at::Tensor();
            const at::Tensor weight = normal({C}, 3, at::kFloat);
            const at::Tensor rstd =
                std::get<2>(reference::addRmsNorm(wide(sum), {}, wide(weight), 1e-6, 1));
            const at::Tensor dX = rmsNormBackward(dY, dSum, sum, weight, rstd.to(at::kFloat), 1);
            const at::Tensor exact = reference::rmsNormBackward(
                wide(dY), hasSum ? wide(dSum) : at::Tensor(), wide(sum), wide(weight), rstd, 1);
            // Terms of the size of rstd * dY cancel, nearly all of them where a row has one
            // element.
            const double scale = N == 0 ? 1 : rstd.max().item<double>() * 4 + 1;
            CHECK(distance(dX, exact, dtype, scale) <= 1);
        }
    });
}

TEST_CASE("gatedActivationEqualsItsReference") {
    forEachCase([](at::ScalarType dtype, std::int64_t N, std::int64_t C) {
        for (const GateActivation activation : kActivations) {
            CAPTURE(static_cast<int>(activation));
            // GELU is g/2 + g/2 erf(..): for g < 0 terms of the size of g, here up to 10, cancel.
            const bool cancels =
                activation == GateActivation::Gelu || activation == GateActivation::GeluTanh;
            const double scale = cancels ? 1 : 1e-2;
            const at::Tensor gate = normal({N, C}, 1, dtype, 3);
            const at::Tensor up = normal({N, C}, 2, dtype);
            const at::Tensor dY = normal({N, C}, 3, dtype);
            CHECK(distance(gatedActivation(gate, up, activation),
                           reference::gatedActivation(wide(gate), wide(up), activation), dtype,
                           scale) <= 1);
            const auto [dGate, dUp] = gatedActivationBackward(dY, gate, up, activation);
            const auto [exactGate, exactUp] =
                reference::gatedActivationBackward(wide(dY), wide(gate), wide(up), activation);
            CHECK(distance(dGate, exactGate, dtype, 1) <= 1);
            CHECK(distance(dUp, exactUp, dtype, scale) <= 1);
        }
    });
}

TEST_CASE("activationsHoldAtTheEndsOfTheNumberLine") {
    for (const at::ScalarType dtype : kDtypes)
        for (const GateActivation activation : kActivations) {
            CAPTURE(static_cast<int>(activation));
            const at::Tensor gate = at::tensor({-3e38, -1e4, -200.0, -88.5, -87.0, -20.0, -1e-30,
                                                -0.0, 0.0, 1e-30, 20.0, 87.0, 88.5, 200.0, 1e4},
                                               at::kDouble)
                                        .to(dtype)
                                        .view({1, -1});
            const at::Tensor one = at::ones_like(gate);
            // Beyond the range where e^x is finite the sigmoid is 1.6e-38 instead of 0: invisible
            // beside anything but |gate| > 1e30.
            const at::Tensor y = gatedActivation(gate, one, activation);
            const at::Tensor exact = reference::gatedActivation(wide(gate), wide(one), activation);
            CHECK(distance(y.narrow(1, 1, 14), exact.narrow(1, 1, 14), dtype) <= 1);
            CHECK(std::abs(y[0][0].item<double>()) < 10);
            const auto [dGate, dUp] = gatedActivationBackward(one, gate, one, activation);
            const auto [exactGate, exactUp] =
                reference::gatedActivationBackward(wide(one), wide(gate), wide(one), activation);
            CHECK(distance(dGate.narrow(1, 1, 14), exactGate.narrow(1, 1, 14), dtype, 1) <= 1);
            CHECK(distance(dUp.narrow(1, 1, 14), exactUp.narrow(1, 1, 14), dtype) <= 1);
        }
}

TEST_CASE("aNanIsNeverSwallowed") {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    for (const at::ScalarType dtype : kDtypes) {
        const at::Tensor bad = at::full({2, 19}, nan, at::TensorOptions(dtype));
        const at::Tensor one = at::ones({2, 19}, at::TensorOptions(dtype));
        const at::Tensor weight = at::ones({19}, at::kFloat);
        for (const GateActivation activation : {GateActivation::Silu, GateActivation::GeluTanh}) {
            CHECK(at::isnan(gatedActivation(bad, one, activation)).all().item<bool>());
            CHECK(at::isnan(gatedActivation(one, bad, activation)).all().item<bool>());
            CHECK(at::isnan(std::get<0>(gatedActivationBackward(one, bad, one, activation)))
                      .all()
                      .item<bool>());
            CHECK(at::isnan(std::get<1>(gatedActivationBackward(one, bad, one, activation)))
                      .all()
                      .item<bool>());
        }
        CHECK(at::isnan(std::get<1>(addRmsNorm(one, bad, weight, 1e-6, 0))).all().item<bool>());
    }
    at::Tensor logits = normal({3, 21}, 1, at::kFloat);
    logits[1][20] = nan;
    CHECK(std::isnan(crossEntropyInPlace(logits, at::zeros({3}, at::kLong), 1)));
    CHECK(at::isnan(logits[1]).all().item<bool>());
    CHECK(!at::isnan(logits[0]).any().item<bool>());
}

TEST_CASE("ropeEqualsItsReferenceAndTurnsBack") {
    for (const at::ScalarType dtype : kDtypes)
        for (const std::int64_t N : {0, 1, 19, 50})
            for (const auto& [headSize, half] : {std::pair<std::int64_t, std::int64_t>{2, 1},
                                                 {6, 3},
                                                 {16, 8},
                                                 {64, 32},
                                                 {20, 5}}) {
                CAPTURE(headSize);
                CAPTURE(half);
                const at::Tensor x = normal({N, 3 * headSize}, 1, dtype);
                const auto [cos, sin] = angles(N, half);
                for (const RopePairs pairs : {RopePairs::Halves, RopePairs::Neighbours}) {
                    for (const RopeDirection direction :
                         {RopeDirection::Forward, RopeDirection::Backward})
                        CHECK(distance(rope(x, cos, sin, headSize, direction, pairs),
                                       reference::rope(wide(x), wide(cos), wide(sin), headSize,
                                                       direction, pairs),
                                       dtype, 1) <= 1);
                    const at::Tensor there =
                        rope(x.to(at::kFloat), cos, sin, headSize, RopeDirection::Forward, pairs);
                    CHECK(distance(rope(there, cos, sin, headSize, RopeDirection::Backward, pairs),
                                   wide(x), at::kFloat, 1) <= 1);
                }
            }
}

TEST_CASE("crossEntropyEqualsItsReference") {
    forEachCase([](at::ScalarType dtype, std::int64_t N, std::int64_t V) {
        for (const double size : {1.0, 30.0, 1e4}) {
            at::Tensor logits = normal({N, V}, 1, dtype, size);
            const at::Tensor labels =
                at::randint(V, {N}, at::detail::createCPUGenerator(4), at::kLong);
            at::Tensor exact = wide(logits);
            const double exactLoss = reference::crossEntropyInPlace(exact, labels, 0.25);
            const double loss = crossEntropyInPlace(logits, labels, 0.25);
            CHECK(std::abs(loss - exactLoss) <=
                  1e-6 * (std::abs(exactLoss) + static_cast<double>(N)));
            CHECK(distance(logits, exact, dtype, 0.25) <= 1);
        }
    });
}

TEST_CASE("stridedAndMixedInputsGiveWhatContiguousOnesGive") {
    for (const at::ScalarType dtype : kDtypes) {
        const at::Tensor both = normal(
            {24, 34}, 1, dtype);  // two halves side by side, as a fused projection leaves them
        const at::Tensor left = both.narrow(1, 0, 17);
        const at::Tensor right = both.narrow(1, 17, 17);
        const at::Tensor weight = normal({17}, 3, at::kFloat);
        CHECK(distance(gatedActivation(left, right, GateActivation::Silu),
                       wide(gatedActivation(left.contiguous(), right.contiguous(),
                                            GateActivation::Silu)),
                       dtype) <= 1);
        CHECK(distance(std::get<1>(addRmsNorm(left, right, weight, 1e-6, 0)),
                       wide(std::get<1>(
                           addRmsNorm(left.contiguous(), right.contiguous(), weight, 1e-6, 0))),
                       dtype) <= 2);
        const auto [cos, sin] = angles(24, 8);
        CHECK(distance(rope(both.narrow(1, 1, 32), cos, sin, 16, RopeDirection::Forward),
                       wide(rope(both.narrow(1, 1, 32).contiguous(), cos, sin, 16,
                                 RopeDirection::Forward)),
                       dtype, 1) <= 1);
    }
    // A float32 gradient beside bfloat16 activations: both are read as what they are.
    const at::Tensor sum = normal({5, 17}, 1, at::kBFloat16);
    const at::Tensor dY = normal({5, 17}, 2, at::kBFloat16);
    const at::Tensor dSum = normal({5, 17}, 4, at::kFloat);
    const at::Tensor weight = normal({17}, 3, at::kFloat);
    const at::Tensor rstd = std::get<2>(addRmsNorm(sum, {}, weight, 1e-6, 0));
    CHECK(distance(rmsNormBackward(dY, dSum, sum, weight, rstd, 0),
                   reference::rmsNormBackward(wide(dY), wide(dSum), wide(sum), wide(weight),
                                              wide(rstd), 0),
                   at::kBFloat16, 1) <= 1);
}

TEST_CASE("resultsDoNotDependOnTheNumberOfThreads") {
    const int threads = at::get_num_threads();
    const auto all = [] {
        const at::Tensor x = normal({300, 200}, 1, at::kFloat);
        const at::Tensor weight = normal({200}, 3, at::kFloat);
        const auto [sum, y, rstd] = addRmsNorm(x, x, weight, 1e-6, 0);
        const auto [dGate, dUp] = gatedActivationBackward(y, x, y, GateActivation::Silu);
        at::Tensor logits = x.clone();
        const double loss = crossEntropyInPlace(logits, at::zeros({300}, at::kLong), 1);
        return std::vector<at::Tensor>{y,      rmsNormBackward(y, sum, sum, weight, rstd, 0),
                                       dGate,  dUp,
                                       logits, at::full({}, loss, at::kDouble)};
    };
    at::set_num_threads(1);
    const auto one = all();
    at::set_num_threads(3);
    const auto three = all();
    at::set_num_threads(threads);
    for (std::size_t i = 0; i < one.size(); ++i) CHECK(at::equal(one[i], three[i]));
}

namespace {

/// Largest difference between `gradient` and the central differences of sum(f() * seed) in `input`,
/// all float64.
double slopeError(const std::function<at::Tensor()>& f, const at::Tensor& input,
                  const at::Tensor& gradient, const at::Tensor& seed) {
    constexpr double kStep = 1e-5;
    at::Tensor flat = input.view(-1);
    double worst = 0;
    for (std::int64_t i = 0; i < flat.numel(); ++i) {
        const double value = flat[i].item<double>();
        flat[i].fill_(value + kStep);
        const double above = (f() * seed).sum().item<double>();
        flat[i].fill_(value - kStep);
        const double below = (f() * seed).sum().item<double>();
        flat[i].fill_(value);
        worst = std::max(worst, std::abs((above - below) / (2 * kStep) -
                                         gradient.reshape(-1)[i].item<double>()));
    }
    return worst;
}

constexpr double kSlopeTolerance = 1e-8;  // step^2 * third derivative ~ 1e-10; rounding 1e-16 /
                                          // step ~ 1e-11, times a few dozen terms

}  // namespace

TEST_CASE("theReferencesGradientsAreTheSlopesOfTheirForwardPass") {
    const at::Tensor x = normal({3, 6}, 1);
    const at::Tensor other = normal({3, 6}, 2);
    const at::Tensor dY = normal({3, 6}, 3);
    const at::Tensor weight = normal({6}, 4);
    SUBCASE("rmsNorm") {
        const auto forward = [&] {
            return std::get<1>(reference::addRmsNorm(x, {}, weight, 1e-3, 1));
        };
        const at::Tensor rstd = std::get<2>(reference::addRmsNorm(x, {}, weight, 1e-3, 1));
        CHECK(slopeError(forward, x, reference::rmsNormBackward(dY, {}, x, weight, rstd, 1), dY) <
              kSlopeTolerance);
        const at::Tensor both = reference::rmsNormBackward(dY, other, x, weight, rstd, 1);
        CHECK((both - reference::rmsNormBackward(dY, {}, x, weight, rstd, 1) - other)
                  .abs()
                  .max()
                  .item<double>() < 1e-14);
    }
    SUBCASE("gatedActivation") {
        for (const GateActivation activation : kActivations) {
            CAPTURE(static_cast<int>(activation));
            const auto forward = [&] { return reference::gatedActivation(x, other, activation); };
            const auto [dGate, dUp] = reference::gatedActivationBackward(dY, x, other, activation);
            CHECK(slopeError(forward, x, dGate, dY) < kSlopeTolerance);
            CHECK(slopeError(forward, other, dUp, dY) < kSlopeTolerance);
        }
    }
    SUBCASE("rope") {
        const at::Tensor angle = normal({3, 2}, 5);
        const at::Tensor cos = angle.cos();
        const at::Tensor sin = angle.sin();
        const auto forward = [&] {
            return reference::rope(x, cos, sin, 6, RopeDirection::Forward);
        };
        CHECK(slopeError(forward, x, reference::rope(dY, cos, sin, 6, RopeDirection::Backward),
                         dY) < kSlopeTolerance);
    }
    SUBCASE("crossEntropy") {
        const at::Tensor labels = at::tensor({2, 0, 5}, at::kLong);
        const auto loss = [&] {
            at::Tensor logits = x.clone();
            return at::full({}, reference::crossEntropyInPlace(logits, labels, 1), at::kDouble);
        };
        at::Tensor gradient = x.clone();
        reference::crossEntropyInPlace(gradient, labels, 1);
        CHECK(slopeError(loss, x, gradient, at::ones({}, at::kDouble)) < kSlopeTolerance);
        at::Tensor scaled = x.clone();
        reference::crossEntropyInPlace(scaled, labels, 0.5);
        CHECK((scaled * 2 - gradient).abs().max().item<double>() < 1e-15);
    }
}
