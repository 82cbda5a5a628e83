// SPDX-License-Identifier: Apache-2.0
#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace luthier {

namespace {

using std::numbers::pi;

double share(std::int64_t part, std::int64_t whole) {
    return static_cast<double>(part) / static_cast<double>(std::max<std::int64_t>(1, whole));
}

double lifted(double factor, double floor) { return std::max(0.0, factor * (1.0 - floor) + floor); }

double cosine(double cycles, double progress) {
    return 0.5 * (1.0 + std::cos(pi * cycles * 2.0 * progress));
}

/// Rise, plateau, fall; k = step.
double warmupStableDecay(const Schedule& s, std::int64_t k) {
    const std::int64_t stableEnd = s.totalSteps - s.decaySteps;
    if (k < s.warmupSteps) {
        const double progress = share(k, s.warmupSteps);
        const double rise = s.warmupType == "cosine"   ? 0.5 * (1.0 - std::cos(pi * progress))
                            : s.warmupType == "1-sqrt" ? 1.0 - std::sqrt(1.0 - progress)
                                                       : progress;
        return lifted(rise, s.minFactor);
    }
    if (k < stableEnd) return 1;
    const std::int64_t begin = std::max(stableEnd, s.warmupSteps);
    if (k >= begin + s.decaySteps) return s.minFactor;
    const double progress = share(k - begin, s.decaySteps);
    const double fall = s.decayType == "linear" ? 1.0 - progress
                        : s.decayType == "1-sqrt"
                            ? 1.0 - std::sqrt(progress)
                            : cosine(s.numCycles > 0 ? s.numCycles : 0.5, progress);
    return lifted(fall, s.minFactor);
}

}  // namespace

double Schedule::factor(std::int64_t step) const {
    if (kind == "constant") return 1;
    if (kind == "warmup_stable_decay") return warmupStableDecay(*this, step);
    if (step < warmupSteps) return share(step, warmupSteps);
    if (kind == "constant_with_warmup") return 1;
    if (kind == "inverse_sqrt") {
        const double scale = timescale > 0     ? timescale
                             : warmupSteps > 0 ? static_cast<double>(warmupSteps)
                                               : 10'000.0;
        return 1.0 / std::sqrt((static_cast<double>(step - warmupSteps) + scale) / scale);
    }
    const double progress = share(step - warmupSteps, totalSteps - warmupSteps);
    if (kind == "cosine") return std::max(0.0, cosine(numCycles > 0 ? numCycles : 0.5, progress));
    if (kind == "cosine_with_min_lr")
        return lifted(cosine(numCycles > 0 ? numCycles : 0.5, progress), minFactor);
    if (kind == "cosine_with_restarts") {
        if (progress >= 1.0) return 0;
        const double wave = std::fmod((numCycles > 0 ? numCycles : 1.0) * progress, 1.0);
        return std::max(0.0, 0.5 * (1.0 + std::cos(pi * wave)));
    }
    if (kind == "polynomial") {
        if (step > totalSteps) return endRate / baseRate;
        return ((baseRate - endRate) * std::pow(1.0 - progress, power) + endRate) / baseRate;
    }
    return std::max(0.0, share(totalSteps - step, totalSteps - warmupSteps));
}

Schedule scheduleOf(const RunConfig& config, std::int64_t totalSteps) {
    Schedule schedule;
    schedule.kind = config.get<std::string>("train.lr_scheduler_type");
    schedule.warmupSteps = config.get<std::int64_t>("train.warmup_steps");
    schedule.totalSteps = totalSteps;
    schedule.baseRate = config.get<double>("train.learning_rate");
    const std::string kwargs = "train.lr_scheduler_kwargs.";
    schedule.numCycles = config.optional<double>(kwargs + "num_cycles").value_or(0);
    schedule.power = config.get<double>(kwargs + "power");
    schedule.endRate = config.get<double>(kwargs + "lr_end");
    schedule.timescale = config.optional<double>(kwargs + "timescale").value_or(0);
    const auto lowest = config.optional<double>(kwargs + "min_lr");
    schedule.minFactor = lowest && schedule.baseRate > 0
                             ? *lowest / schedule.baseRate
                             : config.get<double>(kwargs + "min_lr_rate");
    schedule.decaySteps =
        config.optional<std::int64_t>(kwargs + "num_decay_steps").value_or(totalSteps / 10);
    schedule.warmupType = config.get<std::string>(kwargs + "warmup_type");
    schedule.decayType = config.get<std::string>(kwargs + "decay_type");
    return schedule;
}

}  // namespace luthier
