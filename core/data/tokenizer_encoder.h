// SPDX-License-Identifier: Apache-2.0
#pragma once
// A Tokenizer as the data room sees it: Dataset::build(config, TokenizerEncoder(*tokenizer),
// progress). Borrows the tokenizer.

#include "data/text_encoder.h"
#include "text/tokenizer.h"

namespace luthier {

class TokenizerEncoder final : public TextEncoder {
public:
    explicit TokenizerEncoder(const Tokenizer& tokenizer);

    std::string fingerprint() const override { return m_tokenizer.fingerprint(); }
    std::vector<std::int32_t> encode(std::string_view text, TextOrigin origin) const override;
    FramedText frame(std::string_view first, std::optional<std::string_view> second) const override;
    bool separatesPairs() const override { return m_separatesPairs; }
    Json namedTokens() const override { return m_tokenizer.namedTokens(); }
    std::optional<std::int32_t> begin() const override { return m_begin; }
    std::optional<std::int32_t> end() const override { return m_tokenizer.eosId(); }
    std::optional<std::int32_t> padding() const override { return m_tokenizer.padId(); }
    std::optional<std::int32_t> unknown() const override { return m_unknown; }
    std::int64_t vocabularySize() const override { return m_tokenizer.usableIds(); }
    std::string tokenText(std::int32_t id) const override;
    bool isSpecial(std::int32_t id) const override { return m_tokenizer.isSpecial(id); }
    bool hasChatTemplate() const override { return m_tokenizer.hasChatTemplate(); }
    std::string chatTemplate() const override { return m_tokenizer.chatTemplate(); }
    Result<std::string> renderChat(const Json& messages, bool withGenerationPrompt) const override {
        return m_tokenizer.renderChat(messages, withGenerationPrompt);
    }
    Result<std::string> renderChatWith(const Json& messages, bool withGenerationPrompt,
                                       const Json& tools, bool isMarked) const override {
        return m_tokenizer.renderChat(messages, withGenerationPrompt, tools,
                                      isMarked ? ChatMarks::Kept : ChatMarks::Dropped);
    }
    std::vector<EncodedSpan> encodeSpans(std::string_view text) const override;

private:
    const Tokenizer& m_tokenizer;
    std::optional<std::int32_t> m_begin;
    std::optional<std::int32_t> m_unknown;
    bool m_separatesPairs = false;
};

/// Stands for the tokenizer of a model folder that has none; rows of ids need no other.
class MissingTokenizer final : public TextEncoder {
public:
    MissingTokenizer(Problem problem, std::int64_t vocabulary)
        : m_problem(std::move(problem)), m_vocabulary(vocabulary) {}
    std::vector<std::int32_t> encode(std::string_view, TextOrigin) const override {
        throw Failure(m_problem);
    }
    FramedText frame(std::string_view, std::optional<std::string_view>) const override {
        throw Failure(m_problem);
    }
    std::optional<std::int32_t> begin() const override { return std::nullopt; }
    std::optional<std::int32_t> end() const override { return std::nullopt; }
    std::optional<std::int32_t> padding() const override { return std::nullopt; }
    std::int64_t vocabularySize() const override { return m_vocabulary; }
    std::string tokenText(std::int32_t id) const override { return std::to_string(id); }
    bool isSpecial(std::int32_t) const override { return false; }
    bool hasChatTemplate() const override { return false; }
    Result<std::string> renderChat(const Json&, bool) const override { return m_problem; }

private:
    Problem m_problem;
    std::int64_t m_vocabulary;
};

}  // namespace luthier
