// SPDX-License-Identifier: Apache-2.0
// .parquet; a damaged row group costs its own rows, but the file's end tells where the groups are,
// so half a file gives no rows.
#include "data/sources/file_kind.h"
#include "data/sources/row_file.h"

namespace luthier {

FileKind parquetFileKind() {
    return {.title = "Parquet",
            .endings = {".parquet"},
            .openFile =
                [](const std::filesystem::path& path) {
                    return openRowFile(path, RowFileKind::Parquet);
                },
            .content = Content::Parquet};
}

}  // namespace luthier
