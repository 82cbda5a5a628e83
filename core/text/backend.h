// SPDX-License-Identifier: Apache-2.0
#pragma once
// The two libraries that turn text into ids, behind one face. Only tokenizer.cpp includes this.
// Text arrives as valid UTF-8; a library that gives up throws a Failure. Const members may be
// called by several threads at once.

#include "text/tokenizer.h"

namespace luthier {

/// Tokens put around a text, where the files say so.
struct Ends {
    std::optional<int> bos;
    std::optional<int> eos;
};

/// A token that tokenizer_config.json or added_tokens.json declares.
struct DeclaredToken {
    std::string text;
    std::optional<int> id;
    bool isSpecial = true;
};

class TokenizerBackend {
public:
    virtual ~TokenizerBackend() = default;
    virtual std::vector<TokenSpan> encode(std::string_view text, SpecialTokens special,
                                          TextKind kind) const = 0;
    /// encode() without places, which a library may give sooner.
    virtual std::vector<int> encodeIds(std::string_view text, SpecialTokens special,
                                       TextKind kind) const {
        std::vector<int> ids;
        for (const TokenSpan& token : encode(text, special, kind)) ids.push_back(token.id);
        return ids;
    }
    virtual std::vector<FramedToken> frame(std::string_view first,
                                           std::optional<std::string_view> second,
                                           TextKind kind) const = 0;
    virtual std::string decode(std::span<const int> ids, bool skipSpecial) const = 0;
    virtual std::string piece(int id) const = 0;
    virtual std::optional<int> idOf(std::string_view token) const = 0;
    virtual bool isSpecial(int id) const = 0;
    virtual int size() const = 0;
    virtual Ends ownEnds() const {
        return {};
    }  ///< begin and end tokens that the model file itself names

    virtual Result<void> declare(const DeclaredToken& token) = 0;
    virtual Result<void> setEnds(const Ends& ends) = 0;
};

Result<std::unique_ptr<TokenizerBackend>> openTokenizerJson(const std::filesystem::path& file);

/// `legacy`: transformers' LlamaTokenizer(legacy=True), where text behind a control token gets a
/// word mark of its own.
Result<std::unique_ptr<TokenizerBackend>> openSentencePiece(const std::filesystem::path& file,
                                                            bool legacy);

}  // namespace luthier
