// SPDX-License-Identifier: Apache-2.0
#pragma once
// The transformer blocks that all described families share: a decoder, an encoder, or either half
// of an encoder-decoder. Rows of a batch are laid one after another without padding ("segments"):
// padding is never computed, and packed rows cannot see each other. Only the rows that are asked
// for pass through what lies behind the last attention.

#include "model/cache.h"
#include "model/description.h"
#include "model/functions.h"
#include "model/linears.h"
#include "model/site.h"
#include "model/weights.h"

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

namespace luthier {

/// What the backward pass finds of a block's activations: all of them, or only the block's input
/// (gradient checkpointing). Both give the same gradients bit for bit.
enum class Activations { Keep, Recompute };

/// Whether virtual rows of InputHooks are put before this stack's text: where there are two stacks,
/// the encoder takes them.
enum class Prompts { Taken, Left };

/// Which rows of a stack are asked for.
enum class RowsOf {
    Text,      ///< by their place in the text; below 0 as TokenRows::beforeText says
    Segments,  ///< the first row of each segment by the segment's number, be it a virtual one
};

/// Rows of a stack and where they belong.
struct StackRows {
    at::Tensor x;                            ///< [N, C]
    std::vector<std::int64_t> segments;      ///< lengths, sum N; virtual rows included
    std::vector<std::int64_t> readers = {};  ///< of an encoder's rows: how many of the decoder's
                                             ///< segments read each segment; empty: one each
};

class Stack final {
public:
    /// `firstBlock`: the number of its first block over all stacks of the model. All arguments
    /// outlive it.
    Stack(const ModelDescription& description, const Linears& linears, const Weights& weights,
          int firstBlock, at::ScalarType dtype, at::Device device);

    struct Input {
        at::Tensor embedded;                 ///< token embeddings [N, width]
        at::Tensor positions;                ///< [N] i64, from 0 in each segment
        at::Tensor types;                    ///< [N] i64 token types, or undefined: all 0
        std::vector<std::int64_t> segments;  ///< lengths, sum N
    };

    /// Final hidden states of `rows` [M] i64 (see RowsOf), or of all rows of the stream (virtual
    /// ones included) when undefined. `memory`: what the encoder left; nullptr without an encoder.
    /// @returns x [M, C]
    StackRows pass(const Input& input, const at::Tensor& rows, RowsOf rowsOf,
                   const StackRows* memory, Prompts prompts, const SiteHooks& hooks,
                   Activations activations) const;

    /// Reads one segment after what the cache holds; the state of its last row, [1, C]. A cache
    /// that is not empty takes one row.
    at::Tensor next(const Input& input, KeyValueCache& cache, Prompts prompts,
                    const SiteHooks& hooks) const;

    /// One row each after what several caches hold, none of them empty; their states [R, C].
    at::Tensor nextOfEach(const Input& input, const std::vector<KeyValueCache*>& caches,
                          const SiteHooks& hooks) const;

private:
    struct Norm {
        const at::Tensor* weight = nullptr;  // nullptr: no norm
        const at::Tensor* bias = nullptr;
    };
    struct Expert {
        const at::Tensor *gate = nullptr, *up = nullptr, *down = nullptr;
    };
    struct Mixture {
        const at::Tensor* router = nullptr;
        std::vector<Expert> experts;
        Expert shared;
        const at::Tensor* sharedGate = nullptr;
    };
    struct Block {
        Norm attentionNorm, attentionPostNorm, crossNorm, feedForwardNorm, feedForwardPostNorm;
        std::vector<Norm> queryNorm, keyNorm;  // one, or one a head
        std::optional<Mixture> mixture;
        // Indices into sites().linears; -1: the family has no such projection.
        int query = -1, key = -1, value = -1, fusedQkv = -1, attentionOut = -1, gate = -1, up = -1,
            gateUp = -1, down = -1;
        int crossQuery = -1, crossKey = -1, crossValue = -1, crossOut = -1, relativeKey = -1,
            relativeQuery = -1;

        static int Block::* slotOf(LinearRole role);
        std::vector<int> sites() const;
    };
    struct Stream;  // the residual stream between sub-layers
    /// Attention of one layer over its own queries, keys and values, and over the encoder's rows.
    struct Attend {
        std::function<at::Tensor(std::size_t layer, const std::array<at::Tensor, 3>& queryKeyValue)>
            self;
        std::function<at::Tensor(std::size_t layer, const at::Tensor& x)> cross;
    };

