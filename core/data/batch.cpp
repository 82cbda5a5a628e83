// SPDX-License-Identifier: Apache-2.0
#include "data/batch.h"

#include <algorithm>

namespace luthier {

Batch makeBatch(const std::vector<DataRow>& rows, const MicroBatch& sequences, std::int64_t paddingId) {
    Batch batch;
    batch.B = static_cast<std::int64_t>(sequences.size());
    for (const Sequence& sequence : sequences) {
        std::int64_t length = 0;
        for (const std::uint32_t row : sequence) length += static_cast<std::int64_t>(rows[row].ids.size());
        batch.lengths.push_back(length);
        batch.T = std::max(batch.T, length);
        batch.isPacked = batch.isPacked || sequence.size() > 1;
    }
    const auto size = static_cast<std::size_t>(batch.B * batch.T);
    batch.ids.assign(size, paddingId);
    batch.labels.assign(size, kIgnoredLabel);
    batch.positions.assign(size, 0);
    batch.segments.assign(size, -1);
    for (std::size_t b = 0; b < sequences.size(); ++b) {
        std::size_t at = b * static_cast<std::size_t>(batch.T);
        std::int64_t segment = 0;
        batch.rowLengths.emplace_back();
        for (const std::uint32_t index : sequences[b]) {
            const DataRow& row = rows[index];
            for (std::size_t i = 0; i < row.ids.size(); ++i, ++at) {
                batch.ids[at] = row.ids[i];
                batch.labels[at] = row.labels[i];
                batch.positions[at] = static_cast<std::int64_t>(i);
                batch.segments[at] = segment;
            }
            ++segment;
            batch.rows.push_back(index);
            batch.rowLengths.back().push_back(static_cast<std::int64_t>(row.ids.size()));
            batch.tokens += static_cast<std::int64_t>(row.ids.size());
            batch.supervisedTokens += row.supervisedTokens();
            if (row.classIndex >= 0) batch.classes.push_back(row.classIndex);
        }
    }
    return batch;
}

}  // namespace luthier
