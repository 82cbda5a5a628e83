// SPDX-License-Identifier: Apache-2.0
#pragma once
// Reads rows one after another from a file (of the kinds of sources.list; text also of gzip or
// zstd) or a folder of such files. Every row is a JSON object. A
// row that cannot be read is a problem that names row and byte, and the next call goes on behind
// it, so one bad line does not cost the file. No file is held in memory as a whole.

#include "contract/json.h"
#include "contract/problem.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace luthier {

struct SourceRow {
    Json value;                ///< an object
    std::int64_t row = 0;      ///< counted from 1 over all rows, those that cannot be read included
    std::int64_t fileRow = 0;  ///< counted from 1 in its file
    std::int64_t byte = 0;     ///< where it begins; 0 in a Parquet or Arrow file
    const std::filesystem::path* file = nullptr;  ///< in a folder; lives as long as the source
};

class RowSource {
public:
    virtual ~RowSource() = default;
    /// The next row; nullopt at the end; a problem for a row that cannot be read (then call again).
    virtual Result<std::optional<SourceRow>> next() = 0;
    /// How many rows the last problem stands for: all that were stored together with a damaged one.
    virtual std::int64_t rowsLost() const { return 1; }
    /// The names that the values of `column` stand for, in their order, where the file that was
    /// read last gives them; its rows hold names then.
    virtual std::vector<std::string> classNames(const std::string& column) const;
    /// Passes over rows without looking into them; returns how many there were.
    virtual Result<std::int64_t> skip(std::int64_t count);
    virtual std::int64_t bytesRead() const = 0;
};

struct OpenSource {
    std::unique_ptr<RowSource> rows;
    std::int64_t bytes = 0;  ///< size of the file, or of all files
    bool isPlainText = false;
    std::optional<std::int64_t> count;  ///< rows, where the file says so
};

/// Problems: those of looksLike (io/recognise.h), data_unpack, data_missing, data_empty,
/// data_unreadable, data_kind, data_encoding, data_header, data_damaged.
Result<OpenSource> openSource(const std::filesystem::path& path);
Result<OpenSource> openSource(const std::vector<std::filesystem::path>& files);

/// Rows in JSON, one a line or a list of them, whatever the file is called. Problems: as above.
Result<OpenSource> openJsonSource(const std::filesystem::path& path);

/// Kinds of files that can be opened: [{"title","endings","packed_endings"}]; packed ones are read
/// as they are too. Without the endings of notes about rows (.md), which are opened by name.
Json fileKindsToJson();

/// "row 17 of poems.jsonl (byte 4821)"
std::string placeOf(const std::filesystem::path& path, const SourceRow& row);

}  // namespace luthier
