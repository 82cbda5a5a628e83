// SPDX-License-Identifier: Apache-2.0
#include "train/adamw.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

using namespace luthier;

namespace {

TrainedParameter parameter(const std::string& name, const std::vector<float>& values) {
    return {name, at::tensor(values).set_requires_grad(true), "part"};
}

void giveGradient(const TrainedParameter& parameter, const std::vector<float>& values) {
    parameter.tensor.mutable_grad() = at::tensor(values);
}

/// The update by its formula (Loshchilov & Hutter 2019, algorithm 2), in double.
struct Formula {
    double p, m = 0, v = 0;
    int t = 0;
    void step(double g, double rate, const OptimizerSettings& s) {
        ++t;
        p -= rate * s.weightDecay * p;
        m = s.beta1 * m + (1 - s.beta1) * g;
        v = s.beta2 * v + (1 - s.beta2) * g * g;
        const double mHat = m / (1 - std::pow(s.beta1, t));
        const double vHat = v / (1 - std::pow(s.beta2, t));
        p -= rate * mHat / (std::sqrt(vHat) + s.epsilon);
    }
};

// The fused update rounds each of its dozen operations to float32 once; the values are of order 1.
constexpr double kRounding = 2e-6;

}  // namespace

TEST_CASE("updatesFollowTheFormula") {
    const OptimizerSettings settings{0.8, 0.95, 1e-6, 0.1};
    const std::vector<float> start{1.0f, -2.0f, 0.5f};
    const TrainedParameter weight = parameter("weight", start);
    AdamW optimizer({weight}, settings);
    std::vector<Formula> expected(start.begin(), start.end());
    const std::vector<std::vector<float>> gradients{
        {0.1f, -3.0f, 0.0f}, {0.2f, 1.0f, 1e-4f}, {-0.5f, 0.0f, 1e-4f}};
    const std::vector<double> rates{0.0, 0.05, 0.02};
    for (std::size_t k = 0; k < gradients.size(); ++k) {
        giveGradient(weight, gradients[k]);
        optimizer.step(rates[k]);
        optimizer.clearGradients();
        for (std::size_t i = 0; i < start.size(); ++i) {
            expected[i].step(static_cast<double>(gradients[k][i]), rates[k], settings);
            CHECK(std::abs(weight.tensor[static_cast<std::int64_t>(i)].item<double>() -
                           expected[i].p) < kRounding);
        }
    }
    CHECK(std::abs(optimizer.state()[0].tensor[1].item<double>() - expected[1].m) < kRounding);
    CHECK(std::abs(optimizer.state()[1].tensor[1].item<double>() - expected[1].v) < kRounding);
    CHECK(optimizer.state()[2].tensor.item<double>() == 3.0);
}

TEST_CASE("theFirstStepHasTheSizeOfTheRateWhateverTheGradient") {
    const TrainedParameter weight = parameter("weight", {0.0f, 0.0f});
    AdamW optimizer({weight}, {});
    giveGradient(weight, {1e-3f, -1e3f});
    optimizer.step(0.25);
    CHECK(weight.tensor[0].item<double>() == doctest::Approx(-0.25).epsilon(1e-4));
    CHECK(weight.tensor[1].item<double>() == doctest::Approx(0.25).epsilon(1e-4));
}

TEST_CASE("aParameterWithoutGradientKeepsItsValueAndItsStepCount") {
    const TrainedParameter used = parameter("used", {1.0f});
    const TrainedParameter idle = parameter("idle", {1.0f});
    AdamW optimizer({used, idle}, {0.9, 0.999, 1e-8, 0.5});
    giveGradient(used, {1.0f});
    optimizer.step(0.1);
    CHECK(idle.tensor.item<double>() == 1.0);
    CHECK(optimizer.state()[5].name == "optimizer.idle.step");
    CHECK(optimizer.state()[5].tensor.item<double>() == 0.0);
    CHECK(used.tensor.item<double>() < 0.9);
}

TEST_CASE("clippingScalesAllGradientsToTheTotalNormAndReportsTheNormBefore") {
    const TrainedParameter a = parameter("a", {0.0f, 0.0f});
    const TrainedParameter b = parameter("b", {0.0f});
    AdamW optimizer({a, b}, {});
    giveGradient(a, {3.0f, 0.0f});
    giveGradient(b, {4.0f});
    CHECK(optimizer.clipGradients(1.0) == doctest::Approx(5.0).epsilon(1e-6));
    CHECK(a.tensor.grad()[0].item<double>() == doctest::Approx(0.6).epsilon(1e-5));
    CHECK(b.tensor.grad()[0].item<double>() == doctest::Approx(0.8).epsilon(1e-5));
}

TEST_CASE("clippingLeavesGradientsBelowTheLimitAndZeroMeansNoLimit") {
    const TrainedParameter a = parameter("a", {0.0f});
    AdamW optimizer({a}, {});
    giveGradient(a, {2.0f});
    CHECK(optimizer.clipGradients(3.0) == doctest::Approx(2.0));
    CHECK(a.tensor.grad().item<double>() == 2.0);
    giveGradient(a, {200.0f});
    CHECK(optimizer.clipGradients(0) == doctest::Approx(200.0));
    CHECK(a.tensor.grad().item<double>() == 200.0);
}
