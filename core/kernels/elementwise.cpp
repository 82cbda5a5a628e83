// SPDX-License-Identifier: Apache-2.0
// Loops written so that the compiler vectorises them; `LUTHIER_CLONES` builds each for several
// instruction sets and the loader picks one. bfloat16 is widened on load and rounded to nearest
// even on store.
#include "kernels/elementwise.h"

#ifdef LUTHIER_CUDA
#include "kernels/elementwise_device.h"
#endif

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <vector>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define LUTHIER_CLONES __attribute__((target_clones("avx512f", "arch=haswell", "default")))
#else
#define LUTHIER_CLONES
#endif
#define LUTHIER_INLINE inline __attribute__((always_inline))

namespace luthier::kernels {

namespace {

using Bf16 = std::uint16_t;

LUTHIER_INLINE float load(float value) { return value; }
LUTHIER_INLINE float load(Bf16 value) {
    const std::uint32_t bits = static_cast<std::uint32_t>(value) << 16;
    float wide;
    std::memcpy(&wide, &bits, sizeof wide);
    return wide;
}
LUTHIER_INLINE void store(float& slot, float value) { slot = value; }
LUTHIER_INLINE void store(Bf16& slot, float value) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    // NaN must stay NaN: rounding could carry its mantissa away.
    const std::uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
    slot = static_cast<Bf16>(value != value ? 0x7FC0u : rounded);
}

/// e^x for -87 <= x <= 88, about 1 ulp: x = n ln2 + r, polynomial in r, 2^n through the exponent
/// bits.
LUTHIER_INLINE float expInRange(float x) {
    const float n = __builtin_floorf(x * 1.44269504f + 0.5f);
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    const float y = p * r * r + r + 1.0f;
    const std::int32_t power = (static_cast<std::int32_t>(n) + 127) << 23;
    float scale;
    std::memcpy(&scale, &power, sizeof scale);
    return y * scale;
}

/// e^x, clamped outside of [-87, 88]; NaN stays NaN.
LUTHIER_INLINE float fastExp(float x) {
    return expInRange(x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x);
}

/// 1 / (1 + e^-x). NaN gives 0 or 1: callers multiply by x. The clamp works on the bits, for a
/// float comparison here makes GCC multiply every lane by the constant of the clamped case first: a
/// subnormal, which costs x86 some 150 cycles a vector.
LUTHIER_INLINE float fastSigmoid(float x) {
    std::uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    const std::int32_t size = static_cast<std::int32_t>(bits & 0x7FFFFFFFu);
    const std::int32_t limit = 0x42AE0000;  // 87.0f
    const std::uint32_t clampedBits =
        static_cast<std::uint32_t>(size < limit ? size : limit) | (~bits & 0x80000000u);
    float negated;
    std::memcpy(&negated, &clampedBits, sizeof negated);
    return 1.0f / (1.0f + expInRange(negated));
}
LUTHIER_INLINE float fastTanh(float x) { return 2.0f * fastSigmoid(2.0f * x) - 1.0f; }

template <class T>
LUTHIER_INLINE void addRmsNormRow(const T* x, const T* delta, const float* weight, T* sum, T* y,
                                  float* rstd, std::int64_t C, float eps) {
    float squares = 0;
    if (delta != nullptr) {
#pragma omp simd reduction(+ : squares)
        for (std::int64_t c = 0; c < C; ++c) {
            store(sum[c], load(x[c]) + load(delta[c]));
            const float value = load(sum[c]);
            squares += value * value;
        }
    } else {
#pragma omp simd reduction(+ : squares)
        for (std::int64_t c = 0; c < C; ++c) squares += load(x[c]) * load(x[c]);
    }
    const T* source = delta != nullptr ? sum : x;
    const float r = 1.0f / std::sqrt(squares / static_cast<float>(C) + eps);
    *rstd = r;
#pragma omp simd
    for (std::int64_t c = 0; c < C; ++c) store(y[c], load(source[c]) * r * weight[c]);
}

template <class T>
LUTHIER_INLINE void rmsNormBackwardRow(const T* dY, const T* dSum, const T* sum,
                                       const float* weight, float r, T* dX, std::int64_t C) {
    float dot = 0;
#pragma omp simd reduction(+ : dot)
    for (std::int64_t c = 0; c < C; ++c) dot += load(dY[c]) * weight[c] * load(sum[c]);
    const float k = dot * r * r * r / static_cast<float>(C);
    if (dSum != nullptr) {
#pragma omp simd
        for (std::int64_t c = 0; c < C; ++c)
            store(dX[c], load(dY[c]) * weight[c] * r - load(sum[c]) * k + load(dSum[c]));
    } else {
#pragma omp simd
        for (std::int64_t c = 0; c < C; ++c)
            store(dX[c], load(dY[c]) * weight[c] * r - load(sum[c]) * k);
    }
}

template <class T>
LUTHIER_INLINE void siluGate(const T* gate, const T* up, T* y, std::int64_t count) {
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) {
        const float g = load(gate[i]);
        store(y[i], g * fastSigmoid(g) * load(up[i]));
    }
}

