// SPDX-License-Identifier: Apache-2.0
#pragma once
// What an exception means to a person: one table for the commands, the worker and the session.

#include "contract/problem.h"

#include <exception>

namespace luthier::cli {

/// A Failure's own problem; out_of_memory (exit 4) for every allocation, thread or mapping that was
/// refused, whichever library met it; else internal.
Problem explain(std::exception_ptr error);

}  // namespace luthier::cli
