// SPDX-License-Identifier: Apache-2.0
#include "data/order.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace luthier {

namespace {

/// Finaliser of splitmix64 (Steele, Lea, Flood 2014).
std::uint64_t mix(std::uint64_t x) {
    x += 0x9E3779B97F4A7C15ull;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return x ^ (x >> 31);
}

/// transformers' get_length_grouped_indices over a given order: runs of up to 50 steps are sorted,
/// longest first, and the longest row of all comes first, so that memory that is too small shows at
/// once.
void groupByLength(std::vector<std::uint32_t>& order, const std::vector<std::uint32_t>& lengths,
                   std::int64_t rowsPerStep) {
    const auto step = static_cast<std::size_t>(rowsPerStep);
    const std::size_t run =
        step * std::max<std::size_t>(1, std::min<std::size_t>(order.size() / (step * 4), 50));
    const auto isLonger = [&lengths](std::uint32_t a, std::uint32_t b) {
        return lengths[a] > lengths[b];
    };
    std::size_t longest = 0;
    for (std::size_t first = 0; first < order.size(); first += run) {
        const std::size_t end = std::min(first + run, order.size());
        std::stable_sort(order.begin() + static_cast<std::ptrdiff_t>(first),
                         order.begin() + static_cast<std::ptrdiff_t>(end), isLonger);
        if (isLonger(order[first], order[longest])) longest = first;
    }
    if (!order.empty()) std::swap(order.front(), order[longest]);
}

}  // namespace

std::uint64_t counterHash(std::uint64_t seed, std::string_view purpose, std::uint64_t stream,
                          std::uint64_t index) {
    std::uint64_t hash = mix(seed);
    for (const char c : purpose) hash = mix(hash ^ static_cast<unsigned char>(c));
    return mix(mix(hash ^ mix(stream)) ^ index);
}

std::vector<std::uint32_t> permutation(std::size_t count, std::uint64_t seed,
                                       std::string_view purpose, std::uint64_t stream) {
    std::vector<std::uint32_t> order(count);
    std::iota(order.begin(), order.end(), 0u);
    // The remainder's bias is below count / 2^64.
    for (std::size_t i = count; i > 1; --i)
        std::swap(order[i - 1], order[counterHash(seed, purpose, stream, i) % i]);
    return order;
}

std::vector<std::uint32_t> drawnRows(std::size_t count, std::size_t wanted, std::uint64_t seed,
                                     std::string_view purpose) {
    std::vector<std::uint32_t> rows = permutation(count, seed, purpose, 0);
    rows.resize(std::min(count, wanted));
    std::sort(rows.begin(), rows.end());
    return rows;
}

BatchPlan::BatchPlan(std::vector<std::uint32_t> lengths, PlanOptions options)
    : m_lengths(std::move(lengths)), m_options(options) {
    m_options.batchSize = std::max<std::int64_t>(1, m_options.batchSize);
    m_options.accumulation = std::max<std::int64_t>(1, m_options.accumulation);
    m_firstStep = {0};
    if (m_lengths.empty()) return;
    if (m_options.maxSteps > 0) {
        m_totalSteps = m_options.maxSteps;
        return;
    }
    const double whole = std::floor(m_options.epochs);
    for (std::int64_t epoch = 0; epoch < static_cast<std::int64_t>(whole); ++epoch) {
        // Without packing all epochs are equally long.
        const std::int64_t steps =
            m_options.packing || epoch == 0 ? stepsFor(sequencesOf(epoch).size()) : m_firstStep[1];
        m_firstStep.push_back(m_firstStep.back() + steps);
    }
    m_totalSteps = m_firstStep.back();
    if (const double rest = m_options.epochs - whole; rest > 1e-9)
        m_totalSteps += static_cast<std::int64_t>(std::ceil(
            rest *
            static_cast<double>(stepsFor(sequencesOf(static_cast<std::int64_t>(whole)).size()))));
}

std::int64_t BatchPlan::stepsFor(std::size_t sequences) const {
    const std::int64_t perStep = m_options.batchSize * m_options.accumulation;
    return (static_cast<std::int64_t>(sequences) + perStep - 1) / perStep;
}

BatchPlan::Sequences BatchPlan::sequencesOf(std::int64_t epoch) const {
    std::vector<std::uint32_t> order;
    if (m_options.shuffle) {
        order = permutation(m_lengths.size(), m_options.seed, "order",
                            static_cast<std::uint64_t>(epoch));
    } else {
        order.resize(m_lengths.size());
        std::iota(order.begin(), order.end(), 0u);
    }
    if (m_options.groupByLength)
        groupByLength(order, m_lengths, m_options.batchSize * m_options.accumulation);
    Sequences sequences{std::move(order), {}};
    if (!m_options.packing) return sequences;
    std::int64_t filled = 0;
    for (std::size_t i = 0; i < sequences.rows.size(); ++i) {
        const std::int64_t length = m_lengths[sequences.rows[i]];
        if (i == 0 || filled + length > m_options.maxLength) {
            sequences.begins.push_back(static_cast<std::uint32_t>(i));
            filled = 0;
        }
        filled += length;
    }
    return sequences;
}

Sequence BatchPlan::Sequences::at(std::size_t index) const {
    if (begins.empty()) return {rows[index]};
    const std::size_t end = index + 1 < begins.size() ? begins[index + 1] : rows.size();
    return {rows.begin() + static_cast<std::ptrdiff_t>(begins[index]),
            rows.begin() + static_cast<std::ptrdiff_t>(end)};
}

void BatchPlan::loadEpoch(std::int64_t epoch) {
    if (m_epoch == epoch) return;
    m_sequences = sequencesOf(epoch);
    m_epoch = epoch;
}

PlannedStep BatchPlan::step(std::int64_t step) {
    PlannedStep planned;
    if (m_lengths.empty() || step < 1) return planned;
    const std::int64_t index = step - 1;
    while (m_firstStep.back() <= index) {
        const auto epoch = static_cast<std::int64_t>(m_firstStep.size()) - 1;
        if (!m_options.packing && epoch > 0) {
            m_firstStep.push_back(m_firstStep.back() + m_firstStep[1]);
            continue;
        }
        loadEpoch(epoch);
        m_firstStep.push_back(m_firstStep.back() + stepsFor(m_sequences.size()));
    }
    const auto after = std::upper_bound(m_firstStep.begin(), m_firstStep.end(), index);
    const std::int64_t epoch = after - m_firstStep.begin() - 1;
    const std::int64_t first = *(after - 1);
    loadEpoch(epoch);
    auto next =
        static_cast<std::size_t>((index - first) * m_options.batchSize * m_options.accumulation);
    for (std::int64_t i = 0; i < m_options.accumulation && next < m_sequences.size(); ++i) {
        const std::size_t end =
            std::min(next + static_cast<std::size_t>(m_options.batchSize), m_sequences.size());
        MicroBatch& batch = planned.microBatches.emplace_back();
        for (; next < end; ++next) batch.push_back(m_sequences.at(next));
    }
    planned.epoch = static_cast<double>(epoch) +
                    static_cast<double>(index - first + 1) / static_cast<double>(*after - first);
    return planned;
}

std::vector<MicroBatch> BatchPlan::inOrder(std::size_t rows, std::int64_t batchSize) {
    std::vector<MicroBatch> batches;
    for (std::size_t row = 0; row < rows; ++row) {
        if (row % static_cast<std::size_t>(std::max<std::int64_t>(1, batchSize)) == 0)
            batches.emplace_back();
        batches.back().push_back({static_cast<std::uint32_t>(row)});
    }
    return batches;
}

}  // namespace luthier
