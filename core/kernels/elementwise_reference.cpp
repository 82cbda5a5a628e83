// SPDX-License-Identifier: Apache-2.0
// The formulas, one ATen call a term; any device, any dtype (float32 inside; float64 stays
// float64).
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

at::Tensor wide(const at::Tensor& x) {
    return x.scalar_type() == at::kDouble ? x : x.to(at::kFloat);
}

at::Tensor activated(const at::Tensor& gate, GateActivation activation) {
    switch (activation) {
        case GateActivation::Silu:
            return at::silu(gate);
        case GateActivation::GeluTanh:
            return at::gelu(gate, "tanh");
        case GateActivation::Gelu:
            return at::gelu(gate);
        case GateActivation::Relu:
            return at::relu(gate);
    }
    return gate;
}

at::Tensor activationBackward(const at::Tensor& dY, const at::Tensor& gate,
                              GateActivation activation) {
    switch (activation) {
        case GateActivation::Silu:
            return at::silu_backward(dY, gate);
        case GateActivation::GeluTanh:
            return at::gelu_backward(dY, gate, "tanh");
        case GateActivation::Gelu:
            return at::gelu_backward(dY, gate);
        case GateActivation::Relu:
            return dY * (gate > 0).to(dY.scalar_type());
    }
    return dY;
}

}  // namespace

std::tuple<at::Tensor, at::Tensor, at::Tensor> addRmsNorm(const at::Tensor& x,
                                                          const at::Tensor& delta,
                                                          const at::Tensor& weight, double eps,
                                                          double offset) {
    const at::Tensor sum = delta.defined() ? x + delta : x;
    const at::Tensor s = wide(sum);
    const at::Tensor rstd = (s.square().mean(-1) + eps).rsqrt();  // [N]
    const at::Tensor y = s * rstd.unsqueeze(-1) * (wide(weight) + offset);
    return {sum, y.to(x.scalar_type()), rstd};
}

at::Tensor rmsNormBackward(const at::Tensor& dY, const at::Tensor& dSum, const at::Tensor& sum,
                           const at::Tensor& weight, const at::Tensor& rstd, double offset) {
    const at::Tensor r = rstd.unsqueeze(-1);                  // [N, 1]
    const at::Tensor g = wide(dY) * (wide(weight) + offset);  // [N, C]
    const at::Tensor s = wide(sum);
    at::Tensor dx = r * g - s * r.pow(3) * (g * s).mean(-1, true);
    if (dSum.defined()) dx = dx + wide(dSum);
    return dx.to(sum.scalar_type());
}

at::Tensor gatedActivation(const at::Tensor& gate, const at::Tensor& up,
                           GateActivation activation) {
    return (activated(wide(gate), activation) * wide(up)).to(gate.scalar_type());
}

std::tuple<at::Tensor, at::Tensor> gatedActivationBackward(const at::Tensor& dY,
                                                           const at::Tensor& gate,
                                                           const at::Tensor& up,
                                                           GateActivation activation) {
    const at::Tensor d = wide(dY);
    const at::Tensor g = wide(gate);
    return {activationBackward(d * wide(up), g, activation).to(gate.scalar_type()),
            (d * activated(g, activation)).to(up.scalar_type())};
}

at::Tensor rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                std::int64_t headSize, RopeDirection direction, RopePairs pairs) {
    const std::int64_t half = cos.size(-1);
    const at::Tensor heads =
        wide(x).reshape({x.size(0), x.size(1) / headSize, headSize});  // [N, H, D]
    const at::Tensor turned = heads.narrow(-1, 0, 2 * half);
    const bool areHalves = pairs == RopePairs::Halves;
    const at::Tensor paired = turned.unflatten(
        -1, areHalves ? std::vector<std::int64_t>{2, half} : std::vector<std::int64_t>{half, 2});
    const at::Tensor first = paired.select(areHalves ? -2 : -1, 0);
    const at::Tensor second = paired.select(areHalves ? -2 : -1, 1);
    const at::Tensor c = cos.unsqueeze(1);  // [N, 1, rotary/2]
    const at::Tensor s = direction == RopeDirection::Forward ? sin.unsqueeze(1) : -sin.unsqueeze(1);
    const at::Tensor rest = heads.narrow(-1, 2 * half, headSize - 2 * half);
    const at::Tensor both =
        at::stack({first * c - second * s, second * c + first * s}, areHalves ? -2 : -1)
            .flatten(-2);
    return at::cat({both, rest}, -1).view(x.sizes()).to(x.scalar_type());
}

double crossEntropyInPlace(at::Tensor& logits, const at::Tensor& labels, double scale) {
    const at::Tensor logProbabilities = at::log_softmax(wide(logits), -1);
    const at::Tensor rows = at::arange(labels.size(0), labels.options());
    const double loss =
        -logProbabilities.index({rows, labels}).to(at::kDouble).sum().item<double>();
    at::Tensor gradient = logProbabilities.exp();
    gradient.index_put_({rows, labels}, gradient.index({rows, labels}) - 1.0);
    logits.copy_(gradient * scale);
    return loss;
}

}  // namespace luthier::kernels::reference
