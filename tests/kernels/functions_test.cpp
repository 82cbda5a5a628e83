// SPDX-License-Identifier: Apache-2.0
// The model's autograd nodes: gradients against central differences in float64, and float32 and
// bfloat16 results against the formula.
#include "model/functions.h"
#include "numbers.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/nll_loss.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/tanh.h>

using namespace luthier;
using namespace luthier::nn;
using luthier::test::distance;
using luthier::test::gradientError;
using luthier::test::normal;

namespace {

at::Tensor leaf(at::IntArrayRef shape, std::uint64_t seed) {
    return normal(shape, seed).set_requires_grad(true);
}

// Weights' gradients leave a node as float32: 6e-8 of a sum of up to 20 terms of order 1.
constexpr double kSlopeTolerance = 2e-6;

struct Rotation {
    at::Tensor cos, sin;
};
Rotation rotation(std::int64_t N, std::int64_t half) {
    const at::Tensor angle = normal({N, half}, 77, at::kFloat, 2);
    return {angle.cos(), angle.sin()};
}

/// Attention by its formula, one segment and head at a time, float64.
at::Tensor plainAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const Rotation& turn, const at::Tensor& prefixKey,
                          const at::Tensor& prefixValue, const AttentionShape& shape) {
    const auto rotated = [&](const at::Tensor& x) {
        if (!turn.cos.defined()) return x;
        return kernels::reference::rope(x, turn.cos.to(at::kDouble), turn.sin.to(at::kDouble),
                                        shape.headSize, kernels::RopeDirection::Forward);
    };
    const at::Tensor Q = rotated(q);
    const at::Tensor K = rotated(k);
    std::vector<at::Tensor> segments;
    std::int64_t first = 0;
    for (const std::int64_t length : shape.segments) {
        std::vector<at::Tensor> heads;
        for (std::int64_t h = 0; h < shape.heads; ++h) {
            const std::int64_t g = h / (shape.heads / shape.keyValueHeads);
            const auto part = [&](const at::Tensor& x, std::int64_t head) {
                return x.narrow(0, first, length).narrow(1, head * shape.headSize, shape.headSize);
            };
            at::Tensor keys = part(K, g);
            at::Tensor values = part(v, g);
            std::int64_t n = 0;
            if (prefixKey.defined()) {
                n = prefixKey.size(1);
                keys = at::cat({prefixKey[g], keys}, 0);
                values = at::cat({prefixValue[g], values}, 0);
            }
            at::Tensor scores = at::mm(part(Q, h), keys.t()) * shape.scale;
            const at::Tensor hidden =
                at::arange(n + length).unsqueeze(0) > (at::arange(length).unsqueeze(1) + n);
            scores = scores.masked_fill(hidden, -INFINITY);
            heads.push_back(at::mm(at::softmax(scores, -1), values));
        }
        segments.push_back(at::cat(heads, 1));
        first += length;
    }
    return at::cat(segments, 0);
}

}  // namespace

TEST_CASE("linearsGradientsAreItsSlopes") {
    const at::Tensor x = leaf({5, 4}, 1);
    const at::Tensor bias = leaf({3}, 2);
    const at::Tensor dY = normal({5, 3}, 3);
    const at::Tensor outIn = leaf({3, 4}, 4);
    CHECK(gradientError([&] { return (linear(x, outIn, bias, WeightLayout::OutIn) * dY).sum(); },
                        {x, outIn, bias}) < kSlopeTolerance);
    const at::Tensor inOut = leaf({4, 3}, 4);
    CHECK(gradientError([&] { return (linear(x, inOut, bias, WeightLayout::InOut) * dY).sum(); },
                        {x, inOut, bias}) < kSlopeTolerance);
}

TEST_CASE("aFrozenLinearPassesTheGradientOnAndTakesNone") {
    const at::Tensor x = leaf({5, 4}, 1);
    const at::Tensor weight = normal({3, 4}, 4);
    linear(x, weight, {}, WeightLayout::OutIn).sum().backward();
    CHECK(distance(x.grad(), weight.sum(0).expand({5, 4}), at::kDouble) <= 1);
    CHECK(!weight.grad().defined());
}

