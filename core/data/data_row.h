// SPDX-License-Identifier: Apache-2.0
#pragma once
// One row as tokens and labels.

#include <cstdint>
#include <vector>

namespace luthier {

struct DataRow {
    std::vector<std::int32_t> ids;
    std::vector<std::int32_t>
        labels;  ///< as long as ids, -100 where no loss is taken; the first is always -100.
                 ///< Sequence to sequence: the decoder's, of any length
    std::vector<std::int32_t> types;  ///< token types, as long as ids, or empty: all 0
    std::vector<std::int32_t> cut;    ///< the first tokens behind max_length, for the preview only
    std::int32_t classIndex = -1;     ///< classification
    std::vector<float>
        targets;  ///< classification: 0 or 1 for every class, or the values of a regression
    std::vector<std::vector<std::int32_t>>
        choices;  ///< tokens of every answer to choose from; ids and labels hold the right one
    std::int32_t answer = -1;    ///< its index
    std::int64_t sourceRow = 0;  ///< counted from 1 in its file
    std::int64_t cutTokens = 0;  ///< how many lie behind max_length; `cut` holds the first of them
    bool isTruncated = false;

    std::int64_t supervisedTokens() const;
};

}  // namespace luthier
