// SPDX-License-Identifier: Apache-2.0
#pragma once
// From one row of a file to tokens and labels. Prompt and answer are tokenised apart, so the
// boundary of the loss is exact. `labels` are unshifted as in Transformers: the model compares
// position i with label i+1, so the first label never counts and is always -100 here.
//
//   format              keys                                     what is learned with loss_on =
//   completion tokenized           input_ids [labels] [attention_mask]      labels as given,
//   without what the mask leaves out chat                messages | conversations the last answer
//   (assistant: every answer) alpaca              instruction [input] output               output +
//   end token prompt_completion   prompt completion, question answer, …    completion + end token
//   classification      text label, sentence1 sentence2 label, … the class (a list of 0 and 1:
//   several classes; a fraction: a regression);
//                                                                models that write: the label as
//                                                                text
//   choices             question choices answer, …               every choice + end token
//   (data/choices.h) text                text                                     everything + end
//   token custom              what the user's template reads           its generation blocks + end
//   token (data/row_template.h); set by data.template
//
// Beside chats, pairs and instructions: system or system_prompt, history, tools or functions
// (data/chat_rows.h). What a row has beyond that is counted and named: unusedKeys.

#include "data/source.h"
#include "data/text_encoder.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace luthier {

class RowTemplate;

enum class RowFormat {
    Tokenized,
    Text,
    PromptCompletion,
    Alpaca,
    Chat,
    Classification,
    Choices,
    Custom
};
enum class LossOn { Completion, All, Assistant };

/// A row that cannot be used: "In PLACE, WHAT." Codes: bad_row; row_wrong_type for a value of
/// another type than its key has.
Problem badRow(const std::string& place, const std::string& what, const std::string& hint);
Problem wrongType(const std::string& place, const std::string& what, const std::string& hint);
/// Without blanks and line ends around it.
std::string_view trimmed(std::string_view text);

const char* rowFormatName(RowFormat format);
std::optional<RowFormat> rowFormatFromName(const std::string& text);
LossOn lossOnFromName(const std::string& text);

/// The format whose keys `row` has; nullopt when none fits.
std::optional<RowFormat> recognise(const Json& row);

constexpr std::int32_t kIgnoredLabel = -100;

/// What rows become: one text, a text to read and one to write, or a text and its class.
enum class RowTask { CausalLm, Seq2SeqLm, Classification };
RowTask rowTaskFromName(const std::string& modelTask);

struct MappedRow {
    std::vector<std::int32_t> ids;
    std::vector<std::int32_t> labels;  ///< as long as ids; Seq2SeqLm: what is to be written
    std::vector<std::int32_t> types;   ///< token types, as long as ids, or empty
    std::vector<std::int8_t>
        parts;  ///< FramedText's, as long as ids; empty: a row that is too long loses its end
    std::vector<std::int8_t> labelParts;   ///< Seq2SeqLm: those of what is to be written
    std::optional<std::string> className;  ///< classification: the label as text
    std::vector<float>
        targets;  ///< classification: 0 or 1 for every class, or the values of a regression
    std::vector<std::vector<std::int32_t>> choices;  ///< tokens of every answer to choose from
    std::int32_t answer = -1;  ///< the right one, which stands in ids and labels
    bool isAnswerEmpty = false;
    bool isMaskUncertain =
        false;  ///< the chat template changes earlier turns; only the last answer is learned
};

/// A row's texts for people and checks, as far as its format has them.
struct RowTexts {
    std::string whole;           ///< text, classification
    std::string prompt, answer;  ///< pairs
    bool isJoined =
        false;  ///< prompt and answer follow each other without words of a template between them
    Json messages;  ///< chats, with role and content; null otherwise
};
RowTexts textsOf(const Json& row, RowFormat format);

struct MappingOptions {
    LossOn lossOn = LossOn::Completion;
    std::string chatTemplate = "auto";  ///< data.template
    RowTask task = RowTask::CausalLm;
    RowTemplate* rowTemplate = nullptr;  ///< RowFormat::Custom
    std::string templateText = {};       ///< its source, data.template_text
    bool wantsValues = false;            ///< a classifier of one output, which is a regression
};

/// One row as tokens, not yet cut. `place` is what messages call the row. Problem code: bad_row,
/// template_raised, template_failed, …
Result<MappedRow> mapRow(const Json& row, RowFormat format, const MappingOptions& options,
                         const TextEncoder& encoder, const std::string& place);

/// How the format becomes text, for people: "prompt + completion + end token".
/// @param separatesPairs TextEncoder::separatesPairs() of the model's tokenizer
std::string mappingDescription(RowFormat format, const Json& row, RowTask task,
                               bool separatesPairs);

/// Keys of the row that say something and that its mapping does not read; "messages[].KEY" for keys
/// of its messages.
std::vector<std::string> unusedKeys(const Json& row, RowFormat format,
                                    const MappingOptions& options, const TextEncoder& encoder);

/// The key that the row's class stands under; empty when there is none.
std::string classKeyOf(const Json& row);

/// The keys that a text, and a prompt with its answer, stand under; nullptr when there are none.
const char* textKeyOf(const Json& row);
std::pair<const char*, const char*> pairKeysOf(const Json& row);

/// Whether the row holds two texts, which every task can use together.
bool isSentencePair(const Json& row);

}  // namespace luthier
