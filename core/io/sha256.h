// SPDX-License-Identifier: Apache-2.0
#pragma once
// SHA-256 (FIPS 180-4), written here so that run folders can name files by content without a crypto
// library.

#include "contract/problem.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace luthier {

/// 64 lower-case hexadecimal digits.
std::string sha256(std::string_view bytes);

/// Reads in pieces of 1 MiB and calls `progress` after each; when that returns false, ends with
/// Problem "cancelled". Other codes: file_missing, file_unreadable.
Result<std::string> sha256OfFile(
    const std::filesystem::path& file,
    const std::function<bool(std::uint64_t done, std::uint64_t total)>& progress = {});

}  // namespace luthier
