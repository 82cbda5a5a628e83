// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the readers of text files share: lines with their places, bounded in length, and what is
// wrong with a stretch of text.

#include "data/source.h"
#include "data/sources/text_file.h"

#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

namespace luthier {

/// A longer row is a mistake in a file of rows, and would be cut to a thousandth by any max_length.
constexpr std::size_t kMaxRowBytes = 32u << 20;

/// "In FILE, row N (byte B) WHAT." Codes: bad_row, and row_too_long, row_nul, row_not_utf8,
/// row_wrong_type for what has a name of its own.
Problem rowProblem(const std::filesystem::path& path, std::int64_t row, std::int64_t byte,
                   const std::string& what, const std::string& hint,
                   const std::string& code = "bad_row");
Problem tooLong(const std::filesystem::path& path, std::int64_t row, std::int64_t byte,
                const std::string& hint = "Split it into several rows.");

/// What makes a row's text unusable: a NUL byte, or bytes that are no UTF-8.
std::optional<Problem> textFault(const std::filesystem::path& path, std::string_view text,
                                 std::int64_t row, std::int64_t byte);

bool isBlank(std::string_view text);

/// One row's JSON text as a row, or a Problem that names it.
Result<std::optional<SourceRow>> parsedRow(const std::filesystem::path& path, std::string_view text,
                                           std::int64_t row, std::int64_t byte);

/// Lines with the byte each begins at; a UTF-8 byte order mark and carriage returns before a
/// newline are dropped. A file whose first MiB has carriage returns and no newline has lines that
/// end with these.
class Lines final {
public:
    explicit Lines(const TextFile& file);

    /// False at the end. Of a line longer than kMaxRowBytes only the beginning is kept, and
    /// isTooLong() says so.
    bool next(std::string& line);
    /// Passes over `count` lines that are not blank; returns how many there were.
    std::int64_t skip(std::int64_t count);
    void seek(std::int64_t byte);

    bool isTooLong() const { return m_isTooLong; }
    std::int64_t begin() const { return m_begin; }
    std::int64_t end() const { return m_end; }

private:
    bool fill();

    struct Close {
        void operator()(std::FILE* file) const { std::fclose(file); }
    };
    std::unique_ptr<std::FILE, Close> m_file;
    std::string m_buffer;
    std::size_t m_at = 0;
    char m_newline = '\n';
    bool m_isNewlineKnown = false;
    std::int64_t m_begin = 0;
    std::int64_t m_end = 0;
    bool m_isTooLong = false;
};

}  // namespace luthier
