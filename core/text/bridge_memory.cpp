// SPDX-License-Identifier: Apache-2.0
#include "text/bridge_memory.h"

#include <atomic>
#include <unistd.h>

namespace luthier {

namespace {

std::atomic<void (*)(std::size_t)> outOfMemory{nullptr};

}  // namespace

void setBridgeOutOfMemory(void (*handler)(std::size_t bytes)) { outOfMemory = handler; }

extern "C" void luthier_bridge_out_of_memory(std::size_t bytes) {
    if (auto* const handler = outOfMemory.load()) handler(bytes);
    ::_exit(4);
}

}  // namespace luthier
