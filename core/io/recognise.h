// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a file holds, told by its first bytes and never by its name: one table for every opener, so
// that a Git LFS pointer, a compressed file, a web page or half a download is called by its name
// instead of being read as a damaged something else. Only plain files are opened: a pipe, a socket
// or a device is a problem, not a wait.

#include "contract/problem.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace luthier {

enum class Content {
    Unknown,  ///< text, or a kind that the table does not hold
    Empty,
    Zeros,
    GitLfsPointer,
    GitAnnexPointer,
    HubMessage,
    Html,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
    Lz4,
    SevenZip,
    Tar,
    Zip,
    TorchZip,
    Spreadsheet,
    Pickle,
    Hdf5,
    Sqlite,
    Pdf,
    Picture,
    NumpyArray,
    Safetensors,
    Gguf,
    Parquet,
    Arrow,  ///< what Luthier opens itself
};

/// The kind that begins with `head`, the first bytes of a file of `size` bytes; kHeadBytes of them
/// tell all kinds.
Content contentOf(std::string_view head, std::uint64_t size);
constexpr std::size_t kHeadBytes = 512;

/// Of a plain file. Problem codes: file_missing, file_unreadable (also a pipe, socket, device or
/// folder).
Result<Content> contentOfFile(const std::filesystem::path& path);

/// A problem when the file is no plain file, or holds what an opener of `purpose` ("weights",
/// "rows", "a tokenizer") cannot use: what it is instead and what to do. Kinds that Luthier opens
/// are a problem under another one's ending only. nullopt for what may be right, for what is
/// missing and for folders: their openers say that. Problem codes: file_unreadable, not_plain_file,
/// file_empty, git_lfs_pointer, file_compressed, file_archive, file_pickle, file_web_page,
/// file_download, file_kind.
std::optional<Problem> looksLike(const std::filesystem::path& path, const std::string& purpose);

/// The same for bytes that were read already.
std::optional<Problem> looksLike(Content content, const std::filesystem::path& path,
                                 const std::string& purpose);

}  // namespace luthier
