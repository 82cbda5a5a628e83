// SPDX-License-Identifier: Apache-2.0
#include "model/nodes.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/native_layer_norm.h>
#include <ATen/ops/native_layer_norm_backward.h>
#include <ATen/ops/nll_loss.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>

namespace luthier::nn {

namespace {

at::Tensor asOutIn(const at::Tensor& weight, WeightLayout layout) {
    return layout == WeightLayout::OutIn ? weight.t() : weight;
}

/// x [N, in] * W → [N, out] in the product dtype.
at::Tensor forwardProduct(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                          WeightLayout layout) {
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
    static Variable forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const Maybe& maybeBias, bool isConv1D) {
        const at::Tensor bias = orUndefined(maybeBias);
        const WeightLayout layout = isConv1D ? WeightLayout::InOut : WeightLayout::OutIn;
        const at::ScalarType type = productType(x);
        // x is kept only for the gradient of W; W is a leaf or a mapped file and costs nothing to
        // keep.
        context->save_for_backward({weight.requires_grad() ? x : at::Tensor(), weight});
        context->saved_data["conv1d"] = isConv1D;
        context->saved_data["type"] = static_cast<std::int64_t>(type);
        context->saved_data["biasGradient"] = bias.defined() && bias.requires_grad();
        return forwardProduct(x.to(type), weight, bias, layout).to(x.scalar_type());
    }

    static variable_list backward(AutogradContext* context, variable_list gradients) {
        const variable_list saved = context->get_saved_variables();
        const WeightLayout layout =
            context->saved_data["conv1d"].toBool() ? WeightLayout::InOut : WeightLayout::OutIn;
        const auto type = static_cast<at::ScalarType>(context->saved_data["type"].toInt());
        const at::Tensor dY = gradients[0].to(type);
        at::Tensor dX;
        at::Tensor dW;
        at::Tensor dBias;
        if (context->needs_input_grad(0))
            dX = backwardProduct(dY, saved[1], layout).to(gradients[0].scalar_type());
        if (context->needs_input_grad(1)) dW = weightGradient(dY, saved[0].to(type), layout);
        if (context->saved_data["biasGradient"].toBool()) dBias = dY.sum(0).to(at::kFloat);
        return {dX, dW, dBias, at::Tensor()};
    }
};

class LoraFunction final : public Function<LoraFunction> {
public:
    static Variable forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& A, const at::Tensor& B, const Maybe& maybeBias,
                            double scale, bool isConv1D) {
        const at::Tensor bias = orUndefined(maybeBias);
        const WeightLayout layout = isConv1D ? WeightLayout::InOut : WeightLayout::OutIn;
        const at::ScalarType type = productType(x);
        const at::Tensor wide = x.to(type);
        at::Tensor y = forwardProduct(wide, weight, bias, layout);
        const at::Tensor xA = at::mm(wide, A.to(type).t());  // [N, R]
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
        const WeightLayout layout =
            context->saved_data["conv1d"].toBool() ? WeightLayout::InOut : WeightLayout::OutIn;
        const double scale = context->saved_data["scale"].toDouble();
        const at::ScalarType type = productType(x);
        const at::Tensor dY = gradients[0].to(type);
        const at::Tensor dXA = at::mm(dY, saved[3].to(type)).mul_(scale);  // [N, R]
        at::Tensor dX;
        if (context->needs_input_grad(0)) {
            dX = backwardProduct(dY, saved[1], layout);
            dX.addmm_(dXA, saved[2].to(type));
            dX = dX.to(x.scalar_type());
        }
        const at::Tensor dA = at::mm(dXA.t(), x.to(type)).to(at::kFloat);     // [R, in]
        const at::Tensor dB = at::mm(dY.t(), xA).mul_(scale).to(at::kFloat);  // [out, R]
        return {dX, at::Tensor(), dA, dB, at::Tensor(), at::Tensor(), at::Tensor()};
    }
};

