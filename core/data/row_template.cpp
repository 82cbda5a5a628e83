// SPDX-License-Identifier: Apache-2.0
#include "data/row_template.h"

#include <string_view>

namespace luthier {

namespace {

constexpr std::string_view kMark = "\xEF\xB7";  // U+FDD0 … U+FDD3 are these bytes and 0x90 … 0x93
enum : char {
    kOpenAnswer = '\x90',
    kCloseAnswer = '\x91',
    kOpenValue = '\x92',
    kCloseValue = '\x93'
};

bool isMarkAt(std::string_view text, std::size_t at) {
    return at + 2 < text.size() && text[at + 2] >= kOpenAnswer && text[at + 2] <= kCloseValue;
}

bool holdsMark(std::string_view text) {
    for (std::size_t at = text.find(kMark); at != std::string_view::npos;
         at = text.find(kMark, at + 1))
        if (isMarkAt(text, at)) return true;
    return false;
}

/// The rendered text without its marks, in stretches that share what they are.
std::vector<TemplatePart> partsOf(std::string_view rendered) {
    std::vector<TemplatePart> parts;
    int answers = 0, values = 0;  // marks nest where the template captures what it wrote
    const auto add = [&](std::string_view text) {
        const TextOrigin origin = values > 0 ? TextOrigin::Data : TextOrigin::Template;
        if (text.empty()) return;
        if (parts.empty() || parts.back().isLearned != (answers > 0) ||
            parts.back().origin != origin)
            parts.push_back({"", answers > 0, origin});
        parts.back().text += text;
    };
    std::size_t done = 0;
    for (std::size_t at = rendered.find(kMark); at != std::string_view::npos;
         at = rendered.find(kMark, at + 1)) {
        if (!isMarkAt(rendered, at)) continue;
        add(rendered.substr(done, at - done));
        const char mark = rendered[at + 2];
        answers += mark == kOpenAnswer ? 1 : mark == kCloseAnswer ? -1 : 0;
        values += mark == kOpenValue ? 1 : mark == kCloseValue ? -1 : 0;
        done = at + 3;
    }
    add(rendered.substr(done));
    return parts;
}

}  // namespace

Result<std::unique_ptr<RowTemplate>> RowTemplate::create(const std::string& text, bool learnsAll,
                                                         const Json& namedTokens) {
    if (text.empty())
        return Problem{"missing_key",
                       "data.template is \"custom\", but data.template_text is empty.",
                       "Write a template, for example \"Question: {{ question }}\\nAnswer:{% "
                       "generation %} {{ answer }}{% endgeneration %}\".",
                       "data.template_text", ExitCode::BadUsage};
    if (!learnsAll && text.find("endgeneration") == std::string::npos)
        return Problem{"template_answer", "data.template_text does not say what is to be learned.",
                       "Put {% generation %} and {% endgeneration %} around the answer, or set "
                       "data.loss_on to \"all\".",
                       "data.template_text", ExitCode::BadUsage};
    return std::unique_ptr<RowTemplate>(new RowTemplate(text, namedTokens));
}

Result<std::vector<TemplatePart>> RowTemplate::render(const Json& row, const std::string& place) {
    Json context{{"row", row}, {"named_tokens", m_namedTokens}};
    const std::string document = dumpLine(context);
    if (holdsMark(document))
        return Problem{
            "bad_row",
            "In " + place +
                ", a text holds one of the characters U+FDD0 to U+FDD3, which no text may use.",
            "Remove it.", place};
    Result<std::string> rendered = m_template.render(document);
    if (rendered) return partsOf(*rendered);
    Problems problems = rendered.problems();
    for (Problem& problem : problems) {
        problem.message = "In " + place + ": " + problem.message;
        problem.field = "data.template_text";
    }
    return problems;
}

}  // namespace luthier