TEST_CASE("loraLinearsGradientsAreItsSlopes") {
    const at::Tensor x = leaf({6, 5}, 1);
    const at::Tensor A = leaf({2, 5}, 2);
    const at::Tensor B = leaf({4, 2}, 3);
    const at::Tensor bias = normal({4}, 7);
    const at::Tensor dY = normal({6, 4}, 5);
    for (const WeightLayout layout : {WeightLayout::OutIn, WeightLayout::InOut}) {
        const at::Tensor weight =
            layout == WeightLayout::OutIn ? normal({4, 5}, 4) : normal({5, 4}, 4);
        CHECK(gradientError(
                  [&] { return (loraLinear(x, weight, bias, layout, A, B, 1.7) * dY).sum(); },
                  {x, A, B}) < kSlopeTolerance);
    }
}

TEST_CASE("loraLinearIsTheFormulaInEveryDtype") {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16})
        for (const std::int64_t N : {1, 7, 130}) {
            CAPTURE(at::toString(dtype));
            CAPTURE(N);
            const at::Tensor x = normal({N, 48}, 1, dtype);
            const at::Tensor weight = normal({33, 48}, 2, dtype, 0.15);
            const at::Tensor A = normal({8, 48}, 3, at::kFloat, 0.15);
            const at::Tensor B = normal({33, 8}, 4, at::kFloat, 0.15);
            const at::Tensor exact =
                at::mm(x.to(at::kDouble), weight.to(at::kDouble).t()) +
                2 * at::mm(at::mm(x.to(at::kDouble), A.to(at::kDouble).t()), B.to(at::kDouble).t());
            // In bfloat16 the factors, x A^T and the base product may each be rounded before the
            // sum.
            CHECK(distance(loraLinear(x, weight, {}, WeightLayout::OutIn, A, B, 2), exact, dtype,
                           dtype == at::kBFloat16 ? 4 : 1) <= 1);
        }
}

TEST_CASE("normsGradientsAreTheirSlopes") {
    const at::Tensor x = leaf({4, 6}, 1);
    const at::Tensor delta = leaf({4, 6}, 2);
    const at::Tensor weight = leaf({6}, 3);
    const at::Tensor bias = leaf({6}, 4);
    const at::Tensor dSum = normal({4, 6}, 5);
    const at::Tensor dY = normal({4, 6}, 6);
    const auto both = [&](const std::pair<at::Tensor, at::Tensor>& result) {
        return (result.first * dSum).sum() + (result.second * dY).sum();
    };
    CHECK(gradientError([&] { return both(nn::addRmsNorm(x, delta, weight, 1e-3, 1)); },
                        {x, delta, weight}) < kSlopeTolerance);
    CHECK(gradientError([&] { return both(nn::addRmsNorm(x, {}, weight, 1e-3, 0)); }, {x, weight}) <
          kSlopeTolerance);
    CHECK(gradientError([&] { return both(addLayerNorm(x, delta, weight, bias, 1e-3)); },
                        {x, delta, weight, bias}) < kSlopeTolerance);
    CHECK(gradientError(
              [&] { return (nn::addRmsNorm(x, delta, weight, 1e-3, 0).first * dSum).sum(); },
              {x, delta}) < kSlopeTolerance);
}

TEST_CASE("gatedActivationsGradientsAreItsSlopes") {
    const at::Tensor gate = leaf({3, 5}, 1);
    const at::Tensor up = leaf({3, 5}, 2);
    const at::Tensor dY = normal({3, 5}, 3);
    for (const auto activation : {kernels::GateActivation::Silu, kernels::GateActivation::GeluTanh,
                                  kernels::GateActivation::Gelu})
        CHECK(gradientError([&] { return (nn::gatedActivation(gate, up, activation) * dY).sum(); },
                            {gate, up}) < kSlopeTolerance);
}

