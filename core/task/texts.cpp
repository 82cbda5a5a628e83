// SPDX-License-Identifier: Apache-2.0
#include "task/texts.h"

#include "text/utf8.h"

#include <algorithm>
#include <cstdint>
#include <cwctype>
#include <optional>
#include <string_view>
#include <vector>

#include <locale.h>

namespace luthier {

namespace {

constexpr std::string_view kPunctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

/// Small letters of every alphabet that the C library's own UTF-8 locale knows; bytes that are not
/// UTF-8 stay.
std::string lowered(std::string_view text) {
    static const locale_t locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t length = characterLength(text, at);
        if (length == 0) {
            out += text[at++];
            continue;
        }
        const std::uint32_t code = codePointOf(text.substr(at, length));
        const std::uint32_t plain = code >= 'A' && code <= 'Z' ? code + 32 : code;
        appendCodePoint(
            out, code < 0x80 || locale == nullptr
                     ? plain
                     : static_cast<std::uint32_t>(towlower_l(static_cast<wint_t>(code), locale)));
        at += length;
    }
    return out;
}

bool isSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

std::vector<std::string> wordsOf(const std::string& text) {
    std::vector<std::string> words;
    std::string word;
    for (const char c : text + " ") {
        if (!isSpace(c)) {
            word += c;
        } else if (!word.empty()) {
            words.push_back(std::move(word));
            word.clear();
        }
    }
    return words;
}

/// The number behind the first "#### ", without commas.
std::optional<std::string> markedNumber(const std::string& text) {
    for (std::size_t mark = text.find("#### "); mark != std::string::npos;
         mark = text.find("#### ", mark + 1)) {
        std::size_t at = mark + 5;
        std::string number;
        if (at < text.size() && text[at] == '-') number += text[at++];
        const std::size_t digits = at;
        while (at < text.size() &&
               ((text[at] >= '0' && text[at] <= '9') || text[at] == '.' || text[at] == ',')) {
            if (text[at] != ',') number += text[at];
            ++at;
        }
        if (at > digits) return number;
    }
    return std::nullopt;
}

/// Words of a-z and 0-9; everything else parts them.
std::vector<std::string> rougeWords(const std::string& text) {
    std::string plain = lowered(text);
    for (char& c : plain)
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))) c = ' ';
    return wordsOf(plain);
}

}  // namespace

std::string normalisedAnswer(const std::string& text) {
    std::string plain;
    for (const char c : lowered(text))
        if (kPunctuation.find(c) == std::string_view::npos) plain += c;
    std::string joined;
    for (const std::string& word : wordsOf(plain)) {
        if (word == "a" || word == "an" || word == "the") continue;
        joined += (joined.empty() ? "" : " ") + word;
    }
    return joined;
}

bool isExactMatch(const std::string& written, const std::string& right) {
    if (const std::optional<std::string> number = markedNumber(right))
        return markedNumber(written) == number;
    return normalisedAnswer(written) == normalisedAnswer(right);
}

double rougeL(const std::string& written, const std::string& right) {
    const std::vector<std::string> a = rougeWords(right);
    const std::vector<std::string> b = rougeWords(written);
    if (a.empty() || b.empty()) return 0;
    std::vector<std::size_t> before(b.size() + 1, 0),
        row(b.size() + 1, 0);  // longest common subsequence of the first words of both
    for (const std::string& word : a) {
        for (std::size_t j = 0; j < b.size(); ++j)
            row[j + 1] = word == b[j] ? before[j] + 1 : std::max(before[j + 1], row[j]);
        std::swap(before, row);
    }
    const auto common = static_cast<double>(before.back());
    return common == 0 ? 0 : 2 * common / static_cast<double>(a.size() + b.size());
}

}  // namespace luthier
