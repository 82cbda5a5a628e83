// SPDX-License-Identifier: Apache-2.0
#include "train/schedule.h"

#include <doctest/doctest.h>

#include <cmath>

using namespace luthier;

namespace {

double scheduleFactor(const char* kind, std::int64_t step, std::int64_t warmupSteps,
                      std::int64_t totalSteps) {
    return Schedule{.kind = kind, .warmupSteps = warmupSteps, .totalSteps = totalSteps}.factor(
        step);
}

}  // namespace

TEST_CASE("constantIgnoresWarmUp") {
    for (const int step : {0, 1, 5, 99}) CHECK(scheduleFactor("constant", step, 10, 100) == 1.0);
}

TEST_CASE("warmUpRisesFromZeroInEqualParts") {
    for (const char* kind : {"linear", "cosine", "constant_with_warmup"}) {
        CHECK(scheduleFactor(kind, 0, 4, 20) == 0.0);
        CHECK(scheduleFactor(kind, 1, 4, 20) == 0.25);
        CHECK(scheduleFactor(kind, 3, 4, 20) == 0.75);
        CHECK(scheduleFactor(kind, 4, 4, 20) == 1.0);
    }
}

TEST_CASE("constantWithWarmUpStaysAtTheTop") {
    CHECK(scheduleFactor("constant_with_warmup", 19, 4, 20) == 1.0);
}

TEST_CASE("linearFallsToZeroAtTheTotal") {
    CHECK(scheduleFactor("linear", 0, 0, 10) == 1.0);
    CHECK(scheduleFactor("linear", 7, 0, 10) == doctest::Approx(0.3).epsilon(1e-15));
    CHECK(scheduleFactor("linear", 12, 4, 20) == 0.5);
    CHECK(scheduleFactor("linear", 20, 4, 20) == 0.0);
    CHECK(scheduleFactor("linear", 25, 4, 20) == 0.0);
}

TEST_CASE("cosineIsHalfAPeriodFromOneToZero") {
    CHECK(scheduleFactor("cosine", 4, 4, 20) == 1.0);
    CHECK(scheduleFactor("cosine", 8, 4, 20) ==
          doctest::Approx(0.5 + std::sqrt(2.0) / 4).epsilon(1e-14));  // (1 + cos(pi / 4)) / 2
    CHECK(scheduleFactor("cosine", 12, 4, 20) == doctest::Approx(0.5).epsilon(1e-14));
    CHECK(scheduleFactor("cosine", 16, 4, 20) ==
          doctest::Approx(0.5 - std::sqrt(2.0) / 4).epsilon(1e-14));
    CHECK(std::abs(scheduleFactor("cosine", 20, 4, 20)) < 1e-15);
}

TEST_CASE("aTotalWithinTheWarmUpDoesNotDivideByZero") {
    CHECK(scheduleFactor("linear", 2, 4, 4) == 0.5);
    CHECK(scheduleFactor("linear", 4, 4, 4) == 0.0);
    CHECK(scheduleFactor("cosine", 4, 4, 4) == 1.0);
    CHECK(scheduleFactor("linear", 0, 0, 0) == 0.0);
}
