// SPDX-License-Identifier: Apache-2.0
// Attention: the flash kernel of the CPU, capped scores, torch's own on other devices, and
// attention over other rows or both ways.
#include "model/nodes.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>

#include <algorithm>
#include <limits>
#include <numeric>

namespace luthier::nn {

namespace {

/// One run of the attention kernel: rows [first, first + batch * length) as `batch` sequences of
/// `length`.
struct AttentionRun {
    std::int64_t first;
    std::int64_t batch;
    std::int64_t length;
};

std::vector<AttentionRun> runsOf(const std::vector<std::int64_t>& segments) {
    std::vector<AttentionRun> runs;
    std::int64_t first = 0;
    for (const std::int64_t length : segments) {
        if (!runs.empty() && runs.back().length == length)
            ++runs.back().batch;
        else
            runs.push_back({first, 1, length});
        first += length;
    }
    return runs;
}

/// Rows of a run as [batch, heads, length, D]; float32 where the kernel has no fast path for the
/// dtype.
at::Tensor headsOf(const at::Tensor& rows, const AttentionRun& run, std::int64_t heads,
                   std::int64_t D) {
    const at::Tensor part = rows.narrow(0, run.first, run.batch * run.length)
                                .view({run.batch, run.length, heads, D})
                                .transpose(1, 2);
    return part.to(productType(rows));
}

/// Key or value heads, repeated for each query head of their group, after the prefix, which has as
/// many heads or those of the queries: [batch, H, n + length, D].
at::Tensor grouped(const at::Tensor& keys, const at::Tensor& prefix, std::int64_t heads) {
    const std::int64_t batch = keys.size(0);
    const std::int64_t own = keys.size(1);
    const auto repeated = [&](const at::Tensor& all) {
        if (own == heads) return all;
        return all.unsqueeze(2)
            .expand({batch, own, heads / own, all.size(2), all.size(3)})
            .reshape({batch, heads, all.size(2), all.size(3)});
    };
    if (!prefix.defined()) return repeated(keys);
    const at::Tensor before =
        prefix.to(keys.scalar_type()).unsqueeze(0).expand({batch, -1, -1, -1});
    if (prefix.size(0) == own) return repeated(at::cat({before, keys}, 2));
    return at::cat({before, repeated(keys)}, 2);
}

struct Visibility {
    at::Tensor
        mask;       ///< added to the scores: [L, K] or [1, H, L, K] f32; undefined: nothing to add
    bool isCausal;  ///< row i sees keys 0 … i without the mask saying so
};

/// What rows of a causal run of `length` behind a prefix of `prefix` keys see.
Visibility visibilityOf(const AttentionShape& shape, std::int64_t prefix, std::int64_t length,
                        const at::Tensor& like) {
    const std::int64_t keys = prefix + length;
    const bool hasWindow = shape.window > 0 && shape.window < keys;
    at::Tensor bias;
    if (shape.keyBias.defined())
        bias = shape.keyBias.narrow(1, 0, keys)
                   .to(like.scalar_type())
                   .view({1, shape.heads, 1, keys})
                   .expand({1, shape.heads, length, keys});
    if (prefix == 0 && !hasWindow) return {bias, true};
    const auto options = like.options().dtype(at::kLong);
    const at::Tensor query = at::arange(length, options).unsqueeze(1) + prefix;
    const at::Tensor key = at::arange(keys, options).unsqueeze(0);
    at::Tensor hidden = key > query;
    if (hasWindow) hidden = hidden.logical_or(key <= query - shape.window);
    at::Tensor mask = at::zeros({length, keys}, like.options());
    mask.masked_fill_(hidden, -std::numeric_limits<float>::infinity());
    return {bias.defined() ? bias + mask : mask, false};
}

/// -inf where a key lies behind the row that asks, else 0. [length, keys]; the last rows of keys
/// are the rows' own.
at::Tensor causalMask(std::int64_t length, std::int64_t keys, const at::Tensor& like) {
    const auto options = like.options().dtype(at::kLong);
    const at::Tensor query = at::arange(length, options).unsqueeze(1) + (keys - length);
    const at::Tensor key = at::arange(keys, options).unsqueeze(0);
    return at::zeros({length, keys}, like.options())
        .masked_fill_(key > query, -std::numeric_limits<float>::infinity());
}

void keepShape(AutogradContext* context, const AttentionShape& shape) {
    context->saved_data["heads"] = shape.heads;
    context->saved_data["keyValueHeads"] = shape.keyValueHeads;
    context->saved_data["headSize"] = shape.headSize;
    context->saved_data["scale"] = shape.scale;
    context->saved_data["segments"] = shape.segments;
    context->saved_data["window"] = shape.window;
    context->saved_data["softCap"] = shape.softCap;
    if (shape.keyBias.defined()) context->saved_data["keyBias"] = shape.keyBias;
    context->saved_data["neighbours"] = shape.ropePairs == kernels::RopePairs::Neighbours;
}

AttentionShape keptShape(AutogradContext* context) {
    auto& data = context->saved_data;
    AttentionShape shape{
        data["heads"].toInt(),
        data["keyValueHeads"].toInt(),
        data["headSize"].toInt(),
        data["scale"].toDouble(),
        data["segments"].toIntVector(),
        data["window"].toInt(),
        data["softCap"].toDouble(),
        {},
        data["neighbours"].toBool() ? kernels::RopePairs::Neighbours : kernels::RopePairs::Halves};
    if (const auto found = data.find("keyBias"); found != data.end())
        shape.keyBias = found->second.toTensor();
    return shape;
}

/// Rows of heads turned by their angles; as they are without any.
at::Tensor turned(const at::Tensor& rows, const at::Tensor& cos, const at::Tensor& sin,
                  const AttentionShape& shape, kernels::RopeDirection direction) {
    return cos.defined() ? kernels::rope(rows, cos, sin, shape.headSize, direction, shape.ropePairs)
                         : rows;
}

class RopeFunction final : public Function<RopeFunction> {
public:
    static Variable forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& cos,
                            const at::Tensor& sin, std::int64_t headSize, bool areNeighbours) {
        context->save_for_backward({cos, sin});
        context->saved_data["headSize"] = headSize;
        context->saved_data["neighbours"] = areNeighbours;
        return kernels::rope(x, cos, sin, headSize, kernels::RopeDirection::Forward,
                             pairsOf(areNeighbours));
    }
    static variable_list backward(AutogradContext* context, variable_list gradients) {
        const variable_list saved = context->get_saved_variables();
        const at::Tensor dX = kernels::rope(
            gradients[0].contiguous(), saved[0], saved[1], context->saved_data["headSize"].toInt(),
            kernels::RopeDirection::Backward, pairsOf(context->saved_data["neighbours"].toBool()));
        return {dX, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
    }

private:
    static kernels::RopePairs pairsOf(bool areNeighbours) {
        return areNeighbours ? kernels::RopePairs::Neighbours : kernels::RopePairs::Halves;
    }
};

class AttentionFunction final : public Function<AttentionFunction> {
public:
    static Variable forward(AutogradContext* context, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, const Maybe& maybeCos, const Maybe& maybeSin,
                            const Maybe& maybePrefixKey, const Maybe& maybePrefixValue,
                            const AttentionShape& shape) {
        const at::Tensor cos = orUndefined(maybeCos);
        const at::Tensor sin = orUndefined(maybeSin);
        const at::Tensor prefixKey = orUndefined(maybePrefixKey);
        const at::Tensor prefixValue = orUndefined(maybePrefixValue);
        const at::Tensor rotatedQ = turned(q, cos, sin, shape, kernels::RopeDirection::Forward);
        const at::Tensor rotatedK = turned(k, cos, sin, shape, kernels::RopeDirection::Forward);
        const at::Tensor y = at::empty_like(q);
        const std::int64_t n = prefixKey.defined() ? prefixKey.size(1) : 0;
        variable_list saved{rotatedQ, rotatedK, v, cos, sin, prefixKey, prefixValue, y};
        for (const AttentionRun& run : runsOf(shape.segments)) {
            const at::Tensor Q = headsOf(rotatedQ, run, shape.heads, shape.headSize);
            const at::Tensor K =
                grouped(headsOf(rotatedK, run, shape.keyValueHeads, shape.headSize), prefixKey,
                        shape.heads);
            const at::Tensor V = grouped(headsOf(v, run, shape.keyValueHeads, shape.headSize),
                                         prefixValue, shape.heads);
            const Visibility visible = visibilityOf(shape, n, run.length, Q);
            auto [O, logSumExp] = at::_scaled_dot_product_flash_attention_for_cpu(
                Q, K, V, 0.0, visible.isCausal, maybe(visible.mask), shape.scale);
            y.narrow(0, run.first, run.batch * run.length)
                .view({run.batch, run.length, shape.heads, shape.headSize})
                .copy_(O.transpose(1, 2));
            saved.push_back(logSumExp);
        }
        context->save_for_backward(saved);
        keepShape(context, shape);
        return y;
    }

