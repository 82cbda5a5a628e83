// SPDX-License-Identifier: Apache-2.0
#pragma once
// The places a method may touch, and what it may do there. A model lists its sites under their
// Hugging Face module paths; a method installs hooks at sites and owns its tensors. Families and
// methods know only this file of each other, so they add instead of multiplying. Hooks chain: each
// receives the projection below it and may change its input, its output or both.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace luthier {

enum class LinearRole {
    Query,
    Key,
    Value,
    FusedQkv,
    AttentionOut,
    CrossQuery,
    CrossKey,
    CrossValue,
    CrossOut,  ///< a decoder's attention over its encoder's rows
    Gate,
    Up,
    GateUp,
    Down,
    ProjectIn,
    ProjectOut,
    RelativeKey,
    RelativeQuery,  ///< projections of relative positions (DeBERTa)
    Pooler,
    Head
};

/// "query", "fused_qkv", …: the spelling of `inspect --json`.
const char* name(LinearRole role);

/// One projection y = x W^T + b. Conv1D (GPT-2) stores W as [in, out], every other layer as [out,
/// in].
struct LinearSite {
    std::string path;  ///< "model.layers.0.self_attn.q_proj"
    int layer = -1;    ///< within its stack; -1: outside the blocks
    LinearRole role = LinearRole::Query;
    std::int64_t in = 0;
    std::int64_t out = 0;
    bool isConv1D = false;
    bool hasBias = false;
    int block = -1;  ///< counted over the encoder's blocks, then the decoder's; -1: outside
};

enum class Sublayer { Attention, FeedForward };

/// The output of a sub-layer after its last projection, before the residual is added. [N, width]
struct BlockOutputSite {
    std::string layerPath;  ///< "model.layers.0"
    int layer = 0;          ///< within its stack
    Sublayer after = Sublayer::Attention;
    std::int64_t width = 0;
};

/// Keys and values of one attention layer, after rotation.
struct KeyValueSite {
    int layer = 0;
    std::int64_t heads = 0;  ///< key-value heads
    std::int64_t headSize = 0;
};

struct NormSite {
    std::string path;
    std::int64_t width = 0;
    bool hasBias = false;
};

/// A table of token embeddings. An encoder-decoder has two modules of them, which share one table.
struct EmbeddingSite {
    std::string path;  ///< "model.embed_tokens", "encoder.embed_tokens"
    std::int64_t rows = 0;
    std::int64_t width = 0;
    std::int64_t padding = -1;  ///< row that takes no gradient; -1: none
};

/// What methods need to know of a model besides its sites.
struct ModelSites {
    std::string family;         ///< config.json's model_type
    std::string architecture;   ///< "LlamaForCausalLM"
    std::string embeddingPath;  ///< "model.embed_tokens"
    std::string headPath;       ///< "lm_head", "classifier"
    std::string peftTask;       ///< PEFT's task_type: CAUSAL_LM, SEQ_2_SEQ_LM, SEQ_CLS
    bool isTied = false;
    std::int64_t vocabulary = 0;
    std::int64_t hidden = 0;
    std::int64_t embeddingWidth = 0;  ///< of the embedding's rows; hidden in all but a few families
    std::int64_t layers = 0;          ///< of the decoder, or of the only stack
    std::int64_t encoderLayers = 0;   ///< of an encoder-decoder's encoder
    std::int64_t classes = 0;         ///< of a sequence classifier; 0: a language model
    bool keepsPooler = false;         ///< a classifier's pooler is the model's, not the task's
    std::int64_t heads = 0;
    std::int64_t keyValueHeads = 0;
    std::int64_t headSize = 0;
    std::vector<LinearSite> linears;  ///< encoder, decoder, outside; the head last, when it is a
                                      ///< layer of its own or tied
    std::vector<BlockOutputSite> blockOutputs;  ///< two a block, encoder first
    std::vector<KeyValueSite> keyValues;  ///< self-attention of the decoder, or of the only stack
    std::vector<NormSite> norms;
    std::vector<EmbeddingSite> embeddings;  ///< the encoder's, then the decoder's; or the only one

    bool isEncoderDecoder() const { return encoderLayers > 0; }
};

/// A frozen or trained projection that a hook may look into: W as stored, b possibly undefined.
struct LinearWeights {
    const at::Tensor& weight;
    const at::Tensor& bias;
    bool isConv1D;
};

/// The projection below a hook: x [N, in] → [N, out].
class Projection {
public:
    virtual ~Projection() = default;
    virtual at::Tensor operator()(const at::Tensor& x) const = 0;
    /// The plain layer when nothing lies between, so that a hook may fuse its work with the
    /// product; else nullptr.
    virtual const LinearWeights* plain() const { return nullptr; }
};

class LinearHook {
public:
    virtual ~LinearHook() = default;
    /// @param x [N, in] in the compute dtype.  @returns [N, out] in the same dtype.
    virtual at::Tensor forward(const at::Tensor& x, const Projection& base) = 0;
};

class BlockOutputHook {
public:
    virtual ~BlockOutputHook() = default;
    /// @param output of the sub-layer [N, C].  @param residual its input before the norm [N, C].
    /// @returns the new output.
    virtual at::Tensor forward(const at::Tensor& output, const at::Tensor& residual) = 0;
};

class KeyValueHook {
public:
    virtual ~KeyValueHook() = default;
    /// Keys and values put before those of the text in self-attention (of the decoder, where there
    /// are two stacks), each [heads, n, headSize]; not rotated. Text positions start at n.
    virtual std::pair<at::Tensor, at::Tensor> prefix(int layer) = 0;
    virtual std::int64_t length() const = 0;
};

