// SPDX-License-Identifier: Apache-2.0
#pragma once
// Written answers against right ones.

#include <string>

namespace luthier {

/// As SQuAD's evaluation: in small letters, without ASCII punctuation, without a, an, the, spaces
/// made one.
std::string normalisedAnswer(const std::string& text);

/// 1 when the answers are the same after normalisedAnswer. A right answer with a number behind
/// "####" (GSM8K) is met by the same number behind the first "####" of the written one, commas left
/// out, and by nothing else.
bool isExactMatch(const std::string& written, const std::string& right);

/// ROUGE-L's F measure as rouge_score computes it without stemming: the longest common subsequence
/// of words of a-z and 0-9.
double rougeL(const std::string& written, const std::string& right);

}  // namespace luthier
