// SPDX-License-Identifier: Apache-2.0
// .csv, .tsv with a header line (RFC 4180: fields may be quoted, and then hold separators, doubled
// quotes and line breaks). A file whose header has no separator of its ending's kind, but tabs,
// semicolons or commas, is read with these, as spreadsheets in half of the world write it.
#include "data/sources/lines.h"
#include "data/sources/file_kind.h"

#include <set>
#include <vector>

namespace luthier {

namespace fs = std::filesystem;

namespace {

class Table final : public RowSource {
public:
    Table(TextFile file, char separator)
        : m_file(std::move(file)), m_path(m_file.path), m_lines(m_file), m_separator(separator) {}

    Result<void> readHeader() {
        Result<std::vector<std::string>> header = record();
        if (!header) return header.problems();
        // "sep=;" is Excel's own line about it.
        if (header->size() == 1 && header->front().size() == 5 &&
            header->front().starts_with("sep=")) {
            m_separator = header->front().back();
            header = record();
            if (!header) return header.problems();
        }
        // The name of a column holds none of these, so a header of one column with one of them was
        // written with that.
        for (const char other : {'\t', ';', ','}) {
            if (header->size() != 1 || header->front().find(other) == std::string::npos) continue;
            m_separator = other;
            m_lines.seek(0);
            header = record();
            if (!header) return header.problems();
        }
        m_header = std::move(*header);
        m_row = 0;
        std::set<std::string> names;
        for (const std::string& name : m_header)
            if (name.empty() || !names.insert(name).second)
                return Problem{"data_header",
                               "The header of " + m_path.string() +
                                   (name.empty() ? " has a column without a name."
                                                 : " names the column \"" + name + "\" twice."),
                               "Give every column a name of its own in the first line.",
                               m_path.string()};
        return {};
    }

    Result<std::optional<SourceRow>> next() override {
        Result<std::vector<std::string>> fields = record();
        if (!fields) return fields.problems();
        if (fields->empty()) return std::optional<SourceRow>{};
        if (fields->size() != m_header.size())
            return rowProblem(m_path, m_row, m_begin,
                              "has " + std::to_string(fields->size()) + " fields, the header has " +
                                  std::to_string(m_header.size()),
                              "Put fields that hold the separator in double quotes.");
        SourceRow row;
        row.row = row.fileRow = m_row;
        row.byte = m_begin;
        row.value = Json::object();
        for (std::size_t i = 0; i < m_header.size(); ++i)
            row.value[m_header[i]] = std::move((*fields)[i]);
        return std::optional<SourceRow>{std::move(row)};
    }
    std::int64_t bytesRead() const override { return m_lines.end(); }

private:
    /// The fields of the next record that is not blank; empty at the end of the file.
    Result<std::vector<std::string>> record() {
        std::string line;
        do {
            if (!m_lines.next(line)) return std::vector<std::string>{};
        } while (isBlank(line) && !m_lines.isTooLong());
        m_begin = m_lines.begin();
        const std::int64_t behind = m_lines.end();
        ++m_row;
        std::vector<std::string> fields(1);
        bool isQuoted = false;
        std::size_t size = 0;
        while (true) {
            size += line.size();
            if (m_lines.isTooLong()) return tooLong(m_path, m_row, m_begin);
            if (const auto fault = textFault(m_path, line, m_row, m_begin)) return *fault;
            for (std::size_t i = 0; i < line.size(); ++i) {
                const char c = line[i];
                if (isQuoted && c == '"' && i + 1 < line.size() && line[i + 1] == '"')
                    fields.back() += line[++i];
                else if (c == '"' && (isQuoted || fields.back().empty()))
                    isQuoted = !isQuoted;
                else if (c == m_separator && !isQuoted)
                    fields.emplace_back();
                else
                    fields.back() += c;
            }
            if (!isQuoted) return fields;
            fields.back() += '\n';
            if (size > kMaxRowBytes || !m_lines.next(line)) {
                m_lines.seek(behind);  // only this record is lost
                return rowProblem(m_path, m_row, m_begin,
                                  "opens a double quote that is never closed",
                                  "Close it, or double it.");
            }
        }
    }

    TextFile m_file;
    const fs::path& m_path;
    Lines m_lines;
    char m_separator;
    std::vector<std::string> m_header;
    std::int64_t m_row = 0;
    std::int64_t m_begin = 0;
};

Result<OpenSource> openTable(const TextFile& file, const std::string& ending) {
    auto table = std::make_unique<Table>(file, ending == ".tsv" ? '\t' : ',');
    if (Result<void> header = table->readHeader(); !header) return header.problems();
    return OpenSource{std::move(table)};
}

}  // namespace

FileKind tableFileKind() {
    return {.title = "CSV", .endings = {".csv", ".tsv"}, .openText = &openTable};
}

}  // namespace luthier