    static variable_list backward(AutogradContext* context, variable_list gradients) {
        const variable_list saved = context->get_saved_variables();
        const AttentionShape shape = keptShape(context);
        const std::int64_t H = shape.heads;
        const std::int64_t Hkv = shape.keyValueHeads;
        const std::int64_t D = shape.headSize;
        const auto [q, k, v] = std::tie(saved[0], saved[1], saved[2]);
        const auto [cos, sin, prefixKey, prefixValue] =
            std::tie(saved[3], saved[4], saved[5], saved[6]);
        const at::Tensor& y = saved[7];
        const at::Tensor dY = gradients[0].contiguous();
        const std::int64_t n = prefixKey.defined() ? prefixKey.size(1) : 0;
        at::Tensor dQ = at::empty_like(q);
        at::Tensor dK = at::empty_like(k);
        at::Tensor dV = at::empty_like(v);
        at::Tensor dPrefixKey;
        at::Tensor dPrefixValue;
        std::size_t next = 8;
        for (const AttentionRun& run : runsOf(shape.segments)) {
            const at::Tensor Q = headsOf(q, run, H, D);
            const at::Tensor K = grouped(headsOf(k, run, Hkv, D), prefixKey, H);
            const at::Tensor V = grouped(headsOf(v, run, Hkv, D), prefixValue, H);
            const Visibility visible = visibilityOf(shape, n, run.length, Q);
            auto [gQ, gK, gV] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
                headsOf(dY, run, H, D), Q, K, V, headsOf(y, run, H, D), saved[next++], 0.0,
                visible.isCausal, maybe(visible.mask), shape.scale);
            const auto rows = [&](at::Tensor& whole, std::int64_t heads) {
                return whole.narrow(0, run.first, run.batch * run.length)
                    .view({run.batch, run.length, heads, D});
            };
            rows(dQ, H).copy_(gQ.transpose(1, 2));
            const auto scatter = [&](const at::Tensor& gradient, at::Tensor& whole,
                                     at::Tensor& prefix) {
                const at::Tensor perKey =
                    Hkv == H ? gradient
                             : gradient.view({run.batch, Hkv, H / Hkv, n + run.length, D}).sum(2);
                rows(whole, Hkv).copy_(perKey.narrow(2, n, run.length).transpose(1, 2));
                if (n == 0) return;
                const at::Tensor& perHead = prefixKey.size(0) == Hkv ? perKey : gradient;
                const at::Tensor part = perHead.narrow(2, 0, n).sum(0);  // [Hkv or H, n, D]
                prefix = prefix.defined() ? prefix + part : part;
            };
            scatter(gK, dK, dPrefixKey);
            scatter(gV, dV, dPrefixValue);
        }
        dQ = turned(dQ, cos, sin, shape, kernels::RopeDirection::Backward);
        dK = turned(dK, cos, sin, shape, kernels::RopeDirection::Backward);
        return {dQ, dK, dV, at::Tensor(), at::Tensor(), dPrefixKey, dPrefixValue, at::Tensor()};
    }
};

/// Attention with capped scores (Gemma 2), which the flash kernel cannot express. One key-value
/// head of one sequence at a time; probabilities are computed again in the backward pass, never
/// kept.
class CappedAttentionFunction final : public Function<CappedAttentionFunction> {
public:
    static Variable forward(AutogradContext* context, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, const Maybe& maybeCos, const Maybe& maybeSin,
                            const Maybe& maybePrefixKey, const Maybe& maybePrefixValue,
                            const AttentionShape& shape) {
        const at::Tensor cos = orUndefined(maybeCos);
        const at::Tensor sin = orUndefined(maybeSin);
        const variable_list inputs{turned(q, cos, sin, shape, kernels::RopeDirection::Forward),
                                   turned(k, cos, sin, shape, kernels::RopeDirection::Forward),
                                   v,
                                   cos,
                                   sin,
                                   orUndefined(maybePrefixKey),
                                   orUndefined(maybePrefixValue)};
        at::Tensor y = at::empty_like(q);
        eachHead(inputs, shape, [&](const Head& head) {
            const at::Tensor P = at::softmax(capped(head, shape).first, -1);
            head.rows(y).copy_(at::matmul(P, head.V).transpose(0, 1));
        });
        context->save_for_backward(inputs);
        keepShape(context, shape);
        return y;
    }

