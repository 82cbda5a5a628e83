// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the tests of the io room share: a folder that goes away, and files put together byte by
// byte, so that wrong ones can be made too.

#include "io/safetensors.h"

#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

namespace luthier::test {

namespace fs = std::filesystem;

class TemporaryFolder final {
public:
    TemporaryFolder() {
        std::string pattern = (fs::temp_directory_path() / "luthier-io-XXXXXX").string();
        if (::mkdtemp(pattern.data()) == nullptr) std::abort();
        m_path = pattern;
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    ~TemporaryFolder() {
        std::error_code ignored;
        fs::remove_all(m_path, ignored);
    }
    const fs::path& path() const { return m_path; }
    fs::path operator/(const char* name) const { return m_path / name; }

private:
    fs::path m_path;
};

inline void writeBytes(const fs::path& file, const std::string& bytes) {
    std::ofstream(file, std::ios::binary | std::ios::trunc)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

inline std::string readBytes(const fs::path& file) {
    std::ifstream stream(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

inline std::set<std::string> namesIn(const fs::path& folder) {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder))
        names.insert(entry.path().filename().string());
    return names;
}

/// Length, header and data as they lie in a file; nothing is checked.
inline std::string rawSafetensors(const std::string& header, const std::string& data = {}) {
    const std::uint64_t length = header.size();
    std::string bytes(sizeof length, '\0');
    std::memcpy(bytes.data(), &length, sizeof length);
    return bytes + header + data;
}

/// A file of float32 vectors of length 1 with these names.
inline std::string smallSafetensors(const std::vector<std::string>& names) {
    std::string header = "{";
    std::string data;
    for (const std::string& name : names) {
        const std::string begin = std::to_string(data.size());
        data += "abcd";
        header += (header.size() > 1 ? ",\"" : "\"") + name +
                  R"(":{"dtype":"F32","shape":[1],"data_offsets":[)" + begin + "," +
                  std::to_string(data.size()) + "]}";
    }
    return rawSafetensors(header + "}", data);
}

}  // namespace luthier::test