class InputHook {
public:
    virtual ~InputHook() = default;
    /// Rows put before the token embeddings (of the encoder, where there are two stacks), [n,
    /// hidden]. Text positions start at n.
    virtual at::Tensor prompt() = 0;
    virtual std::int64_t length() const = 0;
};

class EmbeddingHook {
public:
    virtual ~EmbeddingHook() = default;
    /// @param ids [N] i64.  @param below their rows in the compute dtype [N, width], before the
    /// model scales them.  @param isPlain nothing but the base's table made `below`.  @returns the
    /// new rows, same shape and dtype.
    virtual at::Tensor forward(const at::Tensor& ids, const at::Tensor& below, bool isPlain) = 0;
};

/// Stands for a parameter of the base: a norm's scale, a projection's weight or bias, a table of
/// positions. Token embeddings have hooks of their own, so a hook for the weight of a tied head
/// changes the head alone.
class ParameterHook {
public:
    virtual ~ParameterHook() = default;
    /// @param below the base's parameter, or what the hook before made of it.  @returns what this
    /// pass computes with, same shape.
    virtual at::Tensor forward(const at::Tensor& below) = 0;
};

/// Counter-based randomness of one forward pass: a site mixes its own index into `key`, so no draw
/// depends on another.
struct RandomKey {
    std::uint64_t key = 0;
    bool isTraining = false;  ///< dropout acts only then
};

class SiteHooks;

/// Different hooks for different rows of one batch. The pass says how many of the rows that its
/// sites are about to see belong to each row of the batch; a site then lets each see its own hooks,
/// over one product for all. Used by one thread at a time.
class MixedRows {
public:
    /// One table for each row of the batch; they outlive this. They hold hooks at projections,
    /// block outputs and embeddings alone.
    explicit MixedRows(std::vector<const SiteHooks*> tables) : m_tables(std::move(tables)) {}

    /// Lengths by row of the batch; their sum is the number of rows that a site sees.
    void setLengths(std::vector<std::int64_t> lengths) { m_lengths = std::move(lengths); }
    const std::vector<std::int64_t>& lengths() const { return m_lengths; }

    /// `change` for each run of rows with the same table, results one after another. `change` gets
    /// the table and where the run lies.
    at::Tensor each(const std::function<at::Tensor(const SiteHooks& table, std::int64_t first,
                                                   std::int64_t count)>& change) const;

private:
    std::vector<const SiteHooks*> m_tables;
    std::vector<std::int64_t> m_lengths;
};

/// The table of installed hooks that a forward pass consults. Indices are those of ModelSites.
class SiteHooks {
public:
    SiteHooks() = default;
    explicit SiteHooks(const ModelSites& sites)
        : m_linear(sites.linears.size()),
          m_blockOutput(sites.blockOutputs.size()),
          m_embedding(sites.embeddings.size()) {}

    void addLinear(std::size_t site, LinearHook* hook) { m_linear[site].push_back(hook); }
    void addBlockOutput(std::size_t site, BlockOutputHook* hook) {
        m_blockOutput[site].push_back(hook);
    }
    void addEmbedding(std::size_t site, EmbeddingHook* hook) { m_embedding[site].push_back(hook); }
    void addKeyValue(KeyValueHook* hook) { m_keyValue.push_back(hook); }
    void addInput(InputHook* hook) { m_input.push_back(hook); }
    /// `parameter`: the entry of the model's Weights, which keeps its address.
    void addParameter(const at::Tensor* parameter, ParameterHook* hook) {
        m_parameter[parameter].push_back(hook);
    }

    const std::vector<LinearHook*>& linear(std::size_t site) const {
        return m_linear.empty() ? kNone : m_linear[site];
    }
    const std::vector<BlockOutputHook*>& blockOutput(std::size_t site) const {
        return m_blockOutput.empty() ? kNoOutput : m_blockOutput[site];
    }
    const std::vector<EmbeddingHook*>& embedding(std::size_t site) const {
        return m_embedding.empty() ? kNoEmbedding : m_embedding[site];
    }
    const std::vector<KeyValueHook*>& keyValue() const { return m_keyValue; }
    const std::vector<InputHook*>& input() const { return m_input; }
    bool replaces(const at::Tensor* parameter) const {
        return !m_parameter.empty() && m_parameter.contains(parameter);
    }
    /// The parameter as this pass computes with it; itself without a hook.
    at::Tensor current(const at::Tensor& parameter) const;

    bool replacesParameters() const { return !m_parameter.empty(); }

    /// Makes the rows of a batch see the tables of `rows`, which outlives this, in place of this
    /// one.
    void mix(MixedRows* rows) { m_mixed = rows; }
    MixedRows* mixed() const { return m_mixed; }
    /// Tells mixed rows how those of the coming sites are shared out; nothing where all rows see
    /// this table.
    void rowsAre(const std::vector<std::int64_t>& lengths) const {
        if (m_mixed != nullptr) m_mixed->setLengths(lengths);
    }

    /// Rows that prompts put before the text / keys that prefixes put before the text's keys.
    std::int64_t promptLength() const;
    std::int64_t prefixLength() const;

private:
    static inline const std::vector<LinearHook*> kNone;
    static inline const std::vector<BlockOutputHook*> kNoOutput;
    static inline const std::vector<EmbeddingHook*> kNoEmbedding;
    std::vector<std::vector<LinearHook*>> m_linear;
    std::vector<std::vector<BlockOutputHook*>> m_blockOutput;
    std::vector<std::vector<EmbeddingHook*>> m_embedding;
    std::vector<KeyValueHook*> m_keyValue;
    std::vector<InputHook*> m_input;
    std::unordered_map<const at::Tensor*, std::vector<ParameterHook*>> m_parameter;
    MixedRows* m_mixed = nullptr;
};

}  // namespace luthier
