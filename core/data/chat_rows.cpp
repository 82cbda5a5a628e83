// SPDX-License-Identifier: Apache-2.0
#include "data/chat_rows.h"

#include "data/row_parts.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <set>

namespace luthier {

namespace {

constexpr std::array<const char*, 3> kMessageKeys{"messages", "conversations", "conversation"};
constexpr std::array<const char*, 2> kSystemKeys{"system", "system_prompt"};

/// "weight": 0 (OpenAI's files) or "train": false (Axolotl's) of an answer.
bool isMuted(const Json& message) {
    const auto weight = message.find("weight");
    const auto train = message.find("train");
    return (weight != message.end() &&
            ((weight->is_number() && weight->get<double>() == 0) || *weight == Json(false))) ||
           (train != message.end() && (*train == Json(false) || *train == Json(0)));
}

bool isEmpty(const Json& value) {
    return value.is_null() ||
           (value.is_string() && trimmed(value.get_ref<const std::string&>()).empty()) ||
           ((value.is_array() || value.is_object()) && value.empty());
}

bool isToolCall(const Json& message) {
    return !isEmpty(message.value("tool_calls", Json())) ||
           !isEmpty(message.value("function_call", Json()));
}

/// The content as text where no template is used: a text, a number, or a list of texts.
std::string contentText(const Json& message) {
    const Json content = message.value("content", Json());
    if (content.is_string()) return content;
    if (content.is_number() || content.is_boolean()) return content.dump();
    std::string text;
    if (content.is_array())
        for (const Json& piece : content)
            if (piece.is_object() && piece.contains("text") && piece["text"].is_string())
                text += piece["text"].get<std::string>();
    return text;
}

/// What contentText would leave out.
Result<void> checkPlainContent(const Json& messages, const std::string& place) {
    for (const Json& message : messages) {
        const Json content = message.value("content", Json());
        const auto isText = [](const Json& piece) {
            return piece.is_object() && piece.contains("text") && piece["text"].is_string();
        };
        if (content.is_object() ||
            (content.is_array() && !std::all_of(content.begin(), content.end(), isText)))
            return wrongType(place, "the content of a message is neither text nor a list of texts",
                             "Give texts, or a model whose chat template reads such content.");
    }
    return {};
}

/// Plain words for models without a chat template.
std::vector<Part> plainChat(const Json& messages) {
    std::vector<Part> parts;
    for (const Json& message : messages) {
        const std::string role = message["role"];
        const bool isAnswer = role == "assistant";
        const std::string head = isAnswer ? "Assistant:" : role == "system" ? "" : "User: ";
        parts.push_back(
            {head + (isAnswer ? "" : contentText(message) + "\n"), false, TextOrigin::Data});
        if (isAnswer)
            parts.push_back(
                {" " + contentText(message) + "\n", true, TextOrigin::Data, isMuted(message)});
    }
    return parts;
}

std::string chatml(const Json& messages, bool withGenerationPrompt) {
    std::string text;
    for (const Json& message : messages)
        text += "<|im_start|>" + message["role"].get<std::string>() + "\n" + contentText(message) +
                "<|im_end|>\n";
    return withGenerationPrompt ? text + "<|im_start|>assistant\n" : text;
}

/// Of the answers the last one; one that is muted is not replaced by an earlier one.
void learnOnlyLast(std::vector<Part>& parts) {
    auto last =
        std::find_if(parts.rbegin(), parts.rend(), [](const Part& part) { return part.isLearned; });
    if (last == parts.rend()) return;
    for (auto part = last + 1; part != parts.rend(); ++part) part->isLearned = false;
}

/// Renders ever longer prefixes of the chat: what an answer adds behind its generation prompt is
/// the answer.
template <class Render>
Result<std::vector<Part>> templateChat(const Json& messages, const Render& render,
                                       bool& isUncertain) {
    Result<std::string> whole = render(messages, false);
    if (!whole) return whole.problems();
    std::vector<Part> parts;
    std::string done;
    Json prefix = Json::array();
    for (std::size_t i = 0; i < messages.size(); ++i) {
        const bool isAnswer = messages[i]["role"] == "assistant";
        if (!isAnswer) {
            prefix.push_back(messages[i]);
            continue;
        }
        Result<std::string> before = render(prefix, true);
        prefix.push_back(messages[i]);
        Result<std::string> after = i + 1 == messages.size() ? whole : render(prefix, false);
        if (!before) return before.problems();
        if (!after) return after.problems();
        // Some templates drop what they rendered before (thoughts of earlier turns): then only the
        // last answer has a sure place.
        const bool fits = after->rfind(*before, 0) == 0 && before->rfind(done, 0) == 0 &&
                          whole->rfind(*after, 0) == 0;
        if (!fits) {
            isUncertain = true;
            continue;
        }
        parts.push_back({before->substr(done.size()), false, TextOrigin::Template});
        parts.push_back(
            {after->substr(before->size()), true, TextOrigin::Template, isMuted(messages[i])});
        done = *after;
    }
    if (whole->size() > done.size())
        parts.push_back({whole->substr(done.size()), false, TextOrigin::Template});
    return parts;
}

/// The parts that a template's own generation blocks mark; empty when it has none.
std::vector<Part> markedChat(const std::string& text) {
    constexpr std::string_view kOpen = "\xEF\xB7\x90", kClose = "\xEF\xB7\x91";
    std::vector<Part> parts;
    std::size_t at = 0;
    for (std::size_t open = text.find(kOpen); open != std::string::npos;
         open = text.find(kOpen, at)) {
        const std::size_t close = text.find(kClose, open);
        if (close == std::string::npos) break;
        parts.push_back({text.substr(at, open - at), false, TextOrigin::Template});
        parts.push_back({text.substr(open + kOpen.size(), close - open - kOpen.size()), true,
                         TextOrigin::Template});
        at = close + kClose.size();
    }
    if (!parts.empty()) parts.push_back({text.substr(at), false, TextOrigin::Template});
    return parts;
}

/// The parts that carry loss are answers in their order; generation blocks of another count cannot
/// be told apart.
bool muteBlocks(std::vector<Part>& parts, const Json& messages) {
    std::vector<bool> muted;
    for (const Json& message : messages)
        if (message["role"] == "assistant") muted.push_back(isMuted(message));
    if (std::none_of(muted.begin(), muted.end(), [](bool is) { return is; })) return true;
    if (std::count_if(parts.begin(), parts.end(), [](const Part& part) {
            return part.isLearned;
        }) != static_cast<std::ptrdiff_t>(muted.size()))
        return false;
    std::size_t next = 0;
    for (Part& part : parts)
        if (part.isLearned) part.isMuted = muted[next++];
    return true;
}

Result<std::vector<Part>> modelChat(const Json& messages, const Json& tools,
                                    const TextEncoder& encoder, bool& isUncertain) {
    const Result<std::string> marked = encoder.renderChatWith(messages, false, tools, true);
    if (!marked) return marked.problems();
    if (std::vector<Part> parts = markedChat(*marked);
        !parts.empty() && muteBlocks(parts, messages))
        return parts;
    return templateChat(
        messages,
        [&](const Json& list, bool prompt) {
            return encoder.renderChatWith(list, prompt, tools, false);
        },
        isUncertain);
}

/// Whether `word` stands in `source` as a name of its own.
bool holdsName(const std::string& source, const std::string& word) {
    const auto isPart = [](char c) {
        return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
    };
    for (std::size_t at = source.find(word); at != std::string::npos;
         at = source.find(word, at + 1)) {
        const std::size_t end = at + word.size();
        if ((at == 0 || !isPart(source[at - 1])) && (end == source.size() || !isPart(source[end])))
            return true;
    }
    return false;
}

}  // namespace

const char* messagesKeyOf(const Json& row) {
    for (const char* key : kMessageKeys)
        if (row.contains(key)) return key;
    return nullptr;
}

Result<Json> messagesOf(const Json& value, const std::string& key, const std::string& place) {
    const Result<Json> list = decoded(value, key, place);
    if (!list) return list.problems();
    if (!list->is_array())
        return badRow(place, "\"" + key + "\" is no list of messages",
                      "Give [{\"role\": …, \"content\": …}, …].");
    if (list->empty())
        return badRow(place, "the list of messages is empty",
                      "Give [{\"role\": …, \"content\": …}, …].");
    Json messages = Json::array();
    for (const Json& item : *list) {
        if (!item.is_object())
            return wrongType(place, "a message is not an object",
                             "Give {\"role\": …, \"content\": …}.");
        const char* roleKey = item.contains("role") ? "role" : "from";
        const char* textKey = item.contains("content") ? "content" : "value";
        const bool isCall =
            item.contains("tool_calls") || item.contains("function_call");  // needs no words
        if (!item.contains(roleKey) || !item[roleKey].is_string() ||
            (!item.contains(textKey) && !isCall))
            return badRow(place, "a message lacks role or content",
                          "Give {\"role\": …, \"content\": …}.");
        std::string role = item[roleKey];
        if (role == "human") role = "user";
        if (role == "gpt" || role == "bot" || role == "model") role = "assistant";
        Json message = item;
        message.erase("from");
        message.erase("value");
        message["role"] = role;
        if (item.contains(textKey)) message["content"] = item[textKey];
        messages.push_back(std::move(message));
    }
    return messages;
}

Result<Surroundings> surroundingsOf(const Json& row, const std::string& place) {
    Surroundings around;
    for (const char* key : kSystemKeys)
        if (const auto found = row.find(key); around.systemKey == nullptr && found != row.end() &&
                                              found->is_string() && !isEmpty(*found)) {
            around.systemKey = key;
            around.system = *found;
        }
    if (const auto history = row.find("history"); history != row.end() && !isEmpty(*history)) {
        const Result<Json> turns = decoded(*history, "history", place);
        if (!turns) return turns.problems();
        for (const Json& turn : *turns) {
            if (!turn.is_array() || turn.size() != 2 || !turn[0].is_string() ||
                !turn[1].is_string())
                return wrongType(place,
                                 "\"history\" is not a list of pairs of a question and its answer",
                                 "Give [[\"question\", \"answer\"], …].");
            around.history.emplace_back(turn[0], turn[1]);
        }
    }
    // OpenAI's older files call the same list "functions", without the wrapping.
    for (const char* key : {"tools", "functions"}) {
        const auto found = row.find(key);
        if (around.toolsKey != nullptr || found == row.end() || isEmpty(*found)) continue;
        const Result<Json> list = decoded(*found, key, place);
        if (!list) return list.problems();
        if (!list->is_array())
            return wrongType(place, "\"" + std::string(key) + "\" is not a list",
                             "Give a list of functions.");
        if (list->empty()) continue;
        around.toolsKey = key;
        around.tools = Json::array();
        for (const Json& tool : *list)
            around.tools.push_back(std::string_view(key) == "functions" && tool.is_object() &&
                                           !tool.contains("function")
                                       ? Json{{"type", "function"}, {"function", tool}}
                                       : tool);
    }
    return around;
}

Json withSurroundings(Json messages, const Surroundings& around) {
    Json whole = Json::array();
    const bool hasSystem = !messages.empty() && messages[0]["role"] == "system";
    if (hasSystem)
        whole.push_back(messages[0]);
    else if (around.systemKey != nullptr)
        whole.push_back({{"role", "system"}, {"content", around.system}});
    for (const auto& [question, answer] : around.history) {
        whole.push_back({{"role", "user"}, {"content", question}});
        whole.push_back({{"role", "assistant"}, {"content", answer}});
    }
    for (std::size_t i = hasSystem ? 1 : 0; i < messages.size(); ++i)
        whole.push_back(std::move(messages[i]));
    return whole;
}

bool usesModelTemplate(const MappingOptions& options, const TextEncoder& encoder) {
    return options.chatTemplate == "model" ||
           (options.chatTemplate == "auto" && encoder.hasChatTemplate());
}

Result<MappedRow> mapChat(const Json& messages, const Json& tools, const MappingOptions& options,
                          const TextEncoder& encoder, const std::string& place) {
    if (options.chatTemplate == "model" && !encoder.hasChatTemplate())
        return Problem{"template_missing",
                       "data.template is \"model\", but the model has no chat template.",
                       "Choose \"plain\" or \"chatml\".", "data.template", ExitCode::BadUsage};
    bool isUncertain = false;
    Ends ends = Ends::InText;
    Result<std::vector<Part>> parts = std::vector<Part>{};
    if (usesModelTemplate(options, encoder)) {
        parts = modelChat(messages, tools, encoder, isUncertain);
    } else {
        if (Result<void> plain = checkPlainContent(messages, place); !plain)
            return plain.problems();
        if (options.chatTemplate == "chatml") {
            parts = templateChat(
                messages,
                [](const Json& list, bool prompt) {
                    return Result<std::string>(chatml(list, prompt));
                },
                isUncertain);
        } else {
            parts = plainChat(messages);
            ends = Ends::Added;
        }
    }
    if (!parts) {
        Problems problems = parts.problems();
        for (Problem& problem : problems) problem.message = "In " + place + ": " + problem.message;
        return problems;
    }
    if (options.lossOn == LossOn::Completion) learnOnlyLast(*parts);
    for (Part& part : *parts) part.isLearned = part.isLearned && !part.isMuted;
    MappedRow row = encodeParts(*parts, ends, options, encoder);
    row.isMaskUncertain = isUncertain;
    const Json& last = messages.back();
    row.isAnswerEmpty =
        last["role"] == "assistant" && isEmpty(last.value("content", Json())) && !isToolCall(last);
    return row;
}

std::vector<std::string> unusedMessageKeys(const Json& messages, const MappingOptions& options,
                                           const TextEncoder& encoder) {
    const bool isModels = usesModelTemplate(options, encoder);
    const std::string source = isModels ? encoder.chatTemplate() : std::string();
    std::set<std::string> unused;
    for (const Json& message : messages)
        for (const auto& [key, value] : message.items()) {
            if (key == "role" || key == "content" || isEmpty(value)) continue;
            const bool isAnswer = message["role"] == "assistant";
            if (key == "weight" || key == "train") {
                const bool isFollowed =
                    value.is_boolean() || value == Json(0) || value == Json(1) ||
                    (value.is_number_float() && (value == Json(0.0) || value == Json(1.0)));
                const bool isOn = value.is_boolean() ? value.get<bool>() : value != Json(0);
                if (!isFollowed || (!isAnswer && isOn))
                    unused.insert(key);  // loss on what others say is not taken
                continue;
            }
            // Templates know thoughts by several names (text/tokenizer.cpp).
            const bool isThought =
                key == "reasoning_content" || key == "thinking" || key == "reasoning";
            const bool isRead =
                isModels && (source.empty() || holdsName(source, key) ||
                             (isThought && (holdsName(source, "reasoning_content") ||
                                            holdsName(source, "thinking"))));
            if (!isRead) unused.insert(key);
        }
    return {unused.begin(), unused.end()};
}

}  // namespace luthier
