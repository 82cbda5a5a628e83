// SPDX-License-Identifier: Apache-2.0
#pragma once
// The way back from vocabulary.h: a tokenizer as llama.cpp has it, written as the files of a model
// folder. kByteLevelModel becomes tokenizer.json, kSentencePieceModel a sentencepiece
// tokenizer.model; both with tokenizer_config.json, chat template included.

#include "contract/problem.h"
#include "text/vocabulary.h"

#include <filesystem>

namespace luthier {

/// Problem codes: vocabulary_unsupported (a kind or rule of splitting that Luthier cannot spell
/// out), tokenizer_invalid (scores or merges missing), those of io/atomic.h.
Result<void> writeVocabulary(const Vocabulary& vocabulary, const std::filesystem::path& folder);
/// Whether writeVocabulary can.
Result<void> checkVocabulary(const Vocabulary& vocabulary);
/// Whether llama.cpp puts the begin token in front of texts cut by this rule, where a file does not
/// say.
bool beginsTexts(const std::string& preTokenizer);

}  // namespace luthier
