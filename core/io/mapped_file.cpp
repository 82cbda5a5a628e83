// SPDX-License-Identifier: Apache-2.0
#include "io/mapped_file.h"

#include "io/file.h"

#include <cerrno>
#include <cstring>
#include <sys/mman.h>

namespace luthier {

Result<std::shared_ptr<const MappedFile>> MappedFile::open(const std::filesystem::path& path) {
    Result<ReadableFile> file = openForReading(path);
    if (!file) return file.problems();
    std::shared_ptr<MappedFile> opened(new MappedFile);
    if (file->bytes == 0) return std::shared_ptr<const MappedFile>(std::move(opened));
    const auto size = static_cast<std::size_t>(file->bytes);
    void* mapping = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file->descriptor.get(), 0);
    if (mapping == MAP_FAILED) return Problem{"file_unreadable", path.string() + " could not be mapped into memory: " + std::strerror(errno) + ".", "Copy the file to a local disk.", path.string()};
    opened->m_bytes = {static_cast<const std::byte*>(mapping), size};
    return std::shared_ptr<const MappedFile>(std::move(opened));
}

MappedFile::~MappedFile() {
    if (!m_bytes.empty()) ::munmap(const_cast<std::byte*>(m_bytes.data()), m_bytes.size());
}

}  // namespace luthier
