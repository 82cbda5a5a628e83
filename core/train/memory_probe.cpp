// SPDX-License-Identifier: Apache-2.0
#include "train/memory_probe.h"

#include <fstream>
#include <string>
#include <sys/resource.h>
#include <unistd.h>

namespace luthier {

MemoryReading readMemory() {
    MemoryReading reading;
    std::ifstream statm("/proc/self/statm");
    std::int64_t size = 0;
    std::int64_t resident = 0;
    if (statm >> size >> resident) reading.hostBytes = resident * ::sysconf(_SC_PAGESIZE);
    return reading;
}

std::int64_t peakHostBytes() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
}

std::int64_t totalHostBytes() { return static_cast<std::int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE); }

std::int64_t availableHostBytes() {
    std::ifstream meminfo("/proc/meminfo");
    std::string key;
    std::int64_t kilobytes = 0;
    std::string unit;
    while (meminfo >> key >> kilobytes >> unit)
        if (key == "MemAvailable:") return kilobytes * 1024;
    return totalHostBytes();
}

}  // namespace luthier
