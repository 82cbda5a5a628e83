// SPDX-License-Identifier: Apache-2.0
#include "kernels/elementwise_device.h"

#include "kernels/cuda/elementwise.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

namespace luthier::kernels::device {

namespace {

cuda::Storage storageOf(const at::Tensor& x) {
    return x.scalar_type() == at::kFloat ? cuda::Storage::Float32 : cuda::Storage::BFloat16;
}

cuda::Stream streamOf(const at::Tensor& x) {
    return c10::cuda::getCurrentCUDAStream(x.device().index()).stream();
}

const void* bytesOf(const at::Tensor& x) { return x.defined() ? x.const_data_ptr() : nullptr; }

cuda::Activation activationOf(GateActivation activation) {
    switch (activation) {
        case GateActivation::Silu:
            return cuda::Activation::Silu;
        case GateActivation::GeluTanh:
            return cuda::Activation::GeluTanh;
        case GateActivation::Gelu:
            return cuda::Activation::Gelu;
        case GateActivation::Relu:
            return cuda::Activation::Relu;
    }
    return cuda::Activation::Silu;
}

void checkLaunch(const char* name) {
    const char* error = cuda::lastError();
    TORCH_CHECK(error == nullptr, name, ": ", error);
}

}  // namespace

bool isNative(const at::Tensor& x) {
    return x.is_cuda() && x.is_contiguous() &&
           (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> addRmsNorm(const at::Tensor& x,
                                                          const at::Tensor& delta,
                                                          const at::Tensor& weight, double eps) {
    const c10::cuda::CUDAGuard guard(x.device());
    const at::Tensor sum = delta.defined() ? at::empty_like(x) : x;
    const at::Tensor y = at::empty_like(x);
    const at::Tensor rstd = at::empty({x.size(0)}, x.options().dtype(at::kFloat));
    cuda::addRmsNorm(
        storageOf(x), x.const_data_ptr(), bytesOf(delta), weight.const_data_ptr<float>(),
        delta.defined() ? sum.mutable_data_ptr() : nullptr, y.mutable_data_ptr(),
        rstd.mutable_data_ptr<float>(), x.size(0), x.size(1), static_cast<float>(eps), streamOf(x));
    checkLaunch("addRmsNorm");
    return {sum, y, rstd};
}

at::Tensor rmsNormBackward(const at::Tensor& dY, const at::Tensor& dSum, const at::Tensor& sum,
                           const at::Tensor& weight, const at::Tensor& rstd) {
    const c10::cuda::CUDAGuard guard(sum.device());
    const at::Tensor dX = at::empty_like(sum);
    cuda::rmsNormBackward(storageOf(sum), dY.const_data_ptr(), bytesOf(dSum), sum.const_data_ptr(),
                          weight.const_data_ptr<float>(), rstd.const_data_ptr<float>(),
                          dX.mutable_data_ptr(), sum.size(0), sum.size(1), streamOf(sum));
    checkLaunch("rmsNormBackward");
    return dX;
}

at::Tensor gatedActivation(const at::Tensor& gate, const at::Tensor& up,
                           GateActivation activation) {
    const c10::cuda::CUDAGuard guard(gate.device());
    const at::Tensor y = at::empty_like(gate);
    cuda::gatedActivation(storageOf(gate), activationOf(activation), gate.const_data_ptr(),
                          up.const_data_ptr(), y.mutable_data_ptr(), gate.numel(), streamOf(gate));
    checkLaunch("gatedActivation");
    return y;
}

std::tuple<at::Tensor, at::Tensor> gatedActivationBackward(const at::Tensor& dY,
                                                           const at::Tensor& gate,
                                                           const at::Tensor& up,
                                                           GateActivation activation) {
    const c10::cuda::CUDAGuard guard(gate.device());
    const at::Tensor dGate = at::empty_like(gate);
    const at::Tensor dUp = at::empty_like(up);
    cuda::gatedActivationBackward(storageOf(gate), activationOf(activation), dY.const_data_ptr(),
                                  gate.const_data_ptr(), up.const_data_ptr(),
                                  dGate.mutable_data_ptr(), dUp.mutable_data_ptr(), gate.numel(),
                                  streamOf(gate));
    checkLaunch("gatedActivationBackward");
    return {dGate, dUp};
}

at::Tensor rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                std::int64_t headSize, RopeDirection direction, RopePairs pairs) {
    const c10::cuda::CUDAGuard guard(x.device());
    const at::Tensor y = at::empty_like(x);
    cuda::rope(storageOf(x), x.const_data_ptr(), cos.const_data_ptr<float>(),
               sin.const_data_ptr<float>(), y.mutable_data_ptr(), x.size(0), x.size(1) / headSize,
               headSize, cos.size(1), direction == RopeDirection::Forward ? 1.0f : -1.0f,
               pairs == RopePairs::Neighbours, streamOf(x));
    checkLaunch("rope");
    return y;
}

double crossEntropyInPlace(at::Tensor& logits, const at::Tensor& labels, double scale) {
    const c10::cuda::CUDAGuard guard(logits.device());
    const at::Tensor losses = at::empty({logits.size(0)}, logits.options());
    cuda::crossEntropyInPlace(logits.mutable_data_ptr<float>(),
                              labels.const_data_ptr<std::int64_t>(),
                              losses.mutable_data_ptr<float>(), logits.size(0), logits.size(1),
                              static_cast<float>(scale), streamOf(logits));
    checkLaunch("crossEntropyInPlace");
    return losses.to(at::kDouble).sum().item<double>();
}

}  // namespace luthier::kernels::device
