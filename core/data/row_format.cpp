// SPDX-License-Identifier: Apache-2.0
#include "data/row_format.h"

#include "data/chat_rows.h"
#include "data/choices.h"
#include "data/labels.h"
#include "data/row_parts.h"
#include "data/row_template.h"
#include "data/sentence_pair.h"
#include "data/tokenized_rows.h"

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
constexpr std::array<KeyPair, 8> kPairs{{{"prompt", "completion"},
                                         {"prompt", "response"},
                                         {"prompt", "answer"},
                                         {"prompt", "output"},
                                         {"question", "answer"},
                                         {"question", "response"},
                                         {"input", "output"},
                                         {"input", "target"}}};
constexpr std::array<const char*, 4> kTextKeys{"text", "content", "story", "sentence"};

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

std::string alpacaPrompt(const std::string& instruction, const std::string& input) {
    if (input.empty())
        return "Below is an instruction that describes a task. Write a response that appropriately "
               "completes the request.\n\n"
               "### Instruction:\n" +
               instruction + "\n\n### Response:\n";
    return "Below is an instruction that describes a task, paired with an input that provides "
           "further context. Write a response that "
           "appropriately completes the request.\n\n### Instruction:\n" +
           instruction + "\n\n### Input:\n" + input + "\n\n### Response:\n";
}

/// A prompt and its answer, the words around a prompt, and what the row has beside them.
struct Pair {
    std::string prompt, answer;
    std::string (*frame)(const std::string& prompt) = nullptr;
    const char* gap = "";  ///< between a framed prompt and its answer
};

Result<MappedRow> mapPair(const Pair& pair, const Surroundings& around,
                          const MappingOptions& options, const TextEncoder& encoder,
                          const std::string& place) {
    const std::string& choice = options.chatTemplate;
    if (choice == "model" || choice == "chatml") {
        Json messages = Json::array({Json{{"role", "user"}, {"content", pair.prompt}},
                                     Json{{"role", "assistant"}, {"content", pair.answer}}});
        return mapChat(withSurroundings(std::move(messages), around), around.tools, options,
                       encoder, place);
    }
    const auto framed = [&](const std::string& prompt) {
        return choice == "alpaca"      ? alpacaPrompt(prompt, "")
               : pair.frame != nullptr ? pair.frame(prompt)
                                       : prompt;
    };
    const std::string gap = options.task == RowTask::Seq2SeqLm ? "" : pair.gap;
    std::vector<Part> parts;
    if (around.systemKey != nullptr) parts.push_back({around.system + "\n\n", false});
    for (const auto& [question, answer] : around.history) {
        parts.push_back({framed(question), false});
        parts.push_back({gap + answer, options.lossOn == LossOn::Assistant});
        parts.push_back({"\n\n", false});
    }
    // One stretch, as without them: what stands before a prompt may join its first token.
    std::string before = framed(pair.prompt);
    if (!parts.empty() && !parts.back().isLearned) {
        before = parts.back().text + before;
        parts.pop_back();
    }
    parts.push_back({before, false});
    parts.push_back({gap + pair.answer, true});
    MappedRow row = encodeParts(parts, Ends::Added, options, encoder);
    row.isAnswerEmpty = trimmed(pair.answer).empty();
    return row;
}

std::string questionFrame(const std::string& prompt) { return "Question: " + prompt + "\nAnswer:"; }

Result<MappedRow> mapPromptCompletion(const Json& row, const MappingOptions& options,
                                      const TextEncoder& encoder, const std::string& place) {
    const KeyPair* pair = pairOf(row);
    const KeyPair keys = pair == nullptr ? kPairs[0] : *pair;
    const Result<Surroundings> around = surroundingsOf(row, place);
    if (!around) return around.problems();
    if (pair != nullptr && row[keys.prompt].is_array()) {
        Json joined = row[keys.prompt];
        if (row[keys.answer].is_array())
            joined.insert(joined.end(), row[keys.answer].begin(), row[keys.answer].end());
        Result<Json> messages = messagesOf(joined, keys.prompt, place);
        if (!messages) return messages.problems();
        return mapChat(withSurroundings(std::move(*messages), *around), around->tools, options,
                       encoder, place);
    }
    Result<std::string> prompt = textOf(row, keys.prompt, place);
    Result<std::string> answer = textOf(row, keys.answer, place);
    if (!prompt) return prompt.problems();
    if (!answer) return answer.problems();
    const bool isQuestion = std::string_view(keys.prompt) == "question";
    return mapPair({*prompt, *answer, isQuestion ? questionFrame : nullptr, isQuestion ? " " : ""},
                   *around, options, encoder, place);
}

