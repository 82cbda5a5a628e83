// SPDX-License-Identifier: Apache-2.0
#include "data/choices.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace luthier {

namespace {

constexpr std::array<const char*, 5> kInputKeys{"input", "question", "prompt", "question_stem",
                                                "text"};
constexpr std::array<const char*, 4> kContextKeys{"context", "ctx", "article", "passage"};
constexpr std::array<const char*, 4> kChoiceKeys{"choices", "options", "answer_choices", "endings"};
constexpr std::array<const char*, 7> kAnswerKeys{"answer",    "label", "answer_index", "answer_idx",
                                                 "answerKey", "gold",  "correct"};

template <std::size_t N>
const char* keyIn(const Json& row, const std::array<const char*, N>& keys) {
    for (const char* key : keys)
        if (row.contains(key)) return key;
    return nullptr;
}

/// The list of choices, be it alone or beside their labels; null when it is neither.
const Json& listOf(const Json& choices) {
    static const Json none;
    if (choices.is_array()) return choices;
    if (choices.is_object() && choices.contains("text") && choices["text"].is_array())
        return choices["text"];
    return none;
}

std::vector<std::string> labelsOf(const Json& choices) {
    std::vector<std::string> labels;
    if (!choices.is_object() || !choices.contains("label") || !choices["label"].is_array())
        return labels;
    for (const Json& label : choices["label"])
        labels.push_back(label.is_string()
                             ? std::string(trimmed(label.get_ref<const std::string&>()))
                             : label.dump());
    return labels;
}

/// "B", "b)", "(B)" → 1; nullopt for anything else.
std::optional<std::size_t> letterIndex(std::string text) {
    std::erase_if(text, [](char c) { return c == '(' || c == ')' || c == '.' || c == ' '; });
    if (text.size() != 1) return std::nullopt;
    if (text[0] >= 'A' && text[0] <= 'Z') return static_cast<std::size_t>(text[0] - 'A');
    if (text[0] >= 'a' && text[0] <= 'z') return static_cast<std::size_t>(text[0] - 'a');
    return std::nullopt;
}

/// A given answer that is text: a label, a choice itself, a letter, a number.
std::optional<std::size_t> indexOf(const std::string& answer, const Json& list,
                                   const std::vector<std::string>& labels) {
    if (const auto label = std::find(labels.begin(), labels.end(), answer); label != labels.end())
        return static_cast<std::size_t>(label - labels.begin());
    for (std::size_t i = 0; i < list.size(); ++i)
        if (list[i].is_string() && trimmed(list[i].get_ref<const std::string&>()) == answer)
            return i;
    if (!answer.empty() && answer.size() < 5 &&
        answer.find_first_not_of("0123456789") == std::string::npos)
        return static_cast<std::size_t>(std::stoi(answer));
    return letterIndex(answer);
}

Result<std::int32_t> answerOf(const Json& row, const Json& choices, const std::string& place) {
    const char* key = keyIn(row, kAnswerKeys);
    if (key == nullptr)
        return badRow(place, "nothing says which choice is right",
                      "Give \"answer\": its index from 0, its text or its letter.");
    const Json& answer = row[key];
    const Json& list = listOf(choices);
    std::optional<std::size_t> index;
    if (answer.is_number_integer() && answer.get<std::int64_t>() >= 0)
        index = static_cast<std::size_t>(answer.get<std::int64_t>());
    if (answer.is_number_float() && answer.get<double>() >= 0 && answer.get<double>() < 1e6 &&
        answer.get<double>() == std::floor(answer.get<double>()))
        index = static_cast<std::size_t>(answer.get<double>());
    if (answer.is_string())
        index = indexOf(std::string(trimmed(answer.get_ref<const std::string&>())), list,
                        labelsOf(choices));
    if (!index || *index >= list.size())
        return badRow(place,
                      "\"" + std::string(key) + "\" is " + answer.dump() +
                          ", which names none of the " + std::to_string(list.size()) + " choices",
                      "Give the right one's index from 0, its text or its letter.");
    return static_cast<std::int32_t>(*index);
}

Result<std::vector<std::int32_t>> idsOf(const Json& list, const char* key,
                                        const TextEncoder& encoder, const std::string& place) {
    if (!list.is_array() || list.empty())
        return badRow(place, "\"" + std::string(key) + "\" is not a list of token ids",
                      "Give token ids.");
    std::vector<std::int32_t> ids;
    for (const Json& id : list) {
        if (!id.is_number_integer() || id.get<std::int64_t>() < 0 ||
            id.get<std::int64_t>() >= encoder.vocabularySize())
            return badRow(place,
                          "\"" + std::string(key) + "\" holds " + id.dump() +
                              ", which is no token id below " +
                              std::to_string(encoder.vocabularySize()),
                          "Tokenise the data with this model's tokenizer.");
        ids.push_back(id.get<std::int32_t>());
    }
    return ids;
}

/// A prompt and one choice as mapRow's keys; the question's frame and its spaces are those of
/// ordinary questions.
Json pairFor(const Json& row, const char* key, const std::string& choice,
             const MappingOptions& options) {
    std::string text = key == nullptr ? "" : row[key].get<std::string>();
    if (const char* context = keyIn(row, kContextKeys);
        context != nullptr && row[context].is_string())
        text = row[context].get<std::string>() + (text.empty() ? "" : "\n\n" + text);
    const std::string name = key == nullptr ? "" : key;
    if (name == "question" || name == "question_stem")
        return {{"question", text}, {"answer", choice}};
    const bool isPlain = options.chatTemplate == "auto" || options.chatTemplate == "plain";
    const auto isGap = [](char c) { return c == ' ' || c == '\n' || c == '\t'; };
    const bool isGlued = isPlain && options.task == RowTask::CausalLm && !text.empty() &&
                         !choice.empty() && !isGap(text.back()) && !isGap(choice.front());
    return {{"prompt", text}, {"completion", isGlued ? " " + choice : choice}};
}

/// The row with its right answer from `prompt` and every choice's tokens.
MappedRow joined(std::vector<std::int32_t> prompt, std::vector<std::vector<std::int32_t>> choices,
                 std::int32_t answer, RowTask task) {
    MappedRow mapped;
    mapped.ids = std::move(prompt);
    const std::vector<std::int32_t>& right = choices[static_cast<std::size_t>(answer)];
    if (task == RowTask::Seq2SeqLm) {
        mapped.labels = right;
    } else {
        mapped.labels.assign(mapped.ids.size(), kIgnoredLabel);
        mapped.ids.insert(mapped.ids.end(), right.begin(), right.end());
        mapped.labels.insert(mapped.labels.end(), right.begin(), right.end());
    }
    mapped.choices = std::move(choices);
    mapped.answer = answer;
    return mapped;
}

Result<MappedRow> fromIds(const Json& row, const Json& list, std::int32_t answer, RowTask task,
                          const TextEncoder& encoder, const std::string& place) {
    Result<std::vector<std::int32_t>> prompt = idsOf(row["input_ids"], "input_ids", encoder, place);
    if (!prompt) return prompt.problems();
    std::vector<std::vector<std::int32_t>> choices;
    for (const Json& choice : list) {
        Result<std::vector<std::int32_t>> ids = idsOf(choice, "choices", encoder, place);
        if (!ids) return ids.problems();
        choices.push_back(std::move(*ids));
    }
    return joined(std::move(*prompt), std::move(choices), answer, task);
}

}  // namespace

