// SPDX-License-Identifier: Apache-2.0
#pragma once
// The check list that runs over a data set before the first step: mistakes that train silently
// otherwise, each by a name, with the rows it was seen in and what to do. A check is a line of the
// table in checks.cpp and a place where it is found. What a single row may well be on purpose is
// only named when a large share of the rows has it, so that clean data stay without a word.

#include "data/row_format.h"
#include "data/text_encoder.h"

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace luthier {

enum class DataLevel { Error, Warning, Note };

struct DataProblem {
    DataLevel level = DataLevel::Note;
    std::string code;
    std::string message;
    std::string hint;
    std::vector<std::int64_t> rows;  ///< source rows, at most 20
};

enum class Check {
    EmptyPrompt,
    EmptyText,
    EmptyMessage,
    ReplacementCharacters,
    Mojibake,
    ControlCharacters,
    ByteOrderMark,
    LiteralEscapes,
    HtmlEntities,
    SpecialTokensInText,
    ForeignTemplate,
    TemplateTwice,
    PromptInAnswer,
    AnswerInPrompt,
    PlaceholderAnswers,
    ConstantAnswer,
    ConstantPrompt,
    GluedWords,
    PromptEndsWithSpace,
    RolesOutOfOrder,
    ChatUnanswered,
    UnknownRole,
    SystemNotFirst,
    DoubleBeginToken,
    DoubleEndToken,
    PaddingTrained,
    ShiftedLabels,
    LabelsNotIds,
    UnknownTokens,
    SingleClass,
    UnevenClasses,
    ContradictingLabels,
    UnshuffledClasses,
    EvalSameFile,
    MostRowsTruncated,
    ClassOnlyInEval,
    AnswersCutAway,
    ChoicesCut,
    Count
};

class DataChecks final {
public:
    explicit DataChecks(const TextEncoder& encoder);

    /// A row as the file has it, and what became of it before it was cut.
    void row(const Json& value, RowFormat format, const MappedRow& mapped, std::int64_t sourceRow);
    void add(Check check, std::int64_t sourceRow);
    /// @param rows read and usable  @param isShuffled data.shuffle
    std::vector<DataProblem> problems(std::int64_t rows, bool isShuffled) const;

private:
    struct Found {
        std::int64_t count = 0;
        std::vector<std::int64_t> rows;
    };
    void findMarkers();
    void text(std::string_view text, std::int64_t sourceRow);
    void pair(const RowTexts& texts, std::int64_t sourceRow);
    void chat(const Json& messages, std::int64_t sourceRow);
    void tokens(const MappedRow& mapped, RowFormat format, std::int64_t sourceRow);
    void label(const RowTexts& texts, const std::string& label, std::int64_t sourceRow);

    const TextEncoder& m_encoder;
    std::array<Found, static_cast<std::size_t>(Check::Count)> m_found;
    std::vector<std::pair<std::string, Check>>
        m_markers;  ///< marks of templates and what each means for this tokenizer
    std::unordered_map<std::string, std::int64_t> m_answers,
        m_prompts;  ///< how often the first distinct ones occur
    std::map<std::string, std::int64_t> m_classes;
    std::unordered_map<std::size_t, std::string> m_labelOfText;  ///< by the text's hash
    std::string m_lastLabel;
    std::int64_t m_labelChanges = 0;
    std::int64_t m_pairs = 0;
};

}  // namespace luthier
