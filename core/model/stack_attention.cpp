// SPDX-License-Identifier: Apache-2.0
// Attention of a stack: over its own rows, over an encoder's, with DeBERTa's positions, and over a
// cache.
#include "model/relative.h"
#include "model/rope.h"
#include "model/stack_stream.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tanh.h>

#include <algorithm>
#include <cmath>

namespace luthier {

std::pair<at::Tensor, at::Tensor> prefixOf(const SiteHooks& hooks, int layer) {
    std::vector<at::Tensor> keys;
    std::vector<at::Tensor> values;
    for (KeyValueHook* hook : hooks.keyValue()) {
        auto [key, value] = hook->prefix(layer);
        keys.push_back(std::move(key));
        values.push_back(std::move(value));
    }
    if (keys.empty()) return {};
    return {keys.size() == 1 ? keys[0] : at::cat(keys, 1),
            values.size() == 1 ? values[0] : at::cat(values, 1)};
}

nn::AttentionShape Stack::attentionShape(std::size_t layer, std::vector<std::int64_t> segments,
                                         const at::Tensor& keyBias) const {
    const double divisor = m_description.dividesScoresByLayer ? static_cast<double>(layer + 1) : 1;
    nn::AttentionShape shape{m_description.heads, m_description.keyValueHeads,
                             m_description.headSize, m_description.scoreScale() / divisor,
                             std::move(segments)};
    shape.window = m_description.layer(static_cast<std::int64_t>(layer)).window;
    shape.softCap = m_description.attentionSoftCap;
    shape.ropePairs = m_description.ropePairs;
    shape.keyBias = keyBias;
    shape.isCausal = m_description.isCausal;
    return shape;
}

at::Tensor Stack::attendSelf(const std::array<at::Tensor, 3>& qkv, std::size_t layer,
                             const Stream& stream, const nn::BlockInputs& inputs,
                             const SiteHooks& hooks) const {
    if (hooks.mixed() != nullptr && takesPrefix() && hooks.prefixLength() > 0) {
        // Rows behind one prefix at a time.
        std::size_t segment = 0;
        return hooks.mixed()->each([&](const SiteHooks& table, std::int64_t first,
                                       std::int64_t count) {
            Stream own;
            for (std::int64_t rows = 0; rows < count; rows += stream.segments[segment++])
                own.segments.push_back(stream.segments[segment]);
            const auto part = [&](const at::Tensor& all) {
                return all.defined() ? all.narrow(0, first, count) : all;
            };
            std::tie(own.cos, own.sin) = std::pair(part(stream.cos), part(stream.sin));
            std::tie(own.localCos, own.localSin) =
                std::pair(part(stream.localCos), part(stream.localSin));
            own.keyBias = stream.keyBias;  // it grows evenly with the key, so where it begins is
                                           // nothing to a softmax
            nn::BlockInputs in;
            std::tie(in.prefixKey, in.prefixValue) = prefixOf(table, static_cast<int>(layer));
            // Scores of distances: their columns begin with the longest prefix, these rows' with
            // their own.
            const std::int64_t unused = hooks.prefixLength() - table.prefixLength();
            if (inputs.bias.defined())
                in.bias = inputs.bias.narrow(2, unused, inputs.bias.size(2) - unused);
            return attendSelf({part(qkv[0]), part(qkv[1]), part(qkv[2])}, layer, own, in, table);
        });
    }
    if (m_description.position == PositionKind::Disentangled)
        return attendDisentangled(qkv, m_blocks[layer], inputs.bias, stream.segments, hooks);
    const nn::AttentionShape shape = attentionShape(layer, stream.segments, stream.keyBias);
    if (!m_description.isCausal || inputs.bias.defined())
        return nn::attention(qkv[0], qkv[1], qkv[2], inputs.prefixKey, inputs.prefixValue,
                             inputs.bias, shape);
    const auto [cos, sin] = stream.anglesOf(m_description.layer(static_cast<std::int64_t>(layer)));
    return nn::causalAttention(qkv[0], qkv[1], qkv[2], cos, sin, inputs.prefixKey,
                               inputs.prefixValue, shape);
}

at::Tensor Stack::attendMemory(const at::Tensor& x, std::size_t layer, const at::Tensor& key,
                               const at::Tensor& value, const std::vector<std::int64_t>& segments,
                               const std::vector<std::int64_t>& memorySegments,
                               const SiteHooks& hooks) const {
    nn::AttentionShape shape = attentionShape(layer, segments, {});
    shape.isCausal = false;
    shape.keySegments = memorySegments;
    return nn::attention(m_linears.project(m_blocks[layer].crossQuery, x, hooks), key, value, {},
                         {}, {}, shape);
}

at::Tensor Stack::attendDisentangled(const std::array<at::Tensor, 3>& qkv, const Block& block,
                                     const at::Tensor& relative,
                                     const std::vector<std::int64_t>& segments,
                                     const SiteHooks& hooks) const {
    // Scores of query i and key j with p = position(i, j) (He et al. 2021): (q_i k_j + q_i K_p +
    // k_j Q_p) / sqrt(D * terms).
    const RelativeSpec& spec = m_description.relative;
    const std::int64_t H = m_description.heads;
    const std::int64_t D = m_description.headSize;
    const std::int64_t span = spec.span();
    const auto heads = [&](const at::Tensor& rows) {
        return rows.view({rows.size(0), H, D}).transpose(0, 1);
    };  // [H, rows, D]
    at::Tensor positionKey;
    at::Tensor positionQuery;
    const auto projectPositions = [&] {
        if (spec.hasContentToPosition)
            positionKey = heads(m_linears.project(
                block.relativeKey >= 0 ? block.relativeKey : block.key, relative, hooks));
        if (spec.hasPositionToContent)
            positionQuery = heads(m_linears.project(
                block.relativeQuery >= 0 ? block.relativeQuery : block.query, relative, hooks));
    };
    if (hooks.mixed() == nullptr) projectPositions();
    const double scale =
        1.0 / std::sqrt(static_cast<double>(D * (1 + (spec.hasContentToPosition ? 1 : 0) +
                                                 (spec.hasPositionToContent ? 1 : 0))));
    std::vector<at::Tensor> parts;
    std::int64_t first = 0;
    for (std::size_t segment = 0; segment < segments.size(); ++segment) {
        const std::int64_t L = segments[segment];
        if (hooks.mixed() !=
            nullptr) {  // all rows share the positions, but each projects them its own way
            std::vector<std::int64_t> lengths(segments.size(), 0);
            lengths[segment] = relative.size(0);
            hooks.rowsAre(lengths);
            projectPositions();
        }
        const auto part = [&](const at::Tensor& rows) { return heads(rows.narrow(0, first, L)); };
        const at::Tensor q = part(qkv[0]);
        const at::Tensor k = part(qkv[1]);
        const at::Tensor distance = debertaPositions(spec, L).to(m_device);  // [L, L]
        at::Tensor scores = at::bmm(q, k.transpose(1, 2));
        if (positionKey.defined())
            scores =
                scores + at::gather(at::bmm(q, positionKey.transpose(1, 2)), 2,
                                    (distance + span).clamp(0, 2 * span - 1).expand({H, L, L}));
        if (positionQuery.defined())
            scores = scores + at::gather(at::bmm(k, positionQuery.transpose(1, 2)), 2,
                                         (span - distance).clamp(0, 2 * span - 1).expand({H, L, L}))
                                  .transpose(1, 2);
        parts.push_back(at::bmm(at::softmax(scores * scale, -1), part(qkv[2]))
                            .transpose(0, 1)
                            .reshape({L, H * D}));
        first += L;
    }
    hooks.rowsAre(segments);
    return parts.size() == 1 ? parts[0] : at::cat(parts, 0);
}

at::Tensor Stack::attendCached(const std::array<at::Tensor, 3>& qkv, const Stream& stream,
                               std::size_t layer, KeyValueCache& cache,
                               const SiteHooks& hooks) const {
    const std::int64_t H = m_description.heads;
    const std::int64_t Hkv = m_description.keyValueHeads;
    const std::int64_t D = m_description.headSize;
    const auto& [q, k, v] = qkv;
    const std::int64_t T = q.size(0);
    const auto [cos, sin] = stream.anglesOf(m_description.layer(static_cast<std::int64_t>(layer)));
    const auto rotated = [&, &cos = cos, &sin = sin](const at::Tensor& rows) {
        return cos.defined()
                   ? kernels::rope(rows.contiguous(), cos, sin, D, kernels::RopeDirection::Forward,
                                   m_description.ropePairs)
                   : rows;
    };
    const auto keyed = [&](const at::Tensor& rows) {
        return rows.reshape({T, Hkv, D}).transpose(0, 1);
    };  // [Hkv, T, D]
    if (cache.isEmpty()) {
        auto [prefixKey, prefixValue] = prefixOf(hooks, static_cast<int>(layer));
        const auto behind = [&](const at::Tensor& prefix, const at::Tensor& rows) {
            if (!prefix.defined()) return rows;
            const at::Tensor repeated =
                prefix.size(0) == Hkv ? rows : rows.repeat_interleave(prefix.size(0) / Hkv, 0);
            return at::cat({prefix.to(rows.scalar_type()), repeated}, 1);
        };
        cache.append(layer, behind(prefixKey, keyed(rotated(k))), behind(prefixValue, keyed(v)));
        return attendSelf(qkv, layer, stream, {{}, {}, prefixKey, prefixValue, {}, stream.bias},
                          hooks);
    }
    auto [keys, values] = cache.append(layer, keyed(rotated(k)), keyed(v));
    const std::int64_t kept =
        keys.size(0);  // Hkv, or H behind a prefix with a key for every query head
    const std::int64_t stored = keys.size(1);
    const nn::AttentionShape shape = attentionShape(layer, {1}, stream.keyBias);
    // Query heads of a group share keys: [kept, G, D] x [kept, D, P]. One new row sees everything
    // stored, or its window.
    const std::int64_t seen = shape.window > 0 ? std::min(shape.window, stored) : stored;
    keys = keys.narrow(1, stored - seen, seen);
    values = values.narrow(1, stored - seen, seen);
    const at::Tensor Q = rotated(q).reshape({kept, H / kept, D}).to(at::kFloat);
    at::Tensor scores = at::bmm(Q, keys.to(at::kFloat).transpose(1, 2)) * shape.scale;
    if (shape.softCap > 0) scores = at::tanh(scores / shape.softCap) * shape.softCap;
    if (stream.bias.defined())
        scores = scores + stream.bias.view({kept, H / kept, stored}).narrow(2, stored - seen, seen);
    if (shape.keyBias.defined())
        scores = scores + shape.keyBias.narrow(1, stored - seen, seen).view({kept, H / kept, seen});
    return at::bmm(at::softmax(scores, -1), values.to(at::kFloat)).reshape({1, H * D}).to(m_dtype);
}

}  // namespace luthier
