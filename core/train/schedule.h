// SPDX-License-Identifier: Apache-2.0
#pragma once
// Learning-rate schedules as transformers' optimization.py defines them (methods.md 19.2). The factor of step k is applied to
// the (k + 1)-th update, so the first update of a warmed-up run has rate 0.

#include <cstdint>
#include <string>

namespace luthier {

/// @param kind linear | cosine | constant | constant_with_warmup.  @param step updates done before.  @returns factor of the base rate
double scheduleFactor(const std::string& kind, std::int64_t step, std::int64_t warmupSteps, std::int64_t totalSteps);

}  // namespace luthier
