// SPDX-License-Identifier: Apache-2.0
#include "task/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace luthier {

namespace {

/// Ranks from 1.
std::vector<double> ranksOf(std::span<const double> values) {
    std::vector<std::size_t> order(values.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
    std::vector<double> ranks(values.size());
    for (std::size_t first = 0; first < order.size();) {
        std::size_t end = first;
        while (end < order.size() && values[order[end]] == values[order[first]]) ++end;
        const double shared = (static_cast<double>(first + end) + 1) / 2;
        for (; first < end; ++first) ranks[order[first]] = shared;
    }
    return ranks;
}

}  // namespace

std::int64_t Confusion::rows() const {
    return std::accumulate(m_counts.begin(), m_counts.end(), std::int64_t{0});
}

std::int64_t Confusion::truths(std::int64_t which) const {
    std::int64_t sum = 0;
    for (std::int64_t other = 0; other < m_classes; ++other) sum += at(which, other);
    return sum;
}

std::int64_t Confusion::predictions(std::int64_t which) const {
    std::int64_t sum = 0;
    for (std::int64_t other = 0; other < m_classes; ++other) sum += at(other, which);
    return sum;
}

double Confusion::accuracy() const {
    std::int64_t right = 0;
    for (std::int64_t which = 0; which < m_classes; ++which) right += at(which, which);
    return static_cast<double>(right) / static_cast<double>(std::max<std::int64_t>(1, rows()));
}

double Confusion::f1(std::int64_t positive) const {
    const std::int64_t named = truths(positive) + predictions(positive);
    return named == 0
               ? 0
               : 2.0 * static_cast<double>(at(positive, positive)) / static_cast<double>(named);
}

double Confusion::macroF1() const {
    double sum = 0;
    std::int64_t seen = 0;
    for (std::int64_t which = 0; which < m_classes; ++which) {
        if (truths(which) + predictions(which) == 0) continue;
        sum += f1(which);
        ++seen;
    }
    return seen == 0 ? 0 : sum / static_cast<double>(seen);
}

double Confusion::matthews() const {
    // (c s - sum_k p_k t_k) / sqrt((s^2 - sum p_k^2)(s^2 - sum t_k^2)): c right rows, s rows, p and
    // t rows predicted and true by class.
    const auto s = static_cast<double>(rows());
    double right = 0, both = 0, predictedSquares = 0, trueSquares = 0;
    for (std::int64_t which = 0; which < m_classes; ++which) {
        const auto p = static_cast<double>(predictions(which));
        const auto t = static_cast<double>(truths(which));
        right += static_cast<double>(at(which, which));
        both += p * t;
        predictedSquares += p * p;
        trueSquares += t * t;
    }
    const double below = std::sqrt((s * s - predictedSquares) * (s * s - trueSquares));
    return below == 0 ? 0 : (right * s - both) / below;
}

double pearson(std::span<const double> a, std::span<const double> b) {
    const auto count = static_cast<double>(a.size());
    const double meanA = std::accumulate(a.begin(), a.end(), 0.0) / count;
    const double meanB = std::accumulate(b.begin(), b.end(), 0.0) / count;
    double both = 0, squaresA = 0, squaresB = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        both += (a[i] - meanA) * (b[i] - meanB);
        squaresA += (a[i] - meanA) * (a[i] - meanA);
        squaresB += (b[i] - meanB) * (b[i] - meanB);
    }
    if (!(squaresA > 0) || !(squaresB > 0)) return std::numeric_limits<double>::quiet_NaN();
    return both / (std::sqrt(squaresA) * std::sqrt(squaresB));
}

double spearman(std::span<const double> a, std::span<const double> b) {
    return pearson(ranksOf(a), ranksOf(b));
}

}  // namespace luthier
