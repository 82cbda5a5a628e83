// SPDX-License-Identifier: Apache-2.0
#pragma once
// What flows through the blocks of a stack. Only stack*.cpp include this.

#include "model/stack.h"

namespace luthier {

/// What flows between blocks: rows of all segments, virtual rows included.
struct Stack::Stream {
    at::Tensor x;                   // [N, C]
    at::Tensor delta;               // [N, C], the last sub-layer's output, not yet added to x
    at::Tensor cos, sin;            // [N, rotary/2] or undefined
    at::Tensor localCos, localSin;  // of layers with a rope of their own
    at::Tensor keyBias;             // ALiBi of every key of the pass, or undefined
    at::Tensor bias;  // T5's relative scores [H, L, K], DeBERTa's rows of positions [2 span, C], or
                      // undefined
    std::vector<std::int64_t> segments;  // lengths with virtual rows
    std::vector<std::int64_t> rowOf;   // stream row of each text row; empty when they are the same
    std::vector<std::int64_t> before;  // stream row just before each segment's text; empty as rowOf

    /// cos and sin of a layer's rotation; undefined where it does not rotate.
    std::pair<at::Tensor, at::Tensor> anglesOf(const LayerSwitches& layer) const {
        if (!layer.isRotated) return {};
        return layer.usesLocalRope ? std::pair{localCos, localSin} : std::pair{cos, sin};
    }
};

/// Keys and values of all prefix hooks one after another, each [Hkv or H, n, D]; undefined without
/// any.
std::pair<at::Tensor, at::Tensor> prefixOf(const SiteHooks& hooks, int layer);

}  // namespace luthier
