// SPDX-License-Identifier: Apache-2.0
#include "io/file.h"

#include "contract/system_error.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <random>
#include <system_error>
#include <utility>

namespace luthier {

namespace {

// One call never moves more than this, so that progress and signals come through.
constexpr std::size_t kLargestTransfer = std::size_t{1} << 30;

std::string freeBytesAt(const std::filesystem::path& path) {
    struct statvfs state{};
    if (statvfs(folderOf(path).c_str(), &state) != 0) return "an unknown number of";
    return std::to_string(static_cast<std::uint64_t>(state.f_bavail) * state.f_frsize);
}

}  // namespace

Descriptor::Descriptor(Descriptor&& other) noexcept : m_fd(std::exchange(other.m_fd, -1)) {}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
    if (this != &other) {
        close();
        m_fd = std::exchange(other.m_fd, -1);
    }
    return *this;
}

Descriptor::~Descriptor() { close(); }

void Descriptor::close() {
    // The result is not needed: what must be on disk was fsynced before.
    if (m_fd >= 0) ::close(std::exchange(m_fd, -1));
}

Result<ReadableFile> openForReading(const std::filesystem::path& path) {
    // O_NONBLOCK, or opening a pipe that someone left in a model folder would wait for a writer for
    // ever.
    ReadableFile file{Descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)), 0};
    if (!file.descriptor.isOpen()) {
        const int error = errno;
        if (error == ENOENT || error == ENOTDIR) {
            return Problem{"file_missing", path.string() + " does not exist.", "Check the path.",
                           path.string()};
        }
        return Problem{"file_unreadable",
                       path.string() + " could not be opened: " + systemText(error) + ".",
                       remedyFor(error, "Check its permissions."), path.string()};
    }
    struct stat state{};
    if (fstat(file.descriptor.get(), &state) != 0 || !S_ISREG(state.st_mode)) {
        return Problem{"file_unreadable", path.string() + " is not a regular file.",
                       "Choose a file.", path.string()};
    }
    file.bytes = static_cast<std::uint64_t>(state.st_size);
    return file;
}

Result<std::size_t> readSome(const ReadableFile& file, void* buffer, std::size_t size,
                             const std::filesystem::path& path) {
    while (true) {
        const ssize_t got = ::read(file.descriptor.get(), buffer, std::min(size, kLargestTransfer));
        if (got >= 0) return static_cast<std::size_t>(got);
        if (errno == EINTR) continue;
        const int error = errno;
        return Problem{"file_unreadable",
                       path.string() + " could not be read: " + systemText(error) + ".",
                       remedyFor(error, "Check the disk and copy the file again."), path.string()};
    }
}

Result<std::string> readWholeFile(const std::filesystem::path& path, std::uint64_t maxBytes) {
    Result<ReadableFile> file = openForReading(path);
    if (!file) return file.problems();
    if (file->bytes > maxBytes) {
        return Problem{"file_too_large",
                       path.string() + " has " + std::to_string(file->bytes) + " bytes; at most " +
                           std::to_string(maxBytes) + " are accepted for this kind of file.",
                       "Use a file written by a known tool.", path.string()};
    }
    std::string text(static_cast<std::size_t>(file->bytes), '\0');
    std::size_t done = 0;
    while (done < text.size()) {
        const Result<std::size_t> got =
            readSome(*file, text.data() + done, text.size() - done, path);
        if (!got) return got.problems();
        if (*got == 0) break;
        done += *got;
    }
    text.resize(done);
    return text;
}

bool isDiskFull(int error) { return error == ENOSPC || error == EDQUOT || error == EFBIG; }

Problem writeProblem(int error, const std::filesystem::path& path) {
    const std::string where = path.string();
    if (isDiskFull(error)) {
        return Problem{"disk_full",
                       "There is no room left to write " + where + "; " + freeBytesAt(path) +
                           " bytes are free there.",
                       "Free some space or choose a folder on another disk.", where,
                       ExitCode::RunFailed};
    }
    if (error == EROFS || error == EACCES || error == EPERM) {
        return Problem{"folder_not_writable",
                       where + " cannot be written: " + systemText(error) + ".",
                       "Choose a folder you may write to.", where};
    }
    if (error == ENOENT || error == ENOTDIR) {
        return Problem{"folder_missing", "The folder of " + where + " does not exist.",
                       "Create it or choose another one.", where};
    }
    if (error == EEXIST) {
        return Problem{"target_exists", where + " exists already.",
                       "Choose another name, or allow it to be replaced.", where};
    }
    return Problem{"write_failed", where + " could not be written: " + systemText(error) + ".",
                   remedyFor(error, "Check the disk and try again."), where, ExitCode::RunFailed};
}

Result<void> syncDescriptor(const Descriptor& descriptor, const std::filesystem::path& path) {
    // Never retried, not even after EINTR: the error is reported once, and a second call may claim
    // success for lost pages.
    if (::fsync(descriptor.get()) != 0) return writeProblem(errno, path);
    return {};
}

Result<void> syncFolder(const std::filesystem::path& folder) {
    const Descriptor descriptor(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!descriptor.isOpen()) return writeProblem(errno, folder);
    return syncDescriptor(descriptor, folder);
}

std::filesystem::path hiddenSibling(const std::filesystem::path& target, const char* kind) {
    std::random_device random;
    char suffix[9];
    std::snprintf(suffix, sizeof suffix, "%08x", random() & 0xffffffffu);
    // Cut, since a name close to the limit of 255 bytes would leave no room for what is added.
    const std::string name = target.filename().string().substr(0, 200);
    return folderOf(target) / ("." + name + "." + kind + "-" + suffix);
}

std::filesystem::path folderOf(const std::filesystem::path& path) {
    const std::filesystem::path parent = path.parent_path();
    return parent.empty() ? std::filesystem::path(".") : parent;
}

FileWriter::FileWriter(std::filesystem::path target, std::filesystem::path temporary,
                       Descriptor descriptor)
    : m_target(std::move(target)),
      m_temporary(std::move(temporary)),
      m_descriptor(std::move(descriptor)) {}

FileWriter::FileWriter(FileWriter&& other) noexcept
    : m_target(std::move(other.m_target)),
      m_temporary(std::exchange(other.m_temporary, {})),
      m_descriptor(std::move(other.m_descriptor)) {}

FileWriter::~FileWriter() {
    if (!m_temporary.empty()) ::unlink(m_temporary.c_str());
}

Result<FileWriter> FileWriter::create(const std::filesystem::path& target) {
    std::filesystem::path temporary = hiddenSibling(target, "tmp");
    Descriptor descriptor(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    if (!descriptor.isOpen()) return writeProblem(errno, target);
    return FileWriter(target, std::move(temporary), std::move(descriptor));
}

Result<void> FileWriter::write(const void* data, std::size_t size) {
    const char* next = static_cast<const char*>(data);
    while (size > 0) {
        const ssize_t written = ::write(m_descriptor.get(), next, std::min(size, kLargestTransfer));
        if (written < 0) {
            if (errno == EINTR) continue;
            return writeProblem(errno, m_target);
        }
        next += written;
        size -= static_cast<std::size_t>(written);
    }
    return {};
}

Result<void> FileWriter::publish() {
    if (Result<void> synced = syncDescriptor(m_descriptor, m_target); !synced) return synced;
    m_descriptor.close();
    if (::rename(m_temporary.c_str(), m_target.c_str()) != 0) return writeProblem(errno, m_target);
    m_temporary.clear();
    return syncFolder(folderOf(m_target));
}

}  // namespace luthier
