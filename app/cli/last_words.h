// SPDX-License-Identifier: Apache-2.0
#pragma once
// What is said when no frame can return: an exception that left a thread, a library that calls
// exit() (libgomp where no thread can be started), an allocation that fails inside the Rust bridge.
// Each ends the process with the exit code of its problem and one `failed` object, as an ordinary
// failure does, instead of a signal.

#include "contract/problem.h"

#include <functional>

namespace luthier::cli {

/// Once, at the start of main().
void installLastWords();
/// Who else is to hear of the end: the event log of a run. Empty takes it back.
void alsoTell(std::function<void(const Problem&)> listener);
/// main() returns by itself from here on: exit() is no surprise.
void endsOrderly();

}  // namespace luthier::cli