std::string instructionFrame(const std::string& prompt) { return alpacaPrompt(prompt, ""); }

Result<MappedRow> mapAlpaca(const Json& row, const MappingOptions& options,
                            const TextEncoder& encoder, const std::string& place) {
    Result<std::string> instruction = textOf(row, "instruction", place);
    Result<std::string> input =
        row.contains("input") ? textOf(row, "input", place) : Result<std::string>(std::string());
    Result<std::string> answer = textOf(row, row.contains("output") ? "output" : "response", place);
    Result<Surroundings> around = surroundingsOf(row, place);
    if (!instruction) return instruction.problems();
    if (!input) return input.problems();
    if (!answer) return answer.problems();
    if (!around) return around.problems();
    if (options.chatTemplate == "auto" || options.chatTemplate == "alpaca") {
        MappingOptions plain = options;
        plain.chatTemplate = "plain";
        if (input->empty())
            return mapPair({*instruction, *answer, instructionFrame}, *around, plain, encoder,
                           place);
        // Only earlier turns go without an input.
        Surroundings before = *around;
        std::string prefix;
        for (const auto& [question, said] : before.history)
            prefix += alpacaPrompt(question, "") + said + "\n\n";
        before.history.clear();
        return mapPair({prefix + alpacaPrompt(*instruction, *input), *answer}, before, plain,
                       encoder, place);
    }
    const std::string prompt = input->empty() ? *instruction : *instruction + "\n\n" + *input;
    return mapPair({prompt, *answer}, *around, options, encoder, place);
}

Result<MappedRow> mapText(const Json& row, const MappingOptions& options,
                          const TextEncoder& encoder, const std::string& place) {
    if (options.task == RowTask::Seq2SeqLm)
        return badRow(place, "there is a text to read but none to write",
                      "Give rows with a prompt and a completion, or set model.task to causal_lm.");
    const char* key = firstKey(row, kTextKeys);
    Result<std::string> text = textOf(row, key == nullptr ? "text" : key, place);
    if (!text) return text.problems();
    return encodeParts({{*text, true}}, Ends::Added, options, encoder);
}

/// Whether a control token shows in `text` that a row's part of it had a hand in.
bool spellsControlToken(const std::string& text, const std::vector<TemplatePart>& parts,
                        const TextEncoder& encoder) {
    const std::vector<EncodedSpan> spans = encoder.encodeSpans(text);
    if (spans.empty()) return true;  // an encoder that cannot say
    std::size_t begin = 0;
    for (const TemplatePart& part : parts) {
        const std::size_t end = begin + part.text.size();
        for (const EncodedSpan& span : spans)
            if (part.origin == TextOrigin::Data && span.end > begin && span.begin < end &&
                encoder.isSpecial(span.id))
                return true;
        begin = end;
    }
    return false;
}

/// Ids of a stretch of a row's template. It is one text for the tokenizer, unless a row's value
/// would become a control token in it.
std::vector<std::int32_t> encodeStretch(const std::vector<TemplatePart>& parts,
                                        const TextEncoder& encoder) {
    std::string text;
    for (const TemplatePart& part : parts) text += part.text;
    if (!spellsControlToken(text, parts, encoder))
        return encoder.encode(text, TextOrigin::Template);
    std::vector<std::int32_t> ids;
    for (const TemplatePart& part : parts)
        for (const std::int32_t id : encoder.encode(part.text, part.origin)) ids.push_back(id);
    return ids;
}

