// SPDX-License-Identifier: Apache-2.0
// .arrow, as the `datasets` library keeps it in its cache and save_to_disk writes it, and Arrow's
// file format, which is Feather's too. The rows before the place where a file is cut off are read,
// and those around a damaged batch.
#include "data/sources/readers.h"
#include "data/sources/row_file.h"

namespace luthier {

Result<OpenSource> openArrow(const std::filesystem::path& path) {
    return openRowFile(path, RowFileKind::Arrow);
}

}  // namespace luthier
