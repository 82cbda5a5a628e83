// SPDX-License-Identifier: Apache-2.0
#pragma once
// What there is to compute on: the processor, and each GPU whether this build can use it or not,
// with what to do where it cannot. The hardware is told by the system's own files and by
// nvidia-smi, so that a build without CUDA sees the card that it leaves idle.

#include "contract/json.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace luthier {

struct DeviceInfo {
    std::string id;  ///< as `device` in RUN.json: "cpu", "cuda:0"; empty for what cannot be chosen
    std::string kind;  ///< cpu, cuda, gpu (of another maker)
    std::string name;
    std::int64_t totalBytes = 0;        ///< 0: not known
    int cores = 0;                      ///< of a CPU
    std::vector<std::string> features;  ///< instruction sets that products gain from
    std::string driver;                 ///< "550.54.15"
    std::string capability;             ///< CUDA compute capability, "9.0"
    bool isUsable = false;
    std::string why;     ///< it is not usable
    std::string remedy;  ///< what to type then

    Json toJson() const;
};

/// Where the system tells of its hardware.
struct HardwareSources {
    std::filesystem::path proc = "/proc";
    std::filesystem::path sys = "/sys";
    std::string smi = "nvidia-smi";  ///< program
};

DeviceInfo describeCpu(const HardwareSources& sources = {});
/// GPUs as the system knows them; isUsable is false and says why for a build without CUDA.
std::vector<DeviceInfo> findGpus(const HardwareSources& sources = {});
enum class DeviceTrial { None, Product };

/// The CPU, then all GPUs. In a build with CUDA those that the runtime shows are usable; after a
/// trial those that multiplied two small matrices right, for which each gets a context of its own.
std::vector<DeviceInfo> listDevices(DeviceTrial trial);

}  // namespace luthier
