// SPDX-License-Identifier: Apache-2.0
#include "data/sources/row_file.h"

#include "data/sources/lines.h"
#include "text/bridge/luthier_text.h"

#include <map>
#include <sstream>

namespace luthier {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kRowsAtOnce = 256;
constexpr std::uintmax_t kLargestInfo = 4u << 20;

struct Answer {
    std::int32_t status;
    std::string bytes;
};

Answer taken(LuthierBuffer buffer) {
    Answer answer{buffer.status,
                  std::string(reinterpret_cast<const char*>(buffer.data), buffer.size)};
    luthier_buffer_free(buffer);
    return answer;
}

using ClassNames = std::map<std::string, std::vector<std::string>>;

/// The columns whose numbers stand for classes, of the features that the `datasets` library writes:
/// {column: {"names": [..], "_type": "ClassLabel"}}.
ClassNames classNamesOf(const Json& features) {
    ClassNames found;
    if (!features.is_object()) return found;
    for (const auto& [column, feature] : features.items()) {
        if (!feature.is_object() || feature.value("_type", Json()) != "ClassLabel" ||
            !feature.contains("names") || !feature["names"].is_array())
            continue;
        for (const Json& name : feature["names"])
            if (name.is_string()) found[column].push_back(name);
    }
    return found;
}

/// From the file itself, or from the dataset_info.json beside it.
ClassNames classNamesOf(const fs::path& path, const Json& facts) {
    if (const Json& about = facts["huggingface"]; about.is_string())
        if (const Result<Json> parsed = parseJson(about.get<std::string>(), path.string());
            parsed && parsed->is_object() && parsed->contains("info") &&
            (*parsed)["info"].is_object())
            return classNamesOf((*parsed)["info"].value("features", Json()));
    const Result<Json> info = readJsonFile(path.parent_path() / "dataset_info.json", kLargestInfo);
    return info && info->is_object() ? classNamesOf(info->value("features", Json())) : ClassNames();
}

class RowFile final : public RowSource {
public:
    RowFile(fs::path path, LuthierRows* rows, std::int64_t count, ClassNames names)
        : m_path(std::move(path)), m_rows(rows), m_count(count), m_names(std::move(names)) {
        std::error_code code;
        m_bytes = static_cast<std::int64_t>(fs::file_size(m_path, code));
    }
    ~RowFile() override { luthier_rows_free(m_rows); }
    RowFile(const RowFile&) = delete;
    RowFile& operator=(const RowFile&) = delete;

    Result<std::optional<SourceRow>> next() override {
        m_rowsLost = 1;
        std::string line;
        while (!std::getline(m_lines, line)) {
            if (m_isOver) return std::optional<SourceRow>{};
            Answer answer = taken(luthier_rows_next(m_rows, kRowsAtOnce));
            if (answer.status != LUTHIER_TEXT_OK) return lost(answer.bytes);
            m_isOver = answer.bytes.empty();
            m_lines = std::istringstream(std::move(answer.bytes));
        }
        ++m_row;
        Result<std::optional<SourceRow>> row = parsedRow(m_path, line, m_row, 0);
        if (row && row->has_value())
            if (Result<void> named = nameClasses(**row); !named) return named.problems();
        return row;
    }
    std::int64_t bytesRead() const override {
        return m_count > 0 ? m_bytes * m_row / m_count : m_bytes;
    }
    std::int64_t rowsLost() const override { return m_rowsLost; }
    std::vector<std::string> classNames(const std::string& column) const override {
        const auto found = m_names.find(column);
        return found == m_names.end() ? std::vector<std::string>() : found->second;
    }

private:
    /// Rows up to the one that is read next, or all behind.
    Problem lost(const std::string& words) {
        const std::string row = std::to_string(m_row + 1);
        m_rowsLost = luthier_rows_position(m_rows) - m_row;
        m_isOver = m_rowsLost <= 0;
        if (m_isOver) {
            m_rowsLost = 1;
            return Problem{"bad_row",
                           "In " + m_path.string() + ", row " + row +
                               " and those behind it cannot be read: " + words + ".",
                           "Fetch or write the file again.", m_path.string() + ":" + row};
        }
        m_row += m_rowsLost;
        return Problem{"bad_row", "In " + m_path.string() + ", " + words + ".",
                       "Fetch or write the file again to have them; all others are read.",
                       m_path.string() + ":" + row};
    }

    /// A number that stands for a class becomes its name; -1, which stands for none, becomes null.
    Result<void> nameClasses(SourceRow& row) const {
        for (const auto& [column, names] : m_names) {
            const auto cell = row.value.find(column);
            if (cell == row.value.end() || !cell->is_number_integer()) continue;
            const auto value = cell->get<std::int64_t>();
            if (value < -1 || value >= static_cast<std::int64_t>(names.size())) {
                const std::string number = std::to_string(m_row);
                return Problem{
                    "bad_row",
                    "In " + m_path.string() + ", row " + number + " has the class " +
                        std::to_string(value) + " in \"" + column + "\", but the file names " +
                        std::to_string(names.size()) + " classes, counted from 0.",
                    "Correct the row or the names of the classes.", m_path.string() + ":" + number};
            }
            *cell = value < 0 ? Json() : Json(names[static_cast<std::size_t>(value)]);
        }
        return {};
    }

    fs::path m_path;
    LuthierRows* m_rows;
    std::int64_t m_count;
    ClassNames m_names;
    std::int64_t m_bytes = 0;
    std::istringstream m_lines;
    std::int64_t m_row = 0;
    std::int64_t m_rowsLost = 1;
    bool m_isOver = false;
};

}  // namespace

Result<OpenSource> openRowFile(const fs::path& path, RowFileKind kind) {
    LuthierRows* rows = nullptr;
    const std::string name = path.string();
    const bool isArrow = kind == RowFileKind::Arrow;
    const Answer answer = taken(luthier_rows_open(
        reinterpret_cast<const std::uint8_t*>(name.data()), name.size(), isArrow ? 1 : 0, &rows));
    if (answer.status != LUTHIER_TEXT_OK)
        return Problem{
            "data_damaged",
            name + " cannot be read as " + (isArrow ? "an Arrow" : "a Parquet") +
                " file: " + answer.bytes + ".",
            isArrow ? "Fetch or write the file again; a column of a type that is no text, number "
                      "or list of them can be left out with dataset.remove_columns(…)."
                    : "Fetch or write the file again.",
            name};
    const Json facts = parseJson(answer.bytes, name).orThrow();
    OpenSource source;
    source.count = facts["rows"].get<std::int64_t>();
    source.rows = std::make_unique<RowFile>(path, rows, *source.count, classNamesOf(path, facts));
    return source;
}

}  // namespace luthier
