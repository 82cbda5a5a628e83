// SPDX-License-Identifier: Apache-2.0
#pragma once
// Training in a process of its own (`train --events -`): its peak memory is its own, and what ends
// it ends nothing else.

#include "contract/run_snapshot.h"

#include <filesystem>
#include <functional>

namespace luthier::cli {

struct WorkerOutcome {
    RunSnapshot run;         ///< `failure` set when it failed, or ended without a word
    bool isStopped = false;  ///< it checkpointed and stopped, by the user or because `goOn` said no
};

/// Trains `config`, whose paths are absolute, and returns when the worker has ended. `goOn` sees
/// the run after each event; false stops it. Should this process die, the worker checkpoints and
/// stops.
WorkerOutcome trainInProcess(const Json& config, const std::filesystem::path& workspace,
                             const std::function<bool(const RunSnapshot&)>& goOn);

/// What a step costs: taken from a few steps in a workspace that is deleted again.
struct Pace {
    double stepSeconds = 0;  ///< median, the first two steps left out
    std::int64_t peakBytes = 0;
};

/// Problems: the run's own; cancelled.
Result<Pace> measurePace(const Json& config, const std::function<bool(const RunSnapshot&)>& goOn);

}  // namespace luthier::cli