    Block blockAt(std::size_t layer) const;
    Norm normAt(const std::string& path) const;
    std::vector<Norm> queryKeyNormAt(const std::string& path, std::int64_t heads) const;
    Mixture mixtureAt(const std::string& path) const;
    std::pair<at::Tensor, at::Tensor> applyNorm(const Norm& norm, const at::Tensor& x,
                                                const at::Tensor& delta,
                                                const SiteHooks& hooks) const;
    at::Tensor normedHeads(const std::vector<Norm>& norms, const at::Tensor& rows,
                           const SiteHooks& hooks) const;
    at::Tensor afterNorm(const Norm& norm, const at::Tensor& output, const SiteHooks& hooks) const;
    at::Tensor mixed(const Mixture& mixture, const at::Tensor& x) const;
    /// One block: reads and leaves stream.x and stream.delta. `wanted`: the rows that are kept
    /// behind attention, or undefined.
    void runBlock(std::size_t layer, Stream& stream, const at::Tensor& wanted,
                  const SiteHooks& hooks, const Attend& attend) const;
    /// Attention over the encoder's rows between the other two sub-layers: x and what was last
    /// added to it, both possibly changed.
    std::pair<at::Tensor, at::Tensor> throughCross(std::size_t layer, const at::Tensor& x,
                                                   const at::Tensor& delta, const SiteHooks& hooks,
                                                   const Attend& attend) const;
    /// Final norm, projection to the embedding's width, scale.
    at::Tensor finish(const Stream& stream, const SiteHooks& hooks) const;
    /// What tells a pass where its rows stand: rotary angles for sequences of `length`, ALiBi over
    /// `keys`, or relative positions of queries from position `first` on over `keys`.
    void place(Stream& stream, const at::Tensor& positions, std::int64_t length, std::int64_t first,
               std::int64_t keys, const SiteHooks& hooks) const;
    nn::AttentionShape attentionShape(std::size_t layer, std::vector<std::int64_t> segments,
                                      const at::Tensor& keyBias) const;
    at::Tensor attendSelf(const std::array<at::Tensor, 3>& qkv, std::size_t layer,
                          const Stream& stream, const nn::BlockInputs& inputs,
                          const SiteHooks& hooks) const;
    at::Tensor attendMemory(const at::Tensor& x, std::size_t layer, const at::Tensor& key,
                            const at::Tensor& value, const std::vector<std::int64_t>& segments,
                            const std::vector<std::int64_t>& memorySegments,
                            const SiteHooks& hooks) const;
    at::Tensor attendDisentangled(const std::array<at::Tensor, 3>& qkv, const Block& block,
                                  const at::Tensor& relative,
                                  const std::vector<std::int64_t>& segments,
                                  const SiteHooks& hooks) const;
    at::Tensor attendCached(const std::array<at::Tensor, 3>& qkv, const Stream& stream,
                            std::size_t layer, KeyValueCache& cache, const SiteHooks& hooks) const;
    at::Tensor throughHooks(std::size_t layer, Sublayer after, const at::Tensor& output,
                            const at::Tensor& residual, const SiteHooks& hooks) const;
    std::array<at::Tensor, 3> queryKeyValue(const Block& block, const at::Tensor& x,
                                            const SiteHooks& hooks) const;
    at::Tensor feedForward(const Block& block, const at::Tensor& x, const SiteHooks& hooks) const;
    at::Tensor enter(const at::Tensor& embedded, const at::Tensor& positions,
                     const at::Tensor& types, const SiteHooks& hooks) const;
    Stream start(const Input& input, Prompts prompts, const SiteHooks& hooks) const;
    /// Whether a weight of the block takes a gradient or a hook sits in it.
    bool isTrained(std::size_t layer, const SiteHooks& hooks) const;
    bool takesPrefix() const { return m_description.isCausal || m_isAlone; }

    const ModelDescription& m_description;
    const Linears& m_linears;
    const Weights& m_weights;
    int m_firstBlock;
    bool m_isAlone;  // no other stack in the model
    at::ScalarType m_dtype;
    at::Device m_device;
    std::vector<Block> m_blocks;
    Norm m_finalNorm;
    Norm m_embeddingNorm;
    Norm m_relativeNorm;
    int m_projectIn = -1;  // index into sites().linears
    int m_projectOut = -1;
    at::Tensor m_ones;  // stands for the weight of a norm without one
    const at::Tensor* m_positions = nullptr;
    const at::Tensor* m_types = nullptr;
    const at::Tensor* m_relative = nullptr;
    at::Tensor m_none;  // stands for a missing bias
};

}  // namespace luthier
