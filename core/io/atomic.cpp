// SPDX-License-Identifier: Apache-2.0
#include "io/atomic.h"

#include "io/file.h"

#include <fcntl.h>
#include <stdio.h>  // renameat2
#include <sys/stat.h>

#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

namespace luthier {

namespace fs = std::filesystem;

namespace {

/// Files first, then the folder that names them: bottom-up. Links are not followed, they are
/// durable with their folder.
Result<void> syncTree(const fs::path& folder) {
    std::error_code error;
    fs::directory_iterator entries(folder, error);
    for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
        const fs::file_status status = entries->symlink_status(error);
        if (error) break;
        Result<void> synced;
        if (fs::is_directory(status)) {
            synced = syncTree(entries->path());
        } else if (fs::is_regular_file(status)) {
            const Descriptor descriptor(::open(entries->path().c_str(), O_RDONLY | O_CLOEXEC));
            if (!descriptor.isOpen()) return writeProblem(errno, entries->path());
            synced = syncDescriptor(descriptor, entries->path());
        }
        if (!synced) return synced;
    }
    if (error) return writeProblem(error.value(), folder);
    return syncFolder(folder);
}

/// 0 or an errno.
int renameWith(const fs::path& from, const fs::path& to, unsigned flags) {
    return ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags) == 0 ? 0 : errno;
}

bool isUnsupported(int error) { return error == EINVAL || error == ENOSYS || error == ENOTSUP; }

/// Plain rename() would silently replace an empty folder.
int renameToNewName(const fs::path& from, const fs::path& to) {
    const int error = renameWith(from, to, RENAME_NOREPLACE);
    if (!isUnsupported(error)) return error;
    struct stat state{};
    if (::lstat(to.c_str(), &state) == 0) return EEXIST;
    return renameWith(from, to, 0);
}

/// Puts `fresh` in the place of `target`; afterwards `aside` names where the old folder went. 0 or
/// an errno, and then everything is where it was.
int exchange(const fs::path& fresh, const fs::path& target, fs::path& aside) {
    aside = fresh;
    int error = renameWith(fresh, target, RENAME_EXCHANGE);
    if (!isUnsupported(error)) return error;
    aside = hiddenSibling(target, "old");
    error = renameWith(target, aside, 0);
    if (error != 0) return error;
    error = renameWith(fresh, target, 0);
    if (error != 0) renameWith(aside, target, 0);
    return error;
}

}  // namespace

AtomicDir::AtomicDir(fs::path target, fs::path path)
    : m_target(std::move(target)), m_path(std::move(path)) {}

AtomicDir::AtomicDir(AtomicDir&& other) noexcept
    : m_target(std::move(other.m_target)),
      m_path(std::move(other.m_path)),
      m_isOpen(std::exchange(other.m_isOpen, false)) {}

AtomicDir& AtomicDir::operator=(AtomicDir&& other) noexcept {
    if (this != &other) {
        discard();
        m_target = std::move(other.m_target);
        m_path = std::move(other.m_path);
        m_isOpen = std::exchange(other.m_isOpen, false);
    }
    return *this;
}

AtomicDir::~AtomicDir() { discard(); }

Result<AtomicDir> AtomicDir::begin(const fs::path& target) {
    std::error_code error;
    // Absolute, so that a later change of the working folder does not matter; normal, so that
    // "out/" has a name.
    fs::path normal = fs::absolute(target, error).lexically_normal();
    if (!normal.has_filename()) normal = normal.parent_path();
    if (error || target.empty() || !normal.has_filename()) {
        return Problem{"write_failed", target.string() + " is not a name for a folder.",
                       "Choose another one.", target.string()};
    }
    if (Result<void> parents = createFoldersDurably(folderOf(normal)); !parents)
        return parents.problems();
    fs::path temporary = hiddenSibling(normal, "tmp");
    if (::mkdir(temporary.c_str(), 0777) != 0) return writeProblem(errno, normal);
    return AtomicDir(std::move(normal), std::move(temporary));
}

