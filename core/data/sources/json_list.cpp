// SPDX-License-Identifier: Apache-2.0
// .json: a list of objects, or an object that holds one under "data", "rows", "train" or "examples". The file is read element by
// element, never as a whole: braces and strings are followed until an element ends, then it is parsed.
#include "data/sources/lines.h"
#include "data/sources/readers.h"

#include <cctype>
#include <fstream>

namespace luthier {

namespace fs = std::filesystem;

namespace {

bool isSpace(int c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

class JsonList final : public RowSource {
public:
    explicit JsonList(fs::path path) : m_path(std::move(path)), m_stream(m_path, std::ios::binary) {
        std::string mark(3, '\0');
        if (!m_stream.read(mark.data(), 3) || mark != "\xEF\xBB\xBF") {
            m_stream.clear();
            m_stream.seekg(0);
        }
    }

    enum class Kind { List, Lines, Neither };

    /// Finds the list; afterwards next() gives its elements.
    Kind findList() {
        skipSpace();
        if (m_stream.peek() == '[') {
            m_stream.get();
            return Kind::List;
        }
        if (m_stream.get() != '{') return Kind::Neither;
        while (skipSpace(), m_stream.peek() == '"' || m_stream.peek() == ',') {
            if (m_stream.peek() == ',') {
                m_stream.get();
                continue;
            }
            const std::string key = element();
            skipSpace();
            if (m_stream.get() != ':') return Kind::Neither;
            skipSpace();
            const bool isRows = key == "\"data\"" || key == "\"rows\"" || key == "\"train\"" || key == "\"examples\"";
            if (isRows && m_stream.peek() == '[') {
                m_stream.get();
                return Kind::List;
            }
            element();
        }
        if (m_stream.get() != '}') return Kind::Neither;
        skipSpace();
        return m_stream.peek() == '{' ? Kind::Lines : Kind::Neither;
    }

    Result<std::optional<SourceRow>> next() override {
        if (m_isOver) return std::optional<SourceRow>{};
        while (skipSpace(), m_stream.peek() == ',') m_stream.get();
        const std::int64_t byte = m_stream.tellg();
        const int first = m_stream.peek();
        if (first == ']') {
            m_isOver = true;
            return std::optional<SourceRow>{};
        }
        ++m_row;
        const std::string text = first == EOF ? "" : element();
        if (m_stream.eof() || first == EOF) {
            m_isOver = true;
            return rowProblem(m_path, m_row, byte, "is cut off: the file ends before its list does", "Fetch or write the file again.");
        }
        if (m_isTooLong) return tooLong(m_path, m_row, byte);
        return parsedRow(m_path, text, m_row, byte);
    }
    std::int64_t bytesRead() const override { return m_position; }

private:
    void skipSpace() {
        while (isSpace(m_stream.peek())) m_stream.get();
    }

    /// The text of the value that begins here; everything up to the comma or bracket behind it.
    std::string element() {
        std::string text;
        int depth = 0;
        bool isString = false;
        bool isEscaped = false;
        m_isTooLong = false;
        while (true) {
            const int c = m_stream.peek();
            if (c == EOF) break;
            if (!isString && depth == 0 && (c == ',' || c == ']' || c == '}' || (c == ':' && !text.empty()))) break;
            m_stream.get();
            m_isTooLong = m_isTooLong || text.size() >= kMaxRowBytes;
            if (!m_isTooLong) text += static_cast<char>(c);
            if (isString) {
                if (isEscaped) isEscaped = false;
                else if (c == '\\') isEscaped = true;
                else if (c == '"') isString = false;
            } else if (c == '"') {
                isString = true;
            } else if (c == '{' || c == '[') {
                ++depth;
            } else if (c == '}' || c == ']') {
                --depth;
            }
            if (!isString && depth == 0 && (c == '"' || c == '}' || c == ']')) break;
        }
        if (!m_stream.eof()) m_position = m_stream.tellg();
        return text;
    }

    fs::path m_path;
    std::ifstream m_stream;
    std::int64_t m_row = 0;
    std::int64_t m_position = 0;
    bool m_isTooLong = false;
    bool m_isOver = false;
};

}  // namespace

Result<OpenSource> openJsonList(const fs::path& path) {
    auto list = std::make_unique<JsonList>(path);
    switch (list->findList()) {
        case JsonList::Kind::List: return OpenSource{std::move(list)};
        case JsonList::Kind::Lines: return OpenSource{nullptr, 0, false, {}, path};  // .json with an object a line: read as .jsonl
        case JsonList::Kind::Neither: break;
    }
    return Problem{"data_kind", path.string() + " holds no list of rows.", "Write a JSON list of objects, or one object a line in a .jsonl file.", path.string()};
}

}  // namespace luthier
