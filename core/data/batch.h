// SPDX-License-Identifier: Apache-2.0
#pragma once
// One micro-batch as plain [B, T] arrays, padded on the right. In a packed sequence each row keeps its own segment number and its
// positions begin at 0 again, so attention can be kept within a row.

#include "data/dataset.h"
#include "data/order.h"

#include <cstdint>
#include <vector>

namespace luthier {

struct Batch {
    std::int64_t B = 0;
    std::int64_t T = 0;
    std::vector<std::int64_t> ids;        ///< [B, T]
    std::vector<std::int64_t> labels;     ///< [B, T], -100 where no loss is taken and on padding
    std::vector<std::int64_t> positions;  ///< [B, T], from 0 in each row
    std::vector<std::int64_t> segments;   ///< [B, T], 0, 1, … within a sequence; -1 on padding
    std::vector<std::int64_t> lengths;    ///< [B], tokens without padding
    std::vector<std::int64_t> classes;    ///< [B], classification only
    std::vector<std::vector<std::int64_t>> rowLengths;  ///< per sequence, of the rows packed into it
    std::vector<std::uint32_t> rows;      ///< indices into the dataset, in order of appearance
    std::int64_t tokens = 0;              ///< padding excluded
    std::int64_t supervisedTokens = 0;    ///< labels that are not -100
    bool isPacked = false;                ///< some sequence holds several rows
};

Batch makeBatch(const std::vector<DataRow>& rows, const MicroBatch& sequences, std::int64_t paddingId);

}  // namespace luthier
