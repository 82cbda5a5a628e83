// SPDX-License-Identifier: Apache-2.0
#pragma once
// The differentiable steps a model is made of. Each is one autograd node that keeps exactly what
// its backward pass needs and computes gradients only for what asks for one; a frozen weight costs
// no gradient and keeps no activation. Everything between is plain ATen, so a method may also be
// written without a node of its own.

#include "kernels/elementwise.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace luthier::nn {

enum class WeightLayout { OutIn, InOut };  ///< nn.Linear and Conv1D

/// True where bfloat16 products run faster than float32 ones. Elsewhere products of bfloat16
/// tensors are computed in float32 and rounded once, which is both faster and more exact.
bool hasFastBfloat16(const at::Device& device);

/// x W^T (or x W) without gradient, in x's dtype. x [N, in] → [N, out]
at::Tensor product(const at::Tensor& x, const at::Tensor& weight, WeightLayout layout);

/// y = x W^T + b. x [N, in] → [N, out]; b may be undefined. Float32 masters of W and b are cast to
/// x's dtype.
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                  WeightLayout layout);

/// y = x W^T + b + scale * (x A^T) B^T with A [R, in], B [out, R] f32 (LoRA, Hu et al. 2021,
/// without dropout).
at::Tensor loraLinear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                      WeightLayout layout, const at::Tensor& A, const at::Tensor& B, double scale);

/// h = x + delta (delta may be undefined), y = RMSNorm(h). @returns {h, y}, both [N, C]
std::pair<at::Tensor, at::Tensor> addRmsNorm(const at::Tensor& x, const at::Tensor& delta,
                                             const at::Tensor& weight, double eps, double offset);

/// h = x + delta (delta may be undefined), y = LayerNorm(h). @returns {h, y}, both [N, C]
std::pair<at::Tensor, at::Tensor> addLayerNorm(const at::Tensor& x, const at::Tensor& delta,
                                               const at::Tensor& weight, const at::Tensor& bias,
                                               double eps);

/// act(gate) * up, [N, F]
at::Tensor gatedActivation(const at::Tensor& gate, const at::Tensor& up,
                           kernels::GateActivation activation);

/// Where the rows of a flattened batch belong: consecutive runs of rows that attend only among
/// themselves.
struct AttentionShape {
    std::int64_t heads = 0;
    std::int64_t keyValueHeads = 0;
    std::int64_t headSize = 0;
    double scale = 0;  ///< of the scores, usually 1/sqrt(headSize)
    std::vector<std::int64_t>
        segments;             ///< lengths; their sum is N. Equal lengths run as one batch
    std::int64_t window = 0;  ///< keys a row sees, itself included; 0: all before it
    double softCap = 0;  ///< scores = cap * tanh(scores / cap) before the mask (Gemma 2); 0: none
    at::Tensor keyBias;  ///< ALiBi: [H, P] f32 added to the scores of key 0 … P - 1, prefix
                         ///< included; or undefined
    kernels::RopePairs ropePairs = kernels::RopePairs::Halves;
    bool isCausal = true;                   ///< attention() alone reads this and the next
    std::vector<std::int64_t> keySegments;  ///< lengths of the sequences whose keys are seen;
                                            ///< empty: the segments themselves
};

/// Causal self-attention over each segment. q [N, H*D], k and v [N, Hkv*D]; cos, sin [N, rotary/2]
/// f32 or undefined. prefixKey, prefixValue [Hkv, n, D] are visible to every row of every segment
/// and are not rotated; may be undefined.
at::Tensor causalAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const at::Tensor& cos, const at::Tensor& sin,
                           const at::Tensor& prefixKey, const at::Tensor& prefixValue,
                           const AttentionShape& shape);

/// The same value and gradients through torch's own attention, which every device has;
/// causalAttention takes it off the CPU. softCap must be 0.
at::Tensor portableAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const at::Tensor& cos, const at::Tensor& sin,
                             const at::Tensor& prefixKey, const at::Tensor& prefixValue,
                             const AttentionShape& shape);

/// Attention without rotation, both ways or causal, over a segment's own rows or over those of
/// another sequence. q [N, H*D]; k, v [M, Hkv*D], M the sum of the key segments; prefixKey,
/// prefixValue [Hkv, n, D] are seen by every row or undefined; bias [H, L, K] is added to the
/// scores of the first rows and keys (prefix included) of each segment, may be undefined, may take
/// a gradient. shape.window, softCap and keyBias must be unset. @returns [N, H*D]
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const at::Tensor& prefixKey, const at::Tensor& prefixValue,
                     const at::Tensor& bias, const AttentionShape& shape);

/// scale * sum over rows of cross entropy(h W^T + b, labels), logits made and used `chunkRows` rows
/// at a time: the gradient is taken on the way forward, so no logits outlive their chunk. h [M, C],
/// W [V, C], labels [M] i64 without -100. `softCap` > 0 caps logits as cap * tanh(x / cap).
/// `smoothing` e as transformers' LabelSmoother: (1 - e) of the cross entropy and e of its mean
/// over all V tokens as labels. @returns [] f32
at::Tensor headLoss(const at::Tensor& h, const at::Tensor& weight, const at::Tensor& bias,
                    const at::Tensor& labels, double scale, double softCap, double smoothing = 0);

/// Losses that are no plain sum need each token's own.
struct TokenLosses {
    at::Tensor losses;  ///< cross entropies [M] f32
    at::Tensor isBest;  ///< [M] bool: the label is the most probable token; no gradient
};

/// The rows' cross entropies, logits made `chunkRows` rows at a time and made again on the way
/// back, so that none are kept. h [M, C], W [V, C], labels [M] i64
TokenLosses headTokenLosses(const at::Tensor& h, const at::Tensor& weight, const at::Tensor& bias,
                            const at::Tensor& labels, double softCap);

/// What a block of a model reads besides its parameters; any of them may be undefined.
struct BlockInputs {
    at::Tensor x, delta;                ///< [N, C]
    at::Tensor prefixKey, prefixValue;  ///< [Hkv, n, D]
    at::Tensor memory;                  ///< rows of the encoder [M, C]
    at::Tensor bias;  ///< of relative positions: T5's scores [H, L, K], DeBERTa's rows [2 span, C]
};

/// What it leaves: x and delta.
using BlockFunction = std::function<std::pair<at::Tensor, at::Tensor>(const BlockInputs&)>;

/// block(inputs) that keeps its inputs and none of its activations: the backward pass runs the
/// block again (Chen et al. 2016, arXiv 1604.06174). Leaves that the block uses take their
/// gradients in that second run. The block must compute the same values twice and outlive the
/// backward pass; it may not use tensors with a history other than its inputs.
std::pair<at::Tensor, at::Tensor> recomputed(const BlockFunction& block, const BlockInputs& inputs);

/// As headLoss for logits that a hook has produced. logits [M, V], any float dtype. @returns [] f32
at::Tensor logitsLoss(const at::Tensor& logits, const at::Tensor& labels, double scale,
                      double smoothing = 0);
TokenLosses logitsTokenLosses(const at::Tensor& logits, const at::Tensor& labels);

}  // namespace luthier::nn
