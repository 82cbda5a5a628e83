// SPDX-License-Identifier: Apache-2.0
#include "data/source.h"

#include <algorithm>
#include <fstream>
#include <utility>
#include <vector>

namespace luthier {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kMaxRowBytes = 64u << 20;
constexpr std::size_t kMaxJsonBytes = 2000u << 20;

Problem rowProblem(const fs::path& path, const SourceRow& row, const std::string& what, const std::string& hint) {
    return Problem{"bad_row", "In " + path.string() + ", row " + std::to_string(row.row) + " (byte " + std::to_string(row.byte) + ") " +
                                  what + ".",
                   hint, path.string() + ":" + std::to_string(row.row)};
}

bool isValidUtf8(std::string_view text) {
    std::size_t i = 0;
    while (i < text.size()) {
        const auto lead = static_cast<unsigned char>(text[i]);
        const std::size_t length = lead < 0x80 ? 1 : lead >= 0xC2 && lead < 0xE0 ? 2 : (lead & 0xF0) == 0xE0 ? 3 : lead >= 0xF0 && lead < 0xF5 ? 4 : 0;
        if (length == 0 || i + length > text.size()) return false;
        for (std::size_t k = 1; k < length; ++k)
            if ((static_cast<unsigned char>(text[i + k]) & 0xC0) != 0x80) return false;
        i += length;
    }
    return true;
}

bool isBlank(std::string_view text) { return text.find_first_not_of(" \t\r\n") == std::string_view::npos; }

/// Lines with the byte each begins at; a UTF-8 byte order mark and carriage returns before a newline are dropped.
class Lines {
public:
    explicit Lines(const fs::path& path) : m_stream(path, std::ios::binary) {}

    bool next(std::string& line) {
        m_begin = m_end;
        if (!std::getline(m_stream, line)) return false;
        m_end += static_cast<std::int64_t>(line.size()) + (m_stream.eof() ? 0 : 1);
        if (m_begin == 0 && line.rfind("\xEF\xBB\xBF", 0) == 0) line.erase(0, 3);
        if (!line.empty() && line.back() == '\r') line.pop_back();
        return true;
    }
    std::int64_t begin() const { return m_begin; }
    std::int64_t end() const { return m_end; }

private:
    std::ifstream m_stream;
    std::int64_t m_begin = 0;
    std::int64_t m_end = 0;
};

class JsonLines final : public RowSource {
public:
    explicit JsonLines(fs::path path) : m_path(std::move(path)), m_lines(m_path) {}

    Result<std::optional<SourceRow>> next() override {
        std::string line;
        SourceRow row;
        do {
            if (!m_lines.next(line)) return std::optional<SourceRow>{};
        } while (isBlank(line));
        row.row = ++m_row;
        row.byte = m_lines.begin();
        if (line.size() > kMaxRowBytes) return rowProblem(m_path, row, "has more than 64 MiB", "Split it into several rows.");
        Result<Json> value = parseJson(line, "row");
        if (!value)
            return rowProblem(m_path, row, "is not valid JSON", "Each line must be one JSON object; correct or delete that line.");
        if (!value->is_object()) return rowProblem(m_path, row, "is not a JSON object", "Write it as {\"text\": …}.");
        row.value = std::move(*value);
        return std::optional<SourceRow>{std::move(row)};
    }
    std::int64_t bytesRead() const override { return m_lines.end(); }

private:
    fs::path m_path;
    Lines m_lines;
    std::int64_t m_row = 0;
};

class JsonList final : public RowSource {
public:
    JsonList(fs::path path, Json list, std::int64_t bytes) : m_path(std::move(path)), m_list(std::move(list)), m_bytes(bytes) {}

    Result<std::optional<SourceRow>> next() override {
        if (m_next == m_list.size()) return std::optional<SourceRow>{};
        SourceRow row;
        row.row = static_cast<std::int64_t>(m_next) + 1;
        if (!m_list[m_next].is_object()) return rowProblem(m_path, row, "is not a JSON object", "Write it as {\"text\": …}.");
        row.value = std::move(m_list[m_next++]);
        return std::optional<SourceRow>{std::move(row)};
    }
    std::int64_t bytesRead() const override {
        return m_list.empty() ? m_bytes : m_bytes * static_cast<std::int64_t>(m_next) / static_cast<std::int64_t>(m_list.size());
    }

private:
    fs::path m_path;
    Json m_list;
    std::size_t m_next = 0;
    std::int64_t m_bytes;
};

/// RFC 4180: fields in quotes may hold separators, newlines and doubled quotes.
class Table final : public RowSource {
public:
    Table(fs::path path, char separator) : m_path(std::move(path)), m_lines(m_path), m_separator(separator) {}

