// SPDX-License-Identifier: Apache-2.0
#include "contract/json.h"
#include "contract/python_json.h"
#include "contract/system_error.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <numeric>
#include <utility>

namespace luthier {

namespace {

constexpr int kMaxDepth = 64;

std::string positionOf(std::string_view text, std::size_t byte) {
    std::size_t line = 1;
    std::size_t column = 1;
    for (std::size_t i = 0; i + 1 < byte && i < text.size(); ++i) {
        if (text[i] == '\n') {
            ++line;
            column = 1;
        } else if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) {  // characters, not bytes
            ++column;
        }
    }
    const bool isOneLine =
        text.substr(0, text.find_last_not_of(" \t\r\n") + 1).find('\n') == std::string_view::npos;
    return (isOneLine ? std::string() : "line " + std::to_string(line) + ", ") + "column " +
           std::to_string(column);
}

bool isLetter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; }

/// Where the string or number begins that the parser read to its end, at `byte`, before it said
/// that none belongs there.
std::size_t tokenBegin(std::string_view text, std::size_t byte, std::string_view said) {
    if (byte == 0 || byte > text.size()) return byte;
    if (said.find("unexpected string literal") != std::string_view::npos && text[byte - 1] == '"') {
        for (std::size_t at = byte - 1; at-- > 0;)
            if (text[at] == '"' && (at == 0 || text[at - 1] != '\\')) return at + 1;
    }
    if (said.find("unexpected number literal") != std::string_view::npos)
        while (byte > 1 && std::strchr("+-.0123456789eE", text[byte - 2]) != nullptr) --byte;
    return byte;
}

/// Why the parser stopped at `byte` (counted from 1), in a person's words. `said`: the parser's
/// own.
std::string reasonOf(std::string_view text, std::size_t byte, std::string_view said) {
    const auto says = [said](const char* words) {
        return said.find(words) != std::string_view::npos;
    };
    const std::size_t at = byte == 0 ? 0 : byte - 1;
    const std::size_t last = text.find_last_not_of(" \t\r\n");
    if (last == std::string_view::npos) return "it is empty";
    if (says("surrogate")) return "half a surrogate pair (\\ud800 to \\udfff) stands alone";
    if (at > last)
        return says("invalid string") ? "it ends inside a string, whose quote is not closed"
                                      : "it ends early: a brace or bracket is not closed";
    const char c = text[at];
    if (says("UTF-8")) return "bytes that are no UTF-8 text";
    if (says("after backslash") || says("'\\u' must be"))
        return "a backslash begins no escape that JSON knows; a backslash itself is written twice";
    if (says("invalid string") && static_cast<unsigned char>(c) < 0x20)
        return c == '\n' || c == '\r' ? "a line break inside a string, or a quote that is not "
                                        "closed; a break is written \\n"
                                      : "a control character inside a string; a tab is written \\t";
    if (c == '\'') return "a single quote; strings need double quotes";
    if (text.substr(at).starts_with("\xE2\x80"))
        return "a curly quote; strings need straight double quotes";
    const std::size_t before =
        at == 0 ? std::string_view::npos : text.find_last_not_of(" \t\r\n", at - 1);
    if ((c == '}' || c == ']') && before != std::string_view::npos && text[before] == ',')
        return std::string("a comma before the closing ") + (c == '}' ? "brace" : "bracket");
    std::size_t begin = at;
    while (begin > 0 && isLetter(text[begin - 1])) --begin;
    std::size_t end = begin;
    while (end < text.size() && isLetter(text[end])) ++end;
    const std::string word(text.substr(begin, end - begin));
    if (word == "None" || word == "True" || word == "False")
        return "Python's " + word + ", which JSON writes " +
               (word == "None"   ? "null"
                : word == "True" ? "true"
                                 : "false");
    if (word == "NaN" || word == "nan" || word == "Infinity" || word == "inf" ||
        word == "undefined")
        return "\"" + word + "\", which JSON has no number for";
    if (says("parsing object key"))
        return word.empty() ? "a key in double quotes is missing here"
                            : "the key \"" + word.substr(0, 40) + "\" has no double quotes";
    if (says("expected end of input")) return "more follows behind its end";
    if (says("parsing object separator") || says("expected ':'")) return "a colon is missing here";
    if ((c == '"' || c == '{' || c == '[') &&
        (says("while parsing object") || says("while parsing array")))
        return "a comma is missing here";
    if (c == '/' || c == '#') return "a comment, which JSON does not have";
    if (!word.empty()) return "the word \"" + word.substr(0, 40) + "\" has no double quotes";
    return static_cast<unsigned char>(c) >= 0x20 && static_cast<unsigned char>(c) < 0x7F
               ? std::string("\"") + c + "\" is not expected here"
               : "an unexpected byte";
}