    static variable_list backward(AutogradContext* context, variable_list gradients) {
        const variable_list saved = context->get_saved_variables();
        const AttentionShape shape = keptShape(context);
        const at::Tensor dY = gradients[0].contiguous();
        const bool hasPrefix = saved[5].defined();
        at::Tensor dQ = at::empty_like(saved[0]);
        at::Tensor dK = at::empty_like(saved[1]);
        at::Tensor dV = at::empty_like(saved[2]);
        at::Tensor dPrefixKey = hasPrefix ? at::zeros_like(saved[5], at::kFloat) : at::Tensor();
        at::Tensor dPrefixValue = hasPrefix ? at::zeros_like(saved[6], at::kFloat) : at::Tensor();
        eachHead(saved, shape, [&](const Head& head) {
            const auto [scores, slope] = capped(head, shape);
            const at::Tensor P = at::softmax(scores, -1);                        // [G, L, K]
            const at::Tensor dO = head.rows(dY).transpose(0, 1).to(at::kFloat);  // [G, L, D]
            const at::Tensor dP = at::matmul(dO, head.V.t());
            const at::Tensor dS = P * (dP - (dP * P).sum(-1, true)) * slope * shape.scale;
            head.rows(dQ).copy_(at::matmul(dS, head.K).transpose(0, 1));
            const auto put = [&](const at::Tensor& perKey, at::Tensor& whole,
                                 at::Tensor& prefix) {  // perKey [K, D]
                head.keyRows(whole).copy_(perKey.narrow(0, head.prefix, head.length));
                if (hasPrefix)
                    prefix.select(0, head.keyValueHead).add_(perKey.narrow(0, 0, head.prefix));
            };
            put(at::matmul(dS.transpose(1, 2), head.Q).sum(0), dK, dPrefixKey);
            put(at::matmul(P.transpose(1, 2), dO).sum(0), dV, dPrefixValue);
        });
        dQ = turned(dQ, saved[3], saved[4], shape, kernels::RopeDirection::Backward);
        dK = turned(dK, saved[3], saved[4], shape, kernels::RopeDirection::Backward);
        return {dQ, dK, dV, at::Tensor(), at::Tensor(), dPrefixKey, dPrefixValue, at::Tensor()};
    }

private:
    /// The query heads that share one key-value head, of one sequence.
    struct Head {
        at::Tensor Q;  // [G, L, D] f32
        at::Tensor K;  // [K, D] f32, prefix first
        at::Tensor V;
        std::int64_t first, length, prefix, keyValueHead, group, headSize;

