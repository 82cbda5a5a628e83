// SPDX-License-Identifier: Apache-2.0
#include "model/functions.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/native_layer_norm.h>
#include <ATen/ops/native_layer_norm_backward.h>
#include <ATen/ops/nll_loss.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <numeric>

namespace luthier::nn {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::Variable;
using torch::autograd::variable_list;

/// An argument that may be missing: autograd nodes take those as std::optional, never as an undefined tensor.
using Maybe = std::optional<at::Tensor>;

Maybe maybe(const at::Tensor& tensor) { return tensor.defined() ? Maybe(tensor) : std::nullopt; }
at::Tensor orUndefined(const Maybe& tensor) { return tensor.value_or(at::Tensor()); }

bool isWidened(const at::Tensor& x) { return x.scalar_type() == at::kBFloat16 && !hasFastBfloat16(x.device()); }

/// The dtype in which products with `x` are computed.
at::ScalarType productType(const at::Tensor& x) { return isWidened(x) ? at::kFloat : x.scalar_type(); }

at::Tensor asOutIn(const at::Tensor& weight, WeightLayout layout) { return layout == WeightLayout::OutIn ? weight.t() : weight; }

/// x [N, in] * W → [N, out] in the product dtype.
at::Tensor forwardProduct(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, WeightLayout layout) {
    const at::Tensor w = asOutIn(weight.to(x.scalar_type()), layout);  // [in, out]
    return bias.defined() ? at::addmm(bias.to(x.scalar_type()), x, w) : at::mm(x, w);
}

/// dY [N, out] * W → [N, in] in the product dtype.
at::Tensor backwardProduct(const at::Tensor& dY, const at::Tensor& weight, WeightLayout layout) {
    const at::Tensor w = weight.to(dY.scalar_type());
    return at::mm(dY, layout == WeightLayout::OutIn ? w : w.t());
}

/// Gradient of W in its stored layout, float32.
at::Tensor weightGradient(const at::Tensor& dY, const at::Tensor& x, WeightLayout layout) {
    return (layout == WeightLayout::OutIn ? at::mm(dY.t(), x) : at::mm(x.t(), dY)).to(at::kFloat);
}

class LinearFunction final : public Function<LinearFunction> {
public:
    static Variable forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight, const Maybe& maybeBias,
                            bool isConv1D) {
        const at::Tensor bias = orUndefined(maybeBias);
        const WeightLayout layout = isConv1D ? WeightLayout::InOut : WeightLayout::OutIn;
        const at::ScalarType type = productType(x);
        // x is kept only for the gradient of W; W is a leaf or a mapped file and costs nothing to keep.
        context->save_for_backward({weight.requires_grad() ? x : at::Tensor(), weight});
        context->saved_data["conv1d"] = isConv1D;
        context->saved_data["type"] = static_cast<std::int64_t>(type);
        context->saved_data["biasGradient"] = bias.defined() && bias.requires_grad();
        return forwardProduct(x.to(type), weight, bias, layout).to(x.scalar_type());
    }

    static variable_list backward(AutogradContext* context, variable_list gradients) {
        const variable_list saved = context->get_saved_variables();
        const WeightLayout layout = context->saved_data["conv1d"].toBool() ? WeightLayout::InOut : WeightLayout::OutIn;
        const auto type = static_cast<at::ScalarType>(context->saved_data["type"].toInt());
        const at::Tensor dY = gradients[0].to(type);
        at::Tensor dX;
        at::Tensor dW;
        at::Tensor dBias;
        if (context->needs_input_grad(0)) dX = backwardProduct(dY, saved[1], layout).to(gradients[0].scalar_type());
        if (context->needs_input_grad(1)) dW = weightGradient(dY, saved[0].to(type), layout);
        if (context->saved_data["biasGradient"].toBool()) dBias = dY.sum(0).to(at::kFloat);
        return {dX, dW, dBias, at::Tensor()};
    }
};

