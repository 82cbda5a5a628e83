// SPDX-License-Identifier: Apache-2.0
#include "contract/problem.h"

namespace luthier {

namespace {

std::string sentence(const Problem& problem) {
    std::string text =
        problem.field.empty() ? problem.message : problem.field + ": " + problem.message;
    if (!problem.hint.empty()) text += " " + problem.hint;
    return text;
}

}  // namespace

std::string describe(const Problems& problems) {
    std::string text;
    for (const Problem& problem : problems) {
        if (!text.empty()) text += '\n';
        text += sentence(problem);
    }
    return text;
}

Failure::Failure(Problem problem) : m_problem(std::move(problem)), m_text(sentence(m_problem)) {}

}  // namespace luthier
