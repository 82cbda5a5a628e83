// SPDX-License-Identifier: Apache-2.0
#pragma once
// A file of text that rows are read from, or the text that a file of gzip or zstd holds: unpacked
// once into a nameless file (TMPDIR, else /var/tmp), which goes with the last reader, so that
// readers can seek in it.

#include "contract/problem.h"

#include <cstdint>
#include <filesystem>
#include <memory>

namespace luthier {

struct TextFile {
    std::filesystem::path path;     ///< what messages call it
    std::filesystem::path content;  ///< what is opened
    std::filesystem::path name;     ///< its own without ".gz" or ".zst"
    std::int64_t bytes = 0;         ///< of the content
    std::shared_ptr<const void> unpacked = nullptr;
};

/// Looks at what the file holds before anyone parses it. Problem codes: those of looksLike
/// (io/recognise.h), data_unpack, disk_full.
Result<TextFile> openTextFile(const std::filesystem::path& path);

}  // namespace luthier
