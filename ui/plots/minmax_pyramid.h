// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Minimum and maximum of any index range of a growing series in logarithmic time: level 0 holds one
// pair per 16 values, each further level one per 4 pairs. The values stay with their owner and are
// passed in. NaN counts as absent.

#include <cstddef>
#include <limits>
#include <span>
#include <vector>

namespace luthier::ui {

struct MinMax {
    float low = std::numeric_limits<float>::infinity();
    float high = -std::numeric_limits<float>::infinity();
    bool isEmpty() const { return low > high; }
    void add(float value) {  // NaN fails both comparisons
        if (value < low) low = value;
        if (value > high) high = value;
    }
    void add(const MinMax& other) {
        if (other.low < low) low = other.low;
        if (other.high > high) high = other.high;
    }
};

class MinMaxPyramid final {
public:
    /// Takes in values appended since the last call; starts over when there are fewer than before.
    void extend(std::span<const float> values);
    void clear();
    /// Of values[begin, end); both clamped to the size.
    MinMax query(std::span<const float> values, std::size_t begin, std::size_t end) const;

private:
    static constexpr std::size_t kLeaf = 16, kFan = 4;
    void addBlock(std::size_t level, const MinMax& block);
    std::vector<std::vector<MinMax>> m_levels;
    std::size_t m_count = 0;  ///< values covered by whole leaves
    std::size_t m_seen = 0;
};

}  // namespace luthier::ui