        at::Tensor rows(const at::Tensor& whole) const {  // [L, G, D]
            return whole.narrow(0, first, length)
                .narrow(1, keyValueHead * group * headSize, group * headSize)
                .unflatten(1, {group, headSize});
        }
        at::Tensor keyRows(const at::Tensor& whole) const {  // [L, D]
            return whole.narrow(0, first, length).narrow(1, keyValueHead * headSize, headSize);
        }
    };

    template <class Body>
    static void eachHead(const variable_list& inputs, const AttentionShape& shape, Body body) {
        const std::int64_t prefix = inputs[5].defined() ? inputs[5].size(1) : 0;
        std::int64_t first = 0;
        for (const std::int64_t length : shape.segments) {
            for (std::int64_t h = 0; h < shape.keyValueHeads; ++h) {
                Head head{{},
                          {},
                          {},
                          first,
                          length,
                          prefix,
                          h,
                          shape.heads / shape.keyValueHeads,
                          shape.headSize};
                head.Q = head.rows(inputs[0]).transpose(0, 1).to(at::kFloat);
                const auto keys = [&](const at::Tensor& own, const at::Tensor& before) {
                    const at::Tensor rows = head.keyRows(own).to(at::kFloat);
                    return before.defined() ? at::cat({before.select(0, h).to(at::kFloat), rows}, 0)
                                            : rows;
                };
                head.K = keys(inputs[1], inputs[5]);
                head.V = keys(inputs[2], inputs[6]);
                body(head);
            }
            first += length;
        }
    }

