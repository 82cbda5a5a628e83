// SPDX-License-Identifier: Apache-2.0
#pragma once
// The vocabulary of a model folder as llama.cpp wants it told: every token's text, score and kind,
// merges, and which of its own pre-tokenizers splits text as the folder's does. Byte-level BPE from
// tokenizer.json (kByteLevelModel); sentencepiece-like BPE from tokenizer.model or a tokenizer.json
// with byte fallback (kSentencePieceModel).

#include "contract/problem.h"
#include "io/gguf_names.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace luthier {

/// llama.cpp's numbers.
enum class TokenKind : std::int32_t {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6
};

struct Vocabulary {
    std::string model;                ///< one of io/gguf_names.h
    std::string preTokenizer;         ///< pre_tokenizers.h: "default", "gpt-2", "llama-bpe", …
    std::vector<std::string> tokens;  ///< as many as the model's embedding has rows
    std::vector<float> scores;        ///< empty for kByteLevelModel
    std::vector<TokenKind> kinds;
    std::vector<std::string> merges;     ///< "a b"; empty for kSentencePieceModel
    std::map<std::string, int> special;  ///< "bos", "eos", "unknown", "padding"
    bool addsBegin = false;
    bool addsEnd = false;
    std::optional<bool> addsSpacePrefix;  ///< only kSentencePieceModel
    std::string chatTemplate;
};

/// @param rows of the embedding; ids without a token become unused ones. Nothing when the folder
/// has no tokenizer at all. Problem codes: vocabulary_unsupported (llama.cpp has no such
/// tokenizer), tokenizer_invalid, and those of readJsonFile.
Result<std::optional<Vocabulary>> readVocabulary(const std::filesystem::path& folder,
                                                 std::int64_t rows);

}  // namespace luthier
