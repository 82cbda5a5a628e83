// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the io room shares about file descriptors: one translation of errno into Problems, and a
// writer whose file appears under its name only when it is whole and on disk. Not for other rooms;
// they use io/atomic.h.

#include "contract/problem.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace luthier {

/// Owns a file descriptor; -1 is none.
class Descriptor final {
public:
    explicit Descriptor(int fd = -1) : m_fd(fd) {}
    Descriptor(Descriptor&& other) noexcept;
    Descriptor& operator=(Descriptor&& other) noexcept;
    ~Descriptor();

    int get() const { return m_fd; }
    bool isOpen() const { return m_fd >= 0; }
    void close();

private:
    int m_fd;
};

/// A regular file open for reading, and its size when it was opened.
struct ReadableFile {
    Descriptor descriptor;
    std::uint64_t bytes = 0;
};

/// Problem codes: file_missing, file_unreadable (a folder, a pipe, no permission).
Result<ReadableFile> openForReading(const std::filesystem::path& path);

/// At most `size` bytes; 0 at the end of the file.
Result<std::size_t> readSome(const ReadableFile& file, void* buffer, std::size_t size,
                             const std::filesystem::path& path);

/// A whole file of at most `maxBytes`; additional problem code: file_too_large.
Result<std::string> readWholeFile(const std::filesystem::path& path, std::uint64_t maxBytes);

/// `error` is an errno met while writing below `path`: disk_full, folder_not_writable,
/// folder_missing, target_exists or write_failed.
Problem writeProblem(int error, const std::filesystem::path& path);

/// Whether a write was refused for want of room: the disk, a quota, or the largest file that is
/// allowed.
bool isDiskFull(int error);

Result<void> syncDescriptor(const Descriptor& descriptor, const std::filesystem::path& path);
Result<void> syncFolder(const std::filesystem::path& folder);

/// ".NAME.<kind>-xxxxxxxx" beside `target`: hidden, unused as far as chance goes, and recognisable
/// as ours.
std::filesystem::path hiddenSibling(const std::filesystem::path& target, const char* kind);

/// "." for a bare file name, so that the folder can be opened.
std::filesystem::path folderOf(const std::filesystem::path& path);

/// Writes a hidden sibling of `target`; publish() makes it durable and renames it. Unpublished, it
/// is removed.
class FileWriter final {
public:
    static Result<FileWriter> create(const std::filesystem::path& target);
    FileWriter(FileWriter&& other) noexcept;
    FileWriter& operator=(FileWriter&&) = delete;
    ~FileWriter();

    const Descriptor& descriptor() const { return m_descriptor; }
    Result<void> write(const void* data, std::size_t size);
    /// fsync, rename over the target, fsync the folder.
    Result<void> publish();

private:
    FileWriter(std::filesystem::path target, std::filesystem::path temporary,
               Descriptor descriptor);

    std::filesystem::path m_target;
    std::filesystem::path m_temporary;  // empty once published or moved from
    Descriptor m_descriptor;
};

}  // namespace luthier
