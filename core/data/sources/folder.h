// SPDX-License-Identifier: Apache-2.0
#pragma once
// A folder of files of rows: shards of one kind, splits by their names
// ("train-00000-of-00002.parquet", "test/…"), a snapshot in the Hugging Face cache
// ("datasets--org--name", "snapshots/HASH"), what the `datasets` library saved or cached. The kind
// with the most bytes is read (rows.jsonl.gz is of rows.jsonl's kind) and the files of others are
// named; hidden files, notes and configuration files are not, nor what `datasets` derived from the
// rows (cache-….arrow, indices….arrow).

#include "contract/problem.h"

#include <filesystem>
#include <vector>

namespace luthier {

struct DataFiles {
    std::vector<std::filesystem::path> train;  ///< in the order of their names
    std::vector<std::filesystem::path>
        eval;  ///< a validation split, else a test split; may be empty
    std::vector<std::filesystem::path>
        left;  ///< what may hold rows as well and is not read: other kinds, other splits, archives
};

/// Problem codes: data_kind; data_several: the cache of several configurations or versions.
Result<DataFiles> filesOfFolder(const std::filesystem::path& folder);

}  // namespace luthier