    Result<std::optional<SourceRow>> next() override {
        if (m_header.empty()) {
            Result<std::vector<std::string>> header = record();
            if (!header) return header.problems();
            m_header = std::move(*header);
            m_row = 0;
        }
        Result<std::vector<std::string>> fields = record();
        if (!fields) return fields.problems();
        if (fields->empty()) return std::optional<SourceRow>{};
        SourceRow row{Json::object(), m_row, m_begin};
        if (fields->size() != m_header.size())
            return rowProblem(m_path, row, "has " + std::to_string(fields->size()) + " fields, the header has " + std::to_string(m_header.size()),
                              "Put fields that hold the separator or line breaks in double quotes.");
        for (std::size_t i = 0; i < fields->size(); ++i) row.value[m_header[i]] = std::move((*fields)[i]);
        return std::optional<SourceRow>{std::move(row)};
    }
    std::int64_t bytesRead() const override { return m_lines.end(); }

private:
    /// The fields of the next record that is not blank; empty at the end of the file.
    Result<std::vector<std::string>> record() {
        std::string line;
        do {
            if (!m_lines.next(line)) return std::vector<std::string>{};
        } while (isBlank(line));
        m_begin = m_lines.begin();
        ++m_row;
        std::vector<std::string> fields(1);
        bool isQuoted = false;
        while (true) {
            if (!isValidUtf8(line))
                return rowProblem(m_path, {{}, m_row, m_begin}, "is not UTF-8 text", "Save the file as UTF-8.");
            for (std::size_t i = 0; i < line.size(); ++i) {
                const char c = line[i];
                if (isQuoted && c == '"' && i + 1 < line.size() && line[i + 1] == '"') fields.back() += line[++i];
                else if (c == '"' && (isQuoted || fields.back().empty())) isQuoted = !isQuoted;
                else if (c == m_separator && !isQuoted) fields.emplace_back();
                else fields.back() += c;
            }
            if (!isQuoted) return fields;
            fields.back() += '\n';
            if (fields.back().size() > kMaxRowBytes || !m_lines.next(line))
                return rowProblem(m_path, {{}, m_row, m_begin}, "opens a double quote that is never closed", "Close it, or double it.");
        }
    }

    fs::path m_path;
    Lines m_lines;
    char m_separator;
    std::vector<std::string> m_header;
    std::int64_t m_row = 0;
    std::int64_t m_begin = 0;
};

class Paragraphs final : public RowSource {
public:
    explicit Paragraphs(fs::path path) : m_path(std::move(path)), m_lines(m_path) {}

    Result<std::optional<SourceRow>> next() override {
        std::string text, line;
        SourceRow row{Json::object(), m_row + 1, 0};
        while (m_lines.next(line)) {
            if (isBlank(line)) {
                if (text.empty()) continue;
                break;
            }
            if (text.empty()) row.byte = m_lines.begin();
            else text += '\n';
            text += line;
            if (text.size() > kMaxRowBytes) return rowProblem(m_path, row, "has more than 64 MiB", "Put blank lines between paragraphs.");
        }
        if (text.empty()) return std::optional<SourceRow>{};
        if (!isValidUtf8(text)) return rowProblem(m_path, row, "is not UTF-8 text", "Save the file as UTF-8.");
        ++m_row;
        row.value["text"] = std::move(text);
        return std::optional<SourceRow>{std::move(row)};
    }
    std::int64_t bytesRead() const override { return m_lines.end(); }

private:
    fs::path m_path;
    Lines m_lines;
    std::int64_t m_row = 0;
};

Result<Json> readList(const fs::path& path) {
    Result<Json> document = readJsonFile(path, kMaxJsonBytes);
    if (!document) return document.problems();
    if (document->is_array()) return std::move(*document);
    if (document->is_object())
        for (const char* key : {"data", "rows", "train", "examples"})
            if (document->contains(key) && (*document)[key].is_array()) return Json(std::move((*document)[key]));
    return Problem{"data_kind", path.string() + " holds no list of rows.", "Write a JSON list of objects, or one object a line in a .jsonl file.",
                   path.string()};
}

}  // namespace

Result<OpenSource> openSource(const fs::path& path) {
    std::error_code code;
    if (fs::is_directory(path, code))
        return Problem{"data_kind", path.string() + " is a folder.", "Name one file: .jsonl, .json, .csv, .tsv or .txt.", path.string()};
    const auto size = fs::file_size(path, code);
    if (code) return Problem{"data_missing", path.string() + " does not exist.", "Check the path in data.train.path or data.eval.path.", path.string()};
    if (size == 0) return Problem{"data_empty", path.string() + " is empty.", "Choose a file with rows.", path.string()};
    if (!std::ifstream(path, std::ios::binary).good())
        return Problem{"data_unreadable", path.string() + " could not be opened.", "Check its permissions.", path.string()};
    std::string extension = path.extension().string();
    std::transform(extension.begin(), extension.end(), extension.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    OpenSource source;
    source.bytes = static_cast<std::int64_t>(size);
    if (extension == ".jsonl" || extension == ".ndjson") source.rows = std::make_unique<JsonLines>(path);
    else if (extension == ".csv") source.rows = std::make_unique<Table>(path, ',');
    else if (extension == ".tsv") source.rows = std::make_unique<Table>(path, '\t');
    else if (extension == ".txt" || extension == ".text" || extension == ".md") {
        source.rows = std::make_unique<Paragraphs>(path);
        source.isPlainText = true;
    } else if (extension == ".json") {
        Result<Json> list = readList(path);
        if (!list) return list.problems();
        source.rows = std::make_unique<JsonList>(path, std::move(*list), source.bytes);
    } else {
        return Problem{"data_kind", path.string() + " is of a kind Luthier does not read.", "Convert it to .jsonl, .json, .csv, .tsv or .txt.",
                       path.string()};
    }
    return source;
}

std::string placeOf(const fs::path& path, const SourceRow& row) {
    return "row " + std::to_string(row.row) + " of " + path.filename().string() + " (byte " + std::to_string(row.byte) + ")";
}

}  // namespace luthier
