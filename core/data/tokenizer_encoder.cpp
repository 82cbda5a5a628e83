// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizer_encoder.h"

#include <algorithm>

namespace luthier {

TokenizerEncoder::TokenizerEncoder(const Tokenizer& tokenizer) : m_tokenizer(tokenizer) {
    // Having a begin token does not mean using it (GPT-2): ask what the post-processor does.
    const std::vector<int> ids = tokenizer.encode("a", SpecialTokens::Add);
    if (tokenizer.bosId() && !ids.empty() && ids.front() == *tokenizer.bosId())
        m_begin = *tokenizer.bosId();
    for (const char* name : {"<unk>", "[UNK]"})
        if (!m_unknown && tokenizer.idOf(name)) m_unknown = *tokenizer.idOf(name);
    const std::vector<std::int8_t> parts = frame("a", "b").parts;
    const auto second = std::find(parts.begin(), parts.end(), std::int8_t{1});
    m_separatesPairs =
        second != parts.begin() && second != parts.end() && *(second - 1) == kFramePart;
}

std::vector<std::int32_t> TokenizerEncoder::encode(std::string_view text, TextOrigin origin) const {
    if (text.empty()) return {};
    return m_tokenizer.encode(
        text, SpecialTokens::Omit,
        origin == TextOrigin::Template ? TextKind::Template : TextKind::Plain);
}

FramedText TokenizerEncoder::frame(std::string_view first,
                                   std::optional<std::string_view> second) const {
    FramedText framed;
    for (const FramedToken& token : m_tokenizer.encodeFramed(first, second)) {
        framed.ids.push_back(token.id);
        framed.types.push_back(token.type);
        framed.parts.push_back(
            token.part == TextPart::Frame ? kFramePart : static_cast<std::int8_t>(token.part));
    }
    return framed;
}

std::vector<EncodedSpan> TokenizerEncoder::encodeSpans(std::string_view text) const {
    std::vector<EncodedSpan> spans;
    for (const TokenSpan& span :
         m_tokenizer.encodeWithOffsets(text, SpecialTokens::Omit, TextKind::Template))
        spans.push_back({span.id, span.begin, span.end});
    return spans;
}

std::string TokenizerEncoder::tokenText(std::int32_t id) const {
    std::string piece = m_tokenizer.tokenText(id);
    // sentencepiece spells a space U+2581, and decoding a single piece would lose it.
    constexpr std::string_view kSpace = "\xE2\x96\x81";
    if (piece.find(kSpace) != std::string::npos) {
        for (std::size_t at = piece.find(kSpace); at != std::string::npos; at = piece.find(kSpace))
            piece.replace(at, kSpace.size(), " ");
        return piece;
    }
    const std::string text = m_tokenizer.decode(std::vector<int>{id}, false);
    return text.empty() || text.find("\xEF\xBF\xBD") != std::string::npos ? piece : text;
}

}  // namespace luthier