class LoraFunction final : public Function<LoraFunction> {
public:
    static Variable forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& A,
                            const at::Tensor& B, const Maybe& maybeBias, double scale, bool isConv1D) {
        const at::Tensor bias = orUndefined(maybeBias);
        const WeightLayout layout = isConv1D ? WeightLayout::InOut : WeightLayout::OutIn;
        const at::ScalarType type = productType(x);
        const at::Tensor wide = x.to(type);
        at::Tensor y = forwardProduct(wide, weight, bias, layout);
        const at::Tensor xA = at::mm(wide, A.to(type).t());         // [N, R]
        y.addmm_(xA, B.to(type).t(), 1, scale);
        context->save_for_backward({x, weight, A, B, xA});
        context->saved_data["conv1d"] = isConv1D;
        context->saved_data["scale"] = scale;
        return y.to(x.scalar_type());
    }

    static variable_list backward(AutogradContext* context, variable_list gradients) {
        const variable_list saved = context->get_saved_variables();
        const at::Tensor& x = saved[0];
        const at::Tensor& xA = saved[4];
        const WeightLayout layout = context->saved_data["conv1d"].toBool() ? WeightLayout::InOut : WeightLayout::OutIn;
        const double scale = context->saved_data["scale"].toDouble();
        const at::ScalarType type = productType(x);
        const at::Tensor dY = gradients[0].to(type);
        const at::Tensor dXA = at::mm(dY, saved[3].to(type)).mul_(scale);          // [N, R]
        at::Tensor dX;
        if (context->needs_input_grad(0)) {
            dX = backwardProduct(dY, saved[1], layout);
            dX.addmm_(dXA, saved[2].to(type));
            dX = dX.to(x.scalar_type());
        }
        const at::Tensor dA = at::mm(dXA.t(), x.to(type)).to(at::kFloat);           // [R, in]
        const at::Tensor dB = at::mm(dY.t(), xA).mul_(scale).to(at::kFloat);        // [out, R]
        return {dX, at::Tensor(), dA, dB, at::Tensor(), at::Tensor(), at::Tensor()};
    }
};

class RmsNormFunction final : public Function<RmsNormFunction> {
public:
    static variable_list forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight, const Maybe& maybeDelta,
                                 double eps, double offset) {
        const at::Tensor delta = orUndefined(maybeDelta);
        auto [sum, y, rstd] = kernels::addRmsNorm(x, delta, weight, eps, offset);
        // Without delta the sum is x; an autograd node must not return its input, so a view stands for it.
        if (!delta.defined()) sum = x.view(x.sizes());
        context->save_for_backward({sum, weight, rstd});
        context->saved_data["offset"] = offset;
        context->saved_data["hasDelta"] = delta.defined();
        return {sum, y};
    }

    static variable_list backward(AutogradContext* context, variable_list gradients) {
        const variable_list saved = context->get_saved_variables();
        const double offset = context->saved_data["offset"].toDouble();
        const bool hasDelta = context->saved_data["hasDelta"].toBool();
        at::Tensor dX;
        at::Tensor dW;
        if (gradients[1].defined()) {
            const at::Tensor dY = gradients[1].contiguous();
            const at::Tensor dSum = gradients[0].defined() ? gradients[0].contiguous() : at::Tensor();
            dX = kernels::rmsNormBackward(dY, dSum, saved[0], saved[1], saved[2], offset);
            if (context->needs_input_grad(1))
                dW = (dY.to(at::kFloat) * saved[0].to(at::kFloat) * saved[2].unsqueeze(-1)).sum(0);
        } else {
            dX = gradients[0];
        }
        return {dX, dW, hasDelta ? dX : at::Tensor(), at::Tensor(), at::Tensor()};
    }
};

class LayerNormFunction final : public Function<LayerNormFunction> {
public:
    static variable_list forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight, const Maybe& maybeBias,
                                 const Maybe& maybeDelta, double eps) {
        const at::Tensor bias = orUndefined(maybeBias);
        const at::Tensor delta = orUndefined(maybeDelta);
        const at::Tensor sum = delta.defined() ? x + delta : x.view(x.sizes());
        const at::ScalarType type = x.scalar_type();
        auto [y, mean, rstd] = at::native_layer_norm(sum, {x.size(-1)}, weight.to(type), bias.defined() ? bias.to(type) : bias, eps);
        context->save_for_backward({sum, weight, bias, mean, rstd});
        context->saved_data["hasDelta"] = delta.defined();
        return {sum, y};
    }

    static variable_list backward(AutogradContext* context, variable_list gradients) {
        const variable_list saved = context->get_saved_variables();
        const bool hasDelta = context->saved_data["hasDelta"].toBool();
        if (!gradients[1].defined())
            return {gradients[0], at::Tensor(), at::Tensor(), hasDelta ? gradients[0] : at::Tensor(), at::Tensor()};
        const at::Tensor& sum = saved[0];
        const at::ScalarType type = sum.scalar_type();
        auto [dX, dW, dB] = at::native_layer_norm_backward(
            gradients[1].contiguous(), sum, {sum.size(-1)}, saved[3], saved[4], saved[1].to(type),
            saved[2].defined() ? saved[2].to(type) : saved[2],
            {true, context->needs_input_grad(1), saved[2].defined() && context->needs_input_grad(2)});
        if (gradients[0].defined()) dX.add_(gradients[0]);
        return {dX, dW.defined() ? dW.to(at::kFloat) : dW, dB.defined() ? dB.to(at::kFloat) : dB, hasDelta ? dX : at::Tensor(),
                at::Tensor()};
    }
};

