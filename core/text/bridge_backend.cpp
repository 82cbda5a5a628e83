// SPDX-License-Identifier: Apache-2.0
// tokenizer.json through the Rust crate in bridge/.
#include "contract/system_error.h"
#include "io/recognise.h"
#include "text/backend.h"
#include "text/bridge/luthier_text.h"

#include <cstdint>
#include <cstring>
#include <fstream>

namespace luthier {
namespace {

constexpr std::uintmax_t kMaxBytes = 256u << 20;
constexpr int kMaxVocabulary = 1 << 21;

const std::uint8_t* bytesOf(std::string_view text) {
    return reinterpret_cast<const std::uint8_t*>(text.data());
}

/// Owns a buffer of the bridge.
class Answer final {
public:
    explicit Answer(LuthierBuffer buffer) : m_buffer(buffer) {}
    Answer(const Answer&) = delete;
    Answer& operator=(const Answer&) = delete;
    ~Answer() { luthier_buffer_free(m_buffer); }

    bool ok() const { return m_buffer.status == LUTHIER_TEXT_OK; }
    std::string text() const {
        return {reinterpret_cast<const char*>(m_buffer.data), m_buffer.size};
    }
    const std::uint8_t* data() const { return m_buffer.data; }
    std::size_t size() const { return m_buffer.size; }
    Problem problem(const std::string& what) const {
        return {.code = "tokenizer_failed",
                .message = what + ": " + text() + ".",
                .hint = "",
                .field = ""};
    }

private:
    LuthierBuffer m_buffer;
};

class BridgeBackend final : public TokenizerBackend {
public:
    explicit BridgeBackend(LuthierTokenizer* tokenizer) : m_tokenizer(tokenizer) {
        m_size = static_cast<int>(luthier_tokenizer_size(tokenizer));
    }
    ~BridgeBackend() override { luthier_tokenizer_free(m_tokenizer); }

    std::vector<TokenSpan> encode(std::string_view text, SpecialTokens special,
                                  TextKind kind) const override {
        const int flags = (special == SpecialTokens::Add ? LUTHIER_ENCODE_SPECIAL : 0) |
                          (kind == TextKind::Plain ? LUTHIER_ENCODE_PLAIN : 0);
        const Answer answer(
            luthier_tokenizer_encode(m_tokenizer, bytesOf(text), text.size(), flags));
        if (!answer.ok()) throw Failure(answer.problem("The tokenizer could not read a text"));
        std::vector<TokenSpan> tokens(answer.size() / (3 * sizeof(std::uint32_t)));
        for (std::size_t i = 0; i < tokens.size(); ++i) {
            std::uint32_t triple[3];
            std::memcpy(triple, answer.data() + i * sizeof triple, sizeof triple);
            tokens[i] = {static_cast<int>(triple[0]), triple[1], triple[2]};
        }
        return tokens;
    }

    std::vector<int> encodeIds(std::string_view text, SpecialTokens special,
                               TextKind kind) const override {
        const int flags = LUTHIER_ENCODE_IDS |
                          (special == SpecialTokens::Add ? LUTHIER_ENCODE_SPECIAL : 0) |
                          (kind == TextKind::Plain ? LUTHIER_ENCODE_PLAIN : 0);
        const Answer answer(
            luthier_tokenizer_encode(m_tokenizer, bytesOf(text), text.size(), flags));
        if (!answer.ok()) throw Failure(answer.problem("The tokenizer could not read a text"));
        std::vector<int> ids(answer.size() / sizeof(int));
        if (!ids.empty()) std::memcpy(ids.data(), answer.data(), answer.size());
        return ids;
    }

