// SPDX-License-Identifier: Apache-2.0
#include "data/checks.h"

#include <algorithm>
#include <cctype>
#include <functional>

namespace luthier {

namespace {

constexpr std::size_t kNamedRows = 20;
constexpr std::size_t kDistinct =
    64;  ///< answers and prompts that are counted; constants show among the first
constexpr std::int64_t kFewRows = 10;  ///< below, shares say nothing
constexpr std::size_t kAnswerInPromptBytes =
    20;  ///< shorter answers may stand in their prompt by nature

struct Line {
    Check check;
    const char* code;
    DataLevel level;
    double share;          ///< of the rows that must have it; 0: one row is enough
    const char* sentence;  ///< behind "7 rows "
    const char* hint;
};

constexpr DataLevel kWarning = DataLevel::Warning;
constexpr Line kLines[] = {
    {Check::EmptyPrompt, "empty_prompts", kWarning, 0, "with an answer but no prompt.",
     "Give them a prompt, or delete them."},
    {Check::EmptyText, "empty_texts", kWarning, 0, "with no text but blanks.", "Delete them."},
    {Check::EmptyMessage, "empty_messages", kWarning, 0, "with a message that says nothing.",
     "Delete such messages or their chats."},
    {Check::ReplacementCharacters, "replacement_characters", kWarning, 0,
     "with the character U+FFFD: bytes that an earlier program could not read.",
     "Convert the original file again, with the right encoding."},
    {Check::Mojibake, "mojibake", kWarning, 0, "with text decoded wrongly (\"Ã©\" for \"é\").",
     "Read the original as UTF-8, not as Latin-1."},
    {Check::ControlCharacters, "control_characters", kWarning, 0, "with control characters.",
     "Remove them."},
    {Check::ByteOrderMark, "byte_order_mark", kWarning, 0, "with a byte order mark inside a text.",
     "Remove U+FEFF."},
    {Check::LiteralEscapes, "literal_escapes", kWarning, 0.3,
     "with \\n written as two signs and no line break.",
     "Unescape the texts before they are written to the file."},
    {Check::HtmlEntities, "html_entities", kWarning, 0.3, "with HTML entities such as &amp;.",
     "Unescape them, unless the model is to write HTML."},
    {Check::SpecialTokensInText, "special_tokens_in_text", kWarning, 0,
     "spell a control token of this model in their text; there it stays text.",
     "Remove it: templates put control tokens where they belong."},
    {Check::ForeignTemplate, "foreign_template", kWarning, 0,
     "carry the marks of another model family's template.",
     "Give plain texts, and let data.template put this model's marks around them."},
    {Check::TemplateTwice, "template_twice", kWarning, 0,
     "already have the words of an instruction template, which would be put around them once more.",
     "Remove \"### Instruction:\" and \"### Response:\" from the rows, or set data.template to "
     "plain."},
    {Check::PromptInAnswer, "prompt_in_answer", kWarning, 0,
     "with an answer that begins with the whole prompt, so the prompt is learned.",
     "Leave the prompt out of the answer."},
    {Check::AnswerInPrompt, "answer_in_prompt", kWarning, 0,
     "with a prompt that ends in its answer, so nothing is left to learn.",
     "Leave the answer out of the prompt."},
    {Check::PlaceholderAnswers, "placeholder_answers", kWarning, 0,
     "with a placeholder such as \"null\" or \"N/A\" for an answer.", "Delete them."},
    {Check::ConstantAnswer, "constant_answer", kWarning, 0, "have the same answer.",
     "The model learns to say it whatever is asked; check the column."},
    {Check::ConstantPrompt, "constant_prompt", kWarning, 0, "have the same prompt.",
     "Check the column of the prompts."},
    {Check::GluedWords, "glued_words", kWarning, 0.5, "with no space between prompt and answer.",
     "Begin answers with a space, or choose a template."},
    {Check::PromptEndsWithSpace, "prompt_ends_with_space", kWarning, 0.5,
     "with a prompt that ends in a space, which tokenizers join to the next word.",
     "Move the space to the beginning of the answers."},
    {Check::RolesOutOfOrder, "roles_out_of_order", kWarning, 0,
     "with the same role speaking twice in a row.", "Join such messages."},
    {Check::ChatUnanswered, "chat_unanswered", kWarning, 0,
     "with a chat that ends without an answer.", "Cut the chat behind its last answer."},
    {Check::UnknownRole, "unknown_role", kWarning, 0, "with a role that templates do not know.",
     "Use system, user, assistant and tool."},
    {Check::SystemNotFirst, "system_not_first", kWarning, 0,
     "with a system message behind other messages.", "Put it first."},
    {Check::DoubleBeginToken, "double_begin_token", kWarning, 0,
     "begin with the begin token twice.", "The template writes it already; remove one."},
    {Check::DoubleEndToken, "double_end_token", kWarning, 0, "end with the end token twice.",
     "Remove the one in the rows."},
    {Check::PaddingTrained, "padding_trained", kWarning, 0, "take loss on padding.",
     "Set labels of padding to -100."},
    {Check::ShiftedLabels, "shifted_labels", DataLevel::Error, 0,
     "have labels that are shifted by one already; the model shifts them again.",
     "Give labels at the position of their own token."},
    {Check::LabelsNotIds, "labels_not_ids", kWarning, 0,
     "have labels that are not the tokens at their places.",
     "Give labels equal to input_ids, or -100."},
    {Check::UnknownTokens, "unknown_tokens", kWarning, 0,
     "consist of the unknown token by a tenth and more.",
     "This tokenizer does not know the script; choose another model."},
    {Check::SingleClass, "single_class", kWarning, 0, "are of one class only.",
     "A classifier needs rows of every class."},
    {Check::UnevenClasses, "uneven_classes", kWarning, 0,
     "are of the same class, nineteen in twenty.",
     "Add rows of the others, and look at F1, not at accuracy."},
    {Check::ContradictingLabels, "contradicting_labels", kWarning, 0,
     "repeat a text with another label.", "Decide for one label."},
    {Check::UnshuffledClasses, "unshuffled_classes", kWarning, 0,
     "come sorted by class, and data.shuffle is off.", "Set data.shuffle to true."},
    {Check::EvalSameFile, "eval_same_file", kWarning, 0,
     "are evaluated and trained on: both paths are the same file.",
     "Name another file, or set data.eval.split."},
    {Check::MostRowsTruncated, "most_rows_truncated", kWarning, 0,
     "are cut, which is most of them.", "Raise data.max_length."},
    {Check::ClassOnlyInEval, "class_only_in_eval", kWarning, 0,
     "are of a class that no training row has.", "Mix the rows before they are split."},
    {Check::ChoicesCut, "choices_cut", kWarning, 0,
     "have a choice that does not fit into data.max_length and are skipped.",
     "Raise data.max_length."},
    {Check::AnswersCutAway, "answers_cut_away", kWarning, 0,
     "lose their whole answer to data.max_length and are skipped.", "Raise data.max_length."},
};
static_assert(std::size(kLines) == static_cast<std::size_t>(Check::Count));

bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}
bool isBlankText(std::string_view text) {
    return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}
bool isWordByte(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }

/// "Ã" and "â€" with what follows them when UTF-8 was read as Latin-1 or Windows-1252.
bool isMojibake(std::string_view text) {
    for (std::size_t at = text.find("\xC3\x83"); at != std::string_view::npos;
         at = text.find("\xC3\x83", at + 2))
        if (at + 3 < text.size() && text[at + 2] == '\xC2' &&
            static_cast<unsigned char>(text[at + 3]) >= 0xA0)
            return true;
    return contains(text, "\xC3\xA2\xE2\x82\xAC");
}

bool hasControl(std::string_view text) {
    return std::any_of(text.begin(), text.end(), [](char c) {
        return (static_cast<unsigned char>(c) < 32 && c != '\n' && c != '\t' && c != '\r') ||
               c == 127;
    });
}

bool isPlaceholder(std::string_view answer) {
    std::string lower(trimmed(answer));
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    for (const char* word :
         {"null", "nan", "n/a", "#n/a", "todo", "[deleted]", "[removed]", "undefined"})
        if (lower == word) return true;
    return false;
}

void countDistinct(std::unordered_map<std::string, std::int64_t>& counts, const std::string& text) {
    const auto found = counts.find(text);
    if (found != counts.end())
        ++found->second;
    else if (counts.size() < kDistinct)
        counts.emplace(text, 1);
}

std::int64_t mostOf(const auto& counts) {
    std::int64_t most = 0;
    for (const auto& [text, count] : counts) most = std::max(most, count);
    return most;
}

}  // namespace

