// SPDX-License-Identifier: Apache-2.0
#pragma once
// Rows of two texts and a label, as GLUE and its kin name them. A classifier reads the pair as its
// tokenizer frames one; a model that writes reads both under their names and writes the label.

#include "data/text_encoder.h"

#include "contract/json.h"

#include <string>

namespace luthier {

struct SentencePairKeys {
    const char* first;
    const char* second;
};

/// The row's keys of two texts; nullptr when it has none.
const SentencePairKeys* sentencePairOf(const Json& row);

/// The pair as a classifier's tokenizer frames it. A tokenizer that puts nothing between two texts
/// gets them as lines of one.
FramedText framePair(const std::string& first, const std::string& second,
                     const TextEncoder& encoder);

/// "premise: …" and "hypothesis: …", each behind its name, with `between` between them.
std::string namedPair(const SentencePairKeys& keys, const std::string& first,
                      const std::string& second, const std::string& between);

}  // namespace luthier
