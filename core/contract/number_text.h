// SPDX-License-Identifier: Apache-2.0
#pragma once
// Numbers as people read them in tables and reports, and foreign text as a terminal, Markdown, CSV
// or HTML can hold it: the one place of each escape.

#include <cstdint>
#include <string>
#include <string_view>

namespace luthier {

/// "1,234,567"
std::string withThousands(std::int64_t value);
/// "17.2 MiB"
std::string bytesText(std::int64_t bytes);
/// UTF-8 text on one line without anything that a terminal would obey: control characters (C0, C1,
/// DEL) as \xNN, a line break as \n; bytes that are no UTF-8 as \xNN.
std::string printable(std::string_view text);
/// One cell of a Markdown table, or a piece of a line: what Markdown would read as marks is
/// escaped, control characters as by printable().
std::string markdownText(std::string_view text);
/// One quoted field of a CSV file. A field that a spreadsheet would take for a formula (it begins
/// with = + - @, a tab or CR) gets a ' in front.
std::string csvField(std::string_view text);
/// Text between tags or within a quoted attribute of HTML or SVG.
std::string htmlText(std::string_view text);

}  // namespace luthier
