// SPDX-License-Identifier: Apache-2.0
#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace luthier {

double scheduleFactor(const std::string& kind, std::int64_t step, std::int64_t warmupSteps, std::int64_t totalSteps) {
    if (kind == "constant") return 1;
    if (step < warmupSteps) return static_cast<double>(step) / static_cast<double>(std::max<std::int64_t>(1, warmupSteps));
    if (kind == "constant_with_warmup") return 1;
    const auto span = static_cast<double>(std::max<std::int64_t>(1, totalSteps - warmupSteps));
    if (kind == "cosine") {
        const double progress = static_cast<double>(step - warmupSteps) / span;
        return std::max(0.0, 0.5 * (1.0 + std::cos(std::numbers::pi * progress)));
    }
    return std::max(0.0, static_cast<double>(totalSteps - step) / span);
}

}  // namespace luthier
