// SPDX-License-Identifier: Apache-2.0
#pragma once
// Learning-rate schedules as transformers' optimization.py defines them. The
// factor of step k is applied to the (k + 1)-th update, so the first update of a warmed-up run has
// rate 0.

#include "contract/run_config.h"

#include <cstdint>
#include <string>

namespace luthier {

/// `kind` and its numbers, named as transformers' lr_scheduler_kwargs.
struct Schedule {
    std::string kind = "linear";
    std::int64_t warmupSteps = 0;
    std::int64_t totalSteps = 0;
    double baseRate = 1;   ///< lr_end and min_lr are rates, factors are shares of this one
    double numCycles = 0;  ///< 0: half a wave for cosines, one for cosine_with_restarts
    double power = 1;
    double endRate = 1e-7;        ///< lr_end, polynomial
    double timescale = 0;         ///< 0: the warm-up, or 10 000 without one
    double minFactor = 0;         ///< min_lr_rate, min_lr_ratio
    std::int64_t decaySteps = 0;  ///< num_decay_steps, warmup_stable_decay
    std::string warmupType = "linear";
    std::string decayType = "cosine";

    /// @param step updates done before.  @returns factor of the base rate
    double factor(std::int64_t step) const;
};

/// `train.lr_scheduler_type` and what belongs to it; decay steps default to a tenth of
/// `totalSteps`.
Schedule scheduleOf(const RunConfig& config, std::int64_t totalSteps);

}  // namespace luthier