class RmsNormFunction final : public Function<RmsNormFunction> {
public:
    static variable_list forward(AutogradContext* context, const at::Tensor& x,
                                 const at::Tensor& weight, const Maybe& maybeDelta, double eps,
                                 double offset) {
        const at::Tensor delta = orUndefined(maybeDelta);
        auto [sum, y, rstd] = kernels::addRmsNorm(x, delta, weight, eps, offset);
        // Without delta the sum is x; an autograd node must not return its input, so a view stands
        // for it.
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
            const at::Tensor dSum =
                gradients[0].defined() ? gradients[0].contiguous() : at::Tensor();
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
    static variable_list forward(AutogradContext* context, const at::Tensor& x,
                                 const at::Tensor& weight, const Maybe& maybeBias,
                                 const Maybe& maybeDelta, double eps) {
        const at::Tensor bias = orUndefined(maybeBias);
        const at::Tensor delta = orUndefined(maybeDelta);
        const at::Tensor sum = delta.defined() ? x + delta : x.view(x.sizes());
        const at::ScalarType type = x.scalar_type();
        auto [y, mean, rstd] = at::native_layer_norm(sum, {x.size(-1)}, weight.to(type),
                                                     bias.defined() ? bias.to(type) : bias, eps);
        context->save_for_backward({sum, weight, bias, mean, rstd});
        context->saved_data["hasDelta"] = delta.defined();
        return {sum, y};
    }

    static variable_list backward(AutogradContext* context, variable_list gradients) {
        const variable_list saved = context->get_saved_variables();
        const bool hasDelta = context->saved_data["hasDelta"].toBool();
        if (!gradients[1].defined())
            return {gradients[0], at::Tensor(), at::Tensor(),
                    hasDelta ? gradients[0] : at::Tensor(), at::Tensor()};
        const at::Tensor& sum = saved[0];
        const at::ScalarType type = sum.scalar_type();
        auto [dX, dW, dB] = at::native_layer_norm_backward(
            gradients[1].contiguous(), sum, {sum.size(-1)}, saved[3], saved[4], saved[1].to(type),
            saved[2].defined() ? saved[2].to(type) : saved[2],
            {true, context->needs_input_grad(1),
             saved[2].defined() && context->needs_input_grad(2)});
        if (gradients[0].defined()) dX.add_(gradients[0]);
        return {dX, dW.defined() ? dW.to(at::kFloat) : dW, dB.defined() ? dB.to(at::kFloat) : dB,
                hasDelta ? dX : at::Tensor(), at::Tensor()};
    }
};

class GateFunction final : public Function<GateFunction> {
public:
    static Variable forward(AutogradContext* context, const at::Tensor& gate, const at::Tensor& up,
                            std::int64_t activation) {
        context->save_for_backward({gate, up});
        context->saved_data["activation"] = activation;
        return kernels::gatedActivation(gate, up, static_cast<kernels::GateActivation>(activation));
    }

    static variable_list backward(AutogradContext* context, variable_list gradients) {
        const variable_list saved = context->get_saved_variables();
        const auto activation =
            static_cast<kernels::GateActivation>(context->saved_data["activation"].toInt());
        auto [dGate, dUp] = kernels::gatedActivationBackward(gradients[0].contiguous(), saved[0],
                                                             saved[1], activation);
        return {dGate, dUp, at::Tensor()};
    }
};

/// Rows of logits that live at once: enough for a full-speed product, few beside the activations.
constexpr std::int64_t kChunkRows = 256;
/// Rows of a head that are widened at once; a whole float32 copy would be the largest tensor of a
/// step.
constexpr std::int64_t kSliceRows = 4096;

/// The head's weight [V, C] in the dtype of the products. Where bfloat16 is widened, only a slice
/// of it exists at a time.
class HeadWeight {
public:
    HeadWeight(const at::Tensor& weight, at::ScalarType type)
        : m_weight(type == at::kFloat && weight.scalar_type() != type ? weight : weight.to(type)),
          m_type(type) {}

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
        forEachSlice([&](std::int64_t first, const at::Tensor& w) {
            sum.addmm_(gradient.narrow(1, first, w.size(0)), w);
        });
        dX.copy_(sum);
    }

private:
    bool isWhole() const { return m_weight.scalar_type() == m_type; }

    template <class Body>
    void forEachSlice(Body body) const {
        for (std::int64_t first = 0; first < m_weight.size(0); first += kSliceRows)
            body(first, m_weight.narrow(0, first, std::min(kSliceRows, m_weight.size(0) - first))
                            .to(m_type));
    }

    at::Tensor m_weight;
    at::ScalarType m_type;
};