template <class T>
LUTHIER_INLINE void siluGateBackward(const T* dY, const T* gate, const T* up, T* dGate, T* dUp,
                                     std::int64_t count) {
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) {
        const float g = load(gate[i]);
        const float d = load(dY[i]);
        const float s = fastSigmoid(g);
        store(dUp[i], d * g * s);
        store(dGate[i], d * load(up[i]) * s * (1.0f + g * (1.0f - s)));
    }
}

constexpr float kGeluScale = 0.7978845608028654f;  // sqrt(2/pi)
constexpr float kGeluCube = 0.044715f;

template <class T>
LUTHIER_INLINE void geluGate(const T* gate, const T* up, T* y, std::int64_t count) {
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) {
        const float g = load(gate[i]);
        const float t = fastTanh(kGeluScale * (g + kGeluCube * g * g * g));
        store(y[i], 0.5f * g * (1.0f + t) * load(up[i]));
    }
}

template <class T>
LUTHIER_INLINE void geluGateBackward(const T* dY, const T* gate, const T* up, T* dGate, T* dUp,
                                     std::int64_t count) {
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) {
        const float g = load(gate[i]);
        const float d = load(dY[i]);
        const float t = fastTanh(kGeluScale * (g + kGeluCube * g * g * g));
        const float slope = 0.5f * (1.0f + t) + 0.5f * g * (1.0f - t * t) * kGeluScale *
                                                    (1.0f + 3.0f * kGeluCube * g * g);
        store(dUp[i], d * 0.5f * g * (1.0f + t));
        store(dGate[i], d * load(up[i]) * slope);
    }
}

template <class T>
LUTHIER_INLINE void ropeRow(const T* x, const float* cos, const float* sin, T* y,
                            std::int64_t heads, std::int64_t D, std::int64_t half, float sign) {
    for (std::int64_t h = 0; h < heads; ++h) {
        const T* from = x + h * D;
        T* to = y + h * D;
#pragma omp simd
        for (std::int64_t i = 0; i < half; ++i) {
            const float a = load(from[i]);
            const float b = load(from[i + half]);
            store(to[i], a * cos[i] - sign * b * sin[i]);
            store(to[i + half], b * cos[i] + sign * a * sin[i]);
        }
        for (std::int64_t i = 2 * half; i < D; ++i) to[i] = from[i];
    }
}

template <class T>
LUTHIER_INLINE void ropeRowNeighbours(const T* x, const float* cos, const float* sin, T* y,
                                      std::int64_t heads, std::int64_t D, std::int64_t half,
                                      float sign) {
    for (std::int64_t h = 0; h < heads; ++h) {
        const T* from = x + h * D;
        T* to = y + h * D;
        for (std::int64_t i = 0; i < half; ++i) {
            const float a = load(from[2 * i]);
            const float b = load(from[2 * i + 1]);
            store(to[2 * i], a * cos[i] - sign * b * sin[i]);
            store(to[2 * i + 1], b * cos[i] + sign * a * sin[i]);
        }
        for (std::int64_t i = 2 * half; i < D; ++i) to[i] = from[i];
    }
}

