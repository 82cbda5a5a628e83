// SPDX-License-Identifier: Apache-2.0
#include "text/vocabulary_files.h"

#include "contract/json.h"
#include "io/atomic.h"
#include "text/pre_tokenizers.h"

#include <algorithm>
#include <cstring>
#include <optional>

namespace luthier {

namespace {

// Not the project's Json: an ordered object of 128,000 tokens would take quadratic time.
using Tree = nlohmann::json;

std::string tokenAt(const Vocabulary& vocabulary, const char* name) {
    const auto found = vocabulary.special.find(name);
    const bool isIn = found != vocabulary.special.end() && found->second >= 0 &&
                      found->second < static_cast<int>(vocabulary.tokens.size());
    return isIn ? vocabulary.tokens[static_cast<std::size_t>(found->second)] : std::string();
}

/// Puts begin and end tokens around one text and around two.
Tree framing(const Vocabulary& vocabulary) {
    const std::string begin = vocabulary.addsBegin ? tokenAt(vocabulary, "bos") : "",
                      end = vocabulary.addsEnd ? tokenAt(vocabulary, "eos") : "";
    if (begin.empty() && end.empty()) return byteLevel(true);
    Tree special = Tree::object();
    for (const auto& [name, text] : {std::pair{"bos", begin}, {"eos", end}})
        if (!text.empty())
            special[text] = {{"id", text},
                             {"ids", Tree::array({vocabulary.special.at(name)})},
                             {"tokens", Tree::array({text})}};
    const auto framed = [&](const char* part, int type) {
        Tree list = Tree::array();
        if (!begin.empty()) list.push_back({{"SpecialToken", {{"id", begin}, {"type_id", type}}}});
        list.push_back({{"Sequence", {{"id", part}, {"type_id", type}}}});
        if (!end.empty()) list.push_back({{"SpecialToken", {{"id", end}, {"type_id", type}}}});
        return list;
    };
    Tree pair = framed("A", 0);
    for (Tree& step : framed("B", 1)) pair.push_back(step);
    return {{"type", "Sequence"},
            {"processors", Tree::array({byteLevel(true),
                                        {{"type", "TemplateProcessing"},
                                         {"single", framed("A", 0)},
                                         {"pair", pair},
                                         {"special_tokens", special}}})}};
}

Tree declared(const std::string& text, bool isSpecial) {
    return {{"content", text}, {"single_word", false}, {"lstrip", false},
            {"rstrip", false}, {"normalized", false},  {"special", isSpecial}};
}

bool isDeclared(TokenKind kind) {
    return kind == TokenKind::Control || kind == TokenKind::UserDefined ||
           kind == TokenKind::Unknown;
}

Result<void> writeTokenizerJson(const Vocabulary& vocabulary, const std::filesystem::path& folder) {
    const std::optional<SplitRule> rule = splitting(vocabulary.preTokenizer);
    Tree words = Tree::object(), added = Tree::array();
    for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
        if (vocabulary.kinds[id] == TokenKind::Unused) continue;
        words[vocabulary.tokens[id]] = id;
        if (!isDeclared(vocabulary.kinds[id])) continue;
        Tree token =
            declared(vocabulary.tokens[id], vocabulary.kinds[id] != TokenKind::UserDefined);
        token["id"] = id;
        added.push_back(std::move(token));
    }
    Tree document{{"version", "1.0"},
                  {"truncation", nullptr},
                  {"padding", nullptr},
                  {"added_tokens", added},
                  {"normalizer", nullptr},
                  {"pre_tokenizer", rule->preTokenizer},
                  {"post_processor", framing(vocabulary)},
                  {"decoder", byteLevel(true)},
                  {"model",
                   {{"type", "BPE"},
                    {"dropout", nullptr},
                    {"unk_token", nullptr},
                    {"continuing_subword_prefix", nullptr},
                    {"end_of_word_suffix", nullptr},
                    {"fuse_unk", false},
                    {"byte_fallback", false},
                    {"ignore_merges", rule->prefersWholeWords},
                    {"vocab", std::move(words)},
                    {"merges", vocabulary.merges}}}};
    if (rule->isComposed) document["normalizer"] = {{"type", "NFC"}};
    return writeFileAtomically(folder / "tokenizer.json",
                               document.dump(-1, ' ', false, Tree::error_handler_t::replace));
}

/// Protocol buffers, as far as a sentencepiece model needs them.
class Message {
public:
    Message& number(int field, std::int64_t value) {
        varint(static_cast<std::uint64_t>(field) << 3);
        varint(static_cast<std::uint64_t>(value));
        return *this;
    }
    Message& real(int field, float value) {
        varint(static_cast<std::uint64_t>(field) << 3 | 5);
        m_bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
        return *this;
    }
    Message& text(int field, const std::string& bytes) {
        varint(static_cast<std::uint64_t>(field) << 3 | 2);
        varint(bytes.size());
        m_bytes += bytes;
        return *this;
    }
    const std::string& bytes() const { return m_bytes; }

private:
    void varint(std::uint64_t value) {
        for (; value > 0x7f; value >>= 7) m_bytes += static_cast<char>((value & 0x7f) | 0x80);
        m_bytes += static_cast<char>(value);
    }
    std::string m_bytes;
};

Result<void> writeSentencePiece(const Vocabulary& vocabulary, const std::filesystem::path& folder) {
    const std::size_t count = vocabulary.tokens.size();
    if (vocabulary.scores.size() != count)
        return Problem{"tokenizer_invalid",
                       "The tokenizer has " + std::to_string(vocabulary.scores.size()) +
                           " scores for " + std::to_string(count) + " tokens.",
                       "Convert the model again.", "tokenizer.ggml.scores"};
    // Rows without a token stand at the end; sentencepiece counts its pieces.
    std::size_t used = count;
    while (used > 0 && vocabulary.kinds[used - 1] == TokenKind::Unused) --used;
    const auto unknown =
        std::find(vocabulary.kinds.begin(), vocabulary.kinds.end(), TokenKind::Unknown);
    if (unknown == vocabulary.kinds.end())
        return Problem{"tokenizer_invalid", "The tokenizer has no token for what it does not know.",
                       "Convert the model again.", "tokenizer.ggml.token_type"};
    Message model;
    for (std::size_t id = 0; id < used; ++id) {
        Message piece;
        piece.text(1, vocabulary.tokens[id])
            .real(2, vocabulary.scores[id])
            .number(3, static_cast<std::int64_t>(vocabulary.kinds[id]));
        model.text(1, piece.bytes());
    }
    const auto idOf = [&](const char* name) {
        return vocabulary.special.contains(name) ? vocabulary.special.at(name) : -1;
    };
    Message trainer;
    trainer.number(3, 2)
        .number(4, static_cast<std::int64_t>(used))
        .number(35,
                std::count(vocabulary.kinds.begin(), vocabulary.kinds.end(), TokenKind::Byte) > 0);
    trainer.number(40, unknown - vocabulary.kinds.begin())
        .number(41, idOf("bos"))
        .number(42, idOf("eos"))
        .number(43, idOf("padding"));
    trainer.text(45,
                 vocabulary.tokens[static_cast<std::size_t>(unknown - vocabulary.kinds.begin())]);
    for (const auto& [field, name] : {std::pair{46, "bos"}, {47, "eos"}, {48, "padding"}})
        if (const std::string text = tokenAt(vocabulary, name); !text.empty())
            trainer.text(field, text);
    Message normalizer;
    normalizer.text(1, "identity")
        .number(3, vocabulary.addsSpacePrefix.value_or(true))
        .number(4, 0)
        .number(5, 1);
    model.text(2, trainer.bytes()).text(3, normalizer.bytes());
    return writeFileAtomically(folder / "tokenizer.model", model.bytes());
}

Result<void> writeTokenizerConfig(const Vocabulary& vocabulary,
                                  const std::filesystem::path& folder) {
    const bool isSentencePiece = vocabulary.model == kSentencePieceModel;
    Json config{{"tokenizer_class", isSentencePiece ? "LlamaTokenizer" : "PreTrainedTokenizerFast"},
                {"clean_up_tokenization_spaces", false}};
    for (const auto& [key, name] : {std::pair{"bos_token", "bos"},
                                    {"eos_token", "eos"},
                                    {"unk_token", "unknown"},
                                    {"pad_token", "padding"}})
        if (const std::string text = tokenAt(vocabulary, name); !text.empty()) config[key] = text;
    if (isSentencePiece) {
        config["legacy"] = true;  // llama.cpp marks a word behind every control token
        config["add_bos_token"] = vocabulary.addsBegin;
        config["add_eos_token"] = vocabulary.addsEnd;
        if (!vocabulary.addsSpacePrefix.value_or(true))
            config["add_prefix_space"] =
                false;  // said, true is not the default in transformers: no mark before a space
        for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id)
            if (isDeclared(vocabulary.kinds[id]))
                config["added_tokens_decoder"][std::to_string(id)] =
                    parseJson(declared(vocabulary.tokens[id],
                                       vocabulary.kinds[id] != TokenKind::UserDefined)
                                  .dump(-1, ' ', false, Tree::error_handler_t::replace),
                              "a token")
                        .orThrow();
    }
    if (!vocabulary.chatTemplate.empty()) config["chat_template"] = vocabulary.chatTemplate;
    return writeJsonAtomically(folder / "tokenizer_config.json", config);
}

}  // namespace

