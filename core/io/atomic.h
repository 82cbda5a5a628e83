// SPDX-License-Identifier: Apache-2.0
#pragma once
// Publishing files and folders so that a reader, or a machine that loses power, sees the old state
// or the new one and never a half. The order is always: write into a temporary sibling, fsync every
// file, fsync every folder bottom-up, rename, fsync the parent. A fsync that fails is a failure and
// is never retried: the kernel may have dropped the dirty pages, and a second fsync would then
// claim success. Qt's QSaveFile does neither, hence this file.
//
// Problem codes of everything here: disk_full (names the path and the free bytes),
// folder_not_writable, folder_missing, target_exists, write_failed, file_missing, file_unreadable.

#include "contract/json.h"
#include "contract/problem.h"

#include <filesystem>
#include <span>
#include <string_view>

namespace luthier {

enum class Existing { Refuse, Replace };

/// A folder that appears under its name complete or not at all. States:
///
///     begin() --> open --commit() ok--> published
///                  |  \--commit() failed--> removed, target as it was
///                  \--destroyed or moved over--> removed
///
/// Replacing takes two renames (old -> ".NAME.old-xxxx", new -> NAME) where the file system cannot
/// exchange names; power loss between them leaves the old folder under that hidden name and no
/// target, never a half one. Where it can (renameat2 RENAME_EXCHANGE: ext4, xfs, btrfs, tmpfs), the
/// target exists at every moment. One thread at a time.
class AtomicDir final {
public:
    /// Creates the sibling ".NAME.tmp-xxxx" of `target`; missing parents are created.
    static Result<AtomicDir> begin(const std::filesystem::path& target);

    AtomicDir(AtomicDir&& other) noexcept;
    AtomicDir& operator=(AtomicDir&& other) noexcept;
    ~AtomicDir();

    /// The temporary folder to write into; after commit() the target.
    const std::filesystem::path& path() const { return m_path; }

    /// Makes everything below durable and publishes it. To be called once. Should only the last
    /// step fail, the fsync of the parent, then the target is the new folder but a power loss may
    /// still bring the old one back, which is kept hidden.
    Result<void> commit(Existing existing);

private:
    AtomicDir(std::filesystem::path target, std::filesystem::path path);
    void discard() noexcept;

    std::filesystem::path m_target;
    std::filesystem::path m_path;
    bool m_isOpen = true;
};

/// Temporary sibling, fsync, rename, fsync folder. The folder must exist.
Result<void> writeFileAtomically(const std::filesystem::path& file, std::string_view bytes);

/// The same for bytes that lie in several places.
Result<void> writePartsAtomically(const std::filesystem::path& file,
                                  std::span<const std::string_view> parts);

/// The same with indent 2 and a final newline; invalid UTF-8 becomes U+FFFD.
Result<void> writeJsonAtomically(const std::filesystem::path& file, const Json& json);

/// Like create_directories, and every new name is durable.
Result<void> createFoldersDurably(const std::filesystem::path& folder);

/// Gives a finished file that lies beside it the name `file`, replacing what has it: fsync, rename,
/// fsync of the folder.
Result<void> publishFile(const std::filesystem::path& finished, const std::filesystem::path& file);

/// Copies a regular file's bytes and permissions to `to` (replaced when present) with the
/// guarantees of writeFileAtomically.
Result<void> copyFileDurably(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace luthier
