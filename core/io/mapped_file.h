// SPDX-License-Identifier: Apache-2.0
#pragma once
// A whole file mapped into memory for reading (MAP_PRIVATE, PROT_READ); any number of threads may
// read it. It may be replaced or deleted meanwhile; a process that shortens it brings SIGBUS.

#include "contract/problem.h"

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

namespace luthier {

class MappedFile final {
public:
    /// Problem codes: file_missing, file_unreadable. An empty file has no bytes.
    static Result<std::shared_ptr<const MappedFile>> open(const std::filesystem::path& path);
    ~MappedFile();
    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;

    std::span<const std::byte> bytes() const { return m_bytes; }

private:
    MappedFile() = default;
    std::span<const std::byte> m_bytes;
};

/// What a failed mmap of `path` means, by its errno. Problem codes: out_of_memory, file_unreadable.
Problem notMapped(const std::filesystem::path& path, int reason);

}  // namespace luthier