Result<void> checkVocabulary(const Vocabulary& vocabulary) {
    if (vocabulary.model != kByteLevelModel && vocabulary.model != kSentencePieceModel)
        return Problem{"vocabulary_unsupported",
                       "The tokenizer is of the kind \"" + vocabulary.model +
                           "\"; Luthier reads \"" + kByteLevelModel + "\" (byte-level BPE) and \"" +
                           kSentencePieceModel + "\" (sentencepiece).",
                       "Use the model's Hugging Face folder instead.", "tokenizer.ggml.model"};
    if (vocabulary.kinds.size() != vocabulary.tokens.size())
        return Problem{"tokenizer_invalid",
                       "The tokenizer tells the kinds of " +
                           std::to_string(vocabulary.kinds.size()) + " of its " +
                           std::to_string(vocabulary.tokens.size()) + " tokens.",
                       "Convert the model again.", "tokenizer.ggml.token_type"};
    if (vocabulary.model != kByteLevelModel) return {};
    if (!splitting(vocabulary.preTokenizer))
        return Problem{"vocabulary_unsupported",
                       "The tokenizer splits text by the rule \"" + vocabulary.preTokenizer +
                           "\", which Luthier has no words for.",
                       "Use the model's Hugging Face folder instead.", "tokenizer.ggml.pre"};
    if (vocabulary.merges.empty())
        return Problem{"tokenizer_invalid", "The tokenizer has no merges.",
                       "Convert the model again.", "tokenizer.ggml.merges"};
    return {};
}

bool beginsTexts(const std::string& preTokenizer) {
    const std::optional<SplitRule> rule = splitting(preTokenizer);
    return rule && rule->beginsTexts;
}

Result<void> writeVocabulary(const Vocabulary& vocabulary, const std::filesystem::path& folder) {
    if (Result<void> known = checkVocabulary(vocabulary); !known) return known;
    Result<void> done = vocabulary.model == kByteLevelModel
                            ? writeTokenizerJson(vocabulary, folder)
                            : writeSentencePiece(vocabulary, folder);
    return done ? writeTokenizerConfig(vocabulary, folder) : done;
}

}  // namespace luthier