class GateFunction final : public Function<GateFunction> {
public:
    static Variable forward(AutogradContext* context, const at::Tensor& gate, const at::Tensor& up, std::int64_t activation) {
        context->save_for_backward({gate, up});
        context->saved_data["activation"] = activation;
        return kernels::gatedActivation(gate, up, static_cast<kernels::GateActivation>(activation));
    }

    static variable_list backward(AutogradContext* context, variable_list gradients) {
        const variable_list saved = context->get_saved_variables();
        const auto activation = static_cast<kernels::GateActivation>(context->saved_data["activation"].toInt());
        auto [dGate, dUp] = kernels::gatedActivationBackward(gradients[0].contiguous(), saved[0], saved[1], activation);
        return {dGate, dUp, at::Tensor()};
    }
};

/// One run of the attention kernel: rows [first, first + batch * length) as `batch` sequences of `length`.
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

/// Rows of a run as [batch, heads, length, D]; float32 where the kernel has no fast path for the dtype.
at::Tensor headsOf(const at::Tensor& rows, const AttentionRun& run, std::int64_t heads, std::int64_t D) {
    const at::Tensor part = rows.narrow(0, run.first, run.batch * run.length).view({run.batch, run.length, heads, D}).transpose(1, 2);
    return part.to(productType(rows));
}

/// Key or value heads, repeated for each query head of their group, after the prefix: [batch, H, n + length, D].
at::Tensor grouped(const at::Tensor& keys, const at::Tensor& prefix, std::int64_t heads) {
    const std::int64_t batch = keys.size(0);
    const std::int64_t own = keys.size(1);
    at::Tensor all = keys;
    if (prefix.defined()) all = at::cat({prefix.to(keys.scalar_type()).unsqueeze(0).expand({batch, -1, -1, -1}), keys}, 2);
    if (own == heads) return all;
    return all.unsqueeze(2).expand({batch, own, heads / own, all.size(2), all.size(3)}).reshape({batch, heads, all.size(2), all.size(3)});
}

struct Visibility {
    at::Tensor mask;   ///< added to the scores: [L, K] or [1, H, L, K] f32; undefined: nothing to add
    bool isCausal;     ///< row i sees keys 0 … i without the mask saying so
};

/// What rows of a causal run of `length` behind a prefix of `prefix` keys see.
Visibility visibilityOf(const AttentionShape& shape, std::int64_t prefix, std::int64_t length, const at::Tensor& like) {
    const std::int64_t keys = prefix + length;
    const bool hasWindow = shape.window > 0 && shape.window < keys;
    at::Tensor bias;
    if (shape.keyBias.defined()) bias = shape.keyBias.narrow(1, 0, keys).to(like.scalar_type()).view({1, shape.heads, 1, keys}).expand({1, shape.heads, length, keys});
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

/// -inf where a key lies behind the row that asks, else 0. [length, keys]; the last rows of keys are the rows' own.
at::Tensor causalMask(std::int64_t length, std::int64_t keys, const at::Tensor& like) {
    const auto options = like.options().dtype(at::kLong);
    const at::Tensor query = at::arange(length, options).unsqueeze(1) + (keys - length);
    const at::Tensor key = at::arange(keys, options).unsqueeze(0);
    return at::zeros({length, keys}, like.options()).masked_fill_(key > query, -std::numeric_limits<float>::infinity());
}

std::optional<at::Tensor> optional(const at::Tensor& tensor) { return tensor.defined() ? std::optional<at::Tensor>(tensor) : std::nullopt; }

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
    AttentionShape shape{data["heads"].toInt(), data["keyValueHeads"].toInt(), data["headSize"].toInt(), data["scale"].toDouble(),
                         data["segments"].toIntVector(), data["window"].toInt(), data["softCap"].toDouble(), {},
                         data["neighbours"].toBool() ? kernels::RopePairs::Neighbours : kernels::RopePairs::Halves};
    if (const auto found = data.find("keyBias"); found != data.end()) shape.keyBias = found->second.toTensor();
    return shape;
}

