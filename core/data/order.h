// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which rows a step sees. Everything follows from (seed, epoch, step) by a counter-based hash,
// never from a generator's state or the standard library's distributions: the same on every
// platform, and a resumed run continues where it was without replaying.

#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

namespace luthier {

/// A 64-bit hash of a counter: the splitmix64 finaliser over (seed, purpose, index).
std::uint64_t counterHash(std::uint64_t seed, std::string_view purpose, std::uint64_t stream,
                          std::uint64_t index);

/// A permutation of 0 … count-1 by Fisher-Yates over counterHash.
std::vector<std::uint32_t> permutation(std::size_t count, std::uint64_t seed,
                                       std::string_view purpose, std::uint64_t stream);

/// `wanted` of `count` rows, drawn by the seed, in ascending order; all of them when there are no
/// more.
std::vector<std::uint32_t> drawnRows(std::size_t count, std::size_t wanted, std::uint64_t seed,
                                     std::string_view purpose);

struct PlanOptions {
    std::int64_t batchSize = 1;
    std::int64_t accumulation = 1;
    std::int64_t maxSteps = 0;  ///< 0: `epochs` decides
    double epochs = 1;
    std::uint64_t seed = 42;
    bool shuffle = true;
    bool packing = false;
    std::int64_t maxLength = 512;
    bool groupByLength = false;  ///< rows of like length share a step
};

using Sequence = std::vector<std::uint32_t>;  ///< rows in one sequence: one, or several when packed
using MicroBatch = std::vector<Sequence>;

struct PlannedStep {
    std::vector<MicroBatch>
        microBatches;  ///< at most `accumulation`; the last step of an epoch may have fewer
    double epoch = 0;  ///< after this step, as Transformers counts: 1.0 = one pass done
};

/// Not for several threads: the current epoch is kept.
class BatchPlan final {
public:
    /// `lengths`: tokens of each row.
    BatchPlan(std::vector<std::uint32_t> lengths, PlanOptions options);

    std::int64_t totalSteps() const { return m_totalSteps; }
    /// Step counts from 1. The answer depends on nothing but the constructor's arguments and
    /// `step`.
    PlannedStep step(std::int64_t step);
    /// Rows for evaluation in file order, `batchSize` at a time, never packed.
    static std::vector<MicroBatch> inOrder(std::size_t rows, std::int64_t batchSize);

private:
    /// The sequences of an epoch one after another; flat, since there may be ten million.
    struct Sequences {
        std::vector<std::uint32_t> rows;
        std::vector<std::uint32_t>
            begins;  ///< where each begins in `rows`; empty: every row is one

        std::size_t size() const { return begins.empty() ? rows.size() : begins.size(); }
        Sequence at(std::size_t index) const;
    };

    Sequences sequencesOf(std::int64_t epoch) const;
    void loadEpoch(std::int64_t epoch);
    std::int64_t stepsFor(std::size_t sequences) const;

    std::vector<std::uint32_t> m_lengths;
    PlanOptions m_options;
    std::int64_t m_totalSteps = 0;
    std::vector<std::int64_t>
        m_firstStep;  ///< of each epoch seen so far, from 0; packing makes epochs differ in length
    std::int64_t m_epoch = -1;
    Sequences m_sequences;  ///< of m_epoch
};

}  // namespace luthier
