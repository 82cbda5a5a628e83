// SPDX-License-Identifier: Apache-2.0
#include "contract/number_text.h"

#include <cstdio>
#include <cstdlib>

namespace luthier {

std::string withThousands(std::int64_t value) {
    std::string digits = std::to_string(std::abs(value));
    for (int at = static_cast<int>(digits.size()) - 3; at > 0; at -= 3)
        digits.insert(static_cast<std::size_t>(at), 1, ',');
    return value < 0 ? '-' + digits : digits;
}

std::string bytesText(std::int64_t bytes) {
    const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = static_cast<double>(bytes);
    int unit = 0;
    while (value >= 1024 && unit < 4) {
        value /= 1024;
        ++unit;
    }
    char text[64];
    std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return text;
}

namespace {

/// Bytes of the UTF-8 character that begins here; 0 when none does.
std::size_t characterSize(std::string_view text) {
    const auto at = [&text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char first = at(0);
    const std::size_t size = first < 0x80                    ? 1
                             : first >= 0xC2 && first < 0xE0 ? 2
                             : (first & 0xF0) == 0xE0        ? 3
                             : first >= 0xF0 && first < 0xF5 ? 4
                                                             : 0;
    if (size == 0 || size > text.size()) return 0;
    for (std::size_t i = 1; i < size; ++i)
        if ((at(i) & 0xC0) != 0x80) return 0;
    return size;
}

std::string escapedByte(char byte) {
    char text[8];
    std::snprintf(text, sizeof text, "\\x%02x", static_cast<unsigned char>(byte));
    return text;
}

}  // namespace

std::string printable(std::string_view text) {
    std::string shown;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t size = characterSize(text.substr(at));
        const auto first = static_cast<unsigned char>(text[at]);
        const bool isControl = size == 1 ? first < 0x20 || first == 0x7F
                                         : size == 2 && first == 0xC2 &&
                                               static_cast<unsigned char>(text[at + 1]) < 0xA0;
        if (text[at] == '\n') {
            shown += "\\n";
        } else if (text[at] == '\t') {
            shown += ' ';
        } else if (size == 0 || isControl) {
            for (std::size_t i = 0; i < (size == 0 ? 1 : size); ++i)
                shown += escapedByte(text[at + i]);
        } else {
            shown += text.substr(at, size);
        }
        at += size == 0 ? 1 : size;
    }
    return shown;
}

std::string markdownText(std::string_view text) {
    std::string shown;
    for (const char c : printable(text)) {
        if (std::string_view("\\`*[]<>|").find(c) != std::string_view::npos) shown += '\\';
        shown += c;
    }
    return shown;
}

std::string csvField(std::string_view text) {
    const bool isFormula =
        !text.empty() && std::string_view("=+-@\t\r").find(text.front()) != std::string_view::npos;
    std::string field = isFormula ? "\"'" : "\"";
    for (const char c : text) field += c == '"' ? std::string("\"\"") : std::string(1, c);
    return field + "\"";
}

std::string htmlText(std::string_view text) {
    std::string shown;
    for (const char c : text) {
        if (c == '<')
            shown += "&lt;";
        else if (c == '>')
            shown += "&gt;";
        else if (c == '&')
            shown += "&amp;";
        else if (c == '"')
            shown += "&quot;";
        else if (c == '\'')
            shown += "&#39;";
        else if (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t')
            shown += "\xEF\xBF\xBD";  // XML has no such characters
        else
            shown += c;
    }
    return shown;
}

}  // namespace luthier