/// The user's template: stretches that are learned and stretches that are not are tokenised apart,
/// as prompt and answer are. The begin and end tokens are added where the template does not write
/// them itself.
Result<MappedRow> mapCustom(const Json& row, const MappingOptions& options,
                            const TextEncoder& encoder, const std::string& place) {
    Result<std::vector<TemplatePart>> parts = options.rowTemplate->render(row, place);
    if (!parts) return parts.problems();
    if (options.task == RowTask::Seq2SeqLm) {
        std::vector<Part> texts;
        for (TemplatePart& part : *parts)
            texts.push_back({std::move(part.text), part.isLearned, part.origin});
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
        for (isLearned = (*parts)[i].isLearned;
             i < parts->size() && (*parts)[i].isLearned == isLearned; ++i)
            stretch.push_back((*parts)[i]);
        for (const std::int32_t id : encodeStretch(stretch, encoder))
            add(id, isLearned || options.lossOn == LossOn::All);
    }
    if (encoder.begin() && (mapped.ids.empty() || mapped.ids.front() != *encoder.begin())) {
        mapped.ids.insert(mapped.ids.begin(), *encoder.begin());
        mapped.labels.insert(mapped.labels.begin(), kIgnoredLabel);
    }
    if ((isLearned || options.lossOn == LossOn::All) && encoder.end() &&
        mapped.ids.back() != *encoder.end())
        add(*encoder.end(), true);
    const auto isAnswer = [](const TemplatePart& part) {
        return part.isLearned && part.text.find_first_not_of(" \t\r\n") != std::string::npos;
    };
    mapped.isAnswerEmpty =
        options.lossOn != LossOn::All && std::none_of(parts->begin(), parts->end(), isAnswer);
    return mapped;
}

/// A model that writes gets the texts to read and the label to write: "premise: … hypothesis: …" as
/// T5's authors put pairs, or, for a decoder, each on a line and "label:" in front of the answer.
MappedRow mapLabelAsText(const std::string& read, const std::string& label,
                         const MappingOptions& options, const TextEncoder& encoder) {
    const bool isApart = options.task == RowTask::Seq2SeqLm;
    return encodeParts(
        {{isApart ? read : read + "\nlabel:", false}, {isApart ? label : " " + label, true}},
        Ends::Added, options, encoder);
}

Result<MappedRow> mapClassification(const Json& row, const MappingOptions& options,
                                    const TextEncoder& encoder, const std::string& place) {
    const SentencePairKeys* pair = sentencePairOf(row);
    const char* key = pair != nullptr ? pair->first : firstKey(row, kTextKeys);
    Result<std::string> first = textOf(row, key == nullptr ? "text" : key, place);
    Result<std::string> second =
        pair != nullptr ? textOf(row, pair->second, place) : Result<std::string>(std::string());
    if (!first) return first.problems();
    if (!second) return second.problems();
    if (options.task != RowTask::Classification) {
        Result<std::string> label = labelText(row, place);
        if (!label) return label.problems();
        const std::string between = options.task == RowTask::Seq2SeqLm ? " " : "\n";
        return mapLabelAsText(pair != nullptr ? namedPair(*pair, *first, *second, between) : *first,
                              *label, options, encoder);
    }
    MappedRow mapped;
    if (Result<void> read = readLabel(row, options.wantsValues, place, mapped); !read)
        return read.problems();
    FramedText framed;
    if (pair != nullptr)
        framed = framePair(*first, *second, encoder);
    else if (!first->empty())
        framed = encoder.frame(*first, std::nullopt);
    mapped.ids = std::move(framed.ids);
    mapped.parts = std::move(framed.parts);
    if (std::any_of(framed.types.begin(), framed.types.end(),
                    [](std::int32_t type) { return type != 0; }))
        mapped.types = std::move(framed.types);
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
    return modelTask == "seq2seq_lm"                ? RowTask::Seq2SeqLm
           : modelTask == "sequence_classification" ? RowTask::Classification
                                                    : RowTask::CausalLm;
}