bool looksLikeChoices(const Json& row) {
    const char* key = keyIn(row, kChoiceKeys);
    if (key == nullptr || keyIn(row, kAnswerKeys) == nullptr || listOf(row[key]).size() < 2)
        return false;
    const bool hasIds = row.contains("input_ids");
    for (const Json& choice : listOf(row[key]))
        if (hasIds ? !choice.is_array() : !choice.is_string()) return false;
    return hasIds || keyIn(row, kInputKeys) != nullptr || keyIn(row, kContextKeys) != nullptr;
}

Result<MappedRow> mapChoices(const Json& row, const MappingOptions& options,
                             const TextEncoder& encoder, const std::string& place) {
    const char* choicesKey = keyIn(row, kChoiceKeys);
    if (choicesKey == nullptr)
        return badRow(place, "there are no choices", "Give \"choices\": a list of answers.");
    const Json& list = listOf(row[choicesKey]);
    if (list.size() < 2)
        return badRow(place,
                      "\"" + std::string(choicesKey) + "\" is not a list of at least two answers",
                      "Give a list, or {\"text\": [..], \"label\": [..]}.");
    Result<std::int32_t> answer = answerOf(row, row[choicesKey], place);
    if (!answer) return answer.problems();
    if (row.contains("input_ids")) return fromIds(row, list, *answer, options.task, encoder, place);
    const char* key = keyIn(row, kInputKeys);
    if (key == nullptr && keyIn(row, kContextKeys) == nullptr)
        return badRow(place, "there is no input before the choices",
                      "Give \"input\", \"question\" or \"prompt\".");
    if (key != nullptr && !row[key].is_string())
        return wrongType(place, "\"" + std::string(key) + "\" is not text", "Give a string.");
    MappingOptions learned = options;
    learned.lossOn = LossOn::Completion;
    std::vector<std::int32_t> prompt;
    std::vector<std::int8_t> parts;
    std::vector<std::vector<std::int32_t>> choices;
    for (const Json& choice : list) {
        if (!choice.is_string() || trimmed(choice.get_ref<const std::string&>()).empty())
            return badRow(place, "a choice is empty or no text", "Give texts.");
        Result<MappedRow> pair = mapRow(pairFor(row, key, choice.get<std::string>(), options),
                                        RowFormat::PromptCompletion, learned, encoder, place);
        if (!pair) return pair.problems();
        std::vector<std::int32_t> before = pair->ids;
        std::vector<std::int32_t> behind = pair->labels;
        if (options.task != RowTask::Seq2SeqLm) {
            const auto first = std::find_if(behind.begin(), behind.end(), [](std::int32_t label) {
                return label != kIgnoredLabel;
            });
            const auto last = std::find_if(behind.rbegin(), behind.rend(), [](std::int32_t label) {
                                  return label != kIgnoredLabel;
                              }).base();
            before.resize(static_cast<std::size_t>(first - behind.begin()));
            behind.assign(first, std::max(first, last));
        }
        if (before.empty())
            return badRow(place, "the input is empty", "Give the text that the choices answer.");
        if (!choices.empty() && before != prompt)
            return badRow(
                place, "a choice changes the tokens of the input before it",
                "Set data.template to \"plain\", or put a space or a new line between them.");
        prompt = std::move(before);
        if (options.task == RowTask::Seq2SeqLm) parts = std::move(pair->parts);
        choices.push_back(std::move(behind));
    }
    MappedRow mapped = joined(std::move(prompt), std::move(choices), *answer, options.task);
    mapped.parts = std::move(parts);
    return mapped;
}

