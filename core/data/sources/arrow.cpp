// SPDX-License-Identifier: Apache-2.0
// .arrow, as the `datasets` library keeps it in its cache and save_to_disk writes it, and Arrow's file format. The rows before the place
// where a file is cut off are read.
#include "data/sources/readers.h"
#include "data/sources/row_file.h"

namespace luthier {

Result<OpenSource> openArrow(const std::filesystem::path& path) { return openRowFile(path, RowFileKind::Arrow); }

}  // namespace luthier