Result<void> AtomicDir::commit(Existing existing) {
    if (!m_isOpen)
        return Problem{"write_failed", m_target.string() + " was committed before.", "", "",
                       ExitCode::Internal};
    if (Result<void> synced = syncTree(m_path); !synced) {
        discard();
        return synced;
    }

    fs::path aside;
    int error = renameToNewName(m_path, m_target);
    if (error == EEXIST && existing == Existing::Replace) {
        // Only a folder may be replaced by a folder; a file of that name was not written by us.
        std::error_code ignored;
        if (fs::is_directory(m_target, ignored)) error = exchange(m_path, m_target, aside);
    }
    if (error != 0) {
        discard();
        return writeProblem(error, m_target);
    }
    m_isOpen = false;
    m_path = m_target;

    // If this fails nobody knows which of the two names is on disk, so both folders stay.
    if (Result<void> synced = syncFolder(folderOf(m_target)); !synced) return synced;
    std::error_code ignored;
    if (!aside.empty()) fs::remove_all(aside, ignored);
    return {};
}

void AtomicDir::discard() noexcept {
    if (!std::exchange(m_isOpen, false)) return;
    std::error_code ignored;
    fs::remove_all(m_path, ignored);
}

Result<void> writeFileAtomically(const fs::path& file, std::string_view bytes) {
    return writePartsAtomically(file, {&bytes, 1});
}

Result<void> writePartsAtomically(const fs::path& file, std::span<const std::string_view> parts) {
    Result<FileWriter> writer = FileWriter::create(file);
    if (!writer) return writer.problems();
    for (const std::string_view part : parts)
        if (Result<void> written = writer->write(part.data(), part.size()); !written)
            return written;
    return writer->publish();
}

Result<void> writeJsonAtomically(const fs::path& file, const Json& json) {
    return writeFileAtomically(file,
                               json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

Result<void> createFoldersDurably(const fs::path& folder) {
    std::error_code error;
    if (fs::is_directory(folder, error)) return {};
    if (Result<void> parents = createFoldersDurably(folderOf(folder)); !parents) return parents;
    if (::mkdir(folder.c_str(), 0777) != 0) {
        const int code = errno;
        // Someone else may have made it meanwhile.
        if (code != EEXIST || !fs::is_directory(folder, error)) return writeProblem(code, folder);
    }
    return syncFolder(folderOf(folder));
}

Result<void> publishFile(const fs::path& finished, const fs::path& file) {
    const Descriptor descriptor(::open(finished.c_str(), O_RDONLY | O_CLOEXEC));
    if (!descriptor.isOpen()) return writeProblem(errno, file);
    if (Result<void> synced = syncDescriptor(descriptor, file); !synced) return synced;
    if (const int error = renameWith(finished, file, 0); error != 0)
        return writeProblem(error, file);
    return syncFolder(folderOf(file));
}

Result<void> copyFileDurably(const fs::path& from, const fs::path& to) {
    constexpr std::size_t kPieceBytes = std::size_t{1} << 20;
    Result<ReadableFile> source = openForReading(from);
    if (!source) return source.problems();
    Result<FileWriter> writer = FileWriter::create(to);
    if (!writer) return writer.problems();

    std::vector<char> piece(kPieceBytes);
    while (true) {
        const Result<std::size_t> got = readSome(*source, piece.data(), piece.size(), from);
        if (!got) return got.problems();
        if (*got == 0) break;
        if (Result<void> written = writer->write(piece.data(), *got); !written) return written;
    }

    struct stat state{};
    if (::fstat(source->descriptor.get(), &state) == 0) {
        // Some file systems have no permissions to set; the bytes are what was asked for.
        [[maybe_unused]] const int ignored =
            ::fchmod(writer->descriptor().get(), state.st_mode & 0777);
    }
    return writer->publish();
}

}  // namespace luthier
