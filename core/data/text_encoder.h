// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the data room asks of a tokenizer. An interface, because rows must also be mapped in tests
// and previews without one of the real tokenizers; `tokenizer_encoder.h` puts text/tokenizer.h
// behind it.

#include "contract/json.h"
#include "contract/problem.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace luthier {

enum class TextOrigin {
    Data,      ///< a user's text: control tokens spelled in it stay text
    Template,  ///< rendered by a template: control tokens are meant
};

struct EncodedSpan {
    std::int32_t id = 0;
    std::size_t begin = 0;  ///< first byte in the text
    std::size_t end = 0;    ///< byte behind the last
};

/// A text, or two, as a model reads them whole: with what the tokenizer puts before, between and
/// behind them.
struct FramedText {
    std::vector<std::int32_t> ids;
    std::vector<std::int32_t> types;  ///< token types, as long as ids
    std::vector<std::int8_t> parts;  ///< as long as ids: 0 the first text, 1 the second, kFramePart
};
constexpr std::int8_t kFramePart = 2;  ///< put there by the tokenizer

class TextEncoder {
public:
    virtual ~TextEncoder() = default;

    /// A hash of everything that the results depend on; empty: not known, and nothing may be
    /// cached.
    virtual std::string fingerprint() const { return {}; }

    /// Ids of `text` alone: no begin or end token is added.
    virtual std::vector<std::int32_t> encode(std::string_view text, TextOrigin origin) const = 0;
    /// tokenizer(first, second) of transformers, but control tokens spelled in the texts stay text.
    /// Nothing is cut.
    virtual FramedText frame(std::string_view first,
                             std::optional<std::string_view> second) const = 0;
    /// Whether that puts a token between two texts; a tokenizer made for texts one by one does not.
    virtual bool separatesPairs() const { return false; }
    /// {"bos_token": "<s>", …}: what the tokenizer's files call its control tokens.
    virtual Json namedTokens() const { return Json::object(); }
    /// The begin token, when this tokenizer puts one in front of a text.
    virtual std::optional<std::int32_t> begin() const = 0;
    virtual std::optional<std::int32_t> end() const = 0;
    virtual std::optional<std::int32_t> padding() const = 0;
    /// The token for what the vocabulary lacks, when there is one.
    virtual std::optional<std::int32_t> unknown() const { return std::nullopt; }
    virtual std::int64_t vocabularySize()
        const = 0;  ///< ids below it have a row in the model's embedding
    virtual std::string tokenText(std::int32_t id) const = 0;
    virtual bool isSpecial(std::int32_t id) const = 0;
    virtual bool hasChatTemplate() const = 0;
    /// The template's source, to see which keys it reads; empty: not known.
    virtual std::string chatTemplate() const { return {}; }
    /// `messages`: [{"role","content"}, …]
    virtual Result<std::string> renderChat(const Json& messages,
                                           bool withGenerationPrompt) const = 0;
    /// With the row's tools (null: none). `isMarked`: what the template's generation blocks wrote
    /// stands between U+FDD0 and U+FDD1.
    virtual Result<std::string> renderChatWith(const Json& messages, bool withGenerationPrompt,
                                               const Json& /*tools*/, bool /*isMarked*/) const {
        return renderChat(messages, withGenerationPrompt);
    }
    /// A rendered text as a whole, each token with its bytes; nothing from an encoder that cannot
    /// say.
    virtual std::vector<EncodedSpan> encodeSpans(std::string_view /*text*/) const { return {}; }
};

}  // namespace luthier
