// SPDX-License-Identifier: Apache-2.0
// .arrow, as the `datasets` library keeps it in its cache and save_to_disk writes it, and Arrow's
// file format, which is Feather's too. The rows before the place where a file is cut off are read,
// and those around a damaged batch.
#include "data/sources/file_kind.h"
#include "data/sources/row_file.h"

namespace luthier {

FileKind arrowFileKind() {
    return {
        .title = "Arrow",
        .endings = {".arrow", ".feather"},
        .openFile =
            [](const std::filesystem::path& path) { return openRowFile(path, RowFileKind::Arrow); },
        .content = Content::Arrow,
        // What `datasets` derived from the rows lies beside them.
        .isAside =
            [](const std::string& name) {
                return name.rfind("cache-", 0) == 0 || name.rfind("indices", 0) == 0;
            },
        .isOfCaches = true};
}

}  // namespace luthier