LossOn lossOnFromName(const std::string& text) {
    return text == "all"         ? LossOn::All
           : text == "assistant" ? LossOn::Assistant
                                 : LossOn::Completion;
}

std::optional<RowFormat> recognise(const Json& row) {
    if (looksLikeChoices(row)) return RowFormat::Choices;
    if (row.contains("input_ids")) return RowFormat::Tokenized;
    if (messagesKeyOf(row) != nullptr) return RowFormat::Chat;
    if (row.contains("instruction") && (row.contains("output") || row.contains("response")))
        return RowFormat::Alpaca;
    if (pairOf(row) != nullptr) return RowFormat::PromptCompletion;
    if (sentencePairOf(row) != nullptr && classKeyIn(row) != nullptr)
        return RowFormat::Classification;
    if (firstKey(row, kTextKeys) == nullptr) return std::nullopt;
    return classKeyIn(row) != nullptr ? RowFormat::Classification : RowFormat::Text;
}

std::string classKeyOf(const Json& row) {
    const char* key = classKeyIn(row);
    return key == nullptr ? "" : key;
}

const char* textKeyOf(const Json& row) { return firstKey(row, kTextKeys); }

std::pair<const char*, const char*> pairKeysOf(const Json& row) {
    const KeyPair* pair = pairOf(row);
    return pair == nullptr ? std::pair<const char*, const char*>{nullptr, nullptr}
                           : std::pair{pair->prompt, pair->answer};
}

bool isSentencePair(const Json& row) { return sentencePairOf(row) != nullptr; }

namespace {

/// The first id that the model's embedding has no row for.
std::optional<std::int32_t> idWithoutRow(const MappedRow& mapped, std::int64_t rows) {
    const auto first = [rows](const std::vector<std::int32_t>& ids) -> std::optional<std::int32_t> {
        const auto found = std::find_if(ids.begin(), ids.end(), [rows](std::int32_t id) {
            return id != kIgnoredLabel && (id < 0 || id >= rows);
        });
        return found == ids.end() ? std::nullopt : std::optional(*found);
    };
    if (const auto id = first(mapped.ids)) return id;
    if (const auto id = first(mapped.labels)) return id;
    for (const std::vector<std::int32_t>& choice : mapped.choices)
        if (const auto id = first(choice)) return id;
    return {};
}

}  // namespace

Result<MappedRow> mapRow(const Json& row, RowFormat format, const MappingOptions& options,
                         const TextEncoder& encoder, const std::string& place) {
    Result<MappedRow> mapped = MappedRow{};
    switch (format) {
        case RowFormat::Tokenized:
            mapped = mapTokenized(row, options.task, options.wantsValues, encoder, place);
            break;
        case RowFormat::Text:
            mapped = mapText(row, options, encoder, place);
            break;
        case RowFormat::PromptCompletion:
            mapped = mapPromptCompletion(row, options, encoder, place);
            break;
        case RowFormat::Alpaca:
            mapped = mapAlpaca(row, options, encoder, place);
            break;
        case RowFormat::Custom:
            mapped = mapCustom(row, options, encoder, place);
            break;
        case RowFormat::Classification:
            mapped = mapClassification(row, options, encoder, place);
            break;
        case RowFormat::Choices:
            mapped = mapChoices(row, options, encoder, place);
            break;
        case RowFormat::Chat: {
            const char* key = messagesKeyOf(row);
            if (key == nullptr)
                return badRow(place, "there are no messages",
                              "Give \"messages\": [{\"role\": …, \"content\": …}, …].");
            Result<Json> messages = messagesOf(row[key], key, place);
            if (!messages) return messages.problems();
            const Result<Surroundings> around = surroundingsOf(row, place);
            if (!around) return around.problems();
            mapped = mapChat(withSurroundings(std::move(*messages), *around), around->tools,
                             options, encoder, place);
            break;
        }
    }
    if (!mapped) return mapped;
    if (const std::optional<std::int32_t> id = idWithoutRow(*mapped, encoder.vocabularySize()))
        return Problem{"row_token_unknown",
                       "In " + place + " stands the token " + encoder.tokenText(*id) + " (id " +
                           std::to_string(*id) +
                           "), which has no row in the model's embedding: its ids end at " +
                           std::to_string(encoder.vocabularySize() - 1) + ".",
                       "Leave that token out of the row (or of the template that writes it), or "
                       "use a model whose embedding was enlarged for it.",
                       place};
    return mapped;
}

