// SPDX-License-Identifier: Apache-2.0
#pragma once
// A described model: token embedding, one stack of blocks or an encoder and a decoder, and a head,
// which is a language model's or a sequence classifier's. Every family is this one network with
// other switches.

#include "model/cache.h"
#include "model/description.h"
#include "model/functions.h"
#include "model/linears.h"
#include "model/site.h"
#include "model/stack.h"
#include "model/weights.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace luthier {

struct TokenRows {
    at::Tensor ids;                      ///< [N] i64, all segments one after another
    at::Tensor positions;                ///< [N] i64, from 0 in each segment
    std::vector<std::int64_t> segments;  ///< lengths, sum N
    at::Tensor types = {};               ///< [N] i64 token types, or undefined: all 0
    std::shared_ptr<const TokenRows> source =
        {};  ///< what the encoder reads; null for models without one
    std::vector<std::int64_t> readers = {};  ///< how many segments, one after another, read each
                                             ///< segment of `source`; empty: one each
    at::Tensor noise = {};  ///< added to the token embeddings, [N, width] f32, or undefined

    /// Stands among rows that are asked for: the virtual row just before the text of a segment,
    /// which predicts its first token.
    static std::int64_t beforeText(std::int64_t segment) { return -1 - segment; }

    /// One segment of consecutive positions.
    static TokenRows single(const std::vector<std::int64_t>& ids, const at::Device& device);
    /// Segments of consecutive positions.
    static TokenRows of(const std::vector<std::vector<std::int64_t>>& rows,
                        const at::Device& device);
};

class Model final {
public:
    Model(ModelDescription description, Weights weights, at::ScalarType dtype, at::Device device);
    Model(const Model&) = delete;
    Model& operator=(const Model&) = delete;

    const ModelDescription& description() const { return m_description; }
    /// Names of a classifier's classes, which a written config.json says.
    void setClassNames(std::vector<std::string> names) {
        m_description.classifier.classNames = std::move(names);
    }
    const ModelSites& sites() const { return m_sites; }
    Weights& weights() { return m_weights; }
    const Weights& weights() const { return m_weights; }
    at::ScalarType dtype() const { return m_dtype; }
    const at::Device& device() const { return m_device; }

    /// Gives a tied head a weight of its own, with the embedding's values. Nothing for an untied
    /// one.
    void untieHead();
    /// Puts back weights and tie as they were before (merging).
    struct Snapshot {
        std::map<std::string, at::Tensor> weights;
        bool isTied = false;
    };
    Snapshot snapshot() const { return {m_weights.snapshot(), m_description.isTied}; }
    void restore(const Snapshot& snapshot);

    /// Final hidden states (after the last norm) of `rows` [M] i64 of the input, or of all rows
    /// when undefined. Row indices are those of `input.ids`; of the virtual rows that prompts add
    /// only those of TokenRows::beforeText can be asked for. @returns [M, C] in the compute dtype
    at::Tensor hidden(const TokenRows& input, const at::Tensor& rows, const SiteHooks& hooks,
                      Activations activations = Activations::Keep) const;

    /// Final hidden states of each segment's first row, which is a prompt's where there is one.
    /// @returns [segments, C]
    at::Tensor firstHidden(const TokenRows& input, const SiteHooks& hooks,
                           Activations activations = Activations::Keep) const;

    /// [M, C] → [M, V] f32, or a classifier's [M, classes]
    at::Tensor logits(const at::Tensor& hidden, const SiteHooks& hooks) const;

    /// scale * sum of cross entropies of the rows' next tokens: rows [M], labels [M] i64.
    /// `smoothing` as in nn::headLoss. @returns [] f32
    at::Tensor loss(const TokenRows& input, const at::Tensor& rows, const at::Tensor& labels,
                    double scale, const SiteHooks& hooks,
                    Activations activations = Activations::Keep, double smoothing = 0) const;

    /// The cross entropy of each of the rows' next tokens, and whether it is the most probable one.
    /// Logits live a chunk at a time.
    nn::TokenLosses tokenLosses(const TokenRows& input, const at::Tensor& rows,
                                const at::Tensor& labels, const SiteHooks& hooks,
                                Activations activations = Activations::Keep) const;

    /// What the encoder makes of `source`, kept in an empty cache for next(). No gradients.
    void readSource(const std::vector<std::int64_t>& source, KeyValueCache& cache,
                    const SiteHooks& hooks) const;

    /// Reads `ids` after what the cache holds and returns the logits of the last one, [V] f32. No
    /// gradients.
    at::Tensor next(const std::vector<std::int64_t>& ids, KeyValueCache& cache,
                    const SiteHooks& hooks) const;

    /// One token more of several texts at once, each after what its own cache holds (none is
    /// empty): ids [R] → [R, V] f32. The hooks may be mixed, one table a text. No gradients.
    at::Tensor nextOfEach(const std::vector<std::int64_t>& ids,
                          const std::vector<KeyValueCache*>& caches, const SiteHooks& hooks) const;
    /// Whether a text may go on through nextOfEach(); else through next(): longer texts are read
    /// again (LongRoPE).
    bool canGoOnTogether() const;

private:
    /// `site`: index into sites().embeddings
    at::Tensor embed(const at::Tensor& ids, double scale, std::size_t site,
                     const SiteHooks& hooks) const;
    Stack::Input entering(const TokenRows& input, const ModelDescription& stack,
                          const SiteHooks& hooks) const;
    void bindHead(bool isTied);
    at::Tensor hidden(const TokenRows& input, const at::Tensor& rows, RowsOf rowsOf,
                      const SiteHooks& hooks, Activations activations) const;
    Prompts promptsOfDecoder() const { return m_encoder ? Prompts::Left : Prompts::Taken; }
    bool hasHeadHooks(const SiteHooks& hooks) const {
        return !hooks.linear(m_sites.linears.size() - 1).empty();
    }

    ModelDescription m_description;
    ModelSites m_sites;
    Weights m_weights;
    at::ScalarType m_dtype;
    at::Device m_device;
    Linears m_linears;
    std::optional<Stack> m_encoder;
    Stack m_decoder;  // or the only stack
    const at::Tensor* m_embedding = nullptr;
    int m_pooler = -1;  // index into sites().linears
};

}  // namespace luthier
