// SPDX-License-Identifier: Apache-2.0
#pragma once
// The kernels of elementwise.h over tensors on an NVIDIA GPU (a build with LUTHIER_CUDA only).
// isNative() says which tensors they take: contiguous float32 or bfloat16 on such a device. A
// launch that fails throws c10::Error with the runtime's words.

#include "kernels/elementwise.h"

namespace luthier::kernels::device {

bool isNative(const at::Tensor& x);

/// `weight` [C] f32 holds its offset already.
std::tuple<at::Tensor, at::Tensor, at::Tensor> addRmsNorm(const at::Tensor& x,
                                                          const at::Tensor& delta,
                                                          const at::Tensor& weight, double eps);
at::Tensor rmsNormBackward(const at::Tensor& dY, const at::Tensor& dSum, const at::Tensor& sum,
                           const at::Tensor& weight, const at::Tensor& rstd);
at::Tensor gatedActivation(const at::Tensor& gate, const at::Tensor& up, GateActivation activation);
std::tuple<at::Tensor, at::Tensor> gatedActivationBackward(const at::Tensor& dY,
                                                           const at::Tensor& gate,
                                                           const at::Tensor& up,
                                                           GateActivation activation);
at::Tensor rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                std::int64_t headSize, RopeDirection direction, RopePairs pairs);
double crossEntropyInPlace(at::Tensor& logits, const at::Tensor& labels, double scale);

}  // namespace luthier::kernels::device