// target_clones cannot be put on templates, so each loop over rows is instantiated once per element
// type.
#define LUTHIER_ROWS(T)                                                                           \
    LUTHIER_CLONES void addRmsNormRows(const T* x, const T* delta, const float* weight, T* sum,   \
                                       T* y, float* rstd, std::int64_t begin, std::int64_t end,   \
                                       std::int64_t C, float eps) {                               \
        for (std::int64_t n = begin; n < end; ++n)                                                \
            addRmsNormRow(x + n * C, delta != nullptr ? delta + n * C : nullptr, weight,          \
                          sum + n * C, y + n * C, rstd + n, C, eps);                              \
    }                                                                                             \
    LUTHIER_CLONES void rmsNormBackwardRows(                                                      \
        const T* dY, const T* dSum, const T* sum, const float* weight, const float* rstd, T* dX,  \
        std::int64_t begin, std::int64_t end, std::int64_t C) {                                   \
        for (std::int64_t n = begin; n < end; ++n)                                                \
            rmsNormBackwardRow(dY + n * C, dSum != nullptr ? dSum + n * C : nullptr, sum + n * C, \
                               weight, rstd[n], dX + n * C, C);                                   \
    }                                                                                             \
    LUTHIER_CLONES void siluGateRange(const T* gate, const T* up, T* y, std::int64_t count) {     \
        siluGate(gate, up, y, count);                                                             \
    }                                                                                             \
    LUTHIER_CLONES void siluGateBackwardRange(const T* dY, const T* gate, const T* up, T* dGate,  \
                                              T* dUp, std::int64_t count) {                       \
        siluGateBackward(dY, gate, up, dGate, dUp, count);                                        \
    }                                                                                             \
    LUTHIER_CLONES void geluGateRange(const T* gate, const T* up, T* y, std::int64_t count) {     \
        geluGate(gate, up, y, count);                                                             \
    }                                                                                             \
    LUTHIER_CLONES void geluGateBackwardRange(const T* dY, const T* gate, const T* up, T* dGate,  \
                                              T* dUp, std::int64_t count) {                       \
        geluGateBackward(dY, gate, up, dGate, dUp, count);                                        \
    }                                                                                             \
    LUTHIER_CLONES void ropeRows(const T* x, const float* cos, const float* sin, T* y,            \
                                 std::int64_t begin, std::int64_t end, std::int64_t heads,        \
                                 std::int64_t D, std::int64_t half, float sign) {                 \
        for (std::int64_t n = begin; n < end; ++n)                                                \
            ropeRow(x + n * heads * D, cos + n * half, sin + n * half, y + n * heads * D, heads,  \
                    D, half, sign);                                                               \
    }                                                                                             \
    LUTHIER_CLONES void ropeRowsNeighbours(                                                       \
        const T* x, const float* cos, const float* sin, T* y, std::int64_t begin,                 \
        std::int64_t end, std::int64_t heads, std::int64_t D, std::int64_t half, float sign) {    \
        for (std::int64_t n = begin; n < end; ++n)                                                \
            ropeRowNeighbours(x + n * heads * D, cos + n * half, sin + n * half,                  \
                              y + n * heads * D, heads, D, half, sign);                           \
    }

LUTHIER_ROWS(float)
LUTHIER_ROWS(Bf16)
#undef LUTHIER_ROWS

LUTHIER_CLONES double crossEntropyRow(float* logits, std::int64_t V, std::int64_t label,
                                      float scale) {
    float top = logits[0];
#pragma omp simd reduction(max : top)
    for (std::int64_t v = 0; v < V; ++v) top = logits[v] > top ? logits[v] : top;
    const float atLabel = logits[label];
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t v = 0; v < V; ++v) {
        logits[v] = fastExp(logits[v] - top);
        sum += logits[v];
    }
    const float k = scale / sum;
#pragma omp simd
    for (std::int64_t v = 0; v < V; ++v) logits[v] *= k;
    logits[label] -= scale;
    return std::log(static_cast<double>(sum)) + static_cast<double>(top) -
           static_cast<double>(atLabel);
}

/// The same for a bfloat16 row; `wide` [V] is its float32 copy meanwhile.
LUTHIER_CLONES double crossEntropyRow(Bf16* logits, float* wide, std::int64_t V, std::int64_t label,
                                      float scale) {
#pragma omp simd
    for (std::int64_t v = 0; v < V; ++v) wide[v] = load(logits[v]);
    const double loss = crossEntropyRow(wide, V, label, scale);
#pragma omp simd
    for (std::int64_t v = 0; v < V; ++v) store(logits[v], wide[v]);
    return loss;
}

