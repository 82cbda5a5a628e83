// SPDX-License-Identifier: Apache-2.0
#pragma once
// One run from its configuration to its result: opens the model, makes the rows, attaches the
// method, trains, and leaves the run folder whole. Everything a reader may
// want to know goes out as events.

#include "contract/problem.h"
#include "contract/run_config.h"
#include "contract/run_store.h"
#include "io/command_server.h"
#include "io/event_log.h"

#include <set>
#include <string>

namespace luthier {

enum class RunStart { New, Resume };

struct RunRequest {
    RunConfig config;
    RunFolder folder;
    RunStart start = RunStart::New;
    bool acceptsChangedInputs =
        false;  ///< a resumed run goes on though model or data are not what they were
    std::set<std::string> changed = {};  ///< dotted keys that a resumed run sets anew
    EventLog& events;
    CommandQueue& commands;
};

/// Done or Stopped. Throws Failure for everything that ends the run early; the caller writes the
/// `failed` event.
ExitCode trainRun(const RunRequest& request);

}  // namespace luthier
