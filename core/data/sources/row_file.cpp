// SPDX-License-Identifier: Apache-2.0
#include "data/sources/row_file.h"

#include "data/sources/lines.h"
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

class RowFile final : public RowSource {
public:
    RowFile(fs::path path, LuthierRows* rows, std::int64_t count, std::int64_t bytes) : m_path(std::move(path)), m_rows(rows), m_count(count), m_bytes(bytes) {}
    ~RowFile() override { luthier_rows_free(m_rows); }
    RowFile(const RowFile&) = delete;
    RowFile& operator=(const RowFile&) = delete;

    Result<std::optional<SourceRow>> next() override {
        std::string line;
        while (!std::getline(m_lines, line)) {
            if (m_isOver) return std::optional<SourceRow>{};
            Answer answer = taken(luthier_rows_next(m_rows, kRowsAtOnce));
            m_isOver = answer.bytes.empty() || answer.status != LUTHIER_TEXT_OK;
            if (answer.status != LUTHIER_TEXT_OK) return broken(answer.bytes);
            m_lines = std::istringstream(std::move(answer.bytes));
        }
        ++m_row;
        return parsedRow(m_path, line, m_row, 0);
    }
    std::int64_t bytesRead() const override { return m_count > 0 ? m_bytes * m_row / m_count : m_bytes; }

private:
    Problem broken(const std::string& words) const {
        const std::string row = std::to_string(m_row + 1);
        return Problem{"bad_row", "In " + m_path.string() + ", row " + row + " and those behind it cannot be read: " + words + ".", "Fetch or write the file again.", m_path.string() + ":" + row};
    }

    fs::path m_path;
    LuthierRows* m_rows;
    std::int64_t m_count;
    std::int64_t m_bytes;
    std::istringstream m_lines;
    std::int64_t m_row = 0;
    bool m_isOver = false;
};

}  // namespace

Result<OpenSource> openRowFile(const fs::path& path, RowFileKind kind) {
    LuthierRows* rows = nullptr;
    const std::string name = path.string();
    const bool isArrow = kind == RowFileKind::Arrow;
    const Answer answer = taken(luthier_rows_open(reinterpret_cast<const std::uint8_t*>(name.data()), name.size(), isArrow ? 1 : 0, &rows));
    if (answer.status != LUTHIER_TEXT_OK)
        return Problem{"data_damaged", name + " cannot be read as " + (isArrow ? "an Arrow" : "a Parquet") + " file: " + answer.bytes + ".",
                       isArrow ? "Fetch or write the file again; a column of a type that is no text, number or list of them can be left out with dataset.remove_columns(…)."
                               : "Fetch or write the file again.", name};
    const Json facts = Json::parse(answer.bytes);
    OpenSource source;
    std::error_code code;
    source.count = facts["rows"].get<std::int64_t>();
    source.rows = std::make_unique<RowFile>(path, rows, *source.count, static_cast<std::int64_t>(fs::file_size(path, code)));
    return source;
}

}  // namespace luthier
