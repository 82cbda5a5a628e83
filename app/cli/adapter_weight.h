// SPDX-License-Identifier: Apache-2.0
#pragma once
// The one way in which the program gives an adapter its share: what float32 cannot compute with is
// refused in words.

#include "contract/json.h"
#include "peft/adapter.h"

#include <cmath>

namespace luthier::cli {

/// Throws Failure out_of_range.
inline void weigh(Adapter& adapter, double weight) {
    constexpr double kMost = 1e6;
    if (!(std::abs(weight) <= kMost))
        throw Failure({"out_of_range",
                       "The adapter's weight is " + dumpLine(weight) +
                           "; it must be from -1000000 to 1000000.",
                       "1 takes the adapter as it was trained.", "weight", ExitCode::BadUsage});
    adapter.setWeight(weight).orThrow();
}

}  // namespace luthier::cli