RowTexts textsOf(const Json& row, RowFormat format) {
    RowTexts texts;
    const auto text = [&row](const char* key) {
        const auto found = row.find(key == nullptr ? "" : key);
        return found != row.end() && found->is_string() ? found->get<std::string>() : std::string();
    };
    const auto chat = [&texts](const Json& list) {
        if (Result<Json> messages = messagesOf(list, "messages", ""))
            texts.messages = std::move(*messages);
    };
    if (format == RowFormat::Choices) return choicesTexts(row);
    if (const SentencePairKeys* pair = sentencePairOf(row);
        pair != nullptr && format == RowFormat::Classification)
        texts.whole = text(pair->first) + "\n" + text(pair->second);
    else if (format == RowFormat::Text || format == RowFormat::Classification)
        texts.whole = text(firstKey(row, kTextKeys));
    if (format == RowFormat::Alpaca) {
        texts.prompt = text("instruction") + (text("input").empty() ? "" : "\n" + text("input"));
        texts.answer = text(row.contains("output") ? "output" : "response");
    }
    if (const KeyPair* keys = pairOf(row);
        keys != nullptr && format == RowFormat::PromptCompletion) {
        texts.prompt = text(keys->prompt);
        texts.answer = text(keys->answer);
        texts.isJoined = std::string_view(keys->prompt) != "question";
        if (row[keys->prompt].is_array()) {
            Json joined = row[keys->prompt];
            if (row[keys->answer].is_array())
                joined.insert(joined.end(), row[keys->answer].begin(), row[keys->answer].end());
            chat(joined);
        }
    }
    if (const char* key = messagesKeyOf(row); key != nullptr && format == RowFormat::Chat)
        chat(row[key]);
    return texts;
}

namespace {

std::string classificationDescription(const Json& row, RowTask task, bool separatesPairs) {
    const SentencePairKeys* pair = sentencePairOf(row);
    const char* textKey = firstKey(row, kTextKeys);
    const std::string text = textKey == nullptr ? "text" : textKey;
    const std::string label = classKeyIn(row) == nullptr ? "label" : classKeyIn(row);
    if (task == RowTask::Seq2SeqLm)
        return (pair == nullptr ? text : "\"" + namedPair(*pair, "…", "…", " ") + "\"") +
               " to read, " + label + " to write";
    if (task == RowTask::CausalLm)
        return (pair == nullptr ? text : "lines \"" + namedPair(*pair, "…", "…", "\", \"") + "\"") +
               ", \"label:\" + " + label + " + end token";
    if (pair == nullptr) return text + ", " + label;
    return std::string(pair->first) + " and " + pair->second +
           (separatesPairs ? " as the tokenizer joins a pair, " : " as two lines of one text, ") +
           label;
}

}  // namespace

std::string mappingDescription(RowFormat format, const Json& row, RowTask task,
                               bool separatesPairs) {
    switch (format) {
        case RowFormat::Tokenized:
            return "input_ids, labels as given";
        case RowFormat::Text:
            return "text + end token";
        case RowFormat::Alpaca:
            return "instruction template + output + end token";
        case RowFormat::Chat:
            return "messages in the chat template";
        case RowFormat::Classification:
            return classificationDescription(row, task, separatesPairs);
        case RowFormat::Custom:
            return "data.template_text + end token, where the template does not write one";
        case RowFormat::Choices:
            return choicesDescription(row);
        case RowFormat::PromptCompletion:
            break;
    }
    const KeyPair* pair = pairOf(row);
    return pair == nullptr ? "prompt + completion + end token"
                           : std::string(pair->prompt) + " + " + pair->answer + " + end token";
}

}  // namespace luthier
