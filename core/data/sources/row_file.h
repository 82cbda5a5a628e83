// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the readers of binary files share: rows some hundred at a time through the Rust crate
// (text/bridge).

#include "data/source.h"

namespace luthier {

enum class RowFileKind { Parquet, Arrow };

Result<OpenSource> openRowFile(const std::filesystem::path& path, RowFileKind kind);

}  // namespace luthier