RowTexts choicesTexts(const Json& row) {
    RowTexts texts;
    const auto add = [](std::string& whole, const Json& part) {
        if (part.is_string()) whole += (whole.empty() ? "" : "\n") + part.get<std::string>();
    };
    if (const char* key = keyIn(row, kContextKeys); key != nullptr) add(texts.prompt, row[key]);
    if (const char* key = keyIn(row, kInputKeys); key != nullptr) add(texts.prompt, row[key]);
    if (const char* key = keyIn(row, kChoiceKeys); key != nullptr)
        for (const Json& choice : listOf(row[key])) add(texts.answer, choice);
    return texts;
}

std::vector<const char*> choicesKeys(const Json& row) {
    if (row.contains("input_ids"))
        return {"input_ids", keyIn(row, kChoiceKeys), keyIn(row, kAnswerKeys)};
    return {keyIn(row, kInputKeys), keyIn(row, kContextKeys), keyIn(row, kChoiceKeys),
            keyIn(row, kAnswerKeys)};
}

std::string choicesDescription(const Json& row) {
    const char* input = row.contains("input_ids") ? "input_ids" : keyIn(row, kInputKeys);
    if (input == nullptr) input = keyIn(row, kContextKeys);
    const char* choices = keyIn(row, kChoiceKeys);
    const std::string end = row.contains("input_ids") ? "" : " + end token";
    return std::string(input == nullptr ? "input" : input) + " + each of " +
           (choices == nullptr ? "choices" : choices) + end;
}

}  // namespace luthier