    /// Masked scores [G, L, K], and the derivative of the cap.
    static std::pair<at::Tensor, at::Tensor> capped(const Head& head, const AttentionShape& shape) {
        const at::Tensor squashed =
            at::tanh(at::matmul(head.Q, head.K.t()) * (shape.scale / shape.softCap));
        at::Tensor scores = squashed * shape.softCap;
        const auto options = head.Q.options().dtype(at::kLong);
        const at::Tensor query = at::arange(head.length, options).unsqueeze(1) + head.prefix;
        const at::Tensor key = at::arange(head.prefix + head.length, options).unsqueeze(0);
        at::Tensor hidden = key > query;
        if (shape.window > 0) hidden = hidden.logical_or(key <= query - shape.window);
        return {scores.masked_fill_(hidden, -std::numeric_limits<float>::infinity()),
                1 - squashed.square()};
    }
};

}  // namespace

at::Tensor portableAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const at::Tensor& cos, const at::Tensor& sin,
                             const at::Tensor& prefixKey, const at::Tensor& prefixValue,
                             const AttentionShape& shape) {
    const auto rotated = [&](const at::Tensor& rows) {
        return cos.defined()
                   ? RopeFunction::apply(rows.contiguous(), cos, sin, shape.headSize,
                                         shape.ropePairs == kernels::RopePairs::Neighbours)
                   : rows;
    };
    const at::Tensor turnedQ = rotated(q);
    const at::Tensor turnedK = rotated(k);
    const std::int64_t n = prefixKey.defined() ? prefixKey.size(1) : 0;
    std::vector<at::Tensor> parts;
    for (const AttentionRun& run : runsOf(shape.segments)) {
        const at::Tensor Q = headsOf(turnedQ, run, shape.heads, shape.headSize);
        const at::Tensor K = grouped(headsOf(turnedK, run, shape.keyValueHeads, shape.headSize),
                                     prefixKey, shape.heads);
        const at::Tensor V =
            grouped(headsOf(v, run, shape.keyValueHeads, shape.headSize), prefixValue, shape.heads);
        Visibility visible = visibilityOf(shape, n, run.length, Q);
        if (visible.mask.defined() && visible.isCausal) {  // torch takes one or the other
            visible.mask = visible.mask + causalMask(run.length, n + run.length, Q);
            visible.isCausal = false;
        }
        const at::Tensor O = at::scaled_dot_product_attention(Q, K, V, maybe(visible.mask), 0.0,
                                                              visible.isCausal, shape.scale);
        parts.push_back(O.transpose(1, 2)
                            .reshape({run.batch * run.length, shape.heads * shape.headSize})
                            .to(q.scalar_type()));
    }
    return parts.size() == 1 ? parts[0] : at::cat(parts, 0);
}