DataChecks::DataChecks(const TextEncoder& encoder) : m_encoder(encoder) {}

void DataChecks::add(Check check, std::int64_t sourceRow) {
    Found& found = m_found[static_cast<std::size_t>(check)];
    if (found.count > 0 && found.rows.size() < kNamedRows + 1 && !found.rows.empty() &&
        found.rows.back() == sourceRow)
        return;
    ++found.count;
    if (found.rows.size() < kNamedRows) found.rows.push_back(sourceRow);
}

void DataChecks::text(std::string_view text, std::int64_t sourceRow) {
    if (text.empty()) return;
    if (m_markers.empty()) findMarkers();  // rows of ids come without a tokenizer
    if (contains(text, "\xEF\xBF\xBD")) add(Check::ReplacementCharacters, sourceRow);
    if (contains(text, "\xEF\xBB\xBF")) add(Check::ByteOrderMark, sourceRow);
    if (isMojibake(text)) add(Check::Mojibake, sourceRow);
    if (hasControl(text)) add(Check::ControlCharacters, sourceRow);
    if (contains(text, "\\n") && !contains(text, "\n")) add(Check::LiteralEscapes, sourceRow);
    for (const char* entity : {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;", "&nbsp;"})
        if (contains(text, entity)) add(Check::HtmlEntities, sourceRow);
    for (const auto& [marker, check] : m_markers)
        if (contains(text, marker)) {
            add(check, sourceRow);
            break;
        }
}

void DataChecks::pair(const RowTexts& texts, std::int64_t sourceRow) {
    const std::string& prompt = texts.prompt;
    const std::string& answer = texts.answer;
    ++m_pairs;
    countDistinct(m_answers, answer);
    countDistinct(m_prompts, prompt);
    if (isBlankText(prompt)) add(Check::EmptyPrompt, sourceRow);
    if (contains(prompt, "### Response:") || contains(prompt, "### Instruction:"))
        add(Check::TemplateTwice, sourceRow);
    if (isPlaceholder(answer)) add(Check::PlaceholderAnswers, sourceRow);
    const std::string_view asked = trimmed(prompt);
    const std::string_view said = trimmed(answer);
    if (asked.size() >= kAnswerInPromptBytes && said.substr(0, asked.size()) == asked)
        add(Check::PromptInAnswer, sourceRow);
    else if (said.size() >= kAnswerInPromptBytes && asked.size() >= said.size() &&
             asked.substr(asked.size() - said.size()) == said)
        add(Check::AnswerInPrompt, sourceRow);
    if (!texts.isJoined || prompt.empty() || answer.empty()) return;
    if (prompt.back() == ' ') add(Check::PromptEndsWithSpace, sourceRow);
    if (isWordByte(prompt.back()) && isWordByte(answer.front())) add(Check::GluedWords, sourceRow);
}

void DataChecks::chat(const Json& messages, std::int64_t sourceRow) {
    std::string last;
    for (std::size_t i = 0; i < messages.size(); ++i) {
        const std::string role =
            messages[i]["role"].is_string() ? messages[i]["role"].get<std::string>() : "";
        static const std::vector<std::string> known{"system",    "developer",  "user",
                                                    "assistant", "tool",       "function",
                                                    "ipython",   "observation"};
        if (std::find(known.begin(), known.end(), role) == known.end())
            add(Check::UnknownRole, sourceRow);
        if (i > 0 && role == "system") add(Check::SystemNotFirst, sourceRow);
        if (role == last && (role == "user" || role == "assistant"))
            add(Check::RolesOutOfOrder, sourceRow);
        const bool isCall =
            messages[i].contains("tool_calls") || messages[i].contains("function_call");
        const Json content = messages[i].value("content", Json());
        if (content.is_string() && isBlankText(content.get<std::string>()) && !isCall &&
            !(role == "assistant" && i + 1 == messages.size()))
            add(Check::EmptyMessage, sourceRow);
        last = role;
    }
    if (last != "assistant") add(Check::ChatUnanswered, sourceRow);
}

void DataChecks::tokens(const MappedRow& mapped, RowFormat format, std::int64_t sourceRow) {
    const std::vector<std::int32_t>& ids = mapped.ids;
    if (ids.size() > 1 && m_encoder.begin() && ids[0] == *m_encoder.begin() && ids[1] == ids[0])
        add(Check::DoubleBeginToken, sourceRow);
    if (ids.size() > 1 && m_encoder.end() && ids.back() == *m_encoder.end() &&
        ids[ids.size() - 2] == ids.back())
        add(Check::DoubleEndToken, sourceRow);
    if (const std::optional<std::int32_t> unknown = m_encoder.unknown())
        if (std::count(ids.begin(), ids.end(), *unknown) * 10 >=
                static_cast<std::ptrdiff_t>(ids.size()) &&
            std::count(ids.begin(), ids.end(), *unknown) > 0)
            add(Check::UnknownTokens, sourceRow);
    if (format != RowFormat::Tokenized || mapped.labels.size() != ids.size()) return;
    std::size_t labelled = 0, own = 0, next = 0, padding = 0;
    for (std::size_t i = 0; i < ids.size(); ++i) {
        const std::int32_t label = mapped.labels[i];
        if (label == kIgnoredLabel) continue;
        ++labelled;
        own += label == ids[i] ? 1 : 0;
        next += i + 1 < ids.size() && label == ids[i + 1] ? 1 : 0;
        padding += m_encoder.padding() && label == *m_encoder.padding() &&
                           m_encoder.padding() != m_encoder.end()
                       ? 1
                       : 0;
    }
    if (padding > 0) add(Check::PaddingTrained, sourceRow);
    if (labelled < 2 || own == labelled) return;
    add(next + 1 >= labelled && next > own ? Check::ShiftedLabels : Check::LabelsNotIds, sourceRow);
}

void DataChecks::label(const RowTexts& texts, const std::string& label, std::int64_t sourceRow) {
    ++m_classes[label];
    m_labelChanges += label != m_lastLabel ? 1 : 0;
    m_lastLabel = label;
    const auto [found, isNew] = m_labelOfText.emplace(std::hash<std::string>{}(texts.whole), label);
    if (!isNew && found->second != label) add(Check::ContradictingLabels, sourceRow);
}

void DataChecks::findMarkers() {
    for (const char* marker :
         {"<|im_start|>", "<|im_end|>", "[INST]", "[/INST]", "<<SYS>>", "<|start_header_id|>",
          "<|eot_id|>", "<start_of_turn>", "<end_of_turn>", "<|user|>", "<|assistant|>",
          "<|system|>", "<|end|>", "<|endoftext|>", "</s>", "<|begin_of_text|>"}) {
        const std::vector<std::int32_t> ids = m_encoder.encode(marker, TextOrigin::Template);
        const bool isOwn = ids.size() == 1 && m_encoder.isSpecial(ids.front());
        m_markers.emplace_back(marker, isOwn ? Check::SpecialTokensInText : Check::ForeignTemplate);
    }
    for (const auto& id : {m_encoder.begin(), m_encoder.end(), m_encoder.padding()})
        if (id && m_encoder.tokenText(*id).size() > 2)
            m_markers.emplace_back(m_encoder.tokenText(*id), Check::SpecialTokensInText);
}

void DataChecks::row(const Json& value, RowFormat format, const MappedRow& mapped,
                     std::int64_t sourceRow) {
    const RowTexts texts = textsOf(value, format);
    if (format == RowFormat::Text || format == RowFormat::Classification) {
        if (isBlankText(texts.whole)) add(Check::EmptyText, sourceRow);
        text(texts.whole, sourceRow);
    } else if (format == RowFormat::PromptCompletion || format == RowFormat::Alpaca ||
               format == RowFormat::Choices) {
        text(texts.prompt, sourceRow);
        text(texts.answer, sourceRow);
        if (texts.messages.is_null() && format != RowFormat::Choices) pair(texts, sourceRow);
    }
    if (texts.messages.is_array()) {
        chat(texts.messages, sourceRow);
        for (const Json& message : texts.messages)
            if (const auto content = message.find("content");
                content != message.end() && content->is_string())
                text(content->get_ref<const std::string&>(), sourceRow);
    }
    tokens(mapped, format, sourceRow);
    if (format == RowFormat::Classification && mapped.className)
        label(texts, *mapped.className, sourceRow);
}

std::vector<DataProblem> DataChecks::problems(std::int64_t rows, bool isShuffled) const {
    auto found = m_found;
    const auto whole = [&found](Check check, std::int64_t count) {
        found[static_cast<std::size_t>(check)].count = count;
    };
    if (m_pairs >= kFewRows && mostOf(m_answers) * 10 >= m_pairs * 9)
        whole(Check::ConstantAnswer, mostOf(m_answers));
    if (m_pairs >= kFewRows && mostOf(m_prompts) * 10 >= m_pairs * 9)
        whole(Check::ConstantPrompt, mostOf(m_prompts));
    const std::int64_t largest = mostOf(m_classes);
    if (m_classes.size() == 1 && largest > 1)
        whole(Check::SingleClass, largest);
    else if (rows >= kFewRows && largest * 20 >= rows * 19 && m_classes.size() > 1)
        whole(Check::UnevenClasses, largest);
    if (!isShuffled && m_classes.size() > 1 && rows >= kFewRows &&
        m_labelChanges == static_cast<std::int64_t>(m_classes.size()))
        whole(Check::UnshuffledClasses, rows);
    std::vector<DataProblem> problems;
    for (const Line& line : kLines) {
        const Found& seen = found[static_cast<std::size_t>(line.check)];
        if (seen.count == 0 ||
            static_cast<double>(seen.count) < line.share * static_cast<double>(rows))
            continue;
        if (line.share > 0 && rows < kFewRows) continue;
        problems.push_back(
            {line.level, line.code,
             std::to_string(seen.count) + (seen.count == 1 ? " row " : " rows ") + line.sentence,
             line.hint, seen.rows});
    }
    return problems;
}

}  // namespace luthier
