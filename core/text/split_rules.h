// SPDX-License-Identifier: Apache-2.0
#pragma once
// How a text is cut before merging: the rules that llama.cpp knows by name and tokenizer.json spells out.

namespace luthier {

inline constexpr const char* kLlama3 = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr const char* kQwen2 = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr const char* kBloom = R"( ?[^(\s|[.,!?…。，、।۔،])]+)";

}  // namespace luthier
