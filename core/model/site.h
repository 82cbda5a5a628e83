// SPDX-License-Identifier: Apache-2.0
#pragma once
// The places a method may touch, and what it may do there. A model lists its sites under their Hugging Face module paths; a
// method installs hooks at sites and owns its tensors. Families and methods know only this file of each other, so they add
// instead of multiplying. Hooks chain: each receives the projection below it and may change its input, its output or both.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace luthier {

enum class LinearRole {
    Query, Key, Value, FusedQkv, AttentionOut,
    CrossQuery, CrossKey, CrossValue, CrossOut,  ///< a decoder's attention over its encoder's rows
    Gate, Up, GateUp, Down, ProjectIn, ProjectOut,
    RelativeKey, RelativeQuery,                  ///< projections of relative positions (DeBERTa)
    Pooler, Head
};

/// "query", "fused_qkv", …: the spelling of `inspect --json`.
const char* name(LinearRole role);

/// One projection y = x W^T + b. Conv1D (GPT-2) stores W as [in, out], every other layer as [out, in].
struct LinearSite {
    std::string path;     ///< "model.layers.0.self_attn.q_proj"
    int layer = -1;       ///< within its stack; -1: outside the blocks
    LinearRole role = LinearRole::Query;
    std::int64_t in = 0;
    std::int64_t out = 0;
    bool isConv1D = false;
    bool hasBias = false;
    int block = -1;       ///< counted over the encoder's blocks, then the decoder's; -1: outside
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
    std::int64_t heads = 0;     ///< key-value heads
    std::int64_t headSize = 0;
};

struct NormSite {
    std::string path;
    std::int64_t width = 0;
    bool hasBias = false;
};

/// What methods need to know of a model besides its sites.
struct ModelSites {
    std::string family;        ///< config.json's model_type
    std::string architecture;  ///< "LlamaForCausalLM"
    std::string embeddingPath; ///< "model.embed_tokens"
    std::string headPath;      ///< "lm_head", "classifier"
    std::string peftTask;      ///< PEFT's task_type: CAUSAL_LM, SEQ_2_SEQ_LM, SEQ_CLS
    bool isTied = false;
    std::int64_t vocabulary = 0;
    std::int64_t hidden = 0;
    std::int64_t embeddingWidth = 0;   ///< of the embedding's rows; hidden in all but a few families
    std::int64_t layers = 0;           ///< of the decoder, or of the only stack
    std::int64_t encoderLayers = 0;    ///< of an encoder-decoder's encoder
    std::int64_t classes = 0;          ///< of a sequence classifier; 0: a language model
    std::int64_t heads = 0;
    std::int64_t keyValueHeads = 0;
    std::int64_t headSize = 0;
    std::vector<LinearSite> linears;  ///< encoder, decoder, outside; the head last, when it is a layer of its own or tied
    std::vector<BlockOutputSite> blockOutputs;  ///< two a block, encoder first
    std::vector<KeyValueSite> keyValues;  ///< self-attention of the decoder, or of the only stack
    std::vector<NormSite> norms;

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
    /// The plain layer when nothing lies between, so that a hook may fuse its work with the product; else nullptr.
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
    /// @param output of the sub-layer [N, C].  @param residual its input before the norm [N, C].  @returns the new output.
    virtual at::Tensor forward(const at::Tensor& output, const at::Tensor& residual) = 0;
};

class KeyValueHook {
public:
    virtual ~KeyValueHook() = default;
    /// Keys and values put before those of the text in self-attention (of the decoder, where there are two stacks), each
    /// [heads, n, headSize]; not rotated. Text positions start at n.
    virtual std::pair<at::Tensor, at::Tensor> prefix(int layer) = 0;
    virtual std::int64_t length() const = 0;
};

class InputHook {
public:
    virtual ~InputHook() = default;
    /// Rows put before the token embeddings (of the encoder, where there are two stacks), [n, hidden]. Text positions start at n.
    virtual at::Tensor prompt() = 0;
    virtual std::int64_t length() const = 0;
};

/// Stands for a parameter of the base: a norm's scale, the bias of a norm or of a projection. Products keep their own weights.
class ParameterHook {
public:
    virtual ~ParameterHook() = default;
    /// @param below the base's parameter, or what the hook before made of it.  @returns what this pass computes with, same shape.
    virtual at::Tensor forward(const at::Tensor& below) = 0;
};

/// Counter-based randomness of one forward pass: a site mixes its own index into `key`, so no draw depends on another.
struct RandomKey {
    std::uint64_t key = 0;
    bool isTraining = false;  ///< dropout acts only then
};

/// The table of installed hooks that a forward pass consults. Indices are those of ModelSites.
class SiteHooks {
public:
    SiteHooks() = default;
    explicit SiteHooks(const ModelSites& sites)
        : m_linear(sites.linears.size()), m_blockOutput(sites.blockOutputs.size()) {}

    void addLinear(std::size_t site, LinearHook* hook) { m_linear[site].push_back(hook); }
    void addBlockOutput(std::size_t site, BlockOutputHook* hook) { m_blockOutput[site].push_back(hook); }
    void addKeyValue(KeyValueHook* hook) { m_keyValue.push_back(hook); }
    void addInput(InputHook* hook) { m_input.push_back(hook); }
    /// `parameter`: the entry of the model's Weights, which keeps its address.
    void addParameter(const at::Tensor* parameter, ParameterHook* hook) { m_parameter[parameter].push_back(hook); }

    const std::vector<LinearHook*>& linear(std::size_t site) const { return m_linear.empty() ? kNone : m_linear[site]; }
    const std::vector<BlockOutputHook*>& blockOutput(std::size_t site) const {
        return m_blockOutput.empty() ? kNoOutput : m_blockOutput[site];
    }
    const std::vector<KeyValueHook*>& keyValue() const { return m_keyValue; }
    const std::vector<InputHook*>& input() const { return m_input; }
    bool replaces(const at::Tensor* parameter) const { return !m_parameter.empty() && m_parameter.contains(parameter); }
    /// The parameter as this pass computes with it; itself without a hook.
    at::Tensor current(const at::Tensor& parameter) const;

    /// Rows that prompts put before the text / keys that prefixes put before the text's keys.
    std::int64_t promptLength() const;
    std::int64_t prefixLength() const;

private:
    static inline const std::vector<LinearHook*> kNone;
    static inline const std::vector<BlockOutputHook*> kNoOutput;
    std::vector<std::vector<LinearHook*>> m_linear;
    std::vector<std::vector<BlockOutputHook*>> m_blockOutput;
    std::vector<KeyValueHook*> m_keyValue;
    std::vector<InputHook*> m_input;
    std::unordered_map<const at::Tensor*, std::vector<ParameterHook*>> m_parameter;
};

}  // namespace luthier
