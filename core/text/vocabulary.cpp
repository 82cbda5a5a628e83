// SPDX-License-Identifier: Apache-2.0
#include "text/vocabulary.h"

#include "contract/json.h"
#include "text/model_files.h"
#include "text/pre_tokenizers.h"

#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <set>

namespace luthier {

namespace fs = std::filesystem;

namespace {

constexpr float kAddedScore = -1000;  // as llama.cpp's converter scores tokens that no merge makes

Problem unsupported(const fs::path& folder, const std::string& what) {
    return {"vocabulary_unsupported",
            (folder / "tokenizer.json").string() + " " + what +
                ", which llama.cpp has no tokenizer for.",
            "Export the model or adapter in another format.", folder.string()};
}

// Not the project's Json: an ordered object of 128,000 tokens would take quadratic time.
using Tree = nlohmann::json;

Tree child(const Tree& object, const char* key) {
    return object.is_object() ? object.value(key, Tree()) : Tree();
}
std::string shown(const Tree& tree) {
    return tree.dump(-1, ' ', false, Tree::error_handler_t::replace).substr(0, 120);
}

void pad(Vocabulary& vocabulary, std::int64_t rows) {
    for (std::int64_t id = static_cast<std::int64_t>(vocabulary.tokens.size()); id < rows; ++id)
        vocabulary.tokens.emplace_back();
    vocabulary.kinds.resize(vocabulary.tokens.size(), TokenKind::Unused);
    if (vocabulary.model == kSentencePieceModel)
        vocabulary.scores.resize(vocabulary.tokens.size(), -10000);
    for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id)
        if (vocabulary.tokens[id].empty()) {
            vocabulary.tokens[id] = "[PAD" + std::to_string(id) + "]";
            vocabulary.kinds[id] = TokenKind::Unused;
        }
}

bool setToken(Vocabulary& vocabulary, std::int64_t id, std::int64_t rows, const std::string& text,
              TokenKind kind) {
    if (id < 0 || id >= rows) return false;
    const auto place = static_cast<std::size_t>(id);
    if (place >= vocabulary.tokens.size()) {
        vocabulary.tokens.resize(place + 1);
        vocabulary.kinds.resize(place + 1, TokenKind::Unused);
    }
    vocabulary.tokens[place] = text;
    vocabulary.kinds[place] = kind;
    return true;
}

bool isByteToken(const std::string& text) {
    return text.size() == 6 && text.rfind("<0x", 0) == 0 && text.back() == '>';
}

/// Whether the post-processor puts the named token before (first) or behind a single text.
bool addsEnd(const Tree& processor, const std::string& token, bool first) {
    const Tree list = child(processor, "processors");
    if (list.is_array()) {
        for (const Tree& each : list)
            if (addsEnd(each, token, first)) return true;
        return false;
    }
    const Tree single = child(processor, "single");
    if (token.empty() || !single.is_array() || single.size() < 2) return false;
    return child(child(first ? single.front() : single.back(), "SpecialToken"), "id") == token;
}

/// What tokenizer.json and tokenizer.model have in common: named tokens and the chat template.
void addNames(Vocabulary& vocabulary, const ModelFiles& files) {
    const auto idOf = [&](const std::string& text) {
        for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id)
            if (vocabulary.tokens[id] == text) return static_cast<int>(id);
        return -1;
    };
    for (const auto& [key, name] : {std::pair{"bos_token", "bos"},
                                    {"eos_token", "eos"},
                                    {"unk_token", "unknown"},
                                    {"pad_token", "padding"}}) {
        const std::string text = files.namedToken(key);
        int id = text.empty() ? -1 : idOf(text);
        if (const std::vector<int> ids = files.ids(std::string(key) + "_id");
            id < 0 && !ids.empty())
            id = ids.front();
        if (id >= 0 && id < static_cast<int>(vocabulary.tokens.size()))
            vocabulary.special[name] = id;
    }
    if (const auto found = files.chatTemplates.find("default"); found != files.chatTemplates.end())
        vocabulary.chatTemplate = found->second;
}

Result<void> addMerges(Vocabulary& vocabulary, const Tree& merges) {
    for (const Tree& merge : merges) {
        const bool isPair =
            merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string();
        std::string text = merge.is_string() ? merge.get<std::string>()
                           : isPair
                               ? merge[0].get<std::string>() + " " + merge[1].get<std::string>()
                               : "";
        if (text.find(' ') == std::string::npos)
            return Problem{"tokenizer_invalid",
                           "A merge of tokenizer.json is neither a text of two parts nor a pair.",
                           "Copy the file again.", "tokenizer.json"};
        vocabulary.merges.push_back(std::move(text));
    }
    return {};
}

/// Whether "a b" joins or makes one of these tokens.
bool isMadeOf(const std::string& merge, const std::set<std::string>& tokens) {
    const std::size_t blank = merge.find(' ', 1);
    if (blank == std::string::npos) return false;
    const std::string first = merge.substr(0, blank), second = merge.substr(blank + 1);
    return tokens.contains(first) || tokens.contains(second) || tokens.contains(first + second);
}