/// `text` with what only Python reads spelt so that the parser reads it: numbers that are not
/// finite as strings that begin with `marker`, which the text does not hold.
struct Respelt {
    std::string text;
    std::string marker;
    std::vector<std::pair<std::size_t, std::size_t>>
        longer;  ///< behind this byte of `text`, so many more than in the original

    std::size_t original(std::size_t byte) const {
        std::size_t added = 0;
        for (const auto& [from, more] : longer)
            if (byte > from) added = more;
        return byte - std::min(byte, added);
    }
};

bool isSurrogate(std::string_view text, std::size_t at, char low, char high) {
    if (at + 6 > text.size() || text[at] != '\\' || text[at + 1] != 'u' ||
        (text[at + 2] | 0x20) != 'd')
        return false;
    const char c = static_cast<char>(text[at + 3] | 0x20);
    return c >= low && c <= high && std::isxdigit(static_cast<unsigned char>(text[at + 4])) &&
           std::isxdigit(static_cast<unsigned char>(text[at + 5]));
}
bool isHighSurrogate(std::string_view text, std::size_t at) {
    return isSurrogate(text, at, '8', '9') || isSurrogate(text, at, 'a', 'b');
}
bool isLowSurrogate(std::string_view text, std::size_t at) {
    return isSurrogate(text, at, 'c', 'f');
}

/// The number at `at` when it is one of Python's that are not finite, or beyond a double: its
/// length; 0 otherwise.
std::size_t nonFiniteAt(std::string_view text, std::size_t at, const char*& name) {
    for (const auto& [word, meaning] :
         {std::pair{"NaN", "nan"}, {"Infinity", "inf"}, {"-Infinity", "-inf"}})
        if (text.substr(at).starts_with(word) &&
            (at + std::strlen(word) == text.size() || !isLetter(text[at + std::strlen(word)]))) {
            name = meaning;
            return std::strlen(word);
        }
    if (text[at] != '-' && (text[at] < '0' || text[at] > '9')) return 0;
    const std::size_t end = std::min(text.find_first_not_of("+-.0123456789eE", at), text.size());
    double value = 0;
    const auto [stop, error] = std::from_chars(text.data() + at, text.data() + end, value);
    if (error != std::errc::result_out_of_range || stop != text.data() + end) return 0;
    // Out of range is too small as well: that is 0, and the parser reads it.
    const std::string_view number = text.substr(at, end - at);
    const std::size_t digit = number.find_first_not_of("-0.");
    if (number.find("e-") != std::string_view::npos ||
        number.find("E-") != std::string_view::npos ||
        (digit != std::string_view::npos && number.find('.') < digit))
        return 0;
    name = text[at] == '-' ? "-inf" : "inf";
    return end - at;
}

Respelt respelt(std::string_view text) {
    Respelt result;
    result.marker = "number:";
    while (text.find(result.marker) != std::string_view::npos) result.marker += ':';
    bool isString = false;
    std::size_t more = 0;
    for (std::size_t i = 0; i < text.size();) {
        const char c = text[i];
        if (isString && c == '\\') {
            const bool isPair = isHighSurrogate(text, i) && isLowSurrogate(text, i + 6);
            const std::size_t length =
                std::min<std::size_t>(isPair                                                ? 12
                                      : isHighSurrogate(text, i) || isLowSurrogate(text, i) ? 6
                                                                                            : 2,
                                      text.size() - i);
            result.text += length == 6 ? std::string_view("\\ufffd") : text.substr(i, length);
            i += length;
            continue;
        }
        if (c == '"') isString = !isString;
        const char* name = nullptr;
        const bool isBegin = i == 0 || std::strchr(" \t\r\n[,:", text[i - 1]) != nullptr;
        if (const std::size_t length = isString || !isBegin ? 0 : nonFiniteAt(text, i, name);
            length > 0) {
            const std::string spelling = "\"" + result.marker + name + "\"";
            result.text += spelling;
            more += spelling.size() - std::min(spelling.size(), length);
            result.longer.emplace_back(result.text.size(), more);
            i += length;
            continue;
        }
        result.text += c;
        ++i;
    }
    return result;
}

std::size_t editDistance(const std::string& a, const std::string& b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = row[j];
            row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
        }
    }
    return row.back();
}

}  // namespace

