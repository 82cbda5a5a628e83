// SPDX-License-Identifier: Apache-2.0
#pragma once
// The element-wise steps of a transformer on the CPU, each one pass over memory where ATen would
// need three to eight. Everything takes rank-2 contiguous float32 or bfloat16 tensors on the CPU,
// computes in float32 and runs on ATen's threads. Each kernel has a plain reference of the same
// name in namespace `reference`, which also serves other devices and dtypes; tests compare the two.
// Results do not depend on the number of threads: work is split by rows and rows are independent.

#include <ATen/core/Tensor.h>

#include <tuple>

namespace luthier::kernels {

enum class GateActivation { Silu, GeluTanh, Gelu, Relu };

/// sum = x + delta (delta may be undefined), rstd = 1/sqrt(mean(sum^2) + eps), y = sum * rstd *
/// (weight + offset). RMSNorm, Zhang & Sennrich 2019; `offset` 1 for Gemma.
/// @returns {sum [N, C], y [N, C], rstd [N] f32}; sum is x itself when delta is undefined.
std::tuple<at::Tensor, at::Tensor, at::Tensor> addRmsNorm(const at::Tensor& x,
                                                          const at::Tensor& delta,
                                                          const at::Tensor& weight, double eps,
                                                          double offset);

/// Gradient of y with respect to sum, plus `dSum` (may be undefined) that arrives at sum from
/// elsewhere. [N, C]
at::Tensor rmsNormBackward(const at::Tensor& dY, const at::Tensor& dSum, const at::Tensor& sum,
                           const at::Tensor& weight, const at::Tensor& rstd, double offset);

/// act(gate) * up, [N, F].
at::Tensor gatedActivation(const at::Tensor& gate, const at::Tensor& up, GateActivation activation);

/// @returns {dGate, dUp}
std::tuple<at::Tensor, at::Tensor> gatedActivationBackward(const at::Tensor& dY,
                                                           const at::Tensor& gate,
                                                           const at::Tensor& up,
                                                           GateActivation activation);

enum class RopeDirection { Forward, Backward };

/// Which values of a head's rotated part turn together: (i, i + rotary/2) as in LLaMA, or (2i, 2i +
/// 1) as in GPT-J.
enum class RopePairs { Halves, Neighbours };

/// Rotary position embedding of x [N, H * D] by row (Su et al. 2021). `cos`, `sin` [N, rotary/2]
/// f32 hold each row's angles. Backward is the transposed rotation.
at::Tensor rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                std::int64_t headSize, RopeDirection direction,
                RopePairs pairs = RopePairs::Halves);

/// Softmax cross entropy of logits [n, V] against labels [n] i64, in place: on return logits holds
/// scale * (softmax - onehot), the gradient of scale * sum(loss), rounded once to the logits'
/// dtype.
/// @returns the sum of the rows' losses (unscaled).
double crossEntropyInPlace(at::Tensor& logits, const at::Tensor& labels, double scale);

namespace reference {

std::tuple<at::Tensor, at::Tensor, at::Tensor> addRmsNorm(const at::Tensor& x,
                                                          const at::Tensor& delta,
                                                          const at::Tensor& weight, double eps,
                                                          double offset);
at::Tensor rmsNormBackward(const at::Tensor& dY, const at::Tensor& dSum, const at::Tensor& sum,
                           const at::Tensor& weight, const at::Tensor& rstd, double offset);
at::Tensor gatedActivation(const at::Tensor& gate, const at::Tensor& up, GateActivation activation);
std::tuple<at::Tensor, at::Tensor> gatedActivationBackward(const at::Tensor& dY,
                                                           const at::Tensor& gate,
                                                           const at::Tensor& up,
                                                           GateActivation activation);
at::Tensor rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                std::int64_t headSize, RopeDirection direction,
                RopePairs pairs = RopePairs::Halves);
double crossEntropyInPlace(at::Tensor& logits, const at::Tensor& labels, double scale);

}  // namespace reference

}  // namespace luthier::kernels
