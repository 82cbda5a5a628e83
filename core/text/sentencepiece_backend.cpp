// SPDX-License-Identifier: Apache-2.0
// tokenizer.model (or spiece.model) by sentencepiece, with control tokens treated as transformers'
// Llama tokenizers do: a text is first cut at control tokens, then each piece is encoded.
// sentencepiece itself never makes a control token out of text. Part of the module
// luthier-sentencepiece.so alone.
#include "text/backend.h"
#include "text/utf8.h"

#include <sentencepiece_processor.h>

#include <algorithm>
#include <map>
#include <unordered_map>

namespace luthier {
namespace {

constexpr std::string_view kWordMark = "\xE2\x96\x81";  // "▁"

class SentencePieceBackend final : public TokenizerBackend {
public:
    explicit SentencePieceBackend(bool legacy) : m_legacy(legacy) {}

    bool load(const std::filesystem::path& file) {
        if (!m_model.Load(file.string()).ok()) return false;
        m_size = m_model.GetPieceSize();
        for (int id = 0; id < m_size; ++id) {
            if (m_model.IsControl(id) || m_model.IsUnknown(id))
                m_declared[m_model.IdToPiece(id)] = id;
        }
        const auto letter = m_model.EncodeAsImmutableProto("a");
        m_addsWordMark =
            letter.pieces_size() > 0 && letter.pieces(0).piece().starts_with(kWordMark);
        return true;
    }

    std::vector<TokenSpan> encode(std::string_view text, SpecialTokens special,
                                  TextKind kind) const override {
        std::vector<TokenSpan> tokens;
        if (special == SpecialTokens::Add && m_ends.bos) tokens.push_back({*m_ends.bos, 0, 0});
        std::size_t at = 0;
        while (at < text.size()) {
            const auto [begin, id] = nextDeclared(text, at, kind);
            encodePlain(text.substr(at, begin - at), at, tokens);
            if (begin == text.size()) break;
            at = begin + m_spellings.at(id).size();
            tokens.push_back({id, begin, at});
        }
        if (special == SpecialTokens::Add && m_ends.eos)
            tokens.push_back({*m_ends.eos, text.size(), text.size()});
        return tokens;
    }

    std::string decode(std::span<const int> ids, bool skipSpecial) const override {
        std::string text;
        for (const int id : ids) {
            if (skipSpecial && isSpecial(id)) continue;
            if (id >= 0 && id < m_model.GetPieceSize() && m_model.IsByte(id)) {
                text += static_cast<char>(
                    std::stoi(m_model.IdToPiece(id).substr(3, 2), nullptr, 16));  // "<0xE2>"
                continue;
            }
            std::string part = piece(id);
            for (std::size_t mark; (mark = part.find(kWordMark)) != std::string::npos;)
                part.replace(mark, kWordMark.size(), 1, ' ');
            text += part;
        }
        if (m_addsWordMark && text.starts_with(' ')) text.erase(0, 1);
        return toUtf8(text);
    }

    std::vector<FramedToken> frame(std::string_view first, std::optional<std::string_view> second,
                                   TextKind kind) const override {
        std::vector<FramedToken> tokens;
        const auto add = [&](std::string_view text, TextPart part) {
            if (m_ends.bos) tokens.push_back({*m_ends.bos, 0, TextPart::Frame});
            for (const TokenSpan& token : encode(text, SpecialTokens::Omit, kind))
                tokens.push_back({token.id, 0, part});
            if (m_ends.eos) tokens.push_back({*m_ends.eos, 0, TextPart::Frame});
        };
        add(first, TextPart::First);
        if (second) add(*second, TextPart::Second);
        return tokens;
    }

    std::string piece(int id) const override {
        if (const auto found = m_spellings.find(id); found != m_spellings.end())
            return found->second;
        return id >= 0 && id < m_model.GetPieceSize() ? m_model.IdToPiece(id) : std::string();
    }

    std::optional<int> idOf(std::string_view token) const override {
        if (const auto found = m_declared.find(token); found != m_declared.end())
            return found->second;
        const int id = m_model.PieceToId(token);
        if (isUnknown(id)) return std::nullopt;
        return id;
    }

