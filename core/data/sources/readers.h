// SPDX-License-Identifier: Apache-2.0
#pragma once
// The list of kinds of files that rows are read from; each has a file of its name.

#include "data/source.h"
#include "data/sources/text_file.h"

namespace luthier {

/// @param isLines the ending promises an object a line: whatever comes is read as lines where
/// nothing tells otherwise
Result<OpenSource> openJson(const TextFile& file, bool isLines);
Result<OpenSource> openTable(const TextFile& file, char separator);
Result<OpenSource> openParagraphs(const TextFile& file);
Result<OpenSource> openArrow(const std::filesystem::path& path);
Result<OpenSource> openParquet(const std::filesystem::path& path);

}  // namespace luthier
