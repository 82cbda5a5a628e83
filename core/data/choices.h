// SPDX-License-Identifier: Apache-2.0
#pragma once
// Rows with a question, several answers and which one is right.
//
//   part        keys
//   input       input, question, prompt, question_stem, text, with context, ctx, article or passage
//   before it or alone; input_ids choices     choices, options, answer_choices, endings: a list of
//   texts (with input_ids: of id lists), or {"text": [..], "label": [..]} answer      answer,
//   label, answer_index, answer_idx, answerKey, gold, correct: an index from 0, the answer's text,
//   its label or its letter

#include "data/row_format.h"

namespace luthier {

/// Whether `row` has choices and says which one is right.
bool looksLikeChoices(const Json& row);

/// The row with its right answer, as mapRow makes a prompt and a completion, and beside it the
/// tokens of every choice with its end token. Choices are learned alone, whatever data.loss_on
/// says. Problem code: bad_row, template_failed.
Result<MappedRow> mapChoices(const Json& row, const MappingOptions& options,
                             const TextEncoder& encoder, const std::string& place);

/// The row's input and all its choices, a line each.
RowTexts choicesTexts(const Json& row);

/// The keys that mapChoices reads of the row; nullptr stands for what it lacks.
std::vector<const char*> choicesKeys(const Json& row);

/// "question + each of choices + end token"
std::string choicesDescription(const Json& row);

}  // namespace luthier