bool isNative(const at::Tensor& x) {
    return x.device().is_cpu() && x.is_contiguous() &&
           (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

template <class T>
T* pointer(const at::Tensor& tensor) {
    return tensor.defined() ? static_cast<T*>(tensor.data_ptr()) : nullptr;
}

/// x and what stands beside it can be read by one kernel: native and of one dtype; an undefined
/// tensor is none.
bool areNative(const at::Tensor& x, std::initializer_list<at::Tensor> others,
               bool (*isGood)(const at::Tensor&) = &isNative) {
    return isGood(x) && std::all_of(others.begin(), others.end(), [&](const at::Tensor& other) {
               return !other.defined() || (isGood(other) && other.scalar_type() == x.scalar_type());
           });
}

/// Calls body(T{}) with the storage type of `x`.
template <class Body>
void withType(const at::Tensor& x, Body body) {
    if (x.scalar_type() == at::kFloat)
        body(float{});
    else
        body(Bf16{});
}

at::Tensor effectiveWeight(const at::Tensor& weight, double offset) {
    at::Tensor wide = weight.to(at::kFloat);
    if (offset != 0) wide = wide + offset;
    return wide.contiguous();
}

constexpr std::int64_t kRowGrain = 16;
constexpr std::int64_t kElementGrain = 1 << 14;

}  // namespace

std::tuple<at::Tensor, at::Tensor, at::Tensor> addRmsNorm(const at::Tensor& x,
                                                          const at::Tensor& delta,
                                                          const at::Tensor& weight, double eps,
                                                          double offset) {
#ifdef LUTHIER_CUDA
    if (areNative(x, {delta}, &device::isNative))
        return device::addRmsNorm(x, delta, effectiveWeight(weight, offset), eps);
#endif
    if (!areNative(x, {delta})) return reference::addRmsNorm(x, delta, weight, eps, offset);
    const std::int64_t N = x.size(0);
    const std::int64_t C = x.size(1);
    const at::Tensor w = effectiveWeight(weight, offset);
    const at::Tensor sum = delta.defined() ? at::empty_like(x) : x;
    const at::Tensor y = at::empty_like(x);
    const at::Tensor rstd = at::empty({N}, x.options().dtype(at::kFloat));
    withType(x, [&](auto tag) {
        using T = decltype(tag);
        at::parallel_for(0, N, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
            addRmsNormRows(pointer<T>(x), pointer<T>(delta), pointer<float>(w), pointer<T>(sum),
                           pointer<T>(y), pointer<float>(rstd), begin, end, C,
                           static_cast<float>(eps));
        });
    });
    return {sum, y, rstd};
}

at::Tensor rmsNormBackward(const at::Tensor& dY, const at::Tensor& dSum, const at::Tensor& sum,
                           const at::Tensor& weight, const at::Tensor& rstd, double offset) {
#ifdef LUTHIER_CUDA
    if (areNative(sum, {dY, dSum}, &device::isNative))
        return device::rmsNormBackward(dY, dSum, sum, effectiveWeight(weight, offset), rstd);
#endif
    if (!areNative(sum, {dY, dSum}))
        return reference::rmsNormBackward(dY, dSum, sum, weight, rstd, offset);
    const std::int64_t C = sum.size(1);
    const at::Tensor w = effectiveWeight(weight, offset);
    const at::Tensor dX = at::empty_like(sum);
    withType(sum, [&](auto tag) {
        using T = decltype(tag);
        at::parallel_for(0, sum.size(0), kRowGrain, [&](std::int64_t begin, std::int64_t end) {
            rmsNormBackwardRows(pointer<T>(dY), pointer<T>(dSum), pointer<T>(sum),
                                pointer<float>(w), pointer<float>(rstd), pointer<T>(dX), begin, end,
                                C);
        });
    });
    return dX;
}

at::Tensor gatedActivation(const at::Tensor& gate, const at::Tensor& up,
                           GateActivation activation) {
#ifdef LUTHIER_CUDA
    if (areNative(gate, {up}, &device::isNative))
        return device::gatedActivation(gate, up, activation);
#endif
    const bool isFast =
        activation == GateActivation::Silu || activation == GateActivation::GeluTanh;
    if (!isFast || !areNative(gate, {up})) return reference::gatedActivation(gate, up, activation);
    const at::Tensor y = at::empty_like(gate);
    withType(gate, [&](auto tag) {
        using T = decltype(tag);
        at::parallel_for(0, gate.numel(), kElementGrain, [&](std::int64_t begin, std::int64_t end) {
            auto range = [&](auto function) {
                function(pointer<T>(gate) + begin, pointer<T>(up) + begin, pointer<T>(y) + begin,
                         end - begin);
            };
            if (activation == GateActivation::Silu)
                range([](const T* g, const T* u, T* out, std::int64_t n) {
                    siluGateRange(g, u, out, n);
                });
            else
                range([](const T* g, const T* u, T* out, std::int64_t n) {
                    geluGateRange(g, u, out, n);
                });
        });
    });
    return y;
}

