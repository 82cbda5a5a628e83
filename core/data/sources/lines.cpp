// SPDX-License-Identifier: Apache-2.0
#include "data/sources/lines.h"

#include "contract/python_json.h"
#include "text/utf8.h"

#include <cstring>

namespace luthier {

namespace {
constexpr std::size_t kBufferBytes = 1u << 20;
}

Problem rowProblem(const std::filesystem::path& path, std::int64_t row, std::int64_t byte,
                   const std::string& what, const std::string& hint, const std::string& code) {
    return Problem{code,
                   "In " + path.string() + ", row " + std::to_string(row) + " (byte " +
                       std::to_string(byte) + ") " + what + ".",
                   hint, path.string() + ":" + std::to_string(row)};
}

Problem tooLong(const std::filesystem::path& path, std::int64_t row, std::int64_t byte,
                const std::string& hint) {
    return rowProblem(path, row, byte, "has more than 32 MiB", hint, "row_too_long");
}

std::optional<Problem> textFault(const std::filesystem::path& path, std::string_view text,
                                 std::int64_t row, std::int64_t byte) {
    if (text.find('\0') != std::string_view::npos)
        return rowProblem(path, row, byte, "holds a NUL byte", "Remove it; text has none.",
                          "row_nul");
    if (isUtf8(text)) return std::nullopt;
    return rowProblem(path, row, byte, "is not UTF-8 text", "Save the file as UTF-8.",
                      "row_not_utf8");
}

bool isBlank(std::string_view text) {
    return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

Result<std::optional<SourceRow>> parsedRow(const std::filesystem::path& path, std::string_view text,
                                           std::int64_t row, std::int64_t byte) {
    if (const auto fault = textFault(path, text, row, byte)) return *fault;
    Result<Json> value = parsePythonJson(text, "");
    if (!value) {
        const std::string& words =
            value.problem().message;  // " is not valid JSON at column 3: why."
        return rowProblem(path, row, byte, words.substr(1, words.size() - 2),
                          "Each row must be one JSON object; correct or delete it.");
    }
    if (!value->is_object())
        return rowProblem(path, row, byte,
                          std::string("is ") +
                              (value->is_array()    ? "a list"
                               : value->is_string() ? "a text"
                               : value->is_number() ? "a number"
                                                    : "a single value") +
                              ", not a JSON object",
                          "Write it as {\"text\": …}.", "row_wrong_type");
    SourceRow read;
    read.value = std::move(*value);
    read.row = read.fileRow = row;
    read.byte = byte;
    return std::optional<SourceRow>{std::move(read)};
}

Lines::Lines(const TextFile& file) : m_file(std::fopen(file.content.c_str(), "rb")) {}

bool Lines::fill() {
    if (m_at < m_buffer.size()) return true;
    if (!m_file) return false;
    m_buffer.resize(kBufferBytes);
    m_buffer.resize(std::fread(m_buffer.data(), 1, kBufferBytes, m_file.get()));
    m_at = 0;
    if (!m_isNewlineKnown && !m_buffer.empty()) {
        m_isNewlineKnown = true;
        if (m_buffer.find('\n') == std::string::npos && m_buffer.find('\r') != std::string::npos)
            m_newline = '\r';
    }
    return !m_buffer.empty();
}

bool Lines::next(std::string& line) {
    line.clear();
    m_begin = m_end;
    m_isTooLong = false;
    if (!fill()) return false;
    while (fill()) {
        const char* from = m_buffer.data() + m_at;
        const auto* newline =
            static_cast<const char*>(std::memchr(from, m_newline, m_buffer.size() - m_at));
        const std::size_t size =
            newline == nullptr ? m_buffer.size() - m_at : static_cast<std::size_t>(newline - from);
        m_isTooLong = m_isTooLong || line.size() + size > kMaxRowBytes;
        if (!m_isTooLong) line.append(from, size);
        m_at += size + (newline != nullptr ? 1 : 0);
        m_end += static_cast<std::int64_t>(size) + (newline != nullptr ? 1 : 0);
        if (newline != nullptr) break;
    }
    if (m_begin == 0 && line.rfind("\xEF\xBB\xBF", 0) == 0) line.erase(0, 3);
    if (!line.empty() && line.back() == '\r') line.pop_back();
    return true;
}

std::int64_t Lines::skip(std::int64_t count) {
    std::int64_t passed = 0;
    for (std::string line; passed < count && next(line);)
        passed += isBlank(line) && !m_isTooLong ? 0 : 1;
    return passed;
}

void Lines::seek(std::int64_t byte) {
    if (!m_file) return;
    std::fseek(m_file.get(), byte, SEEK_SET);
    m_buffer.clear();
    m_at = 0;
    m_end = byte;
}

}  // namespace luthier
