// SPDX-License-Identifier: Apache-2.0
// .parquet; the file's end tells where its parts are, so half a file gives no rows.
#include "data/sources/readers.h"
#include "data/sources/row_file.h"

namespace luthier {

Result<OpenSource> openParquet(const std::filesystem::path& path) { return openRowFile(path, RowFileKind::Parquet); }

}  // namespace luthier
