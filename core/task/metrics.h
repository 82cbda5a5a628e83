// SPDX-License-Identifier: Apache-2.0
#pragma once
// What is measured of classifiers and regressions, as scikit-learn and SciPy define it. A number
// that has no value (a correlation with a constant) is NaN.

#include <cstdint>
#include <span>
#include <vector>

namespace luthier {

/// Rows by true and predicted class.
class Confusion final {
public:
    explicit Confusion(std::int64_t classes)
        : m_classes(classes), m_counts(static_cast<std::size_t>(classes * classes)) {}

    void add(std::int64_t truth, std::int64_t predicted) {
        ++m_counts[static_cast<std::size_t>(truth * m_classes + predicted)];
    }
    std::int64_t rows() const;
    double accuracy() const;
    /// F1 of one class; 0 where it neither occurs nor is predicted.
    double f1(std::int64_t positive) const;
    /// Mean F1 of the classes that occur or are predicted.
    double macroF1() const;
    /// Matthews' correlation coefficient for any number of classes (Gorodkin 2004); 0 where one
    /// side is constant.
    double matthews() const;

private:
    std::int64_t at(std::int64_t truth, std::int64_t predicted) const {
        return m_counts[static_cast<std::size_t>(truth * m_classes + predicted)];
    }
    std::int64_t truths(std::int64_t which) const;
    std::int64_t predictions(std::int64_t which) const;

    std::int64_t m_classes;
    std::vector<std::int64_t> m_counts;  // [truth, predicted]
};

/// Pearson's correlation of two series of the same length.
double pearson(std::span<const double> a, std::span<const double> b);
/// Pearson's correlation of the ranks; equal values share the mean of their ranks.
double spearman(std::span<const double> a, std::span<const double> b);

}  // namespace luthier
