// SPDX-License-Identifier: Apache-2.0
#include "train/devices.h"

#include <doctest/doctest.h>

#include <fstream>
#include <sys/stat.h>
#include <unistd.h>

using namespace luthier;
namespace fs = std::filesystem;

namespace {

/// Files as a kernel and a driver would show them; gone with this value.
class Machine {
public:
    Machine() {
        std::string name = (fs::temp_directory_path() / "luthier-devices-XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        m_root = name;
        write("proc/cpuinfo",
              "processor\t: 0\nmodel name\t: Test CPU 9000\nflags\t\t: fpu sse2 avx2 fma avx512f "
              "amx_bf16 amx_tile\n\nprocessor\t: 1\nmodel name\t: Test CPU 9000\nflags\t\t: fpu "
              "avx2\n");
        write("proc/meminfo", "MemTotal:       2048 kB\nMemFree: 1 kB\n");
    }
    ~Machine() {
        std::error_code code;
        fs::remove_all(m_root, code);
    }
    void write(const std::string& name, const std::string& text) {
        fs::create_directories((m_root / name).parent_path());
        std::ofstream(m_root / name) << text;
    }
    void writeProgram(const std::string& name, const std::string& text) {
        write(name, "#!/bin/sh\n" + text);
        ::chmod((m_root / name).c_str(), 0700);
    }
    void addCard(const std::string& place, const std::string& kind, const std::string& vendor) {
        write("sys/bus/pci/devices/" + place + "/class", kind + "\n");
        write("sys/bus/pci/devices/" + place + "/vendor", vendor + "\n");
        write("sys/bus/pci/devices/" + place + "/device", "0x2684\n");
    }
    HardwareSources sources() const {
        return {m_root / "proc", m_root / "sys", (m_root / "nvidia-smi").string()};
    }

private:
    fs::path m_root;
};

}  // namespace

TEST_CASE("a processor is told with its cores, memory and instruction sets") {
    const Machine machine;
    const DeviceInfo cpu = describeCpu(machine.sources());
    CHECK(cpu.id == "cpu");
    CHECK(cpu.name == "Test CPU 9000");
    CHECK(cpu.cores == 2);
    CHECK(cpu.totalBytes == 2048 * 1024);
    CHECK(cpu.features == std::vector<std::string>{"AVX2", "FMA", "AVX-512", "AMX-BF16"});
    CHECK(cpu.isUsable);
    CHECK(findGpus(machine.sources()).empty());
}

TEST_CASE("cards that nvidia-smi lists have memory, driver and compute capability") {
    Machine machine;
    machine.write("proc/driver/nvidia/version",
                  "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27 2025\n");
    machine.writeProgram("nvidia-smi",
                         "echo '0, NVIDIA H200, 143771, 580.65.06, 9.0'\necho '1, NVIDIA GeForce "
                         "RTX 4090, [N/A], 580.65.06, 8.9'\necho 'garbage'\n");
    machine.addCard("0000:01:00.0", "0x030200", "0x10de");
    const std::vector<DeviceInfo> gpus = findGpus(machine.sources());
    REQUIRE(gpus.size() == 2);
    CHECK(gpus[0].id == "cuda:0");
    CHECK(gpus[0].name == "NVIDIA H200");
    CHECK(gpus[0].totalBytes == std::int64_t{143771} << 20);
    CHECK(gpus[0].driver == "580.65.06");
    CHECK(gpus[0].capability == "9.0");
    CHECK(gpus[1].totalBytes == 0);
#ifndef LUTHIER_CUDA
    CHECK_FALSE(gpus[0].isUsable);
    CHECK(gpus[0].why.find("CPU only") != std::string::npos);
    CHECK(gpus[0].remedy.find("--cuda") != std::string::npos);
#endif
}

TEST_CASE("without nvidia-smi the driver's own list is taken") {
    Machine machine;
    machine.write(
        "proc/driver/nvidia/version",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release Build\n");
    machine.write("proc/driver/nvidia/gpus/0000:01:00.0/information",
                  "Model: \t\t NVIDIA L4\nIRQ:   \t\t 34\n");
    const std::vector<DeviceInfo> gpus = findGpus(machine.sources());
    REQUIRE(gpus.size() == 1);
    CHECK(gpus[0].name == "NVIDIA L4");
    CHECK(gpus[0].driver == "550.54.15");
    CHECK(gpus[0].toJson()["total_bytes"].is_null());
}

TEST_CASE("a card without its driver says what to install, another maker's that it is not used") {
    Machine machine;
    machine.addCard("0000:01:00.0", "0x030000", "0x10de");
    machine.addCard("0000:02:00.0", "0x030000", "0x1002");
    machine.addCard("0000:03:00.0", "0x020000", "0x8086");  // a network card
    const std::vector<DeviceInfo> gpus = findGpus(machine.sources());
    REQUIRE(gpus.size() == 2);
    CHECK(gpus[0].remedy.find("nvidia-driver") != std::string::npos);
    CHECK(gpus[1].name.find("AMD") != std::string::npos);
    CHECK(gpus[1].why.find("NVIDIA") != std::string::npos);
    CHECK(gpus[1].toJson()["id"].is_null());
}