/// Scores that make llama.cpp join pairs in the order of the merges.
void scoreByMerges(Vocabulary& vocabulary) {
    std::map<std::string, float> rank;
    for (std::size_t i = 0; i < vocabulary.merges.size(); ++i) {
        std::string joined = vocabulary.merges[i];
        joined.erase(joined.find(' '), 1);
        rank.emplace(joined, -static_cast<float>(i));
    }
    for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
        const auto found = rank.find(vocabulary.tokens[id]);
        vocabulary.scores.push_back(found != rank.end() ? found->second
                                    : vocabulary.kinds[id] == TokenKind::Normal
                                        ? -static_cast<float>(vocabulary.merges.size())
                                        : kAddedScore);
    }
    vocabulary.merges.clear();
}

Result<Vocabulary> fromTokenizerJson(const fs::path& folder, std::int64_t rows,
                                     const ModelFiles& files) {
    const fs::path file = folder / "tokenizer.json";
    std::ifstream stream(file, std::ios::binary);
    // What nests deeper than any tokenizer is left out: copies and reading go down as deep as the
    // tree.
    constexpr int kDeepest = 64;
    const Tree document = Tree::parse(
        stream, [](int depth, Tree::parse_event_t, Tree&) { return depth <= kDeepest; },
        /*allow_exceptions=*/false);
    if (!document.is_object())
        return Problem{"tokenizer_invalid", file.string() + " is not a JSON object.",
                       "Copy it again.", file.string()};
    const Tree model = child(document, "model");
    const Tree words = child(model, "vocab");
    if (child(model, "type") != "BPE" || !words.is_object())
        return unsupported(folder, "is not a BPE tokenizer");
    Vocabulary vocabulary;
    const bool isSentencePiece = child(model, "byte_fallback") == true;
    vocabulary.model = isSentencePiece ? kSentencePieceModel : kByteLevelModel;
    vocabulary.preTokenizer =
        isSentencePiece ? "default" : preTokenizerOf(child(document, "pre_tokenizer"));
    if (vocabulary.preTokenizer.empty())
        return unsupported(folder, "cuts text by rules of its own (pre_tokenizer " +
                                       shown(child(document, "pre_tokenizer")) + ")");
    // Tokens that the embedding has no row for are no tokens of the file, and neither is what
    // merges would make them of.
    std::set<std::string> beyond;
    for (const auto& [text, id] : words.items())
        if (id.is_number_integer() && id.get<std::int64_t>() >= rows)
            beyond.insert(text);
        else if (!id.is_number_integer() ||
                 !setToken(
                     vocabulary, id.get<std::int64_t>(), rows, text,
                     isSentencePiece && isByteToken(text) ? TokenKind::Byte : TokenKind::Normal))
            return Problem{"tokenizer_invalid",
                           file.string() + ": the token " + text + " has the id " + id.dump() +
                               "; the model has " + std::to_string(rows) + " rows.",
                           "", folder.string()};
    Result<void> merged = addMerges(vocabulary, child(model, "merges"));
    if (!merged) return merged.problems();
    if (!beyond.empty())
        std::erase_if(vocabulary.merges,
                      [&](const std::string& merge) { return isMadeOf(merge, beyond); });
    for (const Tree& token : child(document, "added_tokens")) {
        const Tree id = child(token, "id"), text = child(token, "content");
        if (!id.is_number_integer() || !text.is_string())
            return Problem{"tokenizer_invalid",
                           file.string() + ": an added token has no id or no text.",
                           "Copy the file again.", folder.string()};
        setToken(vocabulary, id.get<std::int64_t>(), rows, text.get<std::string>(),
                 child(token, "special") == true ? TokenKind::Control : TokenKind::UserDefined);
    }
    if (const Tree unknown = child(model, "unk_token"); isSentencePiece && unknown.is_string())
        for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id)
            if (vocabulary.tokens[id] == unknown.get_ref<const std::string&>())
                vocabulary.kinds[id] = TokenKind::Unknown;
    if (isSentencePiece) {
        scoreByMerges(vocabulary);
        bool prepends = child(child(document, "pre_tokenizer"), "type") == "Metaspace" &&
                        child(document["pre_tokenizer"], "prepend_scheme") != "never";
        for (const Tree& step : stepsOf(child(document, "normalizer")))
            prepends = prepends || child(step, "type") == "Prepend";
        vocabulary.addsSpacePrefix = prepends;
    }
    pad(vocabulary, rows);
    addNames(vocabulary, files);
    vocabulary.addsBegin =
        addsEnd(child(document, "post_processor"), files.namedToken("bos_token"), true);
    vocabulary.addsEnd =
        addsEnd(child(document, "post_processor"), files.namedToken("eos_token"), false);
    return vocabulary;
}