namespace {

enum class JsonNumbers { Finite, AsPython };

Result<Json> parsed(std::string_view text, const std::string& name, JsonComments comments,
                    JsonNumbers numbers) {
    Respelt other;
    const auto read = [&](std::string_view document) -> Result<Json> {
        const Json::parser_callback_t guard = [&other](int depth, Json::parse_event_t event,
                                                       Json& found) {
            if (depth > kMaxDepth) throw std::length_error("depth");
            if (event == Json::parse_event_t::value && !other.marker.empty() && found.is_string())
                if (const std::string& spelling = found.get_ref<const std::string&>();
                    spelling.starts_with(other.marker))
                    found = std::strtod(spelling.c_str() + other.marker.size(), nullptr);
            return true;
        };
        try {
            return Json::parse(document, guard, true, comments == JsonComments::Allowed);
        } catch (const Json::parse_error& error) {
            const std::size_t found = tokenBegin(document, error.byte, error.what());
            const std::size_t byte = other.original(found);
            return Problem{
                "json_syntax",
                name + " is not valid JSON at " + positionOf(text, byte) + ": " +
                    reasonOf(document, found, error.what()) + ".",
                "Correct the text there; strings need double quotes and lists no trailing comma.",
                name};
        } catch (const Json::out_of_range&) {
            return Problem{"json_number", name + " holds a number that no 64-bit float can hold.",
                           "Numbers lie within 1.8e308 of 0.", name};
        } catch (const Json::exception&) {
            return Problem{"json_syntax", name + " cannot be read as JSON.",
                           "Use a file written by a known tool.", name};
        } catch (const std::length_error&) {
            return Problem{"json_depth",
                           name + " nests deeper than " + std::to_string(kMaxDepth) + " levels.",
                           "Use a file written by a known tool.", name};
        }
    };
    Result<Json> value = read(text);
    if (value || numbers == JsonNumbers::Finite || value.problem().code == "json_depth")
        return value;
    other = respelt(text);
    return other.text == text ? value : read(other.text);
}

}  // namespace

Result<Json> parseJson(std::string_view text, const std::string& name, JsonComments comments) {
    return parsed(text, name, comments, JsonNumbers::Finite);
}

Result<Json> parsePythonJson(std::string_view text, const std::string& name) {
    return parsed(text, name, JsonComments::Forbidden, JsonNumbers::AsPython);
}

Result<Json> readJsonFile(const std::filesystem::path& path, std::size_t maxBytes,
                          JsonComments comments) {
    std::error_code code;
    const auto size = std::filesystem::file_size(path, code);
    if (code) {
        return Problem{"file_missing", path.string() + " does not exist or is not a file.",
                       "Check the path.", path.string()};
    }
    if (!std::filesystem::is_regular_file(path, code)) {
        return Problem{
            "file_unreadable",
            path.string() + " is no plain file, but a folder, a pipe, a socket or a device.",
            "Choose a file.", path.string()};
    }
    if (size > maxBytes) {
        return Problem{"file_too_large",
                       path.string() + " has " + std::to_string(size) + " bytes; at most " +
                           std::to_string(maxBytes) + " are accepted for this kind of file.",
                       "", path.string()};
    }
    errno = 0;
    std::ifstream stream(path, std::ios::binary);
    std::string text(static_cast<std::size_t>(size), '\0');
    if (!stream.read(text.data(), static_cast<std::streamsize>(size)))
        return unreadable(path, errno);
    return parseJson(text, path.string(), comments);
}

void setNumber(Json& object, const std::string& key, double value) {
    if (std::isfinite(value)) {
        object[key] = value;
        return;
    }
    object[key] = nullptr;
    object[key + "_state"] = std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

double numberOr(const Json& object, const std::string& key, double fallback) {
    const auto found = object.find(key);
    if (found == object.end()) return fallback;
    if (found->is_number()) return found->get<double>();
    const auto state = object.find(key + "_state");
    if (state == object.end() || !state->is_string()) return fallback;
    if (*state == "nan") return std::numeric_limits<double>::quiet_NaN();
    const double infinity = std::numeric_limits<double>::infinity();
    return *state == "-inf" ? -infinity : infinity;
}

std::string dumpLine(const Json& value) {
    return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string nearestName(const std::string& name, const std::vector<std::string>& known) {
    std::string best;
    std::size_t bestDistance = std::max<std::size_t>(2, name.size() / 3) + 1;
    for (const std::string& candidate : known) {
        const std::size_t distance = editDistance(name, candidate);
        if (distance < bestDistance) {
            bestDistance = distance;
            best = candidate;
        }
    }
    return best;
}

}  // namespace luthier