/// Rows of heads turned by their angles; as they are without any.
at::Tensor turned(const at::Tensor& rows, const at::Tensor& cos, const at::Tensor& sin, const AttentionShape& shape, kernels::RopeDirection direction) {
    return cos.defined() ? kernels::rope(rows, cos, sin, shape.headSize, direction, shape.ropePairs) : rows;
}

class RopeFunction final : public Function<RopeFunction> {
public:
    static Variable forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                            std::int64_t headSize, bool areNeighbours) {
        context->save_for_backward({cos, sin});
        context->saved_data["headSize"] = headSize;
        context->saved_data["neighbours"] = areNeighbours;
        return kernels::rope(x, cos, sin, headSize, kernels::RopeDirection::Forward, pairsOf(areNeighbours));
    }
    static variable_list backward(AutogradContext* context, variable_list gradients) {
        const variable_list saved = context->get_saved_variables();
        const at::Tensor dX = kernels::rope(gradients[0].contiguous(), saved[0], saved[1], context->saved_data["headSize"].toInt(),
                                            kernels::RopeDirection::Backward, pairsOf(context->saved_data["neighbours"].toBool()));
        return {dX, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
    }

private:
    static kernels::RopePairs pairsOf(bool areNeighbours) { return areNeighbours ? kernels::RopePairs::Neighbours : kernels::RopePairs::Halves; }
};

