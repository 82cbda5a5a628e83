// SPDX-License-Identifier: Apache-2.0
#pragma once
// Text to token ids and back, as the model's own files say: tokenizer.json by the `tokenizers`
// crate, tokenizer.model by sentencepiece (with the Llama-legacy treatment of control tokens), chat
// templates by minijinja. Where the files of a Hugging Face folder disagree, the result is what
// transformers 5 gives for them.
//
// Surprising at first: control tokens written inside text stay text unless the text is a rendered
// template (TextKind::Template), so that data cannot speak with the template's voice. Threads: all
// const members may be called at once.

#include "contract/json.h"
#include "contract/problem.h"

#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace luthier {

enum class SpecialTokens {
    Omit,
    Add,  ///< begin and end tokens, as the tokenizer's post-processor puts them
};

enum class TextKind {
    Plain,     ///< "<|im_end|>" in the text is eight letters and some signs
    Template,  ///< … is the control token: rendered chats, and what transformers' tokenizer(text)
               ///< does
};

enum class ChatMarks { Dropped, Kept };

struct TokenSpan {
    int id = 0;
    std::size_t begin = 0;  ///< first byte in the text
    std::size_t end = 0;    ///< byte behind the last; equal to begin for tokens that were added
};

enum class TextPart {
    First,
    Second,
    Frame,  ///< put there by the tokenizer: [CLS], [SEP], begin and end tokens
};

struct FramedToken {
    int id = 0;
    int type = 0;  ///< token_type_ids
    TextPart part = TextPart::First;
};

class Tokenizer final {
public:
    /// Problem codes: tokenizer_missing, tokenizer_invalid, file_too_large, and those of
    /// readJsonFile.
    static Result<std::unique_ptr<Tokenizer>> open(const std::filesystem::path& modelFolder);
    ~Tokenizer();

    /// Text must be UTF-8 (invalid bytes become U+FFFD). Throws Failure "tokenizer_failed" if the
    /// library gives up on a text.
    std::vector<int> encode(std::string_view text, SpecialTokens special = SpecialTokens::Add,
                            TextKind kind = TextKind::Plain) const;
    std::vector<std::vector<int>> encodeBatch(std::span<const std::string> texts,
                                              SpecialTokens special = SpecialTokens::Add,
                                              TextKind kind = TextKind::Plain) const;
    std::vector<TokenSpan> encodeWithOffsets(std::string_view text,
                                             SpecialTokens special = SpecialTokens::Add,
                                             TextKind kind = TextKind::Plain) const;
    /// A text, or a pair of texts, as transformers' tokenizer(first, second) frames them; nothing
    /// is cut.
    std::vector<FramedToken> encodeFramed(std::string_view first,
                                          std::optional<std::string_view> second,
                                          TextKind kind = TextKind::Plain) const;
    std::string decode(std::span<const int> ids, bool skipSpecial = true) const;

    /// SHA-256 over the files in the folder that can change what a text becomes; empty when one
    /// cannot be read.
    std::string fingerprint() const;

    std::string tokenText(int id)
        const;  ///< the piece as the vocabulary spells it ("▁the", "Ġthe"); empty for unknown ids
    std::optional<int> idOf(std::string_view token) const;
    bool isSpecial(int id) const;
    int vocabularySize() const;  ///< highest id + 1, added tokens included

    /// A tokenizer may have more tokens than its model's embedding has rows (Gemma 3's mark for
    /// images, a <pad> that nobody trained): harmless until a text holds one of them. openTokenizer
    /// says how many rows there are.
    void limitTo(std::int64_t rows);
    int usableIds()
        const;  ///< ids below it have a row; vocabularySize() where nothing else was said
    /// Problem code: id_out_of_range, naming the first token of `ids` that has no row. `what`
    /// begins the sentence: "The prompt".
    Result<void> checkIds(std::span<const int> ids, const std::string& what,
                          const std::string& field) const;

    std::optional<int> bosId() const;
    std::optional<int> eosId() const;
    std::optional<int> padId() const;
    std::vector<int> endIds() const;  ///< eos_token_id of generation_config.json (one or a list),
                                      ///< else of config.json, else eosId()

    Json namedTokens() const;  ///< {"bos_token": "<s>", …}, those that the files name

    bool hasChatTemplate() const;
    std::string chatTemplate() const;  ///< its source, for showing; empty when there is none

    /// apply_chat_template(messages, tools, add_generation_prompt, tokenize=False). Encode the text
    /// with SpecialTokens::Omit and TextKind::Template. Problem codes: chat_template_missing,
    /// template_raised (the template's own words), template_invalid, template_failed,
    /// template_limit. With ChatMarks::Kept what `{% generation %}` blocks wrote stands between
    /// U+FDD0 and U+FDD1.
    Result<std::string> renderChat(const Json& messages, bool addGenerationPrompt,
                                   const Json& tools = nullptr,
                                   ChatMarks marks = ChatMarks::Dropped) const;

private:
    struct Parts;
    explicit Tokenizer(std::unique_ptr<Parts> parts);
    std::unique_ptr<Parts> m_parts;
};

/// Turns ids that arrive one by one into text that never ends within a character: push() returns
/// what became certain, finish() the rest. The pieces joined equal Tokenizer::decode of all ids.
class StreamDecoder final {
public:
    explicit StreamDecoder(const Tokenizer& tokenizer, bool skipSpecial = true);
    std::string push(int id);
    std::string finish();

private:
    const Tokenizer& m_tokenizer;
    bool m_skipSpecial;
    std::vector<int> m_ids;
    std::size_t m_settled = 0;  ///< ids before this one are printed and serve only as context
    std::size_t m_pending = 0;  ///< first id whose text is not printed
};

}  // namespace luthier
