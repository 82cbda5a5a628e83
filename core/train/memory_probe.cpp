// SPDX-License-Identifier: Apache-2.0
#include "train/memory_probe.h"

#ifdef LUTHIER_CUDA
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <cuda_runtime_api.h>
#endif

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
#ifdef LUTHIER_CUDA
    if (c10::cuda::device_count() > 0 && c10::cuda::CUDACachingAllocator::get()->initialized()) {
        const auto device = c10::cuda::current_device();
        const auto stats = c10::CachingDeviceAllocator::DeviceStats(
            c10::cuda::CUDACachingAllocator::getDeviceStats(device));
        const auto& reserved = stats.reserved_bytes[static_cast<std::size_t>(
            c10::CachingAllocator::StatType::AGGREGATE)];
        reading.deviceBytes = reserved.current;
        reading.devicePeakBytes = reserved.peak;
        std::size_t free = 0;
        std::size_t total = 0;
        if (cudaMemGetInfo(&free, &total) == cudaSuccess)
            reading.deviceTotalBytes = static_cast<std::int64_t>(total);
    }
#endif
    return reading;
}

std::int64_t peakHostBytes() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
}

std::int64_t totalHostBytes() {
    return static_cast<std::int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE);
}

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
