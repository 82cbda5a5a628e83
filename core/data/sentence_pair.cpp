// SPDX-License-Identifier: Apache-2.0
#include "data/sentence_pair.h"

#include <array>

namespace luthier {

namespace {

constexpr std::array<SentencePairKeys, 7> kPairs{{{"sentence1", "sentence2"},
                                                  {"premise", "hypothesis"},
                                                  {"question1", "question2"},
                                                  {"question", "sentence"},
                                                  {"text_a", "text_b"},
                                                  {"text", "text_pair"},
                                                  {"text1", "text2"}}};

}  // namespace

const SentencePairKeys* sentencePairOf(const Json& row) {
    for (const SentencePairKeys& pair : kPairs)
        if (row.contains(pair.first) && row.contains(pair.second)) return &pair;
    return nullptr;
}

FramedText framePair(const std::string& first, const std::string& second,
                     const TextEncoder& encoder) {
    return encoder.separatesPairs() ? encoder.frame(first, second)
                                    : encoder.frame(first + "\n" + second, std::nullopt);
}

std::string namedPair(const SentencePairKeys& keys, const std::string& first,
                      const std::string& second, const std::string& between) {
    return std::string(keys.first) + ": " + first + between + keys.second + ": " + second;
}

}  // namespace luthier
