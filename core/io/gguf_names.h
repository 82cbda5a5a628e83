// SPDX-License-Identifier: Apache-2.0
#pragma once
// Words of GGUF files that happen to be words for model families too: here they name how a
// tokenizer works and which network computes a model.

namespace luthier {

/// tokenizer.ggml.model: byte-level BPE with merges, and sentencepiece with scores.
inline constexpr const char* kByteLevelModel = "gpt2";
inline constexpr const char* kSentencePieceModel = "llama";

/// general.architecture of LLaMA and of those that llama.cpp computes as LLaMA.
inline constexpr const char* kLlamaArchitecture = "llama";

}  // namespace luthier
