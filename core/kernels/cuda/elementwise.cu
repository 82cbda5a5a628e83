// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/elementwise.h"

#include <cuda_bf16.h>
#include <cuda_runtime.h>

namespace luthier::kernels::cuda {

namespace {

constexpr int kThreads = 256;
constexpr float kSqrt2OverPi = 0.7978845608028654f;
constexpr float kGeluCubic = 0.044715f;
constexpr float kInverseSqrt2 = 0.7071067811865476f;
constexpr float kInverseSqrt2Pi = 0.3989422804014327f;

__device__ float load(float value) { return value; }
__device__ float load(__nv_bfloat16 value) { return __bfloat162float(value); }
__device__ void store(float& to, float value) { to = value; }
__device__ void store(__nv_bfloat16& to, float value) { to = __float2bfloat16_rn(value); }

struct Sum {
    static constexpr float kNone = 0;
    __device__ static float join(float a, float b) { return a + b; }
};
struct Largest {
    static constexpr float kNone = -3.402823466e38f;
    __device__ static float join(float a, float b) { return fmaxf(a, b); }
};

/// `value` joined over the block's threads, the same in all of them. In a fixed order, so a result
/// does not vary.
template <class Join>
__device__ float overBlock(float value) {
    __shared__ float parts[kThreads / 32];
    for (int step = 16; step > 0; step /= 2)
        value = Join::join(value, __shfl_xor_sync(0xffffffffu, value, step));
    __syncthreads();  // the last call's parts have been read
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
    __syncthreads();
    float whole = Join::kNone;
    for (int i = 0; i < kThreads / 32; ++i) whole = Join::join(whole, parts[i]);
    return whole;
}

template <class T>
__global__ void addRmsNormRow(const T* x, const T* delta, const float* weight, T* sum, T* y,
                              float* rstd, std::int64_t C, float eps) {
    const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * C;
    const T* from = x + row;
    float squares = 0;
    for (std::int64_t i = threadIdx.x; i < C; i += kThreads) {
        float value = load(from[i]);
        if (delta != nullptr) {
            store(sum[row + i], value + load(delta[row + i]));
            value = load(sum[row + i]);
        }
        squares += value * value;
    }
    const float inverse = rsqrtf(overBlock<Sum>(squares) / static_cast<float>(C) + eps);
    if (threadIdx.x == 0) rstd[blockIdx.x] = inverse;
    const T* stored = delta != nullptr ? sum + row : from;
    for (std::int64_t i = threadIdx.x; i < C; i += kThreads)
        store(y[row + i], load(stored[i]) * inverse * weight[i]);
}

template <class T>
__global__ void rmsNormBackwardRow(const T* dY, const T* dSum, const T* sum, const float* weight,
                                   const float* rstd, T* dX, std::int64_t C) {
    const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * C;
    const float inverse = rstd[blockIdx.x];
    float dot = 0;
    for (std::int64_t i = threadIdx.x; i < C; i += kThreads)
        dot += load(dY[row + i]) * weight[i] * load(sum[row + i]);
    const float k = overBlock<Sum>(dot) * inverse * inverse * inverse / static_cast<float>(C);
    for (std::int64_t i = threadIdx.x; i < C; i += kThreads) {
        const float through = load(dY[row + i]) * weight[i] * inverse - k * load(sum[row + i]);
        store(dX[row + i], dSum != nullptr ? through + load(dSum[row + i]) : through);
    }
}

__device__ float activated(float x, Activation activation) {
    switch (activation) {
        case Activation::Silu:
            return x / (1 + expf(-x));
        case Activation::GeluTanh:
            return 0.5f * x * (1 + tanhf(kSqrt2OverPi * (x + kGeluCubic * x * x * x)));
        case Activation::Gelu:
            return 0.5f * x * (1 + erff(x * kInverseSqrt2));
        case Activation::Relu:
            return fmaxf(x, 0);
    }
    return x;
}

__device__ float slope(float x, Activation activation) {
    switch (activation) {
        case Activation::Silu: {
            const float s = 1 / (1 + expf(-x));
            return s * (1 + x * (1 - s));
        }
        case Activation::GeluTanh: {
            const float t = tanhf(kSqrt2OverPi * (x + kGeluCubic * x * x * x));
            return 0.5f * (1 + t) +
                   0.5f * x * (1 - t * t) * kSqrt2OverPi * (1 + 3 * kGeluCubic * x * x);
        }
        case Activation::Gelu:
            return 0.5f * (1 + erff(x * kInverseSqrt2)) + x * kInverseSqrt2Pi * expf(-0.5f * x * x);
        case Activation::Relu:
            return x > 0 ? 1 : 0;
    }
    return 1;
}

template <class T>
__global__ void gate(Activation activation, const T* gate, const T* up, T* y, std::int64_t count) {
    for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < count;
         i += static_cast<std::int64_t>(gridDim.x) * kThreads)
        store(y[i], activated(load(gate[i]), activation) * load(up[i]));
}

template <class T>
__global__ void gateBackward(Activation activation, const T* dY, const T* gate, const T* up,
                             T* dGate, T* dUp, std::int64_t count) {
    for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < count;
         i += static_cast<std::int64_t>(gridDim.x) * kThreads) {
        const float d = load(dY[i]);
        const float g = load(gate[i]);
        const float u = load(up[i]);
        store(dGate[i], d * u * slope(g, activation));
        store(dUp[i], d * activated(g, activation));
    }
}

