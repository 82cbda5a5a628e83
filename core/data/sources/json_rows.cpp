// SPDX-License-Identifier: Apache-2.0
// Rows in JSON: an object a line (or spread over several), or a list of objects, alone or in an
// object under "data", "rows", "train" or "examples". The content decides which, whatever the file
// is called. No file is read as a whole: a list is followed element by element by its braces and
// strings. A row that cannot be read costs itself; every call of next() goes on behind a byte that
// it read, or ends.
#include "data/sources/lines.h"
#include "data/sources/file_kind.h"

#include "contract/python_json.h"

#include <cstdio>

namespace luthier {

namespace fs = std::filesystem;

namespace {

bool isSpace(int c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

/// How many braces and brackets are open behind a stretch of text.
struct Balance {
    int depth = 0;
    bool isString = false;
    bool isEscaped = false;

    void add(char c) {
        if (isString) {
            if (isEscaped)
                isEscaped = false;
            else if (c == '\\')
                isEscaped = true;
            else if (c == '"')
                isString = false;
        } else if (c == '"') {
            isString = true;
        } else if (c == '{' || c == '[') {
            ++depth;
        } else if (c == '}' || c == ']') {
            --depth;
        }
    }
    void add(std::string_view text) {
        for (const char c : text) add(c);
    }
};

class JsonLines final : public RowSource {
public:
    explicit JsonLines(TextFile file) : m_file(std::move(file)), m_lines(m_file) {}

    Result<std::optional<SourceRow>> next() override {
        do {
            if (!m_lines.next(m_line)) return std::optional<SourceRow>{};
        } while (isBlank(m_line) && !m_lines.isTooLong());
        ++m_row;
        const std::int64_t begin = m_lines.begin();
        if (m_lines.isTooLong()) return tooLong(m_file.path, m_row, begin);
        Result<std::optional<SourceRow>> row = parsedRow(m_file.path, m_line, m_row, begin);
        if (row || begin < m_triedUpTo || !m_line.starts_with('{')) return row;
        const std::optional<std::string> whole = spread();
        return whole ? parsedRow(m_file.path, *whole, m_row, begin) : row;
    }

    Result<std::int64_t> skip(std::int64_t count) override {
        for (std::int64_t passed = 0; passed < count;) {
            if (!m_lines.next(m_line)) return passed;
            if (isBlank(m_line) && !m_lines.isTooLong()) continue;
            Balance balance;
            balance.add(m_line);
            if (balance.depth == 0 || m_lines.isTooLong()) {
                ++m_row;
            } else {
                m_lines.seek(m_lines.begin());
                static_cast<void>(next());
            }
            if (++passed == count) return passed;
        }
        return count;
    }
    std::int64_t bytesRead() const override { return m_lines.end(); }

private:
    /// The object that the line begins and later lines end; the reader then stands behind it. A
    /// line that begins another object at its margin ends the search, and a stretch is searched
    /// once, so that no file costs more than twice its length.
    std::optional<std::string> spread() {
        const std::int64_t behind = m_lines.end();
        std::string text = m_line, line;
        Balance balance;
        balance.add(text);
        while (balance.depth > 0 && !balance.isString && text.size() < kMaxRowBytes &&
               m_lines.next(line)) {
            const std::size_t last = text.find_last_not_of(" \t\r\n");
            if (line.starts_with('{') &&
                std::string_view("[,:").find(text[last]) == std::string_view::npos)
                break;
            text += '\n';
            text += line;
            balance.add(line);
        }
        if (balance.depth == 0 && !balance.isString) return text;
        m_triedUpTo = m_lines.begin();
        m_lines.seek(behind);
        return std::nullopt;
    }

    TextFile m_file;
    Lines m_lines;
    std::string m_line;
    std::int64_t m_row = 0;
    std::int64_t m_triedUpTo = 0;
};

/// Bytes one after another, with their place.
class Bytes final {
public:
    explicit Bytes(const fs::path& path) : m_file(std::fopen(path.c_str(), "rb")) {
        if (get() != 0xEF || get() != 0xBB || get() != 0xBF) seek(0);
    }
    int peek() {
        const int c = m_file ? std::getc(m_file.get()) : EOF;
        if (c != EOF) std::ungetc(c, m_file.get());
        return c;
    }
    int get() {
        const int c = m_file ? std::getc(m_file.get()) : EOF;
        m_at += c == EOF ? 0 : 1;
        return c;
    }
    void seek(std::int64_t byte) {
        if (m_file) std::fseek(m_file.get(), byte, SEEK_SET);
        m_at = byte;
    }
    std::int64_t at() const { return m_at; }

private:
    struct Close {
        void operator()(std::FILE* file) const { std::fclose(file); }
    };
    std::unique_ptr<std::FILE, Close> m_file;
    std::int64_t m_at = 0;
};

class JsonList final : public RowSource {
public:
    explicit JsonList(TextFile file) : m_file(std::move(file)), m_bytes(m_file.content) {}

    /// Whether there is a list of rows; afterwards next() gives its elements.
    bool findList() {
        skipSpace();
        if (m_bytes.peek() == '[') {
            m_bytes.get();
            return true;
        }
        if (m_bytes.get() != '{') return false;
        while (skipSpace(), m_bytes.peek() == '"' || m_bytes.peek() == ',') {
            if (m_bytes.peek() == ',') {
                m_bytes.get();
                continue;
            }
            const std::string key = element();
            skipSpace();
            if (m_bytes.get() != ':') return false;
            skipSpace();
            if (m_bytes.peek() == '[' && (key == "\"data\"" || key == "\"rows\"" ||
                                          key == "\"train\"" || key == "\"examples\"")) {
                m_bytes.get();
                m_isInObject = true;
                return true;
            }
            element();
        }
        return false;
    }

    Result<std::optional<SourceRow>> next() override {
        if (m_isOver) return std::optional<SourceRow>{};
        while (skipSpace(), m_bytes.peek() == ',') m_bytes.get();
        const std::int64_t begin = m_bytes.at();
        const int first = m_bytes.peek();
        if (first == ']') {
            m_bytes.get();
            m_isOver = true;
            skipSpace();
            if (m_isInObject || m_bytes.peek() == EOF) return std::optional<SourceRow>{};
            return rowProblem(m_file.path, ++m_row, m_bytes.at(),
                              "stands behind the end of the list",
                              "Put all rows into one list, or write one object a line.");
        }
        ++m_row;
        if (first == EOF) {
            m_isOver = true;
            return rowProblem(m_file.path, m_row, begin,
                              "is cut off: the file ends before its list does",
                              "Fetch or write the file again.");
        }
        if (m_row == 1) m_margin = m_indent;
        const bool isAtMargin = m_isLineBegin && m_indent == m_margin;
        const std::string text = element();
        const bool isCut = m_bytes.peek() == EOF && m_hitEnd;
        const bool isLong = m_isTooLong;
        Result<std::optional<SourceRow>> row =
            isLong ? Result<std::optional<SourceRow>>(tooLong(m_file.path, m_row, begin))
                   : parsedRow(m_file.path, text, m_row, begin);
        if (row) return row;
        // A quote or brace that is not closed took what follows with it: where rows begin lines of
        // their own, go on with the next of these.
        if (const std::size_t next =
                isAtMargin ? text.find("\n" + m_margin + "{", 1) : std::string::npos;
            next != std::string::npos) {
            m_bytes.seek(begin + static_cast<std::int64_t>(next) + 1);
            return row;
        }
        if (!isCut || isLong) return row;
        m_isOver = true;
        return rowProblem(m_file.path, m_row, begin,
                          "is cut off: the file ends before its list does",
                          "Fetch or write the file again.");
    }
    std::int64_t bytesRead() const override { return m_bytes.at(); }

private:
    /// Afterwards m_isLineBegin says whether only blanks stand before this place in its line, and
    /// m_indent which.
    void skipSpace() {
        m_isLineBegin = m_bytes.at() == 0;
        m_indent.clear();
        while (isSpace(m_bytes.peek())) {
            const int c = m_bytes.get();
            if (c == '\n') {
                m_isLineBegin = true;
                m_indent.clear();
            } else {
                m_indent += static_cast<char>(c);
            }
        }
    }

    /// The text of the value that begins here, up to its end, or to the sign behind it; at least
    /// one byte.
    std::string element() {
        std::string text;
        Balance balance;
        m_isTooLong = m_hitEnd = false;
        while (true) {
            const int c = m_bytes.peek();
            m_hitEnd = c == EOF;
            if (c == EOF) break;
            if (!text.empty() && !balance.isString && balance.depth == 0 &&
                (c == ',' || c == ']' || c == '}' || c == ':'))
                break;
            m_bytes.get();
            m_isTooLong = m_isTooLong || text.size() >= kMaxRowBytes;
            if (!m_isTooLong) text += static_cast<char>(c);
            balance.add(static_cast<char>(c));
            if (!balance.isString && balance.depth <= 0 &&
                (c == '"' || c == '}' || c == ']' || c == ':'))
                break;
        }
        return text;
    }

    TextFile m_file;
    Bytes m_bytes;
    std::int64_t m_row = 0;
    std::string m_indent, m_margin;
    bool m_isLineBegin = true;
    bool m_isTooLong = false;
    bool m_hitEnd = false;
    bool m_isInObject = false;
    bool m_isOver = false;
};

/// The first two lines that are not blank, where they are not too long to be told apart.
struct Beginning {
    std::string first, second;
};

Beginning beginningOf(const TextFile& file) {
    Beginning found;
    Lines lines(file);
    for (std::string line; found.second.empty() && lines.next(line) && !lines.isTooLong();)
        if (!isBlank(line)) (found.first.empty() ? found.first : found.second) = line;
    return found;
}

bool isLinesOf(const Beginning& beginning) {
    const Result<Json> first = parsePythonJson(beginning.first, "");
    if (!first) return false;
    const std::size_t begin = beginning.second.find_first_not_of(" \t");
    const bool follows = begin != std::string::npos &&
                         (beginning.second[begin] == '{' || beginning.second[begin] == '[');
    return first->is_object() ? !beginning.second.empty() : follows;
}

/// An ending that promises an object a line is believed where nothing tells otherwise.
Result<OpenSource> openJson(const TextFile& file, const std::string& ending) {
    const bool isLines = ending == ".jsonl" || ending == ".ndjson";
    const Beginning beginning = beginningOf(file);
    auto list = std::make_unique<JsonList>(file);
    if (!isLinesOf(beginning) && list->findList()) return OpenSource{std::move(list)};
    const std::size_t begin = beginning.first.find_first_not_of(" \t");
    if (isLines || (begin != std::string::npos && beginning.first[begin] == '{'))
        return OpenSource{std::make_unique<JsonLines>(file)};
    return Problem{"data_kind", file.path.string() + " holds no list of rows.",
                   "Write a JSON list of objects, or one object a line in a .jsonl file.",
                   file.path.string()};
}

}  // namespace

FileKind jsonRowsFileKind() {
    return {.title = "JSON",
            .endings = {".jsonl", ".ndjson", ".json"},
            .openText = &openJson,
            .begins = [](char first) { return first == '{' || first == '['; }};
}

}  // namespace luthier
