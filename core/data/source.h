// SPDX-License-Identifier: Apache-2.0
#pragma once
// Reads a file of rows one after another: .jsonl, .json (a list, or {"data": […]}), .csv and .tsv with a header line, .txt
// (paragraphs parted by blank lines, each {"text": …}). Every row is a JSON object. A row that cannot be read ends the reading with a
// problem that names row and byte. Only .json is held in memory as a whole.

#include "contract/json.h"
#include "contract/problem.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>

namespace luthier {

struct SourceRow {
    Json value;              ///< an object
    std::int64_t row = 0;    ///< counted from 1 over the file's rows
    std::int64_t byte = 0;   ///< where it begins
};

class RowSource {
public:
    virtual ~RowSource() = default;
    /// The next row; nullopt at the end.
    virtual Result<std::optional<SourceRow>> next() = 0;
    virtual std::int64_t bytesRead() const = 0;
};

struct OpenSource {
    std::unique_ptr<RowSource> rows;
    std::int64_t bytes = 0;  ///< size of the file
    bool isPlainText = false;
};

/// Problems: data_missing, data_empty, data_unreadable, data_kind.
Result<OpenSource> openSource(const std::filesystem::path& path);

/// "row 17 of poems.jsonl (byte 4821)"
std::string placeOf(const std::filesystem::path& path, const SourceRow& row);

}  // namespace luthier
