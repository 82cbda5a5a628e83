// SPDX-License-Identifier: Apache-2.0
#include "train/devices.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <c10/util/Exception.h>

#ifdef LUTHIER_CUDA
#include <c10/cuda/CUDAFunctions.h>
#include <cuda_runtime_api.h>
#endif

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <memory>
#include <sstream>
#include <utility>

namespace luthier {

namespace fs = std::filesystem;

namespace {

/// Flags of /proc/cpuinfo whose instructions ATen's and our own products use.
constexpr std::pair<const char*, const char*> kFeatures[] = {{"avx2", "AVX2"},
                                                             {"fma", "FMA"},
                                                             {"avx512f", "AVX-512"},
                                                             {"avx512_vnni", "AVX512-VNNI"},
                                                             {"avx512_bf16", "AVX512-BF16"},
                                                             {"avx512_fp16", "AVX512-FP16"},
                                                             {"amx_bf16", "AMX-BF16"},
                                                             {"amx_int8", "AMX-INT8"}};
constexpr const char* kNvidia = "0x10de";

std::string trimmed(const std::string& text) {
    const std::size_t begin = text.find_first_not_of(" \t\r\n");
    return begin == std::string::npos
               ? ""
               : text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

std::string firstLine(const fs::path& file) {
    std::ifstream stream(file);
    std::string line;
    std::getline(stream, line);
    return trimmed(line);
}

/// "key : value" of a file in /proc.
std::string valueIn(const fs::path& file, const std::string& key) {
    std::ifstream stream(file);
    for (std::string line; std::getline(stream, line);)
        if (const std::size_t colon = line.find(':');
            colon != std::string::npos && trimmed(line.substr(0, colon)) == key)
            return trimmed(line.substr(colon + 1));
    return "";
}

/// The version in "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  …"; empty without a
/// driver.
std::string driverVersion(const HardwareSources& sources) {
    std::istringstream words(firstLine(sources.proc / "driver/nvidia/version"));
    for (std::string word; words >> word;)
        if (word.find('.') != std::string::npos &&
            word.find_first_not_of("0123456789.") == std::string::npos)
            return word;
    return "";
}

void refuseHere([[maybe_unused]] DeviceInfo& device) {
#ifndef LUTHIER_CUDA
    device.why = "This build of Luthier computes on the CPU only.";
    device.remedy = "packaging/run --cuda builds the CUDA variant (about 2 GB to download).";
#endif
}

/// What nvidia-smi lists: index, name, memory in MiB, driver, compute capability, with ", "
/// between.
std::vector<DeviceInfo> listedBySmi(const std::string& program) {
    std::vector<DeviceInfo> devices;
    const std::string command = program +
                                " --query-gpu=index,name,memory.total,driver_version,compute_cap "
                                "--format=csv,noheader,nounits 2>/dev/null";
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(::popen(command.c_str(), "r"),
                                                               &::pclose);
    if (!pipe) return devices;
    std::array<char, 512> line{};
    while (std::fgets(line.data(), line.size(), pipe.get()) != nullptr) {
        std::vector<std::string> cells;
        std::istringstream row(line.data());
        for (std::string cell; std::getline(row, cell, ',');) cells.push_back(trimmed(cell));
        if (cells.size() < 5 || cells[0].empty() ||
            cells[0].find_first_not_of("0123456789") != std::string::npos)
            continue;
        DeviceInfo device{.id = "cuda:" + cells[0],
                          .kind = "cuda",
                          .name = cells[1],
                          .driver = cells[3],
                          .capability = cells[4]};
        if (!cells[2].empty() && cells[2].size() < 10 &&
            cells[2].find_first_not_of("0123456789") == std::string::npos)
            device.totalBytes = std::stoll(cells[2]) << 20;
        refuseHere(device);
        devices.push_back(std::move(device));
    }
    return devices;
}

/// What the driver lists in /proc, where nvidia-smi is missing.
std::vector<DeviceInfo> listedByDriver(const HardwareSources& sources, const std::string& driver) {
    std::vector<DeviceInfo> devices;
    std::vector<fs::path> folders;
    std::error_code code;
    for (const auto& entry : fs::directory_iterator(sources.proc / "driver/nvidia/gpus", code))
        folders.push_back(entry.path());
    std::sort(folders.begin(), folders.end());
    for (const fs::path& folder : folders) {
        const std::string model = valueIn(folder / "information", "Model");
        DeviceInfo device{.id = "cuda:" + std::to_string(devices.size()),
                          .kind = "cuda",
                          .name = model.empty() ? "NVIDIA GPU" : model,
                          .driver = driver};
        refuseHere(device);
        devices.push_back(std::move(device));
    }
    return devices;
}

/// Display controllers on the bus that no driver of NVIDIA's has told of.
std::vector<DeviceInfo> listedOnBus(const HardwareSources& sources, bool isNvidiaKnown) {
    std::vector<DeviceInfo> devices;
    std::vector<fs::path> folders;
    std::error_code code;
    for (const auto& entry : fs::directory_iterator(sources.sys / "bus/pci/devices", code))
        folders.push_back(entry.path());
    std::sort(folders.begin(), folders.end());
    for (const fs::path& folder : folders) {
        const std::string kind = firstLine(folder / "class");
        const std::string vendor = firstLine(folder / "vendor");
        const bool isGpu = kind.rfind("0x0300", 0) == 0 || kind.rfind("0x0302", 0) == 0 ||
                           kind.rfind("0x0380", 0) == 0;
        const bool isNvidia = vendor == kNvidia;
        const char* maker = isNvidia             ? "NVIDIA"
                            : vendor == "0x1002" ? "AMD"
                            : vendor == "0x8086" ? "Intel"
                                                 : nullptr;
        if (!isGpu || maker == nullptr || (isNvidia && isNvidiaKnown)) continue;
        DeviceInfo device{.kind = "gpu",
                          .name = std::string(maker) + " GPU " + firstLine(folder / "device") +
                                  " at " + folder.filename().string()};
        device.why = isNvidia ? "NVIDIA's driver is not loaded."
                              : "Luthier computes on CPUs and on NVIDIA's GPUs.";
        if (isNvidia)
            device.remedy =
                "Install the driver (Debian: apt-get install nvidia-driver, from non-free), "
                "restart, then packaging/run --cuda.";
        devices.push_back(std::move(device));
    }
    return devices;
}

#ifdef LUTHIER_CUDA
/// Multiplies on the device; what went wrong, or nothing.
std::string tryProduct(int index) {
    try {
        const at::Tensor ones =
            at::full({64, 64}, 1.0,
                     at::TensorOptions().device(at::kCUDA, static_cast<at::DeviceIndex>(index)));
        const double sum = ones.matmul(ones).sum().item<double>();
        return sum == 64.0 * 64.0 * 64.0
                   ? ""
                   : "It computes wrong: the sum of a product is " + std::to_string(sum) + ".";
    } catch (const c10::Error& error) {
        const std::string text = error.what_without_backtrace();
        return "It does not compute: " + text.substr(0, text.find('\n'));
    }
}

/// Puts what the CUDA runtime sees in the place of what the system told.
void takeRuntimes(std::vector<DeviceInfo>& devices, DeviceTrial trial) {
    const int count = static_cast<int>(c10::cuda::device_count());
    for (DeviceInfo& device : devices) {
        if (device.kind != "cuda") continue;
        device.why = count == 0 ? "The CUDA runtime of this build finds no device: its driver may "
                                  "be older than CUDA 13 needs, or CUDA_VISIBLE_DEVICES hides it."
                                : "The CUDA runtime does not show it (CUDA_VISIBLE_DEVICES?).";
        device.remedy = "Check nvidia-smi; CUDA 13 needs driver 580 or newer.";
    }
    for (int i = 0; i < count; ++i) {
        cudaDeviceProp properties{};
        if (cudaGetDeviceProperties(&properties, i) != cudaSuccess) continue;
        const std::string id = "cuda:" + std::to_string(i);
        auto found = std::find_if(devices.begin(), devices.end(),
                                  [&](const DeviceInfo& device) { return device.id == id; });
        if (found == devices.end())
            found = devices.insert(devices.end(), DeviceInfo{.id = id, .kind = "cuda"});
        found->name = properties.name;
        found->totalBytes = static_cast<std::int64_t>(properties.totalGlobalMem);
        found->capability =
            std::to_string(properties.major) + "." + std::to_string(properties.minor);
        found->why = trial == DeviceTrial::Product ? tryProduct(i) : "";
        found->isUsable = found->why.empty();
        found->remedy =
            found->isUsable ? "" : "Check the driver with nvidia-smi, or set device to \"cpu\".";
    }
}
#endif

}  // namespace

Json DeviceInfo::toJson() const {
    Json json{{"id", id.empty() ? Json() : Json(id)},
              {"kind", kind},
              {"name", name},
              {"total_bytes", totalBytes > 0 ? Json(totalBytes) : Json()},
              {"usable", isUsable}};
    if (kind == "cpu") {
        json["cores"] = cores;
        json["features"] = features;
    } else {
        json["driver"] = driver.empty() ? Json() : Json(driver);
        json["compute_capability"] = capability.empty() ? Json() : Json(capability);
    }
    if (!isUsable) {
        json["why"] = why;
        json["remedy"] = remedy;
    }
    return json;
}

DeviceInfo describeCpu(const HardwareSources& sources) {
    const fs::path info = sources.proc / "cpuinfo";
    DeviceInfo cpu{
        .id = "cpu", .kind = "cpu", .name = valueIn(info, "model name"), .isUsable = true};
    if (cpu.name.empty()) cpu.name = "CPU";
    std::ifstream file(info);
    for (std::string line; std::getline(file, line);)
        cpu.cores += line.rfind("processor", 0) == 0 ? 1 : 0;
    std::istringstream memory(valueIn(sources.proc / "meminfo", "MemTotal"));  // "24646712 kB"
    if (std::int64_t kilobytes = 0; memory >> kilobytes) cpu.totalBytes = kilobytes * 1024;
    const std::string flags = " " + valueIn(info, "flags") + " ";
    for (const auto& [flag, name] : kFeatures)
        if (flags.find(std::string(" ") + flag + " ") != std::string::npos)
            cpu.features.emplace_back(name);
    return cpu;
}

std::vector<DeviceInfo> findGpus(const HardwareSources& sources) {
    const std::string driver = driverVersion(sources);
    std::vector<DeviceInfo> devices = listedBySmi(sources.smi);
    if (devices.empty()) devices = listedByDriver(sources, driver);
    const bool isNvidiaKnown = !devices.empty();
    for (DeviceInfo& device : listedOnBus(sources, isNvidiaKnown))
        devices.push_back(std::move(device));
    return devices;
}

std::vector<DeviceInfo> listDevices([[maybe_unused]] DeviceTrial trial) {
    std::vector<DeviceInfo> devices{describeCpu()};
    for (DeviceInfo& device : findGpus()) devices.push_back(std::move(device));
#ifdef LUTHIER_CUDA
    takeRuntimes(devices, trial);
#endif
    return devices;
}

}  // namespace luthier
