// SPDX-License-Identifier: Apache-2.0
#include "data/truncation.h"

#include "data/text_encoder.h"

#include <algorithm>
#include <tuple>

namespace luthier {

namespace {

/// Tokens that the shorter and the longer of two texts keep of `room`.
std::pair<std::size_t, std::size_t> shared(std::size_t shorter, std::size_t longer,
                                           std::size_t room) {
    if (shorter + longer <= room) return {shorter, longer};
    const std::size_t half = room / 2;
    if (shorter > half) return {half, half + room % 2};
    return {shorter, room - shorter};
}

}  // namespace

std::vector<std::size_t> keptTokens(std::span<const std::int8_t> parts, std::size_t limit) {
    const auto count = [&](std::int8_t part) {
        return static_cast<std::size_t>(std::count(parts.begin(), parts.end(), part));
    };
    const std::size_t first = count(0), second = count(1), frame = count(kFramePart);
    const std::size_t room = limit > frame ? limit - frame : 0;
    std::size_t left[2];
    if (second == 0) {
        left[0] = std::min(first, room);
        left[1] = 0;
    } else if (first > second) {
        std::tie(left[1], left[0]) = shared(second, first, room);
    } else {
        std::tie(left[0], left[1]) = shared(first, second, room);
    }
    std::vector<std::size_t> kept;
    for (std::size_t i = 0; i < parts.size() && kept.size() < limit; ++i) {
        if (parts[i] == kFramePart)
            kept.push_back(i);
        else if (left[parts[i]] > 0) {
            --left[parts[i]];
            kept.push_back(i);
        }
    }
    return kept;
}

}  // namespace luthier
