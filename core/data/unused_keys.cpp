// SPDX-License-Identifier: Apache-2.0
// Which keys of a row its mapping reads, format by format, so that the others can be named.
// tests/data/unused_keys_test.cpp holds this against what changes the tokens.
#include "data/row_format.h"

#include "data/chat_rows.h"
#include "data/choices.h"
#include "data/labels.h"
#include "data/sentence_pair.h"

#include <algorithm>
#include <cctype>
#include <set>

namespace luthier {

namespace {

bool saysNothing(const Json& value) {
    return value.is_null() ||
           (value.is_string() && trimmed(value.get_ref<const std::string&>()).empty()) ||
           ((value.is_array() || value.is_object()) && value.empty());
}

bool holdsWord(const std::string& text, const std::string& word) {
    const auto isPart = [](char c) {
        return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
    };
    for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1))
        if ((at == 0 || !isPart(text[at - 1])) &&
            (at + word.size() == text.size() || !isPart(text[at + word.size()])))
            return true;
    return false;
}

/// What chats, pairs and instructions read beside their own keys.
void addSurroundings(std::set<std::string>& used, const Json& row, bool isTemplate,
                     bool beginsWithSystem, const MappingOptions& options,
                     const TextEncoder& encoder) {
    const Result<Surroundings> around = surroundingsOf(row, "");
    if (!around) return;
    if (around->systemKey != nullptr && !beginsWithSystem) used.insert(around->systemKey);
    if (!around->history.empty()) used.insert("history");
    const std::string source = encoder.chatTemplate();
    if (around->toolsKey != nullptr && isTemplate && usesModelTemplate(options, encoder) &&
        (source.empty() || holdsWord(source, "tools")))
        used.insert(around->toolsKey);
}

struct KeyUse {
    std::set<std::string> used;
    Json messages;  ///< of a chat
};

KeyUse keysOf(const Json& row, RowFormat format, const MappingOptions& options,
              const TextEncoder& encoder) {
    KeyUse use;
    const auto add = [&use](const char* key) {
        if (key != nullptr) use.used.insert(key);
    };
    const bool isClass = options.task == RowTask::Classification;
    switch (format) {
        case RowFormat::Custom:
            break;  // by its text, below
        case RowFormat::Tokenized:
            for (const char* key : {"input_ids", "attention_mask", "token_type_ids"}) add(key);
            add(isClass ? classKeyIn(row) : "labels");
            break;
        case RowFormat::Text:
            add(textKeyOf(row));
            break;
        case RowFormat::Classification:
            if (const SentencePairKeys* pair = sentencePairOf(row); pair != nullptr) {
                add(pair->first);
                add(pair->second);
            } else {
                add(textKeyOf(row));
            }
            add(classKeyIn(row));
            break;
        case RowFormat::Choices:
            for (const char* key : choicesKeys(row)) add(key);
            break;
        case RowFormat::Alpaca:
            for (const char* key : {"instruction", "input"}) add(key);
            add(row.contains("output") ? "output" : "response");
            addSurroundings(use.used, row, options.chatTemplate == "model", false, options,
                            encoder);
            break;
        case RowFormat::PromptCompletion: {
            const auto [prompt, answer] = pairKeysOf(row);
            add(prompt);
            add(answer);
            const bool isChat = prompt != nullptr && row[prompt].is_array();
            if (isChat) use.messages = textsOf(row, format).messages;
            addSurroundings(use.used, row, isChat || options.chatTemplate == "model",
                            isChat && !use.messages.empty() && use.messages[0]["role"] == "system",
                            options, encoder);
            break;
        }
        case RowFormat::Chat:
            add(messagesKeyOf(row));
            use.messages = textsOf(row, format).messages;
            addSurroundings(use.used, row, true,
                            use.messages.is_array() && !use.messages.empty() &&
                                use.messages[0]["role"] == "system",
                            options, encoder);
            break;
    }
    return use;
}

/// A text that stands in the messages as well.
bool isRepeated(const Json& value, const Json& messages) {
    if (!value.is_string() || !messages.is_array()) return false;
    const std::string_view text = trimmed(value.get_ref<const std::string&>());
    return std::any_of(messages.begin(), messages.end(), [text](const Json& message) {
        const auto content = message.find("content");
        return content != message.end() && content->is_string() &&
               content->get_ref<const std::string&>().find(text) != std::string::npos;
    });
}

}  // namespace

std::vector<std::string> unusedKeys(const Json& row, RowFormat format,
                                    const MappingOptions& options, const TextEncoder& encoder) {
    const KeyUse use = keysOf(row, format, options, encoder);
    std::vector<std::string> unused;
    for (const auto& [key, value] : row.items()) {
        const bool isUsed = format == RowFormat::Custom ? holdsWord(options.templateText, key)
                                                        : use.used.contains(key);
        if (!isUsed && !saysNothing(value) && !isRepeated(value, use.messages))
            unused.push_back(key);
    }
    if (use.messages.is_array())
        for (const std::string& key : unusedMessageKeys(use.messages, options, encoder))
            unused.push_back("messages[]." + key);
    return unused;
}

}  // namespace luthier
