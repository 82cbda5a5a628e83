// SPDX-License-Identifier: Apache-2.0
#pragma once
// The list of kinds of files that rows are read from; each has a file of its name.

#include "data/source.h"

namespace luthier {

Result<OpenSource> openJsonLines(const std::filesystem::path& path);
Result<OpenSource> openJsonList(const std::filesystem::path& path);
Result<OpenSource> openTable(const std::filesystem::path& path, char separator);
Result<OpenSource> openParagraphs(const std::filesystem::path& path);
Result<OpenSource> openArrow(const std::filesystem::path& path);
Result<OpenSource> openParquet(const std::filesystem::path& path);

}  // namespace luthier
