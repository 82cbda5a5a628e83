// SPDX-License-Identifier: Apache-2.0
#include "io/json_events.h"

#include <utility>

namespace luthier {

Result<void> JsonEvents::read(std::string_view text, const std::string& name,
                              const char* syntaxCode) {
    m_name = name;
    m_syntaxCode = syntaxCode;
    m_depth = 0;
    m_problem.reset();
    // The parser takes a zero byte for the end of the text and would not look at what follows.
    if (const std::size_t zero = text.find('\0'); zero != std::string_view::npos) {
        return Problem{
            syntaxCode,
            "The JSON of " + name + " has a zero byte at byte " + std::to_string(zero) + ".",
            "The file is damaged; download or write it again.", name};
    }
    const bool complete = nlohmann::json::sax_parse(
        text.begin(), text.end(), static_cast<nlohmann::json_sax<nlohmann::json>*>(this));
    if (m_problem) return *m_problem;
    if (!complete)
        return Problem{syntaxCode, "The JSON of " + name + " could not be read.",
                       "Download or write it again.", name};
    return {};
}

bool JsonEvents::go(Stop stop) {
    if (!stop) return true;
    m_problem = std::move(stop);
    return false;
}

bool JsonEvents::value(JsonKind kind, std::uint64_t number, const std::string& text) {
    return go(onValue(m_depth, kind, number, text));
}

bool JsonEvents::open(JsonKind kind) {
    if (m_depth == kMaxDepth) {
        return go(Problem{m_syntaxCode,
                          "The JSON of " + m_name + " nests deeper than " +
                              std::to_string(kMaxDepth) + " levels.",
                          "Use a file written by a known tool.", m_name});
    }
    if (!value(kind)) return false;
    ++m_depth;
    return true;
}

bool JsonEvents::closeOne() {
    --m_depth;
    return go(onClose(m_depth));
}

bool JsonEvents::parse_error(std::size_t position, const std::string&,
                             const nlohmann::json::exception&) {
    return go(
        Problem{m_syntaxCode,
                "The JSON of " + m_name + " is not valid at byte " + std::to_string(position) + ".",
                "The file is damaged or cut short; download or write it again.", m_name});
}

std::string shownName(std::string_view name) {
    constexpr std::size_t kShownBytes = 120;
    std::string shown = "\"";
    for (const char c : name.substr(0, kShownBytes))
        shown += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
    // A character that was cut in the middle is dropped: its bytes are 10xxxxxx after a first one
    // of 11xxxxxx.
    if (name.size() > kShownBytes) {
        while ((static_cast<unsigned char>(shown.back()) & 0xc0u) == 0x80u) shown.pop_back();
        if ((static_cast<unsigned char>(shown.back()) & 0xc0u) == 0xc0u) shown.pop_back();
        shown += "…";
    }
    return shown + "\"";
}

}  // namespace luthier