class AttentionFunction final : public Function<AttentionFunction> {
public:
    static Variable forward(AutogradContext* context, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const Maybe& maybeCos, const Maybe& maybeSin, const Maybe& maybePrefixKey, const Maybe& maybePrefixValue,
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
            const at::Tensor K = grouped(headsOf(rotatedK, run, shape.keyValueHeads, shape.headSize), prefixKey, shape.heads);
            const at::Tensor V = grouped(headsOf(v, run, shape.keyValueHeads, shape.headSize), prefixValue, shape.heads);
            const Visibility visible = visibilityOf(shape, n, run.length, Q);
            auto [O, logSumExp] = at::_scaled_dot_product_flash_attention_for_cpu(Q, K, V, 0.0, visible.isCausal, optional(visible.mask), shape.scale);
            y.narrow(0, run.first, run.batch * run.length).view({run.batch, run.length, shape.heads, shape.headSize}).copy_(O.transpose(1, 2));
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
        const auto [cos, sin, prefixKey, prefixValue] = std::tie(saved[3], saved[4], saved[5], saved[6]);
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
                headsOf(dY, run, H, D), Q, K, V, headsOf(y, run, H, D), saved[next++], 0.0, visible.isCausal, optional(visible.mask), shape.scale);
            const auto rows = [&](at::Tensor& whole, std::int64_t heads) {
                return whole.narrow(0, run.first, run.batch * run.length).view({run.batch, run.length, heads, D});
            };
            rows(dQ, H).copy_(gQ.transpose(1, 2));
            const auto scatter = [&](const at::Tensor& gradient, at::Tensor& whole, at::Tensor& prefix) {
                const at::Tensor perKey = Hkv == H ? gradient : gradient.view({run.batch, Hkv, H / Hkv, n + run.length, D}).sum(2);
                rows(whole, Hkv).copy_(perKey.narrow(2, n, run.length).transpose(1, 2));
                if (n == 0) return;
                const at::Tensor part = perKey.narrow(2, 0, n).sum(0);  // [Hkv, n, D]
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

/// Attention with capped scores (Gemma 2), which the flash kernel cannot express. One key-value head of one sequence at a time;
/// probabilities are computed again in the backward pass, never kept.
class CappedAttentionFunction final : public Function<CappedAttentionFunction> {
public:
    static Variable forward(AutogradContext* context, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const Maybe& maybeCos, const Maybe& maybeSin, const Maybe& maybePrefixKey, const Maybe& maybePrefixValue,
                            const AttentionShape& shape) {
        const at::Tensor cos = orUndefined(maybeCos);
        const at::Tensor sin = orUndefined(maybeSin);
        const variable_list inputs{turned(q, cos, sin, shape, kernels::RopeDirection::Forward), turned(k, cos, sin, shape, kernels::RopeDirection::Forward), v, cos, sin, orUndefined(maybePrefixKey), orUndefined(maybePrefixValue)};
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
            const at::Tensor P = at::softmax(scores, -1);                                      // [G, L, K]
            const at::Tensor dO = head.rows(dY).transpose(0, 1).to(at::kFloat);                // [G, L, D]
            const at::Tensor dP = at::matmul(dO, head.V.t());
            const at::Tensor dS = P * (dP - (dP * P).sum(-1, true)) * slope * shape.scale;
            head.rows(dQ).copy_(at::matmul(dS, head.K).transpose(0, 1));
            const auto put = [&](const at::Tensor& perKey, at::Tensor& whole, at::Tensor& prefix) {  // perKey [K, D]
                head.keyRows(whole).copy_(perKey.narrow(0, head.prefix, head.length));
                if (hasPrefix) prefix.select(0, head.keyValueHead).add_(perKey.narrow(0, 0, head.prefix));
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
            return whole.narrow(0, first, length).narrow(1, keyValueHead * group * headSize, group * headSize).unflatten(1, {group, headSize});
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
                Head head{{}, {}, {}, first, length, prefix, h, shape.heads / shape.keyValueHeads, shape.headSize};
                head.Q = head.rows(inputs[0]).transpose(0, 1).to(at::kFloat);
                const auto keys = [&](const at::Tensor& own, const at::Tensor& before) {
                    const at::Tensor rows = head.keyRows(own).to(at::kFloat);
                    return before.defined() ? at::cat({before.select(0, h).to(at::kFloat), rows}, 0) : rows;
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
        const at::Tensor squashed = at::tanh(at::matmul(head.Q, head.K.t()) * (shape.scale / shape.softCap));
        at::Tensor scores = squashed * shape.softCap;
        const auto options = head.Q.options().dtype(at::kLong);
        const at::Tensor query = at::arange(head.length, options).unsqueeze(1) + head.prefix;
        const at::Tensor key = at::arange(head.prefix + head.length, options).unsqueeze(0);
        at::Tensor hidden = key > query;
        if (shape.window > 0) hidden = hidden.logical_or(key <= query - shape.window);
        return {scores.masked_fill_(hidden, -std::numeric_limits<float>::infinity()), 1 - squashed.square()};
    }
};

/// Rows of logits that live at once: enough for a full-speed product, few beside the activations.
constexpr std::int64_t kChunkRows = 256;
/// Rows of a head that are widened at once; a whole float32 copy would be the largest tensor of a step.
constexpr std::int64_t kSliceRows = 4096;

/// The head's weight [V, C] in the dtype of the products. Where bfloat16 is widened, only a slice of it exists at a time.
class HeadWeight {
public:
    HeadWeight(const at::Tensor& weight, at::ScalarType type)
        : m_weight(type == at::kFloat && weight.scalar_type() != type ? weight : weight.to(type)), m_type(type) {}

    /// x W^T + b, [rows, C] → [rows, V]
    at::Tensor logits(const at::Tensor& x, const at::Tensor& bias) const {
        if (isWhole()) return forwardProduct(x, m_weight, bias, WeightLayout::OutIn);
        at::Tensor logits = at::empty({x.size(0), m_weight.size(0)}, x.options());
        forEachSlice([&](std::int64_t first, const at::Tensor& w) {
            at::Tensor part = logits.narrow(1, first, w.size(0));
            at::mm_out(part, x, w.t());
        });
        return bias.defined() ? logits.add_(bias.to(m_type)) : logits;
    }

    /// gradient W into dX, [rows, V] → [rows, C]
    void backward(const at::Tensor& gradient, at::Tensor& dX) const {
        if (isWhole() && dX.scalar_type() == m_type) {
            at::mm_out(dX, gradient, m_weight);
            return;
        }
        at::Tensor sum = at::zeros(dX.sizes(), gradient.options());
        forEachSlice([&](std::int64_t first, const at::Tensor& w) { sum.addmm_(gradient.narrow(1, first, w.size(0)), w); });
        dX.copy_(sum);
    }

private:
    bool isWhole() const { return m_weight.scalar_type() == m_type; }

    template <class Body>
    void forEachSlice(Body body) const {
        for (std::int64_t first = 0; first < m_weight.size(0); first += kSliceRows)
            body(first, m_weight.narrow(0, first, std::min(kSliceRows, m_weight.size(0) - first)).to(m_type));
    }

    at::Tensor m_weight;
    at::ScalarType m_type;
};

class HeadLossFunction final : public Function<HeadLossFunction> {
public:
    static Variable forward(AutogradContext* context, const at::Tensor& h, const at::Tensor& weight, const Maybe& maybeBias,
                            const at::Tensor& labels, double scale, double softCap) {
        const at::Tensor bias = orUndefined(maybeBias);
        const at::ScalarType type = productType(h);
        const HeadWeight head(weight, type);
        const bool needsInput = h.requires_grad();
        const bool needsWeight = weight.requires_grad();
        const at::Tensor dH = needsInput ? at::empty_like(h) : at::Tensor();
        const at::Tensor dW = needsWeight ? at::zeros(weight.sizes(), weight.options().dtype(at::kFloat)) : at::Tensor();
        const at::Tensor dBias = bias.defined() && bias.requires_grad() ? at::zeros_like(bias, at::kFloat) : at::Tensor();
        double loss = 0;
        for (std::int64_t first = 0; first < h.size(0); first += kChunkRows) {
            const std::int64_t rows = std::min(kChunkRows, h.size(0) - first);
            const at::Tensor x = h.narrow(0, first, rows).to(type);
            at::Tensor logits = head.logits(x, bias);  // [rows, V]
            at::Tensor slope;
            if (softCap > 0) {
                const at::Tensor squashed = at::tanh(logits.to(at::kFloat) / softCap);
                slope = 1 - squashed.square();
                logits = squashed * softCap;
            }
            loss += kernels::crossEntropyInPlace(logits, labels.narrow(0, first, rows), scale);
            if (slope.defined()) logits.mul_(slope);
            const at::Tensor gradient = logits.to(type);
            if (needsInput) {
                at::Tensor part = dH.narrow(0, first, rows);
                head.backward(gradient, part);
            }
            if (needsWeight) dW.add_(at::mm(gradient.t(), x));
            if (dBias.defined()) dBias.add_(gradient.sum(0));
        }
        context->save_for_backward({dH, dW, dBias});
        return at::full({}, loss * scale, h.options().dtype(at::kFloat));
    }

    static variable_list backward(AutogradContext* context, variable_list gradients) {
        const variable_list saved = context->get_saved_variables();
        const double upstream = gradients[0].item<double>();
        const auto scaled = [upstream](const at::Tensor& gradient) {
            return !gradient.defined() || upstream == 1.0 ? gradient : gradient * upstream;
        };
        return {scaled(saved[0]), scaled(saved[1]), scaled(saved[2]), at::Tensor(), at::Tensor(), at::Tensor()};
    }
};

class RecomputedFunction final : public Function<RecomputedFunction> {
public:
    struct Block final : torch::CustomClassHolder {
        explicit Block(BlockFunction function) : run(std::move(function)) {}
        BlockFunction run;
    };

    /// The first tensor takes a gradient and is not used: it puts the node into the graph when only the block's own leaves are trained.
    static variable_list forward(AutogradContext* context, const at::Tensor&, const Maybe& x, const Maybe& delta, const Maybe& prefixKey,
                                 const Maybe& prefixValue, const Maybe& memory, const Maybe& bias, const BlockFunction& block) {
        const variable_list inputs{orUndefined(x), orUndefined(delta), orUndefined(prefixKey), orUndefined(prefixValue), orUndefined(memory), orUndefined(bias)};
        const auto [first, second] = block(asInputs(inputs));
        context->save_for_backward(inputs);
        context->saved_data["block"] = c10::IValue::make_capsule(c10::make_intrusive<Block>(block));
        return {first, second};
    }

    static variable_list backward(AutogradContext* context, variable_list gradients) {
        variable_list arguments;
        for (const Variable& saved : context->get_saved_variables())
            arguments.push_back(saved.defined() ? saved.detach().set_requires_grad(saved.requires_grad()) : saved);
        const auto block = context->saved_data["block"].toCapsule();
        variable_list results;
        {
            const at::AutoGradMode enabled(true);
            const auto [first, second] = static_cast<Block&>(*block).run(asInputs(arguments));
            results = {first, second};
        }
        variable_list roots;
        variable_list rootGradients;
        for (std::size_t i = 0; i < results.size(); ++i) {
            if (!gradients[i].defined() || !results[i].requires_grad()) continue;
            roots.push_back(results[i]);
            rootGradients.push_back(gradients[i]);
        }
        results.clear();
        if (!roots.empty()) torch::autograd::backward(roots, rootGradients);
        variable_list out{at::Tensor()};
        for (const Variable& argument : arguments) out.push_back(argument.defined() ? argument.grad() : at::Tensor());
        out.emplace_back();
        return out;
    }

private:
    static BlockInputs asInputs(const variable_list& list) { return {list[0], list[1], list[2], list[3], list[4], list[5]}; }
};

}  // namespace

bool hasFastBfloat16(const at::Device& device) {
    if (!device.is_cpu()) return true;
#if defined(__x86_64__) && defined(__GNUC__)
    static const bool isFast = __builtin_cpu_supports("avx512bf16") != 0;  // AMX machines have it too
    return isFast;
#else
    return false;
#endif
}

at::Tensor product(const at::Tensor& x, const at::Tensor& weight, WeightLayout layout) {
    const at::NoGradGuard guard;
    return forwardProduct(x.to(productType(x)), weight, {}, layout).to(x.scalar_type());
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, WeightLayout layout) {
    return LinearFunction::apply(x, weight, maybe(bias), layout == WeightLayout::InOut);
}

at::Tensor loraLinear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, WeightLayout layout,
                      const at::Tensor& A, const at::Tensor& B, double scale) {
    return LoraFunction::apply(x, weight, A, B, maybe(bias), scale, layout == WeightLayout::InOut);
}

std::pair<at::Tensor, at::Tensor> addRmsNorm(const at::Tensor& x, const at::Tensor& delta, const at::Tensor& weight, double eps,
                                             double offset) {
    const variable_list result = RmsNormFunction::apply(x, weight, maybe(delta), eps, offset);
    return {result[0], result[1]};
}

std::pair<at::Tensor, at::Tensor> addLayerNorm(const at::Tensor& x, const at::Tensor& delta, const at::Tensor& weight,
                                               const at::Tensor& bias, double eps) {
    const variable_list result = LayerNormFunction::apply(x, weight, maybe(bias), maybe(delta), eps);
    return {result[0], result[1]};
}

at::Tensor gatedActivation(const at::Tensor& gate, const at::Tensor& up, kernels::GateActivation activation) {
    return GateFunction::apply(gate, up, static_cast<std::int64_t>(activation));
}

at::Tensor portableAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& cos,
                             const at::Tensor& sin, const at::Tensor& prefixKey, const at::Tensor& prefixValue,
                             const AttentionShape& shape) {
    const auto rotated = [&](const at::Tensor& rows) {
        return cos.defined() ? RopeFunction::apply(rows.contiguous(), cos, sin, shape.headSize, shape.ropePairs == kernels::RopePairs::Neighbours) : rows;
    };
    const at::Tensor turnedQ = rotated(q);
    const at::Tensor turnedK = rotated(k);
    const std::int64_t n = prefixKey.defined() ? prefixKey.size(1) : 0;
    std::vector<at::Tensor> parts;
    for (const AttentionRun& run : runsOf(shape.segments)) {
        const at::Tensor Q = headsOf(turnedQ, run, shape.heads, shape.headSize);
        const at::Tensor K = grouped(headsOf(turnedK, run, shape.keyValueHeads, shape.headSize), prefixKey, shape.heads);
        const at::Tensor V = grouped(headsOf(v, run, shape.keyValueHeads, shape.headSize), prefixValue, shape.heads);
        Visibility visible = visibilityOf(shape, n, run.length, Q);
        if (visible.mask.defined() && visible.isCausal) {  // torch takes one or the other
            visible.mask = visible.mask + causalMask(run.length, n + run.length, Q);
            visible.isCausal = false;
        }
        const at::Tensor O = at::scaled_dot_product_attention(Q, K, V, optional(visible.mask), 0.0, visible.isCausal, shape.scale);
        parts.push_back(O.transpose(1, 2).reshape({run.batch * run.length, shape.heads * shape.headSize}).to(q.scalar_type()));
    }
    return parts.size() == 1 ? parts[0] : at::cat(parts, 0);
}

at::Tensor causalAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& cos,
                           const at::Tensor& sin, const at::Tensor& prefixKey, const at::Tensor& prefixValue,
                           const AttentionShape& shape) {
    if (shape.softCap == 0 && !q.device().is_cpu()) return portableAttention(q, k, v, cos, sin, prefixKey, prefixValue, shape);
    if (shape.softCap > 0)
        return CappedAttentionFunction::apply(q, k, v, maybe(cos), maybe(sin), maybe(prefixKey), maybe(prefixValue), shape);
    return AttentionFunction::apply(q, k, v, maybe(cos), maybe(sin), maybe(prefixKey), maybe(prefixValue), shape);
}

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& prefixKey, const at::Tensor& prefixValue,
                     const at::Tensor& bias, const AttentionShape& shape) {
    const std::vector<std::int64_t>& keySegments = shape.keySegments.empty() ? shape.segments : shape.keySegments;
    const std::int64_t n = prefixKey.defined() ? prefixKey.size(1) : 0;
    std::vector<at::Tensor> parts;
    AttentionRun rows{0, 0, 0};
    AttentionRun keys{0, 0, 0};
    for (std::size_t i = 0; i < shape.segments.size();) {
        rows = {rows.first + rows.batch * rows.length, 0, shape.segments[i]};
        keys = {keys.first + keys.batch * keys.length, 0, keySegments[i]};
        for (; i < shape.segments.size() && shape.segments[i] == rows.length && keySegments[i] == keys.length; ++i) ++rows.batch;
        keys.batch = rows.batch;
        const at::Tensor Q = headsOf(q, rows, shape.heads, shape.headSize);
        const at::Tensor K = grouped(headsOf(k, keys, shape.keyValueHeads, shape.headSize), prefixKey, shape.heads);
        const at::Tensor V = grouped(headsOf(v, keys, shape.keyValueHeads, shape.headSize), prefixValue, shape.heads);
        at::Tensor mask;
        if (bias.defined()) mask = bias.narrow(1, 0, rows.length).narrow(2, 0, n + keys.length).to(Q.scalar_type()).unsqueeze(0);
        const bool needsMask = shape.isCausal && (mask.defined() || n > 0);
        if (needsMask) mask = mask.defined() ? mask + causalMask(rows.length, n + keys.length, Q) : causalMask(rows.length, n + keys.length, Q);
        // The flash kernel gives a mask no gradient. Which way is taken must not depend on the grad mode: a block that runs again has to
        // compute the same values.
        const at::Tensor O = bias.defined() && bias.requires_grad()
                                 ? at::matmul(at::softmax(at::matmul(Q, K.transpose(2, 3)) * shape.scale + mask, -1), V)
                                 : at::scaled_dot_product_attention(Q, K, V, optional(mask), 0.0, shape.isCausal && !needsMask, shape.scale);
        parts.push_back(O.transpose(1, 2).reshape({rows.batch * rows.length, shape.heads * shape.headSize}).to(q.scalar_type()));
    }
    return parts.size() == 1 ? parts[0] : at::cat(parts, 0);
}

at::Tensor headLoss(const at::Tensor& h, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& labels, double scale,
                    double softCap) {
    return HeadLossFunction::apply(h, weight, maybe(bias), labels, scale, softCap);
}

std::pair<at::Tensor, at::Tensor> recomputed(const BlockFunction& block, const BlockInputs& inputs) {
    if (!at::GradMode::is_enabled()) return block(inputs);
    const at::Tensor anchor = at::zeros({}, at::kFloat).set_requires_grad(true);
    const variable_list results = RecomputedFunction::apply(anchor, maybe(inputs.x), maybe(inputs.delta), maybe(inputs.prefixKey), maybe(inputs.prefixValue),
                                                            maybe(inputs.memory), maybe(inputs.bias), block);
    return {results[0], results[1]};
}

at::Tensor logitsLoss(const at::Tensor& logits, const at::Tensor& labels, double scale) {
    const at::Tensor logProbabilities = at::log_softmax(logits.to(at::kFloat), -1);
    return at::nll_loss(logProbabilities, labels, {}, at::Reduction::Sum) * scale;
}

}  // namespace luthier::nn