TEST_CASE("attentionIsTheFormulaWithGroupsSegmentsRotationAndPrefix") {
    for (const std::int64_t keyValueHeads : {4, 2, 1})
        for (const bool hasPrefix : {false, true})
            for (const bool isRotated : {false, true})
                for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
                    CAPTURE(keyValueHeads);
                    CAPTURE(hasPrefix);
                    CAPTURE(isRotated);
                    CAPTURE(at::toString(dtype));
                    const AttentionShape shape{4, keyValueHeads, 8, 0.4, {5, 5, 1, 9}};
                    const at::Tensor q = normal({20, 32}, 1, dtype);
                    const at::Tensor k = normal({20, keyValueHeads * 8}, 2, dtype);
                    const at::Tensor v = normal({20, keyValueHeads * 8}, 3, dtype);
                    const Rotation turn = isRotated ? rotation(20, 4) : Rotation{};
                    const at::Tensor prefixKey =
                        hasPrefix ? normal({keyValueHeads, 3, 8}, 4, dtype) : at::Tensor();
                    const at::Tensor prefixValue =
                        hasPrefix ? normal({keyValueHeads, 3, 8}, 5, dtype) : at::Tensor();
                    const auto wide = [](const at::Tensor& x) {
                        return x.defined() ? x.to(at::kDouble) : x;
                    };
                    const at::Tensor exact = plainAttention(
                        wide(q), wide(k), wide(v), turn, wide(prefixKey), wide(prefixValue), shape);
                    // bfloat16 also rounds the rotated q and k and the weights: a few units of the
                    // values' size, which is 1.
                    CHECK(distance(causalAttention(q, k, v, turn.cos, turn.sin, prefixKey,
                                                   prefixValue, shape),
                                   exact, dtype, dtype == at::kBFloat16 ? 6 : 1) <= 1);
                }
}

TEST_CASE("attentionsGradientsAreItsSlopes") {
    const AttentionShape shape{4, 2, 4, 0.5, {3, 3, 5}};
    const at::Tensor q = leaf({11, 16}, 1);
    const at::Tensor k = leaf({11, 8}, 2);
    const at::Tensor v = leaf({11, 8}, 3);
    const at::Tensor dY = normal({11, 16}, 4);
    const Rotation turn = rotation(11, 2);
    CHECK(gradientError(
              [&] {
                  return (causalAttention(q, k, v, turn.cos, turn.sin, {}, {}, shape) * dY).sum();
              },
              {q, k, v}) < kSlopeTolerance);
    const at::Tensor prefixKey = leaf({2, 2, 4}, 5);
    const at::Tensor prefixValue = leaf({2, 2, 4}, 6);
    CHECK(gradientError(
              [&] {
                  return (causalAttention(q, k, v, turn.cos, turn.sin, prefixKey, prefixValue,
                                          shape) *
                          dY)
                      .sum();
              },
              {q, k, v, prefixKey, prefixValue}) < kSlopeTolerance);
}

TEST_CASE("portableAttentionEqualsTheCpuKernels") {
    for (const std::int64_t window : {0, 4})
        for (const bool hasBias : {false, true})
            for (const bool hasPrefix : {false, true})
                for (const auto pairs :
                     {kernels::RopePairs::Halves, kernels::RopePairs::Neighbours}) {
                    CAPTURE(window);
                    CAPTURE(hasBias);
                    CAPTURE(hasPrefix);
                    AttentionShape shape{4, 2, 4, 0.5, {3, 3, 7}};
                    shape.window = window;
                    shape.ropePairs = pairs;
                    if (hasBias) shape.keyBias = normal({4, 9}, 9, at::kFloat);
                    const Rotation turn = rotation(13, 2);
                    const at::Tensor dY = normal({13, 16}, 4);
                    const auto gradients = [&](auto attention) {
                        std::vector<at::Tensor> inputs{leaf({13, 16}, 1), leaf({13, 8}, 2),
                                                       leaf({13, 8}, 3)};
                        if (hasPrefix)
                            inputs.insert(inputs.end(), {leaf({2, 2, 4}, 5), leaf({2, 2, 4}, 6)});
                        const at::Tensor y =
                            attention(inputs[0], inputs[1], inputs[2], turn.cos, turn.sin,
                                      hasPrefix ? inputs[3] : at::Tensor(),
                                      hasPrefix ? inputs[4] : at::Tensor(), shape);
                        (y * dY).sum().backward();
                        std::vector<at::Tensor> results{y.detach()};
                        for (const at::Tensor& input : inputs) results.push_back(input.grad());
                        return results;
                    };
                    const std::vector<at::Tensor> ours = gradients(causalAttention);
                    const std::vector<at::Tensor> portable = gradients(portableAttention);
                    for (std::size_t i = 0; i < ours.size(); ++i)
                        CHECK((ours[i] - portable[i]).abs().max().item<double>() < 1e-6);
                }
}

