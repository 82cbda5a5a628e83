// SPDX-License-Identifier: Apache-2.0
#pragma once
// How a text is cut before merging: llama.cpp's names of the rules, and the steps that a
// tokenizer.json spells them out by.

#include "contract/json.h"

#include <optional>
#include <string>
#include <vector>

namespace luthier {

struct SplitRule {
    nlohmann::json preTokenizer;
    bool prefersWholeWords =
        false;  ///< a word that is a token is not put together by merges (ignore_merges)
    bool beginsTexts = false;
    bool isComposed = false;  ///< texts are brought into Unicode's form C first
};

/// What llama.cpp's name of a rule stands for; nothing where Luthier cannot spell it out.
std::optional<SplitRule> splitting(const std::string& name);

/// llama.cpp's name for a tokenizer.json's pre_tokenizer; empty when it has none.
std::string preTokenizerOf(const nlohmann::json& rule);

/// The steps of a pre-tokenizer or normalizer, a sequence flattened.
std::vector<nlohmann::json> stepsOf(const nlohmann::json& rule);

nlohmann::json byteLevel(bool usesRule);

}  // namespace luthier
