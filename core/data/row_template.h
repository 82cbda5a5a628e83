// SPDX-License-Identifier: Apache-2.0
#pragma once
// data.template = "custom": a Jinja template that the user writes over the keys of a row
// (data.template_text). What stands between
// {% generation %} and {% endgeneration %} is what the model learns to write, as in chat templates:
//
//     Translate: {{ english }}
//     {% generation %}{{ german }}{% endgeneration %}
//
// Control tokens count where the template itself spells them, or as {{ eos_token }} and its like.
// What a row brings stays text whatever it spells: the bridge puts marks around every value (U+FDD2
// … U+FDD3) and around generation blocks (U+FDD0 … U+FDD1), and rows that hold these noncharacters
// are refused. A key that the row lacks is an error, not an empty text.

#include "data/text_encoder.h"
#include "text/chat_template.h"

#include "contract/json.h"
#include "contract/problem.h"

#include <memory>
#include <string>
#include <vector>

namespace luthier {

struct TemplatePart {
    std::string text;
    bool isLearned = false;
    TextOrigin origin = TextOrigin::Template;
};

class RowTemplate final {
public:
    /// Problem codes: missing_key (no text), template_answer (nothing is marked as learned).
    static Result<std::unique_ptr<RowTemplate>> create(const std::string& text, bool learnsAll,
                                                       const Json& namedTokens);

    /// Problem codes: bad_row, template_raised, template_failed (this row only); template_invalid,
    /// template_limit.
    Result<std::vector<TemplatePart>> render(const Json& row, const std::string& place);

private:
    RowTemplate(const std::string& text, Json namedTokens)
        : m_template(text, TemplateUse::Rows), m_namedTokens(std::move(namedTokens)) {}

    ChatTemplate m_template;
    Json m_namedTokens;
};

}  // namespace luthier
