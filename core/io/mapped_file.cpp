// SPDX-License-Identifier: Apache-2.0
#include "io/mapped_file.h"

#include "io/file.h"

#include <cerrno>
#include <cstring>
#include <sys/mman.h>

namespace luthier {

Problem notMapped(const std::filesystem::path& path, int reason) {
    if (reason == ENOMEM)
        return {"out_of_memory", "There is not enough address space to map " + path.string() + ".",
                "Raise the limit (ulimit -v), or choose a smaller model.", path.string(),
                ExitCode::OutOfMemory};
    return {"file_unreadable",
            path.string() + " could not be mapped into memory: " + std::strerror(reason) + ".",
            "Copy the file to a local disk.", path.string()};
}

Result<std::shared_ptr<const MappedFile>> MappedFile::open(const std::filesystem::path& path) {
    Result<ReadableFile> file = openForReading(path);
    if (!file) return file.problems();
    std::shared_ptr<MappedFile> opened(new MappedFile);
    if (file->bytes == 0) return std::shared_ptr<const MappedFile>(std::move(opened));
    const auto size = static_cast<std::size_t>(file->bytes);
    void* mapping = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file->descriptor.get(), 0);
    if (mapping == MAP_FAILED) return notMapped(path, errno);
    opened->m_bytes = {static_cast<const std::byte*>(mapping), size};
    return std::shared_ptr<const MappedFile>(std::move(opened));
}

MappedFile::~MappedFile() {
    if (!m_bytes.empty()) ::munmap(const_cast<std::byte*>(m_bytes.data()), m_bytes.size());
}

}  // namespace luthier
