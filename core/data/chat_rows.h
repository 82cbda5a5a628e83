// SPDX-License-Identifier: Apache-2.0
#pragma once
// Conversations as rows: messages under the names that people's files give them, what stands beside
// them (a system prompt, tools, earlier turns), and how they become text: the model's chat
// template, ChatML or plain words. A message with "weight": 0 or "train": false carries no loss.

#include "data/row_format.h"

#include <string>
#include <utility>
#include <vector>

namespace luthier {

/// The key of a row's messages; nullptr when it has none.
const char* messagesKeyOf(const Json& row);

/// [{"role", "content", …}, …] of what a row holds under `key`, a list or its JSON text:
/// from/value, human and gpt get their usual names.
Result<Json> messagesOf(const Json& value, const std::string& key, const std::string& place);

/// What a row has beside its question or its messages.
struct Surroundings {
    const char* systemKey = nullptr;  ///< of the row; where the text below comes from
    std::string system;
    std::vector<std::pair<std::string, std::string>> history;  ///< earlier questions and answers
    const char* toolsKey = nullptr;
    Json tools;  ///< null when there are none
};
Result<Surroundings> surroundingsOf(const Json& row, const std::string& place);

/// `messages` behind the system prompt, unless they begin with one, and the earlier turns.
Json withSurroundings(Json messages, const Surroundings& around);

/// Problem codes: bad_row, row_wrong_type, template_missing, template_raised, template_failed,
/// template_limit.
Result<MappedRow> mapChat(const Json& messages, const Json& tools, const MappingOptions& options,
                          const TextEncoder& encoder, const std::string& place);

/// Whether `messages` go through the model's own template.
bool usesModelTemplate(const MappingOptions& options, const TextEncoder& encoder);

/// Keys of messages that neither the mapping nor, where it is used, the model's template reads, and
/// those whose value it cannot follow ("weight": 0.5).
std::vector<std::string> unusedMessageKeys(const Json& messages, const MappingOptions& options,
                                           const TextEncoder& encoder);

}  // namespace luthier