/// Protocol buffers, as far as a sentencepiece model needs them: calls `field(number, wire type,
/// value, bytes)` for each field.
template <class Field>
bool readProto(std::string_view bytes, Field field) {
    std::size_t at = 0;
    const auto varint = [&](std::uint64_t& value) {
        value = 0;
        for (int shift = 0; shift < 64 && at < bytes.size(); shift += 7) {
            const auto byte = static_cast<unsigned char>(bytes[at++]);
            value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
            if (byte < 0x80) return true;
        }
        return false;
    };
    while (at < bytes.size()) {
        std::uint64_t tag = 0, value = 0;
        std::string_view inner;
        if (!varint(tag)) return false;
        const auto wire = static_cast<int>(tag & 7);
        if (wire == 0) {
            if (!varint(value)) return false;
        } else {
            if (wire == 2 ? !varint(value) : (value = wire == 5 ? 4 : wire == 1 ? 8 : 0) == 0)
                return false;
            if (value > bytes.size() - at) return false;
            inner = bytes.substr(at, static_cast<std::size_t>(value));
            at += inner.size();
        }
        field(static_cast<int>(tag >> 3), value, inner);
    }
    return true;
}

Result<Vocabulary> fromSentencePiece(const fs::path& folder, std::int64_t rows,
                                     const ModelFiles& files) {
    const fs::path file = folder / "tokenizer.model";
    std::ifstream stream(file, std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(stream)), {});
    Vocabulary vocabulary;
    vocabulary.model = kSentencePieceModel;
    vocabulary.preTokenizer = "default";
    vocabulary.addsSpacePrefix = true;
    std::uint64_t algorithm = 1;  // sentencepiece's default: unigram
    std::int64_t id = 0;
    std::vector<float> scores;
    const bool isWhole = readProto(bytes, [&](int number, std::uint64_t, std::string_view part) {
        if (number == 1) {  // a piece: 1 text, 2 score, 3 kind in llama.cpp's own numbers
            std::string text;
            float score = 0;
            auto kind = TokenKind::Normal;
            readProto(part, [&](int key, std::uint64_t value, std::string_view inner) {
                if (key == 1) text = inner;
                if (key == 2 && inner.size() == 4) std::memcpy(&score, inner.data(), 4);
                if (key == 3) kind = static_cast<TokenKind>(value);
            });
            if (setToken(vocabulary, id++, rows, text, kind)) scores.push_back(score);
        } else if (number == 2) {  // trainer_spec: 3 algorithm
            readProto(part, [&](int key, std::uint64_t value, std::string_view) {
                algorithm = key == 3 ? value : algorithm;
            });
        } else if (number == 3) {  // normalizer_spec: 3 add_dummy_prefix
            readProto(part, [&](int key, std::uint64_t value, std::string_view) {
                if (key == 3) vocabulary.addsSpacePrefix = value != 0;
            });
        }
    });
    if (!isWhole || id == 0)
        return Problem{"tokenizer_invalid", file.string() + " is no sentencepiece model.",
                       "Copy it again.", file.string()};
    if (algorithm != 2)
        return Problem{"vocabulary_unsupported",
                       file.string() + " is not a BPE model, which llama.cpp's decoders need.",
                       "Export in another format.", file.string()};
    vocabulary.scores = std::move(scores);
    for (const DeclaredToken& token : files.declaredTokens()) {
        if (!token.id || *token.id >= rows) continue;
        setToken(vocabulary, *token.id, rows, token.text,
                 token.isSpecial ? TokenKind::Control : TokenKind::UserDefined);
        if (vocabulary.scores.size() < vocabulary.tokens.size())
            vocabulary.scores.resize(vocabulary.tokens.size(), -10000);
        vocabulary.scores[static_cast<std::size_t>(*token.id)] = kAddedScore;
    }
    pad(vocabulary, rows);
    addNames(vocabulary, files);
    const Json& config = files.tokenizerConfig;
    vocabulary.addsBegin = config.value("add_bos_token", Json(true)) == true;
    vocabulary.addsEnd = config.value("add_eos_token", Json(false)) == true;
    return vocabulary;
}

}  // namespace

Result<std::optional<Vocabulary>> readVocabulary(const fs::path& folder, std::int64_t rows) {
    std::error_code code;
    const bool hasModel = fs::exists(folder / "tokenizer.model", code);
    if (!hasModel && !fs::exists(folder / "tokenizer.json", code))
        return std::optional<Vocabulary>();
    Result<ModelFiles> files = readModelFiles(folder);
    if (!files) return files.problems();
    Result<Vocabulary> vocabulary = hasModel ? fromSentencePiece(folder, rows, *files)
                                             : fromTokenizerJson(folder, rows, *files);
    if (!vocabulary) return vocabulary.problems();
    return std::optional<Vocabulary>(std::move(*vocabulary));
}

}  // namespace luthier
