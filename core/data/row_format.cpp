// SPDX-License-Identifier: Apache-2.0
#include "data/row_format.h"

#include "data/choices.h"
#include "data/row_template.h"
#include "data/sentence_pair.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace luthier {

namespace {

constexpr std::array<std::pair<RowFormat, const char*>, 8> kFormatNames{{
    {RowFormat::Tokenized, "tokenized"},
    {RowFormat::Text, "text"},
    {RowFormat::PromptCompletion, "prompt_completion"},
    {RowFormat::Alpaca, "alpaca"},
    {RowFormat::Chat, "chat"},
    {RowFormat::Classification, "classification"},
    {RowFormat::Choices, "choices"},
    {RowFormat::Custom, "custom"},
}};

struct KeyPair {
    const char* prompt;
    const char* answer;
};
constexpr std::array<KeyPair, 8> kPairs{{{"prompt", "completion"}, {"prompt", "response"}, {"prompt", "answer"}, {"prompt", "output"},
                                         {"question", "answer"}, {"question", "response"}, {"input", "output"}, {"input", "target"}}};
constexpr std::array<const char*, 3> kMessageKeys{"messages", "conversations", "conversation"};
constexpr std::array<const char*, 4> kTextKeys{"text", "content", "story", "sentence"};
constexpr std::array<const char*, 3> kClassKeys{"label", "class", "category"};

template <std::size_t N>
const char* firstKey(const Json& row, const std::array<const char*, N>& keys) {
    for (const char* key : keys)
        if (row.contains(key)) return key;
    return nullptr;
}

const KeyPair* pairOf(const Json& row) {
    for (const KeyPair& pair : kPairs)
        if (row.contains(pair.prompt) && row.contains(pair.answer)) return &pair;
    return nullptr;
}

/// A stretch of a row's text, and whether it carries loss.
struct Part {
    std::string text;
    bool isLearned = false;
    TextOrigin origin = TextOrigin::Data;
};

enum class Ends { Added, InText };

/// What is read and what is written, each as the tokenizer ends a text.
MappedRow encodeApart(const std::vector<Part>& parts, const TextEncoder& encoder) {
    std::string source, target;
    for (const Part& part : parts) (part.isLearned ? target : source) += part.text;
    FramedText read = encoder.frame(source, std::nullopt);
    FramedText written = target.empty() ? FramedText{} : encoder.frame(target, std::nullopt);
    MappedRow row;
    row.ids = std::move(read.ids);
    row.parts = std::move(read.parts);
    row.labels = std::move(written.ids);
    row.labelParts = std::move(written.parts);
    return row;
}

/// A token is learned when some byte of it belongs to a learned part. nullopt: the encoder gives no bytes.
std::optional<MappedRow> encodeJoined(const std::vector<Part>& parts, LossOn lossOn, const TextEncoder& encoder) {
    std::string whole;
    std::vector<std::pair<std::size_t, std::size_t>> learned;
    for (const Part& part : parts) {
        if (part.isLearned || lossOn == LossOn::All) learned.emplace_back(whole.size(), whole.size() + part.text.size());
        whole += part.text;
    }
    const std::vector<EncodedSpan> spans = encoder.encodeSpans(whole);
    if (spans.empty()) return std::nullopt;
    MappedRow row;
    for (const EncodedSpan& span : spans) {
        const bool isLearned = std::any_of(learned.begin(), learned.end(), [&](const auto& range) { return span.end > range.first && span.begin < range.second; });
        row.ids.push_back(span.id);
        row.labels.push_back(isLearned ? span.id : kIgnoredLabel);
    }
    return row;
}

MappedRow encodeParts(const std::vector<Part>& parts, Ends ends, const MappingOptions& options, const TextEncoder& encoder) {
    if (options.task == RowTask::Seq2SeqLm) return encodeApart(parts, encoder);
    const LossOn lossOn = options.lossOn;
    // A rendered chat is tokenised as one text, as apply_chat_template does: tokens may depend on what stands before them.
    if (ends == Ends::InText)
        if (std::optional<MappedRow> joined = encodeJoined(parts, lossOn, encoder)) return *joined;
    MappedRow row;
    const auto add = [&row](std::int32_t id, bool isLearned) {
        row.ids.push_back(id);
        row.labels.push_back(isLearned ? id : kIgnoredLabel);
    };
    if (ends == Ends::Added && encoder.begin()) add(*encoder.begin(), false);
    for (const Part& part : parts)
        for (const std::int32_t id : encoder.encode(part.text, part.origin)) add(id, part.isLearned || lossOn == LossOn::All);
    if (ends == Ends::Added && encoder.end()) add(*encoder.end(), true);
    return row;
}

Result<std::string> textOf(const Json& row, const char* key, const std::string& place) {
    const auto found = row.find(key);
    if (found == row.end()) {
        std::string keys;
        for (const auto& [name, value] : row.items()) keys += (keys.empty() ? "" : ", ") + name;
        return badRow(place, "the key \"" + std::string(key) + "\" is missing", "It has: " + keys + ".");
    }
    if (found->is_string()) return found->get<std::string>();
    if (found->is_number() || found->is_boolean()) return found->dump();
    if (found->is_null()) return std::string();
    return wrongType(place, "\"" + std::string(key) + "\" is not text", "Give a string.");
}

std::string alpacaPrompt(const std::string& instruction, const std::string& input) {
    if (input.empty())
        return "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
               "### Instruction:\n" + instruction + "\n\n### Response:\n";
    return "Below is an instruction that describes a task, paired with an input that provides further context. Write a response that "
           "appropriately completes the request.\n\n### Instruction:\n" + instruction + "\n\n### Input:\n" + input + "\n\n### Response:\n";
}

Result<Json> messagesOf(const Json& list, const std::string& place) {
    if (!list.is_array() || list.empty()) return badRow(place, "the list of messages is empty", "Give [{\"role\": …, \"content\": …}, …].");
    Json messages = Json::array();
    for (const Json& item : list) {
        if (!item.is_object()) return wrongType(place, "a message is not an object", "Give {\"role\": …, \"content\": …}.");
        const char* roleKey = item.contains("role") ? "role" : "from";
        const char* textKey = item.contains("content") ? "content" : "value";
        const bool isCall = item.contains("tool_calls") || item.contains("function_call");  // needs no words
        if (!item.contains(roleKey) || !item[roleKey].is_string() || (!item.contains(textKey) && !isCall))
            return badRow(place, "a message lacks role or content", "Give {\"role\": …, \"content\": …}.");
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

/// The row's tools, given as a list or as its JSON text; null when there are none.
Json toolsOf(const Json& row) {
    const auto found = row.find("tools");
    if (found == row.end()) return nullptr;
    if (found->is_array() && !found->empty()) return *found;
    if (!found->is_string()) return nullptr;
    const Result<Json> parsed = parseJson(found->get_ref<const std::string&>(), "tools");
    return parsed && parsed->is_array() && !parsed->empty() ? *parsed : Json(nullptr);
}

std::string contentText(const Json& message) {
    const Json content = message.value("content", Json());
    if (content.is_string()) return content;
    std::string text;
    if (content.is_array())
        for (const Json& piece : content)
            if (piece.is_object() && piece.contains("text") && piece["text"].is_string()) text += piece["text"].get<std::string>();
    return text;
}

/// Plain words for models without a chat template.
std::vector<Part> plainChat(const Json& messages) {
    std::vector<Part> parts;
    for (const Json& message : messages) {
        const std::string role = message["role"];
        const bool isAnswer = role == "assistant";
        const std::string head = isAnswer ? "Assistant:" : role == "system" ? "" : "User: ";
        parts.push_back({head + (isAnswer ? "" : contentText(message) + "\n"), false, TextOrigin::Data});
        if (isAnswer) parts.push_back({" " + contentText(message) + "\n", true, TextOrigin::Data});
    }
    return parts;
}

std::string chatml(const Json& messages, bool withGenerationPrompt) {
    std::string text;
    for (const Json& message : messages)
        text += "<|im_start|>" + message["role"].get<std::string>() + "\n" + contentText(message) + "<|im_end|>\n";
    return withGenerationPrompt ? text + "<|im_start|>assistant\n" : text;
}

void learnOnlyLast(std::vector<Part>& parts) {
    auto last = std::find_if(parts.rbegin(), parts.rend(), [](const Part& part) { return part.isLearned; });
    if (last == parts.rend()) return;
    for (auto part = last + 1; part != parts.rend(); ++part) part->isLearned = false;
}

/// Renders ever longer prefixes of the chat: what an answer adds behind its generation prompt is the answer.
template <class Render>
Result<std::vector<Part>> templateChat(const Json& messages, const Render& render, bool& isUncertain) {
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
        // Some templates drop what they rendered before (thoughts of earlier turns): then only the last answer has a sure place.
        const bool fits = after->rfind(*before, 0) == 0 && before->rfind(done, 0) == 0 && whole->rfind(*after, 0) == 0;
        if (!fits) {
            isUncertain = true;
            continue;
        }
        parts.push_back({before->substr(done.size()), false, TextOrigin::Template});
        parts.push_back({after->substr(before->size()), true, TextOrigin::Template});
        done = *after;
    }
    if (whole->size() > done.size()) parts.push_back({whole->substr(done.size()), false, TextOrigin::Template});
    return parts;
}

/// The parts that a template's own generation blocks mark; empty when it has none.
std::vector<Part> markedChat(const std::string& text) {
    constexpr std::string_view kOpen = "\xEF\xB7\x90", kClose = "\xEF\xB7\x91";
    std::vector<Part> parts;
    std::size_t at = 0;
    for (std::size_t open = text.find(kOpen); open != std::string::npos; open = text.find(kOpen, at)) {
        const std::size_t close = text.find(kClose, open);
        if (close == std::string::npos) break;
        parts.push_back({text.substr(at, open - at), false, TextOrigin::Template});
        parts.push_back({text.substr(open + kOpen.size(), close - open - kOpen.size()), true, TextOrigin::Template});
        at = close + kClose.size();
    }
    if (!parts.empty()) parts.push_back({text.substr(at), false, TextOrigin::Template});
    return parts;
}

Result<std::vector<Part>> modelChat(const Json& messages, const Json& tools, const TextEncoder& encoder, bool& isUncertain) {
    const Result<std::string> marked = encoder.renderChatWith(messages, false, tools, true);
    if (!marked) return marked.problems();
    if (std::vector<Part> parts = markedChat(*marked); !parts.empty()) return parts;
    return templateChat(messages, [&](const Json& list, bool prompt) { return encoder.renderChatWith(list, prompt, tools, false); }, isUncertain);
}

Result<MappedRow> mapChat(const Json& messages, const Json& tools, const MappingOptions& options, const TextEncoder& encoder, const std::string& place) {
    const std::string& choice = options.chatTemplate;
    const bool useModel = choice == "model" || (choice == "auto" && encoder.hasChatTemplate());
    if (choice == "model" && !encoder.hasChatTemplate())
        return Problem{"template_missing", "data.template is \"model\", but the model has no chat template.", "Choose \"plain\" or \"chatml\".",
                       "data.template", ExitCode::BadUsage};
    bool isUncertain = false;
    Ends ends = Ends::InText;
    Result<std::vector<Part>> parts = std::vector<Part>{};
    if (useModel) {
        parts = modelChat(messages, tools, encoder, isUncertain);
    } else if (choice == "chatml") {
        parts = templateChat(messages, [](const Json& list, bool prompt) { return Result<std::string>(chatml(list, prompt)); }, isUncertain);
    } else {
        parts = plainChat(messages);
        ends = Ends::Added;
    }
    if (!parts) {
        Problems problems = parts.problems();
        for (Problem& problem : problems) problem.message = "In " + place + ": " + problem.message;
        return problems;
    }
    if (options.lossOn == LossOn::Completion) learnOnlyLast(*parts);
    MappedRow row = encodeParts(*parts, ends, options, encoder);
    row.isMaskUncertain = isUncertain;
    row.isAnswerEmpty = messages.back()["role"] == "assistant" && contentText(messages.back()).empty();
    return row;
}

/// Declared here for rows of ids that are classified.
Result<void> readLabel(const Json& row, const std::string& place, MappedRow& mapped);

Result<MappedRow> mapTokenized(const Json& row, RowTask task, const TextEncoder& encoder, const std::string& place) {
    MappedRow mapped;
    for (const char* key : {"input_ids", "labels"}) {
        if (task == RowTask::Classification && std::string_view(key) == "labels") break;
        const auto found = row.find(key);
        if (found == row.end() && std::string_view(key) == "labels") break;
        if (found == row.end() || !found->is_array()) return wrongType(place, "\"" + std::string(key) + "\" is not a list", "Give token ids.");
        auto& ids = std::string_view(key) == "labels" ? mapped.labels : mapped.ids;
        for (const Json& id : *found) {
            if (!id.is_number_integer()) return wrongType(place, "\"" + std::string(key) + "\" holds " + id.dump(), "Token ids are whole numbers.");
            const std::int64_t value = id.get<std::int64_t>();
            const bool isIgnored = &ids == &mapped.labels && value == kIgnoredLabel;
            if (!isIgnored && (value < 0 || value >= encoder.vocabularySize()))
                return badRow(place, "the token id " + std::to_string(value) + " is outside the vocabulary of " + std::to_string(encoder.vocabularySize()),
                              "Tokenise the data with this model's tokenizer.");
            ids.push_back(static_cast<std::int32_t>(value));
        }
    }
    if (const auto types = row.find("token_type_ids"); types != row.end() && types->is_array() && types->size() == mapped.ids.size())
        for (const Json& type : *types) mapped.types.push_back(type.is_number_integer() ? type.get<std::int32_t>() : 0);
    if (task == RowTask::Classification) {
        if (Result<void> read = readLabel(row, place, mapped); !read) return read.problems();
        mapped.labels.assign(mapped.ids.size(), kIgnoredLabel);
        return mapped;
    }
    if (task == RowTask::Seq2SeqLm) {
        if (!row.contains("labels")) return badRow(place, "there are no labels", "Give \"labels\": the token ids that are to be written.");
        return mapped;
    }
    if (!row.contains("labels")) mapped.labels = mapped.ids;
    if (mapped.labels.size() != mapped.ids.size())
        return badRow(place, "input_ids has " + std::to_string(mapped.ids.size()) + " entries and labels " + std::to_string(mapped.labels.size()),
                      "Give both the same length.");
    return mapped;
}

Result<MappedRow> mapPair(const std::string& prompt, const std::string& answer, bool isQuestion, const MappingOptions& options,
                          const TextEncoder& encoder, const std::string& place) {
    const std::string& choice = options.chatTemplate;
    if (choice == "model" || choice == "chatml") {
        const Json messages = Json::array({Json{{"role", "user"}, {"content", prompt}}, Json{{"role", "assistant"}, {"content", answer}}});
        return mapChat(messages, nullptr, options, encoder, place);
    }
    std::string before = prompt, after = answer;
    if (choice == "alpaca") {
        before = alpacaPrompt(prompt, "");
    } else if (isQuestion) {
        before = "Question: " + prompt + "\nAnswer:";
        after = options.task == RowTask::Seq2SeqLm ? answer : " " + answer;
    }
    MappedRow row = encodeParts({{before, false}, {after, true}}, Ends::Added, options, encoder);
    row.isAnswerEmpty = answer.find_first_not_of(" \t\r\n") == std::string::npos;
    return row;
}

Result<MappedRow> mapPromptCompletion(const Json& row, const MappingOptions& options, const TextEncoder& encoder, const std::string& place) {
    const KeyPair* pair = pairOf(row);
    const KeyPair keys = pair == nullptr ? kPairs[0] : *pair;
    if (pair != nullptr && row[keys.prompt].is_array()) {
        Json joined = row[keys.prompt];
        if (row[keys.answer].is_array()) joined.insert(joined.end(), row[keys.answer].begin(), row[keys.answer].end());
        Result<Json> messages = messagesOf(joined, place);
        if (!messages) return messages.problems();
        return mapChat(*messages, toolsOf(row), options, encoder, place);
    }
    Result<std::string> prompt = textOf(row, keys.prompt, place);
    Result<std::string> answer = textOf(row, keys.answer, place);
    if (!prompt) return prompt.problems();
    if (!answer) return answer.problems();
    return mapPair(*prompt, *answer, std::string_view(keys.prompt) == "question", options, encoder, place);
}

Result<MappedRow> mapAlpaca(const Json& row, const MappingOptions& options, const TextEncoder& encoder, const std::string& place) {
    Result<std::string> instruction = textOf(row, "instruction", place);
    Result<std::string> input = row.contains("input") ? textOf(row, "input", place) : Result<std::string>(std::string());
    Result<std::string> answer = textOf(row, row.contains("output") ? "output" : "response", place);
    if (!instruction) return instruction.problems();
    if (!input) return input.problems();
    if (!answer) return answer.problems();
    if (options.chatTemplate == "auto" || options.chatTemplate == "alpaca") {
        MappingOptions plain = options;
        plain.chatTemplate = "plain";
        return mapPair(alpacaPrompt(*instruction, *input), *answer, false, plain, encoder, place);
    }
    const std::string prompt = input->empty() ? *instruction : *instruction + "\n\n" + *input;
    return mapPair(prompt, *answer, false, options, encoder, place);
}

Result<MappedRow> mapText(const Json& row, const MappingOptions& options, const TextEncoder& encoder, const std::string& place) {
    if (options.task == RowTask::Seq2SeqLm)
        return badRow(place, "there is a text to read but none to write", "Give rows with a prompt and a completion, or set model.task to causal_lm.");
    const char* key = firstKey(row, kTextKeys);
    Result<std::string> text = textOf(row, key == nullptr ? "text" : key, place);
    if (!text) return text.problems();
    return encodeParts({{*text, true}}, Ends::Added, options, encoder);
}

/// The row's "label": a list of numbers, a fraction, or the name (or number) of a class.
Result<void> readLabel(const Json& row, const std::string& place, MappedRow& mapped) {
    const char* key = firstKey(row, kClassKeys);
    const auto found = row.find(key == nullptr ? "label" : key);
    if (found != row.end() && (found->is_array() || found->is_number_float())) {
        for (const Json& value : found->is_array() ? *found : Json::array({*found})) {
            if (!value.is_number()) return wrongType(place, "the label holds " + value.dump(), "Give numbers: 0 or 1 for every class, or the values of a regression.");
            mapped.targets.push_back(value.get<float>());
        }
        if (mapped.targets.empty()) return badRow(place, "the label is an empty list", "Give a number for every class.");
        return {};
    }
    Result<std::string> label = textOf(row, key == nullptr ? "label" : key, place);
    if (!label) return label.problems();
    if (label->empty()) return badRow(place, "the label is empty", "Give a class.");
    mapped.className = *label;
    return {};
}

/// Whether a control token shows in `text` that a row's part of it had a hand in.
bool spellsControlToken(const std::string& text, const std::vector<TemplatePart>& parts, const TextEncoder& encoder) {
    const std::vector<EncodedSpan> spans = encoder.encodeSpans(text);
    if (spans.empty()) return true;  // an encoder that cannot say
    std::size_t begin = 0;
    for (const TemplatePart& part : parts) {
        const std::size_t end = begin + part.text.size();
        for (const EncodedSpan& span : spans)
            if (part.origin == TextOrigin::Data && span.end > begin && span.begin < end && encoder.isSpecial(span.id)) return true;
        begin = end;
    }
    return false;
}

/// Ids of a stretch of a row's template. It is one text for the tokenizer, unless a row's value would become a control token in it.
std::vector<std::int32_t> encodeStretch(const std::vector<TemplatePart>& parts, const TextEncoder& encoder) {
    std::string text;
    for (const TemplatePart& part : parts) text += part.text;
    if (!spellsControlToken(text, parts, encoder)) return encoder.encode(text, TextOrigin::Template);
    std::vector<std::int32_t> ids;
    for (const TemplatePart& part : parts)
        for (const std::int32_t id : encoder.encode(part.text, part.origin)) ids.push_back(id);
    return ids;
}

/// The user's template: stretches that are learned and stretches that are not are tokenised apart, as prompt and answer are. The begin
/// and end tokens are added where the template does not write them itself.
Result<MappedRow> mapCustom(const Json& row, const MappingOptions& options, const TextEncoder& encoder, const std::string& place) {
    Result<std::vector<TemplatePart>> parts = options.rowTemplate->render(row, place);
    if (!parts) return parts.problems();
    if (options.task == RowTask::Seq2SeqLm) {
        std::vector<Part> texts;
        for (TemplatePart& part : *parts) texts.push_back({std::move(part.text), part.isLearned, part.origin});
        return encodeApart(texts, encoder);
    }
    MappedRow mapped;
    bool isLearned = options.lossOn == LossOn::All;
    const auto add = [&](std::int32_t id, bool learned) {
        mapped.ids.push_back(id);
        mapped.labels.push_back(learned ? id : kIgnoredLabel);
    };
    for (std::size_t i = 0; i < parts->size();) {
        std::vector<TemplatePart> stretch;
        for (isLearned = (*parts)[i].isLearned; i < parts->size() && (*parts)[i].isLearned == isLearned; ++i) stretch.push_back((*parts)[i]);
        for (const std::int32_t id : encodeStretch(stretch, encoder)) add(id, isLearned || options.lossOn == LossOn::All);
    }
    if (encoder.begin() && (mapped.ids.empty() || mapped.ids.front() != *encoder.begin())) {
        mapped.ids.insert(mapped.ids.begin(), *encoder.begin());
        mapped.labels.insert(mapped.labels.begin(), kIgnoredLabel);
    }
    if ((isLearned || options.lossOn == LossOn::All) && encoder.end() && mapped.ids.back() != *encoder.end()) add(*encoder.end(), true);
    const auto isAnswer = [](const TemplatePart& part) { return part.isLearned && part.text.find_first_not_of(" \t\r\n") != std::string::npos; };
    mapped.isAnswerEmpty = options.lossOn != LossOn::All && std::none_of(parts->begin(), parts->end(), isAnswer);
    return mapped;
}

/// A model that writes gets the texts to read and the label to write: "premise: … hypothesis: …" as T5's authors put pairs, or, for a
/// decoder, each on a line and "label:" in front of the answer.
MappedRow mapLabelAsText(const std::string& read, const std::string& label, const MappingOptions& options, const TextEncoder& encoder) {
    const bool isApart = options.task == RowTask::Seq2SeqLm;
    return encodeParts({{isApart ? read : read + "\nlabel:", false}, {isApart ? label : " " + label, true}}, Ends::Added, options, encoder);
}

Result<MappedRow> mapClassification(const Json& row, const MappingOptions& options, const TextEncoder& encoder, const std::string& place) {
    const SentencePairKeys* pair = sentencePairOf(row);
    const char* key = pair != nullptr ? pair->first : firstKey(row, kTextKeys);
    Result<std::string> first = textOf(row, key == nullptr ? "text" : key, place);
    Result<std::string> second = pair != nullptr ? textOf(row, pair->second, place) : Result<std::string>(std::string());
    if (!first) return first.problems();
    if (!second) return second.problems();
    if (options.task != RowTask::Classification) {
        const char* labelKey = firstKey(row, kClassKeys);
        Result<std::string> label = textOf(row, labelKey == nullptr ? "label" : labelKey, place);
        if (!label) return label.problems();
        if (label->empty()) return badRow(place, "the label is empty", "Give a class.");
        const std::string between = options.task == RowTask::Seq2SeqLm ? " " : "\n";
        return mapLabelAsText(pair != nullptr ? namedPair(*pair, *first, *second, between) : *first, *label, options, encoder);
    }
    MappedRow mapped;
    if (Result<void> read = readLabel(row, place, mapped); !read) return read.problems();
    FramedText framed;
    if (pair != nullptr) framed = framePair(*first, *second, encoder);
    else if (!first->empty()) framed = encoder.frame(*first, std::nullopt);
    mapped.ids = std::move(framed.ids);
    mapped.parts = std::move(framed.parts);
    if (std::any_of(framed.types.begin(), framed.types.end(), [](std::int32_t type) { return type != 0; })) mapped.types = std::move(framed.types);
    mapped.labels.assign(mapped.ids.size(), kIgnoredLabel);
    return mapped;
}

}  // namespace

Problem badRow(const std::string& place, const std::string& what, const std::string& hint) {
    return Problem{"bad_row", "In " + place + ", " + what + ".", hint, place};
}

Problem wrongType(const std::string& place, const std::string& what, const std::string& hint) {
    return Problem{"row_wrong_type", "In " + place + ", " + what + ".", hint, place};
}

std::string_view trimmed(std::string_view text) {
    const std::size_t begin = text.find_first_not_of(" \t\r\n");
    if (begin == std::string_view::npos) return {};
    return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

const char* rowFormatName(RowFormat format) {
    for (const auto& [value, text] : kFormatNames)
        if (value == format) return text;
    return "text";
}

std::optional<RowFormat> rowFormatFromName(const std::string& text) {
    for (const auto& [value, known] : kFormatNames)
        if (text == known) return value;
    return std::nullopt;
}

RowTask rowTaskFromName(const std::string& modelTask) {
    return modelTask == "seq2seq_lm" ? RowTask::Seq2SeqLm : modelTask == "sequence_classification" ? RowTask::Classification : RowTask::CausalLm;
}

LossOn lossOnFromName(const std::string& text) {
    return text == "all" ? LossOn::All : text == "assistant" ? LossOn::Assistant : LossOn::Completion;
}

std::optional<RowFormat> recognise(const Json& row) {
    if (looksLikeChoices(row)) return RowFormat::Choices;
    if (row.contains("input_ids")) return RowFormat::Tokenized;
    if (firstKey(row, kMessageKeys) != nullptr) return RowFormat::Chat;
    if (row.contains("instruction") && (row.contains("output") || row.contains("response"))) return RowFormat::Alpaca;
    if (pairOf(row) != nullptr) return RowFormat::PromptCompletion;
    if (sentencePairOf(row) != nullptr && firstKey(row, kClassKeys) != nullptr) return RowFormat::Classification;
    if (firstKey(row, kTextKeys) == nullptr) return std::nullopt;
    return firstKey(row, kClassKeys) != nullptr ? RowFormat::Classification : RowFormat::Text;
}

std::string classKeyOf(const Json& row) {
    const char* key = firstKey(row, kClassKeys);
    return key == nullptr ? "" : key;
}

bool isSentencePair(const Json& row) { return sentencePairOf(row) != nullptr; }

namespace {

/// The first id that the model's embedding has no row for.
std::optional<std::int32_t> idWithoutRow(const MappedRow& mapped, std::int64_t rows) {
    const auto first = [rows](const std::vector<std::int32_t>& ids) -> std::optional<std::int32_t> {
        const auto found = std::find_if(ids.begin(), ids.end(), [rows](std::int32_t id) { return id != kIgnoredLabel && (id < 0 || id >= rows); });
        return found == ids.end() ? std::nullopt : std::optional(*found);
    };
    if (const auto id = first(mapped.ids)) return id;
    if (const auto id = first(mapped.labels)) return id;
    for (const std::vector<std::int32_t>& choice : mapped.choices)
        if (const auto id = first(choice)) return id;
    return {};
}

}  // namespace

Result<MappedRow> mapRow(const Json& row, RowFormat format, const MappingOptions& options, const TextEncoder& encoder, const std::string& place) {
    Result<MappedRow> mapped = MappedRow{};
    switch (format) {
        case RowFormat::Tokenized: mapped = mapTokenized(row, options.task, encoder, place); break;
        case RowFormat::Text: mapped = mapText(row, options, encoder, place); break;
        case RowFormat::PromptCompletion: mapped = mapPromptCompletion(row, options, encoder, place); break;
        case RowFormat::Alpaca: mapped = mapAlpaca(row, options, encoder, place); break;
        case RowFormat::Custom: mapped = mapCustom(row, options, encoder, place); break;
        case RowFormat::Classification: mapped = mapClassification(row, options, encoder, place); break;
        case RowFormat::Choices: mapped = mapChoices(row, options, encoder, place); break;
        case RowFormat::Chat: {
            const char* key = firstKey(row, kMessageKeys);
            if (key == nullptr) return badRow(place, "there are no messages", "Give \"messages\": [{\"role\": …, \"content\": …}, …].");
            Result<Json> messages = messagesOf(row[key], place);
            if (!messages) return messages.problems();
            mapped = mapChat(*messages, toolsOf(row), options, encoder, place);
            break;
        }
    }
    if (!mapped) return mapped;
    if (const std::optional<std::int32_t> id = idWithoutRow(*mapped, encoder.vocabularySize()))
        return Problem{"row_token_unknown", "In " + place + " stands the token " + encoder.tokenText(*id) + " (id " + std::to_string(*id) + "), which has no row in the model's embedding: its ids end at " + std::to_string(encoder.vocabularySize() - 1) + ".",
                       "Leave that token out of the row (or of the template that writes it), or use a model whose embedding was enlarged for it.", place};
    if (options.task == RowTask::CausalLm && !mapped->labels.empty()) mapped->labels.front() = kIgnoredLabel;
    return mapped;
}

RowTexts textsOf(const Json& row, RowFormat format) {
    RowTexts texts;
    const auto text = [&row](const char* key) {
        const auto found = row.find(key == nullptr ? "" : key);
        return found != row.end() && found->is_string() ? found->get<std::string>() : std::string();
    };
    const auto chat = [&texts](const Json& list) {
        if (Result<Json> messages = messagesOf(list, "")) texts.messages = std::move(*messages);
    };
    if (format == RowFormat::Choices) return choicesTexts(row);
    if (const SentencePairKeys* pair = sentencePairOf(row); pair != nullptr && format == RowFormat::Classification)
        texts.whole = text(pair->first) + "\n" + text(pair->second);
    else if (format == RowFormat::Text || format == RowFormat::Classification)
        texts.whole = text(firstKey(row, kTextKeys));
    if (format == RowFormat::Alpaca) {
        texts.prompt = text("instruction") + (text("input").empty() ? "" : "\n" + text("input"));
        texts.answer = text(row.contains("output") ? "output" : "response");
    }
    if (const KeyPair* keys = pairOf(row); keys != nullptr && format == RowFormat::PromptCompletion) {
        texts.prompt = text(keys->prompt);
        texts.answer = text(keys->answer);
        texts.isJoined = std::string_view(keys->prompt) != "question";
        if (row[keys->prompt].is_array()) {
            Json joined = row[keys->prompt];
            if (row[keys->answer].is_array()) joined.insert(joined.end(), row[keys->answer].begin(), row[keys->answer].end());
            chat(joined);
        }
    }
    if (const char* key = firstKey(row, kMessageKeys); key != nullptr && format == RowFormat::Chat) chat(row[key]);
    return texts;
}

namespace {

std::string classificationDescription(const Json& row, RowTask task, bool separatesPairs) {
    const SentencePairKeys* pair = sentencePairOf(row);
    const char* textKey = firstKey(row, kTextKeys);
    const std::string text = textKey == nullptr ? "text" : textKey;
    const std::string label = firstKey(row, kClassKeys) == nullptr ? "label" : firstKey(row, kClassKeys);
    if (task == RowTask::Seq2SeqLm) return (pair == nullptr ? text : "\"" + namedPair(*pair, "…", "…", " ") + "\"") + " to read, " + label + " to write";
    if (task == RowTask::CausalLm) return (pair == nullptr ? text : "lines \"" + namedPair(*pair, "…", "…", "\", \"") + "\"") + ", \"label:\" + " + label + " + end token";
    if (pair == nullptr) return text + ", " + label;
    return std::string(pair->first) + " and " + pair->second + (separatesPairs ? " as the tokenizer joins a pair, " : " as two lines of one text, ") + label;
}

}  // namespace

std::string mappingDescription(RowFormat format, const Json& row, RowTask task, bool separatesPairs) {
    switch (format) {
        case RowFormat::Tokenized: return "input_ids, labels as given";
        case RowFormat::Text: return "text + end token";
        case RowFormat::Alpaca: return "instruction template + output + end token";
        case RowFormat::Chat: return "messages in the chat template";
        case RowFormat::Classification: return classificationDescription(row, task, separatesPairs);
        case RowFormat::Custom: return "data.template_text + end token, where the template does not write one";
        case RowFormat::Choices: return choicesDescription(row);
        case RowFormat::PromptCompletion: break;
    }
    const KeyPair* pair = pairOf(row);
    return pair == nullptr ? "prompt + completion + end token" : std::string(pair->prompt) + " + " + pair->answer + " + end token";
}

}  // namespace luthier
