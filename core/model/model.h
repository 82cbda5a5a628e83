// SPDX-License-Identifier: Apache-2.0
#pragma once
// The decoder-only transformer that all described families share. Rows of a batch are laid one after another without padding
// ("segments"): padding is never computed, and packed rows cannot see each other. Only the rows that are asked for pass through
// the last block's feed-forward part, the final norm and the head.

#include "model/description.h"
#include "model/functions.h"
#include "model/site.h"
#include "model/weights.h"

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace luthier {

struct TokenRows {
    at::Tensor ids;                      ///< [N] i64, all segments one after another
    at::Tensor positions;                ///< [N] i64, from 0 in each segment
    std::vector<std::int64_t> segments;  ///< lengths, sum N

    /// One segment of consecutive positions.
    static TokenRows single(const std::vector<std::int64_t>& ids, const at::Device& device);
};

/// Keys and values of what has been read so far, one sequence.
class KeyValueCache {
public:
    explicit KeyValueCache(std::int64_t layers) : m_keys(static_cast<std::size_t>(layers)), m_values(static_cast<std::size_t>(layers)) {}

    /// Positions already read (virtual ones included).
    std::int64_t length() const { return m_length; }
    bool isEmpty() const { return m_length == 0; }

    /// Appends [heads, T, D] and returns views of everything stored so far.
    std::pair<at::Tensor, at::Tensor> append(std::size_t layer, const at::Tensor& keys, const at::Tensor& values);
    void advance(std::int64_t tokens) { m_length += tokens; }
    void clear() { *this = KeyValueCache(static_cast<std::int64_t>(m_keys.size())); }

    std::vector<std::int64_t> ids;  ///< text read so far

private:
    std::vector<at::Tensor> m_keys;    // [heads, capacity, D]
    std::vector<at::Tensor> m_values;
    std::int64_t m_length = 0;
};

/// What the backward pass finds of a block's activations: all of them, or only the block's input (gradient checkpointing). Both
/// give the same gradients bit for bit.
enum class Activations { Keep, Recompute };

class Model final {
public:
    Model(ModelDescription description, Weights weights, at::ScalarType dtype, at::Device device);

    const ModelDescription& description() const { return m_description; }
    const ModelSites& sites() const { return m_sites; }
    Weights& weights() { return m_weights; }
    const Weights& weights() const { return m_weights; }
    at::ScalarType dtype() const { return m_dtype; }
    const at::Device& device() const { return m_device; }

    /// Final hidden states (after the last norm) of `rows` [M] i64 of the input, or of all rows when undefined. Row indices are
    /// those of `input.ids`; virtual rows that prompts add are not counted. @returns [M, C] in the compute dtype
    at::Tensor hidden(const TokenRows& input, const at::Tensor& rows, const SiteHooks& hooks,
                      Activations activations = Activations::Keep) const;

    /// [M, C] → [M, V] f32
    at::Tensor logits(const at::Tensor& hidden, const SiteHooks& hooks) const;

    /// scale * sum of cross entropies of the rows' next tokens: rows [M], labels [M] i64. @returns [] f32
    at::Tensor loss(const TokenRows& input, const at::Tensor& rows, const at::Tensor& labels, double scale,
                    const SiteHooks& hooks, Activations activations = Activations::Keep) const;

    /// Reads `ids` after what the cache holds and returns the logits of the last one, [V] f32. No gradients.
    at::Tensor next(const std::vector<std::int64_t>& ids, KeyValueCache& cache, const SiteHooks& hooks) const;

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
        Norm attentionNorm, attentionPostNorm, feedForwardNorm, feedForwardPostNorm;
        std::vector<Norm> queryNorm, keyNorm;  // one, or one a head
        std::optional<Mixture> mixture;
        // Indices into sites().linears; -1: the family has no such projection.
        int query = -1, key = -1, value = -1, fusedQkv = -1, attentionOut = -1, gate = -1, up = -1, gateUp = -1, down = -1;
    };
    struct Stream;  // the residual stream between sub-layers
    /// Attention of one layer over its own queries, keys and values.
    using Attend = std::function<at::Tensor(std::size_t layer, const std::array<at::Tensor, 3>& queryKeyValue)>;

    Norm normAt(const std::string& path) const;
    std::vector<Norm> queryKeyNormAt(const std::string& path, std::int64_t heads) const;
    Mixture mixtureAt(const std::string& path) const;
    std::pair<at::Tensor, at::Tensor> applyNorm(const Norm& norm, const at::Tensor& x, const at::Tensor& delta, const SiteHooks& hooks) const;
    at::Tensor normedHeads(const std::vector<Norm>& norms, const at::Tensor& rows, const SiteHooks& hooks) const;
    at::Tensor afterNorm(const Norm& norm, const at::Tensor& output, const SiteHooks& hooks) const;
    at::Tensor mixed(const Mixture& mixture, const at::Tensor& x) const;
    /// One block: reads and leaves stream.x and stream.delta. `wanted`: the rows that are kept behind attention, or undefined.
    void runBlock(std::size_t layer, Stream& stream, const at::Tensor& wanted, const SiteHooks& hooks, const Attend& attend) const;
    /// The head's input: final norm, projection to the embedding's width, scale.
    at::Tensor finish(const Stream& stream, const SiteHooks& hooks) const;
    /// What tells a pass where its rows stand: rotary angles for sequences of `length`, or ALiBi over `keys`.
    void place(Stream& stream, const at::Tensor& positions, std::int64_t length, std::int64_t keys) const;
    nn::AttentionShape attentionShape(std::size_t layer, std::vector<std::int64_t> segments, const at::Tensor& keyBias) const;
    at::Tensor project(int site, const at::Tensor& x, const SiteHooks& hooks) const;
    at::Tensor throughHooks(std::size_t layer, Sublayer after, const at::Tensor& output, const at::Tensor& residual,
                            const SiteHooks& hooks) const;
    std::array<at::Tensor, 3> queryKeyValue(const Block& block, const at::Tensor& x, const SiteHooks& hooks) const;
    at::Tensor feedForward(const Block& block, const at::Tensor& x, const SiteHooks& hooks) const;
    at::Tensor embed(const at::Tensor& ids) const;
    at::Tensor enter(const at::Tensor& embedded, const at::Tensor& positions, const SiteHooks& hooks) const;
    Stream start(const TokenRows& input, const SiteHooks& hooks) const;
    at::Tensor attendCached(const std::array<at::Tensor, 3>& qkv, const Stream& stream, std::size_t layer, KeyValueCache& cache,
                            const SiteHooks& hooks) const;
    /// Whether a weight of the block takes a gradient or a hook sits in it.
    bool isTrained(std::size_t layer, const SiteHooks& hooks) const;
    bool hasHeadHooks(const SiteHooks& hooks) const { return !hooks.linear(m_sites.linears.size() - 1).empty(); }

    ModelDescription m_description;
    ModelSites m_sites;
    Weights m_weights;
    at::ScalarType m_dtype;
    at::Device m_device;
    std::vector<Block> m_blocks;
    std::vector<const at::Tensor*> m_linearWeight;  // by site
    std::vector<const at::Tensor*> m_linearBias;
    Norm m_finalNorm;
    Norm m_embeddingNorm;
    int m_projectIn = -1;   // index into sites().linears
    int m_projectOut = -1;
    at::Tensor m_ones;      // stands for the weight of a norm without one
    const at::Tensor* m_embedding = nullptr;
    const at::Tensor* m_positions = nullptr;
    at::Tensor m_none;  // stands for a missing bias
};

}  // namespace luthier
