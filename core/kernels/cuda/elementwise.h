// SPDX-License-Identifier: Apache-2.0
#pragma once
// The element-wise kernels of kernels/elementwise.h on an NVIDIA GPU. Plain pointers to device
// memory, so that nvcc needs none of torch's headers; elementwise_device.cpp takes the pointers
// from tensors. Rows are contiguous; work is done in float32; every launch goes to `stream` and
// does not wait. What a kernel computes is said beside its CPU version.

#include <cstdint>

struct CUstream_st;

namespace luthier::kernels::cuda {

using Stream = CUstream_st*;

enum class Storage { Float32, BFloat16 };
enum class Activation { Silu, GeluTanh, Gelu, Relu };  ///< in the order of GateActivation

/// sum, y [N, C]; rstd [N]; weight [C] with its offset added. delta and (then) sum may be null:
/// nothing is added.
void addRmsNorm(Storage storage, const void* x, const void* delta, const float* weight, void* sum,
                void* y, float* rstd, std::int64_t N, std::int64_t C, float eps, Stream stream);

/// dSum may be null.
void rmsNormBackward(Storage storage, const void* dY, const void* dSum, const void* sum,
                     const float* weight, const float* rstd, void* dX, std::int64_t N,
                     std::int64_t C, Stream stream);

void gatedActivation(Storage storage, Activation activation, const void* gate, const void* up,
                     void* y, std::int64_t count, Stream stream);
void gatedActivationBackward(Storage storage, Activation activation, const void* dY,
                             const void* gate, const void* up, void* dGate, void* dUp,
                             std::int64_t count, Stream stream);

/// x, y [N, heads * D]; cos, sin [N, half]. `sign` -1 turns back; `areNeighbours`: pairs (2i, 2i +
/// 1) instead of (i, i + half).
void rope(Storage storage, const void* x, const float* cos, const float* sin, void* y,
          std::int64_t N, std::int64_t heads, std::int64_t D, std::int64_t half, float sign,
          bool areNeighbours, Stream stream);

/// logits [N, V] in place; losses [N], unscaled. Labels must be in [0, V).
void crossEntropyInPlace(float* logits, const std::int64_t* labels, float* losses, std::int64_t N,
                         std::int64_t V, float scale, Stream stream);

/// What went wrong in launches since the last call, or null. Static text of the runtime.
const char* lastError();

}  // namespace luthier::kernels::cuda
