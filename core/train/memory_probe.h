// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a worker uses: the resident set on a CPU (from /proc), the allocator's figures on a GPU.

#include "contract/events.h"

#include <cstdint>

namespace luthier {

MemoryReading readMemory();
/// Highest resident set of this process so far, bytes.
std::int64_t peakHostBytes();
/// All memory of this machine, bytes.
std::int64_t totalHostBytes();
/// What the kernel would give to a new process without swapping, bytes (MemAvailable);
/// totalHostBytes() where it does not say.
std::int64_t availableHostBytes();

}  // namespace luthier