at::Tensor causalAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const at::Tensor& cos, const at::Tensor& sin,
                           const at::Tensor& prefixKey, const at::Tensor& prefixValue,
                           const AttentionShape& shape) {
    if (shape.softCap == 0 && !q.device().is_cpu())
        return portableAttention(q, k, v, cos, sin, prefixKey, prefixValue, shape);
    if (shape.softCap > 0)
        return CappedAttentionFunction::apply(q, k, v, maybe(cos), maybe(sin), maybe(prefixKey),
                                              maybe(prefixValue), shape);
    return AttentionFunction::apply(q, k, v, maybe(cos), maybe(sin), maybe(prefixKey),
                                    maybe(prefixValue), shape);
}

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const at::Tensor& prefixKey, const at::Tensor& prefixValue,
                     const at::Tensor& bias, const AttentionShape& shape) {
    const std::vector<std::int64_t>& keySegments =
        shape.keySegments.empty() ? shape.segments : shape.keySegments;
    const std::int64_t n = prefixKey.defined() ? prefixKey.size(1) : 0;
    std::vector<at::Tensor> parts;
    AttentionRun rows{0, 0, 0};
    AttentionRun keys{0, 0, 0};
    for (std::size_t i = 0; i < shape.segments.size();) {
        rows = {rows.first + rows.batch * rows.length, 0, shape.segments[i]};
        keys = {keys.first + keys.batch * keys.length, 0, keySegments[i]};
        for (; i < shape.segments.size() && shape.segments[i] == rows.length &&
               keySegments[i] == keys.length;
             ++i)
            ++rows.batch;
        keys.batch = rows.batch;
        const at::Tensor Q = headsOf(q, rows, shape.heads, shape.headSize);
        const at::Tensor K =
            grouped(headsOf(k, keys, shape.keyValueHeads, shape.headSize), prefixKey, shape.heads);
        const at::Tensor V = grouped(headsOf(v, keys, shape.keyValueHeads, shape.headSize),
                                     prefixValue, shape.heads);
        at::Tensor mask;
        if (bias.defined())
            mask = bias.narrow(1, 0, rows.length)
                       .narrow(2, 0, n + keys.length)
                       .to(Q.scalar_type())
                       .unsqueeze(0);
        const bool needsMask = shape.isCausal && (mask.defined() || n > 0);
        if (needsMask)
            mask = mask.defined() ? mask + causalMask(rows.length, n + keys.length, Q)
                                  : causalMask(rows.length, n + keys.length, Q);
        // The flash kernel gives a mask no gradient. Which way is taken must not depend on the grad
        // mode: a block that runs again has to compute the same values.
        const at::Tensor O =
            bias.defined() && bias.requires_grad()
                ? at::matmul(at::softmax(at::matmul(Q, K.transpose(2, 3)) * shape.scale + mask, -1),
                             V)
                : at::scaled_dot_product_attention(Q, K, V, maybe(mask), 0.0,
                                                   shape.isCausal && !needsMask, shape.scale);
        parts.push_back(O.transpose(1, 2)
                            .reshape({rows.batch * rows.length, shape.heads * shape.headSize})
                            .to(q.scalar_type()));
    }
    return parts.size() == 1 ? parts[0] : at::cat(parts, 0);
}

}  // namespace luthier::nn
