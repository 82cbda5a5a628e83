// SPDX-License-Identifier: Apache-2.0
// The formulas, one ATen call a term; any device, any dtype (float32 inside).
#include "kernels/elementwise.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/gelu_backward.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/silu_backward.h>
#include <ATen/ops/stack.h>

namespace luthier::kernels::reference {

namespace {

at::Tensor activated(const at::Tensor& gate, GateActivation activation) {
    switch (activation) {
        case GateActivation::Silu: return at::silu(gate);
        case GateActivation::GeluTanh: return at::gelu(gate, "tanh");
        case GateActivation::Gelu: return at::gelu(gate);
        case GateActivation::Relu: return at::relu(gate);
    }
    return gate;
}

at::Tensor activationBackward(const at::Tensor& dY, const at::Tensor& gate, GateActivation activation) {
    switch (activation) {
        case GateActivation::Silu: return at::silu_backward(dY, gate);
        case GateActivation::GeluTanh: return at::gelu_backward(dY, gate, "tanh");
        case GateActivation::Gelu: return at::gelu_backward(dY, gate);
        case GateActivation::Relu: return dY * (gate > 0).to(dY.scalar_type());
    }
    return dY;
}

}  // namespace

std::tuple<at::Tensor, at::Tensor, at::Tensor> addRmsNorm(const at::Tensor& x, const at::Tensor& delta, const at::Tensor& weight,
                                                         double eps, double offset) {
    const at::Tensor sum = delta.defined() ? x + delta : x;
    const at::Tensor wide = sum.to(at::kFloat);
    const at::Tensor rstd = (wide.square().mean(-1) + eps).rsqrt();  // [N]
    const at::Tensor y = wide * rstd.unsqueeze(-1) * (weight.to(at::kFloat) + offset);
    return {sum, y.to(x.scalar_type()), rstd};
}

at::Tensor rmsNormBackward(const at::Tensor& dY, const at::Tensor& dSum, const at::Tensor& sum, const at::Tensor& weight,
                           const at::Tensor& rstd, double offset) {
    const at::Tensor r = rstd.unsqueeze(-1);                                           // [N, 1]
    const at::Tensor g = dY.to(at::kFloat) * (weight.to(at::kFloat) + offset);         // [N, C]
    const at::Tensor s = sum.to(at::kFloat);
    at::Tensor dx = r * g - s * r.pow(3) * (g * s).mean(-1, true);
    if (dSum.defined()) dx = dx + dSum.to(at::kFloat);
    return dx.to(sum.scalar_type());
}

at::Tensor gatedActivation(const at::Tensor& gate, const at::Tensor& up, GateActivation activation) {
    return (activated(gate.to(at::kFloat), activation) * up.to(at::kFloat)).to(gate.scalar_type());
}

std::tuple<at::Tensor, at::Tensor> gatedActivationBackward(const at::Tensor& dY, const at::Tensor& gate, const at::Tensor& up,
                                                           GateActivation activation) {
    const at::Tensor d = dY.to(at::kFloat);
    const at::Tensor g = gate.to(at::kFloat);
    return {activationBackward(d * up.to(at::kFloat), g, activation).to(gate.scalar_type()),
            (d * activated(g, activation)).to(up.scalar_type())};
}

at::Tensor rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, std::int64_t headSize, RopeDirection direction,
                RopePairs pairs) {
    const std::int64_t half = cos.size(-1);
    const at::Tensor heads = x.to(at::kFloat).view({x.size(0), -1, headSize});         // [N, H, D]
    const at::Tensor turned = heads.narrow(-1, 0, 2 * half);
    const bool areHalves = pairs == RopePairs::Halves;
    const at::Tensor paired = turned.unflatten(-1, areHalves ? std::vector<std::int64_t>{2, half} : std::vector<std::int64_t>{half, 2});
    const at::Tensor first = paired.select(areHalves ? -2 : -1, 0);
    const at::Tensor second = paired.select(areHalves ? -2 : -1, 1);
    const at::Tensor c = cos.unsqueeze(1);                                             // [N, 1, rotary/2]
    const at::Tensor s = direction == RopeDirection::Forward ? sin.unsqueeze(1) : -sin.unsqueeze(1);
    const at::Tensor rest = heads.narrow(-1, 2 * half, headSize - 2 * half);
    const at::Tensor both = at::stack({first * c - second * s, second * c + first * s}, areHalves ? -2 : -1).flatten(-2);
    return at::cat({both, rest}, -1).view(x.sizes()).to(x.scalar_type());
}

double crossEntropyInPlace(at::Tensor& logits, const at::Tensor& labels, double scale) {
    const at::Tensor logProbabilities = at::log_softmax(logits, -1);
    const at::Tensor rows = at::arange(labels.size(0), labels.options());
    const double loss = -logProbabilities.index({rows, labels}).to(at::kDouble).sum().item<double>();
    at::Tensor gradient = logProbabilities.exp();
    gradient.index_put_({rows, labels}, gradient.index({rows, labels}) - 1.0);
    logits.copy_(gradient * scale);
    return loss;
}

}  // namespace luthier::kernels::reference
