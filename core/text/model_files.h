// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the JSON files beside a tokenizer say about it: named control tokens, declared tokens, begin
// and end, chat templates. Only tokenizer.cpp includes this.

#include "text/backend.h"

#include <map>

namespace luthier {

struct ModelFiles {
    Json tokenizerConfig = Json::object();             ///< tokenizer_config.json
    Json specialTokensMap = Json::object();            ///< special_tokens_map.json
    Json generationConfig = Json::object();            ///< generation_config.json
    Json config = Json::object();                      ///< config.json
    Json addedTokens = Json::object();                 ///< added_tokens.json
    std::map<std::string, std::string> chatTemplates;  ///< by name: "default", "tool_use", …

    /// "bos_token" → "<s>"; empty when no file names it. tokenizer_config.json wins.
    std::string namedToken(const std::string& name) const;
    std::vector<DeclaredToken> declaredTokens() const;
    /// "bos_token_id" of generation_config.json, else config.json; one number or a list.
    std::vector<int> ids(const std::string& key) const;
};

/// The variables that transformers gives to a chat template.
inline constexpr const char* kNamedTokens[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                               "pad_token", "cls_token", "mask_token"};

/// Files that are absent count as empty; a file that is there must parse.
Result<ModelFiles> readModelFiles(const std::filesystem::path& folder);

}  // namespace luthier