    bool isSpecial(int id) const override {
        if (const auto found = m_isSpecial.find(id); found != m_isSpecial.end())
            return found->second;
        return id >= 0 && id < m_model.GetPieceSize() && (m_model.IsControl(id) || isUnknown(id));
    }

    int size() const override { return m_size; }

    Ends ownEnds() const override {
        Ends ends;
        if (m_model.bos_id() >= 0) ends.bos = m_model.bos_id();
        if (m_model.eos_id() >= 0) ends.eos = m_model.eos_id();
        return ends;
    }

    Result<void> declare(const DeclaredToken& token) override {
        if (token.text.empty()) return {};
        const int id = token.id.value_or(idOf(token.text).value_or(m_size));
        m_declared[token.text] = id;
        m_isSpecial[id] = token.isSpecial;
        m_size = std::max(m_size, id + 1);
        index();
        return {};
    }

    Result<void> setEnds(const Ends& ends) override {
        m_ends = ends;
        return {};
    }

    void index() {
        m_spellings.clear();
        for (const auto& [text, id] : m_declared) m_spellings[id] = text;
    }

private:
    struct Found {
        std::size_t begin;
        int id;
    };

    /// Ids behind the last piece are tokens that were added; sentencepiece must not be asked about
    /// them.
    bool isUnknown(int id) const {
        return id >= 0 && id < m_model.GetPieceSize() && m_model.IsUnknown(id);
    }

    /// The first declared token at or behind `from`, the longest if several begin there; begin is
    /// text.size() if there is none.
    Found nextDeclared(std::string_view text, std::size_t from, TextKind kind) const {
        Found best{text.size(), -1};
        for (const auto& [spelling, id] : m_declared) {
            if (isUnknown(id) || (kind == TextKind::Plain && isSpecial(id))) continue;
            const std::size_t begin = text.find(spelling, from);
            if (begin == std::string_view::npos) continue;
            const bool isLonger = begin == best.begin &&
                                  (best.id < 0 || spelling.size() > m_spellings.at(best.id).size());
            if (begin < best.begin || isLonger) best = {begin, id};
        }
        return best;
    }

    /// Encodes a text without control tokens that begins at byte `offset` of the whole.
    void encodePlain(std::string_view text, std::size_t offset,
                     std::vector<TokenSpan>& tokens) const {
        if (text.empty()) return;
        // Behind a control token only legacy tokenizers add a word mark. sentencepiece cannot be
        // told to leave it out, so the text is put behind one more letter whose tokens are dropped.
        const bool hasNoMark = m_addsWordMark && !m_legacy && offset > 0;
        const std::string guard = hasNoMark ? "\n" : "";
        const auto parts = m_model.EncodeAsImmutableProto(guard + std::string(text));
        for (const auto& part : parts.pieces()) {
            if (part.end() <= guard.size() && hasNoMark) continue;
            const std::size_t begin =
                std::max<std::size_t>(part.begin(), guard.size()) - guard.size();
            tokens.push_back(
                {static_cast<int>(part.id()), offset + begin, offset + part.end() - guard.size()});
        }
    }

    sentencepiece::SentencePieceProcessor m_model;
    std::map<std::string, int, std::less<>> m_declared;
    std::unordered_map<int, std::string> m_spellings;
    std::unordered_map<int, bool> m_isSpecial;
    Ends m_ends;
    int m_size = 0;
    bool m_legacy;
    bool m_addsWordMark = false;
};

}  // namespace

}  // namespace luthier

/// The module's one entry (sentencepiece_module.cpp): the model in `file`, owned by the caller, or
/// null with `problem` filled.
extern "C" __attribute__((visibility("default"))) luthier::TokenizerBackend*
luthierOpenSentencePiece(const char* file, bool legacy, luthier::Problem* problem) {
    auto backend = std::make_unique<luthier::SentencePieceBackend>(legacy);
    if (!backend->load(file)) {
        *problem = {"tokenizer_invalid", std::string(file) + " is not a sentencepiece model.",
                    "Copy it again from where the model came from.", ""};
        return nullptr;
    }
    backend->index();
    return backend.release();
}