    std::vector<FramedToken> frame(std::string_view first, std::optional<std::string_view> second,
                                   TextKind kind) const override {
        static const std::uint8_t empty =
            0;  // a pair may have an empty second text, which is not the same as none
        const std::string_view other = second.value_or(std::string_view());
        const std::uint8_t* data = !second ? nullptr : other.empty() ? &empty : bytesOf(other);
        const Answer answer(
            luthier_tokenizer_frame(m_tokenizer, bytesOf(first), first.size(), data, other.size(),
                                    kind == TextKind::Plain ? LUTHIER_ENCODE_PLAIN : 0));
        if (!answer.ok()) throw Failure(answer.problem("The tokenizer could not read a text"));
        std::vector<FramedToken> tokens(answer.size() / (3 * sizeof(std::uint32_t)));
        for (std::size_t i = 0; i < tokens.size(); ++i) {
            std::uint32_t triple[3];
            std::memcpy(triple, answer.data() + i * sizeof triple, sizeof triple);
            tokens[i] = {static_cast<int>(triple[0]), static_cast<int>(triple[1]),
                         static_cast<TextPart>(triple[2])};
        }
        return tokens;
    }

    std::string decode(std::span<const int> ids, bool skipSpecial) const override {
        std::vector<std::uint32_t> numbers(ids.begin(), ids.end());
        const Answer answer(luthier_tokenizer_decode(m_tokenizer, numbers.data(), numbers.size(),
                                                     skipSpecial ? 1 : 0));
        if (!answer.ok()) throw Failure(answer.problem("The tokenizer could not write a text"));
        return answer.text();
    }

    std::string piece(int id) const override {
        return Answer(luthier_tokenizer_piece(m_tokenizer, static_cast<std::uint32_t>(id))).text();
    }

    std::optional<int> idOf(std::string_view token) const override {
        const std::int64_t id = luthier_tokenizer_id(m_tokenizer, bytesOf(token), token.size());
        if (id < 0) return std::nullopt;
        return static_cast<int>(id);
    }

    bool isSpecial(int id) const override {
        return luthier_tokenizer_is_special(m_tokenizer, static_cast<std::uint32_t>(id)) != 0;
    }
    int size() const override { return m_size; }

    Result<void> declare(const DeclaredToken& token) override {
        if (!token.isSpecial) return {};
        const Answer answer(
            luthier_tokenizer_add_special(m_tokenizer, bytesOf(token.text), token.text.size()));
        if (!answer.ok())
            return answer.problem("The control token \"" + token.text + "\" could not be added");
        m_size = static_cast<int>(luthier_tokenizer_size(m_tokenizer));
        return {};
    }

    Result<void> setEnds(const Ends& ends) override {
        const Answer answer(
            luthier_tokenizer_set_ends(m_tokenizer, ends.bos.value_or(-1), ends.eos.value_or(-1)));
        if (!answer.ok()) return answer.problem("The begin and end tokens could not be set");
        return {};
    }

private:
    LuthierTokenizer* m_tokenizer;
    int m_size = 0;
};

}  // namespace

Result<std::unique_ptr<TokenizerBackend>> openTokenizerJson(const std::filesystem::path& file) {
    if (std::optional<Problem> foreign = looksLike(file, "a tokenizer")) return *foreign;
    std::error_code error;
    const std::uintmax_t size = std::filesystem::file_size(file, error);
    if (!error && size > kMaxBytes) {
        return Problem{
            .code = "file_too_large",
            .message = file.string() + " is larger than 256 MiB, more than a tokenizer needs.",
            .hint = "Check that this is a tokenizer file."};
    }
    errno = 0;
    std::ifstream stream(file, std::ios::binary);
    std::string json(error ? 0 : size, '\0');
    if (!stream.read(json.data(), static_cast<std::streamsize>(json.size())))
        return unreadable(file, errno);
    LuthierTokenizer* tokenizer = nullptr;
    const Answer answer(luthier_tokenizer_open(bytesOf(json), json.size(), &tokenizer));
    if (!answer.ok()) {
        return Problem{.code = "tokenizer_invalid",
                       .message = file.string() + " is not a tokenizer this version can read: " +
                                  answer.text() + ".",
                       .hint = "Copy tokenizer.json again from where the model came from."};
    }
    auto backend = std::make_unique<BridgeBackend>(tokenizer);
    if (backend->size() > kMaxVocabulary) {
        return Problem{.code = "tokenizer_invalid",
                       .message = file.string() + " names token ids above 2,097,151.",
                       .hint = "Copy tokenizer.json again from where the model came from."};
    }
    return std::unique_ptr<TokenizerBackend>(std::move(backend));
}

}  // namespace luthier