template <class T>
__global__ void turn(const T* x, const float* cos, const float* sin, T* y, std::int64_t heads,
                     std::int64_t D, std::int64_t half, float sign, bool areNeighbours) {
    const std::int64_t row = static_cast<std::int64_t>(blockIdx.x);
    const std::int64_t rest = D - 2 * half;
    for (std::int64_t i = threadIdx.x; i < heads * (half + rest); i += kThreads) {
        const std::int64_t place = (row * heads + i / (half + rest)) * D;
        const std::int64_t pair = i % (half + rest);
        if (pair >= half) {
            y[place + half + pair] = x[place + half + pair];
            continue;
        }
        const std::int64_t first = place + (areNeighbours ? 2 * pair : pair);
        const std::int64_t second = place + (areNeighbours ? 2 * pair + 1 : pair + half);
        const float c = cos[row * half + pair];
        const float s = sign * sin[row * half + pair];
        const float a = load(x[first]);
        const float b = load(x[second]);
        store(y[first], a * c - b * s);
        store(y[second], b * c + a * s);
    }
}

__global__ void crossEntropyRow(float* logits, const std::int64_t* labels, float* losses,
                                std::int64_t V, float scale) {
    float* row = logits + static_cast<std::int64_t>(blockIdx.x) * V;
    float top = Largest::kNone;
    for (std::int64_t v = threadIdx.x; v < V; v += kThreads) top = fmaxf(top, row[v]);
    top = overBlock<Largest>(top);
    const float atLabel = row[labels[blockIdx.x]];
    float sum = 0;
    for (std::int64_t v = threadIdx.x; v < V; v += kThreads) sum += expf(row[v] - top);
    sum = overBlock<Sum>(sum);
    const std::int64_t label = labels[blockIdx.x];
    for (std::int64_t v = threadIdx.x; v < V; v += kThreads)
        row[v] = scale * (expf(row[v] - top) / sum - (v == label ? 1.0f : 0.0f));
    if (threadIdx.x == 0) losses[blockIdx.x] = logf(sum) + top - atLabel;
}

/// Calls body(T{}) with the storage type.
template <class Body>
void withType(Storage storage, Body body) {
    if (storage == Storage::Float32)
        body(float{});
    else
        body(__nv_bfloat16{});
}

unsigned blocksFor(std::int64_t count) {
    const std::int64_t wanted = (count + kThreads - 1) / kThreads;
    return static_cast<unsigned>(wanted < 65536 ? wanted : 65536);
}

}  // namespace

void addRmsNorm(Storage storage, const void* x, const void* delta, const float* weight, void* sum,
                void* y, float* rstd, std::int64_t N, std::int64_t C, float eps, Stream stream) {
    if (N == 0) return;
    withType(storage, [&](auto tag) {
        using T = decltype(tag);
        addRmsNormRow<T><<<static_cast<unsigned>(N), kThreads, 0, stream>>>(
            static_cast<const T*>(x), static_cast<const T*>(delta), weight, static_cast<T*>(sum),
            static_cast<T*>(y), rstd, C, eps);
    });
}

void rmsNormBackward(Storage storage, const void* dY, const void* dSum, const void* sum,
                     const float* weight, const float* rstd, void* dX, std::int64_t N,
                     std::int64_t C, Stream stream) {
    if (N == 0) return;
    withType(storage, [&](auto tag) {
        using T = decltype(tag);
        rmsNormBackwardRow<T><<<static_cast<unsigned>(N), kThreads, 0, stream>>>(
            static_cast<const T*>(dY), static_cast<const T*>(dSum), static_cast<const T*>(sum),
            weight, rstd, static_cast<T*>(dX), C);
    });
}

void gatedActivation(Storage storage, Activation activation, const void* gateRows, const void* up,
                     void* y, std::int64_t count, Stream stream) {
    if (count == 0) return;
    withType(storage, [&](auto tag) {
        using T = decltype(tag);
        gate<T><<<blocksFor(count), kThreads, 0, stream>>>(
            activation, static_cast<const T*>(gateRows), static_cast<const T*>(up),
            static_cast<T*>(y), count);
    });
}

void gatedActivationBackward(Storage storage, Activation activation, const void* dY,
                             const void* gateRows, const void* up, void* dGate, void* dUp,
                             std::int64_t count, Stream stream) {
    if (count == 0) return;
    withType(storage, [&](auto tag) {
        using T = decltype(tag);
        gateBackward<T><<<blocksFor(count), kThreads, 0, stream>>>(
            activation, static_cast<const T*>(dY), static_cast<const T*>(gateRows),
            static_cast<const T*>(up), static_cast<T*>(dGate), static_cast<T*>(dUp), count);
    });
}

void rope(Storage storage, const void* x, const float* cos, const float* sin, void* y,
          std::int64_t N, std::int64_t heads, std::int64_t D, std::int64_t half, float sign,
          bool areNeighbours, Stream stream) {
    if (N == 0) return;
    withType(storage, [&](auto tag) {
        using T = decltype(tag);
        turn<T><<<static_cast<unsigned>(N), kThreads, 0, stream>>>(static_cast<const T*>(x), cos,
                                                                   sin, static_cast<T*>(y), heads,
                                                                   D, half, sign, areNeighbours);
    });
}

void crossEntropyInPlace(float* logits, const std::int64_t* labels, float* losses, std::int64_t N,
                         std::int64_t V, float scale, Stream stream) {
    if (N == 0) return;
    crossEntropyRow<<<static_cast<unsigned>(N), kThreads, 0, stream>>>(logits, labels, losses, V,
                                                                       scale);
}

const char* lastError() {
    const cudaError_t error = cudaGetLastError();
    return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace luthier::kernels::cuda