TEST_CASE("cappedAttentionIsPlainUnderAHighCapAndHasItsSlopesUnderALowOne") {
    AttentionShape shape{4, 2, 4, 0.5, {3, 5}};
    shape.window = 3;
    const at::Tensor q = leaf({8, 16}, 1);
    const at::Tensor k = leaf({8, 8}, 2);
    const at::Tensor v = leaf({8, 8}, 3);
    const at::Tensor prefixKey = leaf({2, 2, 4}, 5);
    const at::Tensor prefixValue = leaf({2, 2, 4}, 6);
    const Rotation turn = rotation(8, 2);
    const at::Tensor plain =
        causalAttention(q, k, v, turn.cos, turn.sin, prefixKey, prefixValue, shape);
    shape.softCap = 1e4;
    CHECK((causalAttention(q, k, v, turn.cos, turn.sin, prefixKey, prefixValue, shape) - plain)
              .abs()
              .max()
              .item<double>() < 1e-5);
    shape.softCap = 0.7;
    CHECK((causalAttention(q, k, v, turn.cos, turn.sin, prefixKey, prefixValue, shape) - plain)
              .abs()
              .max()
              .item<double>() > 1e-2);
    const at::Tensor dY = normal({8, 16}, 4, at::kFloat);
    // It computes in float32, so differences are taken in steps that float32 resolves.
    const auto value = [&](const at::Tensor& x) {
        return (causalAttention(x, k, v, turn.cos, turn.sin, prefixKey, prefixValue, shape)
                    .to(at::kFloat) *
                dY)
            .sum();
    };
    value(q).backward();
    const at::Tensor direction = normal({8, 16}, 7);
    const at::NoGradGuard guard;
    const double slope =
        (value(q + 1e-2 * direction) - value(q - 1e-2 * direction)).item<double>() / 2e-2;
    CHECK(std::abs(slope - (q.grad() * direction).sum().item<double>()) <
          1e-3 * std::max(1.0, std::abs(slope)));
}

TEST_CASE("headLossIsTheFormulaAcrossItsChunks") {
    for (const std::int64_t rows : {1, 255, 256, 257, 600})
        for (const double cap : {0.0, 3.0}) {
            CAPTURE(rows);
            CAPTURE(cap);
            const at::Tensor h = normal({rows, 12}, 1, at::kFloat).set_requires_grad(true);
            const at::Tensor weight = normal({21, 12}, 2, at::kFloat).set_requires_grad(true);
            const at::Tensor bias = normal({21}, 3, at::kFloat).set_requires_grad(true);
            const at::Tensor labels =
                at::randint(21, {rows}, at::detail::createCPUGenerator(4), at::kLong);
            const at::Tensor loss = headLoss(h, weight, bias, labels, 0.01, cap);
            (loss * 2).backward();

            const auto leafOf = [](const at::Tensor& x) {
                return x.detach().to(at::kDouble).set_requires_grad(true);
            };
            const at::Tensor h64 = leafOf(h);
            const at::Tensor weight64 = leafOf(weight);
            const at::Tensor bias64 = leafOf(bias);
            at::Tensor logits = at::mm(h64, weight64.t()) + bias64;
            if (cap > 0) logits = at::tanh(logits / cap) * cap;
            const at::Tensor exact =
                at::nll_loss(at::log_softmax(logits, -1), labels, {}, at::Reduction::Sum) * 0.01;
            (exact * 2).backward();
            CHECK(std::abs(loss.item<double>() - exact.item<double>()) <
                  1e-5 * exact.item<double>());
            CHECK(distance(h.grad(), h64.grad(), at::kFloat, 0.1) <= 1);
            CHECK(distance(weight.grad(), weight64.grad(), at::kFloat,
                           0.1 * std::sqrt(static_cast<double>(rows))) <= 1);
            CHECK(distance(bias.grad(), bias64.grad(), at::kFloat,
                           0.1 * std::sqrt(static_cast<double>(rows))) <= 1);
        }
}

TEST_CASE("logitsLossEqualsHeadLossOverTheSameLogits") {
    const at::Tensor h = normal({9, 6}, 1, at::kFloat);
    const at::Tensor weight = normal({7, 6}, 2, at::kFloat);
    const at::Tensor labels = at::randint(7, {9}, at::detail::createCPUGenerator(4), at::kLong);
    const double whole = logitsLoss(at::mm(h, weight.t()), labels, 0.5).item<double>();
    CHECK(std::abs(whole - headLoss(h, weight, {}, labels, 0.5, 0).item<double>()) < 1e-5);
}