/// Calls body(first row, rows, x [rows, C], logits [rows, V], slope of the cap or undefined) for
/// `h` chunk by chunk, so that no more logits are alive. Capped logits are f32, others of the
/// product's type.
template <class Body>
void forEachChunkOfLogits(const at::Tensor& h, const HeadWeight& head, const at::Tensor& bias,
                          double softCap, Body body) {
    const at::ScalarType type = productType(h);
    for (std::int64_t first = 0; first < h.size(0); first += kChunkRows) {
        const std::int64_t rows = std::min(kChunkRows, h.size(0) - first);
        const at::Tensor x = h.narrow(0, first, rows).to(type);
        at::Tensor logits = head.logits(x, bias);
        at::Tensor slope;
        if (softCap > 0) {
            const at::Tensor squashed = at::tanh(logits.to(at::kFloat) / softCap);
            slope = 1 - squashed.square();
            logits = squashed * softCap;
        }
        body(first, rows, x, logits, slope);
    }
}

class HeadLossFunction final : public Function<HeadLossFunction> {
public:
    static Variable forward(AutogradContext* context, const at::Tensor& h, const at::Tensor& weight,
                            const Maybe& maybeBias, const at::Tensor& labels, double scale,
                            double softCap, double smoothing) {
        const at::Tensor bias = orUndefined(maybeBias);
        const at::ScalarType type = productType(h);
        const HeadWeight head(weight, type);
        const bool needsInput = h.requires_grad();
        const bool needsWeight = weight.requires_grad();
        const at::Tensor dH = needsInput ? at::empty_like(h) : at::Tensor();
        const at::Tensor dW = needsWeight
                                  ? at::zeros(weight.sizes(), weight.options().dtype(at::kFloat))
                                  : at::Tensor();
        const at::Tensor dBias = bias.defined() && bias.requires_grad()
                                     ? at::zeros_like(bias, at::kFloat)
                                     : at::Tensor();
        double loss = 0;
        forEachChunkOfLogits(
            h, head, bias, softCap,
            [&](std::int64_t first, std::int64_t rows, const at::Tensor& x, at::Tensor& logits,
                const at::Tensor& slope) {
                const at::Tensor targets = labels.narrow(0, first, rows);
                // (1 - e) (lse - x_y) + e (lse - mean x) = (lse - x_y) + e (x_y - mean x)
                if (smoothing > 0)
                    loss += smoothing *
                            (logits.gather(1, targets.unsqueeze(1)).squeeze(1) - logits.mean(1))
                                .sum()
                                .item<double>();
                loss += kernels::crossEntropyInPlace(logits, targets, scale);
                if (smoothing > 0) {
                    logits.sub_(scale * smoothing / static_cast<double>(logits.size(1)));
                    logits.scatter_add_(1, targets.unsqueeze(1),
                                        at::full({rows, 1}, scale * smoothing, logits.options()));
                }
                if (slope.defined()) logits.mul_(slope);
                const at::Tensor gradient = logits.to(type);
                if (needsInput) {
                    at::Tensor part = dH.narrow(0, first, rows);
                    head.backward(gradient, part);
                }
                if (needsWeight) dW.add_(at::mm(gradient.t(), x));
                if (dBias.defined()) dBias.add_(gradient.sum(0));
            });
        context->save_for_backward({dH, dW, dBias});
        return at::full({}, loss * scale, h.options().dtype(at::kFloat));
    }

    static variable_list backward(AutogradContext* context, variable_list gradients) {
        const variable_list saved = context->get_saved_variables();
        const double upstream = gradients[0].item<double>();
        const auto scaled = [upstream](const at::Tensor& gradient) {
            return !gradient.defined() || upstream == 1.0 ? gradient : gradient * upstream;
        };
        return {scaled(saved[0]), scaled(saved[1]), scaled(saved[2]), at::Tensor(),
                at::Tensor(),     at::Tensor(),     at::Tensor()};
    }
};

