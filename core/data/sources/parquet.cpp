// SPDX-License-Identifier: Apache-2.0
// .parquet, some hundred rows at a time through the Rust crate (text/bridge).
#include "data/sources/lines.h"
#include "data/sources/readers.h"
#include "text/bridge/luthier_text.h"

#include <sstream>

namespace luthier {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kRowsAtOnce = 256;

struct Answer {
    std::int32_t status;
    std::string bytes;
};

Answer taken(LuthierBuffer buffer) {
    Answer answer{buffer.status, std::string(reinterpret_cast<const char*>(buffer.data), buffer.size)};
    luthier_buffer_free(buffer);
    return answer;
}

class ParquetRows final : public RowSource {
public:
    ParquetRows(fs::path path, LuthierParquet* rows, std::int64_t count, std::int64_t bytes)
        : m_path(std::move(path)), m_rows(rows), m_count(count), m_bytes(bytes) {}
    ~ParquetRows() override { luthier_parquet_free(m_rows); }
    ParquetRows(const ParquetRows&) = delete;
    ParquetRows& operator=(const ParquetRows&) = delete;

    Result<std::optional<SourceRow>> next() override {
        std::string line;
        while (!std::getline(m_lines, line)) {
            if (m_isOver) return std::optional<SourceRow>{};
            Answer answer = taken(luthier_parquet_next(m_rows, kRowsAtOnce));
            m_isOver = answer.bytes.empty() || answer.status != LUTHIER_TEXT_OK;
            if (answer.status != LUTHIER_TEXT_OK)
                return rowProblem(m_path, m_row + 1, 0, "and those behind it cannot be read: " + answer.bytes, "Fetch or write the file again.");
            m_lines = std::istringstream(std::move(answer.bytes));
        }
        ++m_row;
        return parsedRow(m_path, line, m_row, 0);
    }
    std::int64_t bytesRead() const override { return m_count > 0 ? m_bytes * m_row / m_count : m_bytes; }

private:
    fs::path m_path;
    LuthierParquet* m_rows;
    std::int64_t m_count;
    std::int64_t m_bytes;
    std::istringstream m_lines;
    std::int64_t m_row = 0;
    bool m_isOver = false;
};

}  // namespace

Result<OpenSource> openParquet(const fs::path& path) {
    LuthierParquet* rows = nullptr;
    const std::string name = path.string();
    const Answer answer = taken(luthier_parquet_open(reinterpret_cast<const std::uint8_t*>(name.data()), name.size(), &rows));
    if (answer.status != LUTHIER_TEXT_OK)
        return Problem{"data_damaged", name + " is no whole Parquet file: " + answer.bytes + ".", "Fetch or write the file again.", name};
    const Json facts = Json::parse(answer.bytes);
    OpenSource source;
    std::error_code code;
    source.count = facts["rows"].get<std::int64_t>();
    source.rows = std::make_unique<ParquetRows>(path, rows, *source.count, static_cast<std::int64_t>(fs::file_size(path, code)));
    return source;
}

}  // namespace luthier