std::tuple<at::Tensor, at::Tensor> gatedActivationBackward(const at::Tensor& dY,
                                                           const at::Tensor& gate,
                                                           const at::Tensor& up,
                                                           GateActivation activation) {
#ifdef LUTHIER_CUDA
    if (areNative(gate, {dY, up}, &device::isNative))
        return device::gatedActivationBackward(dY, gate, up, activation);
#endif
    const bool isFast =
        activation == GateActivation::Silu || activation == GateActivation::GeluTanh;
    if (!isFast || !areNative(gate, {dY, up}))
        return reference::gatedActivationBackward(dY, gate, up, activation);
    const at::Tensor dGate = at::empty_like(gate);
    const at::Tensor dUp = at::empty_like(up);
    withType(gate, [&](auto tag) {
        using T = decltype(tag);
        at::parallel_for(0, gate.numel(), kElementGrain, [&](std::int64_t begin, std::int64_t end) {
            const T* d = pointer<T>(dY) + begin;
            const T* g = pointer<T>(gate) + begin;
            const T* u = pointer<T>(up) + begin;
            if (activation == GateActivation::Silu)
                siluGateBackwardRange(d, g, u, pointer<T>(dGate) + begin, pointer<T>(dUp) + begin,
                                      end - begin);
            else
                geluGateBackwardRange(d, g, u, pointer<T>(dGate) + begin, pointer<T>(dUp) + begin,
                                      end - begin);
        });
    });
    return {dGate, dUp};
}

at::Tensor rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                std::int64_t headSize, RopeDirection direction, RopePairs pairs) {
#ifdef LUTHIER_CUDA
    if (device::isNative(x) && areNative(cos, {sin}, &device::isNative) &&
        cos.scalar_type() == at::kFloat)
        return device::rope(x, cos, sin, headSize, direction, pairs);
#endif
    const bool hasAngles = isNative(cos) && isNative(sin) && cos.scalar_type() == at::kFloat &&
                           sin.scalar_type() == at::kFloat;
    if (!isNative(x) || !hasAngles) return reference::rope(x, cos, sin, headSize, direction, pairs);
    const at::Tensor y = at::empty_like(x);
    const float sign = direction == RopeDirection::Forward ? 1.0f : -1.0f;
    withType(x, [&](auto tag) {
        using T = decltype(tag);
        at::parallel_for(0, x.size(0), kRowGrain, [&](std::int64_t begin, std::int64_t end) {
            const auto rows = [&](auto function) {
                function(pointer<T>(x), pointer<float>(cos), pointer<float>(sin), pointer<T>(y),
                         begin, end, x.size(1) / headSize, headSize, cos.size(1), sign);
            };
            if (pairs == RopePairs::Halves)
                rows([](auto... arguments) { ropeRows(arguments...); });
            else
                rows([](auto... arguments) { ropeRowsNeighbours(arguments...); });
        });
    });
    return y;
}

double crossEntropyInPlace(at::Tensor& logits, const at::Tensor& labels, double scale) {
#ifdef LUTHIER_CUDA
    if (device::isNative(logits) && logits.scalar_type() == at::kFloat && labels.is_contiguous())
        return device::crossEntropyInPlace(logits, labels, scale);
#endif
    if (!isNative(logits)) return reference::crossEntropyInPlace(logits, labels, scale);
    const std::int64_t V = logits.size(1);
    std::vector<double> losses(static_cast<std::size_t>(logits.size(0)));
    const at::Tensor dense = labels.contiguous();
    const std::int64_t* label = dense.const_data_ptr<std::int64_t>();
    const bool isWide = logits.scalar_type() == at::kFloat;
    at::parallel_for(0, logits.size(0), 1, [&](std::int64_t begin, std::int64_t end) {
        std::vector<float> wide(isWide ? 0 : static_cast<std::size_t>(V));
        for (std::int64_t n = begin; n < end; ++n)
            losses[static_cast<std::size_t>(n)] =
                isWide ? crossEntropyRow(pointer<float>(logits) + n * V, V, label[n],
                                         static_cast<float>(scale))
                       : crossEntropyRow(pointer<Bf16>(logits) + n * V, wide.data(), V, label[n],
                                         static_cast<float>(scale));
    });
    double total = 0;  // summed in row order, so the thread count does not show
    for (const double loss : losses) total += loss;
    return total;
}

}  // namespace luthier::kernels