class TokenLossFunction final : public Function<TokenLossFunction> {
public:
    static variable_list forward(AutogradContext* context, const at::Tensor& h,
                                 const at::Tensor& weight, const Maybe& maybeBias,
                                 const at::Tensor& labels, double softCap) {
        const at::Tensor bias = orUndefined(maybeBias);
        const at::Tensor losses = at::empty({h.size(0)}, h.options().dtype(at::kFloat));
        const at::Tensor isBest = at::empty({h.size(0)}, h.options().dtype(at::kBool));
        const HeadWeight head(weight, productType(h));
        forEachChunkOfLogits(h, head, bias, softCap,
                             [&](std::int64_t first, std::int64_t rows, const at::Tensor&,
                                 const at::Tensor& products, const at::Tensor&) {
                                 const at::Tensor logits = products.to(at::kFloat);
                                 const at::Tensor targets = labels.narrow(0, first, rows);
                                 losses.narrow(0, first, rows)
                                     .copy_(at::logsumexp(logits, 1) -
                                            logits.gather(1, targets.unsqueeze(1)).squeeze(1));
                                 isBest.narrow(0, first, rows).copy_(logits.argmax(1).eq(targets));
                             });
        context->save_for_backward({h, weight, bias, labels});
        context->saved_data["softCap"] = softCap;
        context->mark_non_differentiable({isBest});
        return {losses, isBest};
    }

    static variable_list backward(AutogradContext* context, variable_list gradients) {
        const variable_list saved = context->get_saved_variables();
        const at::Tensor &h = saved[0], &weight = saved[1], &bias = saved[2], &labels = saved[3];
        const double softCap = context->saved_data["softCap"].toDouble();
        const at::ScalarType type = productType(h);
        const at::Tensor dH = h.requires_grad() ? at::empty_like(h) : at::Tensor();
        const at::Tensor dW = weight.requires_grad()
                                  ? at::zeros(weight.sizes(), weight.options().dtype(at::kFloat))
                                  : at::Tensor();
        const at::Tensor dBias = bias.defined() && bias.requires_grad()
                                     ? at::zeros_like(bias, at::kFloat)
                                     : at::Tensor();
        const at::NoGradGuard guard;
        const HeadWeight head(weight, type);
        forEachChunkOfLogits(
            h, head, bias, softCap,
            [&](std::int64_t first, std::int64_t rows, const at::Tensor& x,
                const at::Tensor& logits, const at::Tensor& slope) {
                const at::Tensor upstream =
                    gradients[0].narrow(0, first, rows).unsqueeze(1);  // [rows, 1]
                at::Tensor gradient = at::softmax(logits.to(at::kFloat), 1).mul_(upstream);
                gradient.scatter_add_(1, labels.narrow(0, first, rows).unsqueeze(1), -upstream);
                if (slope.defined()) gradient.mul_(slope);
                gradient = gradient.to(type);
                if (dH.defined()) {
                    at::Tensor part = dH.narrow(0, first, rows);
                    head.backward(gradient, part);
                }
                if (dW.defined()) dW.add_(at::mm(gradient.t(), x));
                if (dBias.defined()) dBias.add_(gradient.sum(0));
            });
        return {dH, dW, dBias, at::Tensor(), at::Tensor()};
    }
};

class RecomputedFunction final : public Function<RecomputedFunction> {
public:
    struct Block final : torch::CustomClassHolder {
        explicit Block(BlockFunction function) : run(std::move(function)) {}
        BlockFunction run;
    };

    /// The first tensor takes a gradient and is not used: it puts the node into the graph when only
    /// the block's own leaves are trained.
    static variable_list forward(AutogradContext* context, const at::Tensor&, const Maybe& x,
                                 const Maybe& delta, const Maybe& prefixKey,
                                 const Maybe& prefixValue, const Maybe& memory, const Maybe& bias,
                                 const BlockFunction& block) {
        const variable_list inputs{orUndefined(x),         orUndefined(delta),
                                   orUndefined(prefixKey), orUndefined(prefixValue),
                                   orUndefined(memory),    orUndefined(bias)};
        const auto [first, second] = block(asInputs(inputs));
        context->save_for_backward(inputs);
        context->saved_data["block"] = c10::IValue::make_capsule(c10::make_intrusive<Block>(block));
        return {first, second};
    }

