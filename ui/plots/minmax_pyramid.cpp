// SPDX-License-Identifier: GPL-3.0-or-later
#include "plots/minmax_pyramid.h"

#include <algorithm>

namespace luthier::ui {

void MinMaxPyramid::clear() {
    m_levels.clear();
    m_count = m_seen = 0;
}

void MinMaxPyramid::extend(std::span<const float> values) {
    if (values.size() < m_seen) clear();
    m_seen = values.size();
    for (; m_count + kLeaf <= values.size(); m_count += kLeaf) {
        MinMax block;
        for (std::size_t i = 0; i < kLeaf; ++i) block.add(values[m_count + i]);
        addBlock(0, block);
    }
}

void MinMaxPyramid::addBlock(std::size_t level, const MinMax& block) {
    if (m_levels.size() <= level) m_levels.emplace_back();
    m_levels[level].push_back(block);
    if (m_levels[level].size() % kFan != 0) return;
    MinMax parent;
    for (std::size_t i = m_levels[level].size() - kFan; i < m_levels[level].size(); ++i)
        parent.add(m_levels[level][i]);
    addBlock(level + 1, parent);
}

MinMax MinMaxPyramid::query(std::span<const float> values, std::size_t begin,
                            std::size_t end) const {
    MinMax result;
    end = std::min(end, values.size());
    // Values up to the first leaf border, then ever larger blocks while they fit, then smaller ones
    // again.
    while (begin < end && (begin % kLeaf != 0 || begin + kLeaf > std::min(end, m_count)))
        result.add(values[begin++]);
    while (begin < end && begin + kLeaf <= std::min(end, m_count)) {
        std::size_t level = 0, size = kLeaf;
        while (level + 1 < m_levels.size() && begin % (size * kFan) == 0 &&
               begin + size * kFan <= end && begin / (size * kFan) < m_levels[level + 1].size()) {
            ++level;
            size *= kFan;
        }
        result.add(m_levels[level][begin / size]);
        begin += size;
    }
    while (begin < end) result.add(values[begin++]);
    return result;
}

}  // namespace luthier::ui
