// SPDX-License-Identifier: Apache-2.0
#pragma once
// The stretches of text that a row becomes before it becomes tokens, and what all formats of rows
// share in reading a row's values. For the formats only; others use row_format.h.

#include "data/row_format.h"

#include <string>
#include <vector>

namespace luthier {

/// A stretch of a row's text, and whether it carries loss.
struct Part {
    std::string text;
    bool isLearned = false;
    TextOrigin origin = TextOrigin::Data;
    bool isMuted = false;  ///< carries no loss whatever data.loss_on says: the row asks for that
};

enum class Ends { Added, InText };

/// What is read and what is written, each as the tokenizer ends a text.
MappedRow encodeApart(const std::vector<Part>& parts, const TextEncoder& encoder);
MappedRow encodeParts(const std::vector<Part>& parts, Ends ends, const MappingOptions& options,
                      const TextEncoder& encoder);

/// The text under `key`; numbers and booleans as JSON spells them, null as "". What Python's NaN
/// stands for is missing.
Result<std::string> textOf(const Json& row, const char* key, const std::string& place);

/// A list or object, also where the file holds its JSON text, as tables do. Problem: row_wrong_type
/// for text that is something else; null for any other value.
Result<Json> decoded(const Json& value, const std::string& key, const std::string& place);

}  // namespace luthier