    static variable_list backward(AutogradContext* context, variable_list gradients) {
        variable_list arguments;
        for (const Variable& saved : context->get_saved_variables())
            arguments.push_back(
                saved.defined() ? saved.detach().set_requires_grad(saved.requires_grad()) : saved);
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
        for (const Variable& argument : arguments)
            out.push_back(argument.defined() ? argument.grad() : at::Tensor());
        out.emplace_back();
        return out;
    }

private:
    static BlockInputs asInputs(const variable_list& list) {
        return {list[0], list[1], list[2], list[3], list[4], list[5]};
    }
};

}  // namespace

bool hasFastBfloat16(const at::Device& device) {
    if (!device.is_cpu()) return true;
#if defined(__x86_64__) && defined(__GNUC__)
    static const bool isFast =
        __builtin_cpu_supports("avx512bf16") != 0;  // AMX machines have it too
    return isFast;
#else
    return false;
#endif
}

at::Tensor product(const at::Tensor& x, const at::Tensor& weight, WeightLayout layout) {
    const at::NoGradGuard guard;
    return forwardProduct(x.to(productType(x)), weight, {}, layout).to(x.scalar_type());
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                  WeightLayout layout) {
    return LinearFunction::apply(x, weight, maybe(bias), layout == WeightLayout::InOut);
}

at::Tensor loraLinear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                      WeightLayout layout, const at::Tensor& A, const at::Tensor& B, double scale) {
    return LoraFunction::apply(x, weight, A, B, maybe(bias), scale, layout == WeightLayout::InOut);
}

std::pair<at::Tensor, at::Tensor> addRmsNorm(const at::Tensor& x, const at::Tensor& delta,
                                             const at::Tensor& weight, double eps, double offset) {
    const variable_list result = RmsNormFunction::apply(x, weight, maybe(delta), eps, offset);
    return {result[0], result[1]};
}

std::pair<at::Tensor, at::Tensor> addLayerNorm(const at::Tensor& x, const at::Tensor& delta,
                                               const at::Tensor& weight, const at::Tensor& bias,
                                               double eps) {
    const variable_list result =
        LayerNormFunction::apply(x, weight, maybe(bias), maybe(delta), eps);
    return {result[0], result[1]};
}

at::Tensor gatedActivation(const at::Tensor& gate, const at::Tensor& up,
                           kernels::GateActivation activation) {
    return GateFunction::apply(gate, up, static_cast<std::int64_t>(activation));
}

at::Tensor headLoss(const at::Tensor& h, const at::Tensor& weight, const at::Tensor& bias,
                    const at::Tensor& labels, double scale, double softCap, double smoothing) {
    return HeadLossFunction::apply(h, weight, maybe(bias), labels, scale, softCap, smoothing);
}

TokenLosses headTokenLosses(const at::Tensor& h, const at::Tensor& weight, const at::Tensor& bias,
                            const at::Tensor& labels, double softCap) {
    const variable_list results = TokenLossFunction::apply(h, weight, maybe(bias), labels, softCap);
    return {results[0], results[1]};
}

std::pair<at::Tensor, at::Tensor> recomputed(const BlockFunction& block,
                                             const BlockInputs& inputs) {
    if (!at::GradMode::is_enabled()) return block(inputs);
    const at::Tensor anchor = at::zeros({}, at::kFloat).set_requires_grad(true);
    const variable_list results = RecomputedFunction::apply(
        anchor, maybe(inputs.x), maybe(inputs.delta), maybe(inputs.prefixKey),
        maybe(inputs.prefixValue), maybe(inputs.memory), maybe(inputs.bias), block);
    return {results[0], results[1]};
}

at::Tensor logitsLoss(const at::Tensor& logits, const at::Tensor& labels, double scale,
                      double smoothing) {
    const at::Tensor logProbabilities = at::log_softmax(logits.to(at::kFloat), -1);
    const at::Tensor plain = at::nll_loss(logProbabilities, labels, {}, at::Reduction::Sum) * scale;
    return smoothing > 0
               ? plain * (1 - smoothing) - logProbabilities.mean(-1).sum() * (scale * smoothing)
               : plain;
}

TokenLosses logitsTokenLosses(const at::Tensor& logits, const at::Tensor& labels) {
    const at::Tensor logProbabilities = at::log_softmax(logits.to(at::kFloat), -1);
    return {at::nll_loss(logProbabilities, labels, {}, at::Reduction::None),
            logits.argmax(-1).eq(labels)};
}

}  // namespace luthier::nn
