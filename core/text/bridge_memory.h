// SPDX-License-Identifier: Apache-2.0
#pragma once
// The crates behind the bridge abort the process where an allocation fails. Their allocator
// (bridge/src/memory.rs) asks here first.

#include <cstddef>

namespace luthier {

/// Called with the bytes that could not be had, on the thread that wanted them; must not return.
/// Without one the process ends with exit code 4.
void setBridgeOutOfMemory(void (*handler)(std::size_t bytes));

}  // namespace luthier
