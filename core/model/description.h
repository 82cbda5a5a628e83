// SPDX-License-Identifier: Apache-2.0
#pragma once
// A decoder family as data. Most decoder-only families are one network with other switches; a
// family file (arch/) reads config.json and fills this in, and Model builds the network from it.
// Names are Hugging Face's, so that tensors, PEFT's target modules and messages all speak of the
// same places.

#include "kernels/elementwise.h"
#include "model/rope.h"
#include "model/site.h"

#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace luthier {

enum class NormKind { RmsNorm, LayerNorm };
/// Buckets: a learned bias of the scores by bucketed distance, one table for all layers (T5, Raffel
/// et al. 2020). Disentangled: scores between contents and bucketed relative positions (DeBERTa, He
/// et al. 2021).
enum class PositionKind { Rope, Learned, Alibi, Buckets, Disentangled, None };
enum class FeedForwardKind { Gated, Plain };  ///< act(gate) * up → down, or act(up) → down

/// How a block joins its two sub-layers A (attention) and F (feed-forward) to the residual stream
/// x, with norms where the family has them:  Sequential  h = x + post(A(pre(x))), h +
/// post(F(pre(h)));  Parallel  x + A(pre(x)) + F(pre'(x)), where pre' is pre when the block has one
/// norm only;  PostNorm  h = norm(x + A(x)), norm'(h + F(h)).
enum class BlockFlow { Sequential, Parallel, PostNorm };

/// Rows of a fused projection: all q, then all k, then all v; or, for each key-value head, its q
/// heads, its k, its v.
enum class QkvLayout { Blocks, Grouped };

/// Normalisation of queries and keys before rotation: one weight for every head, one over all heads
/// at once, or one per head.
enum class QueryKeyNorm { None, PerHead, AllHeads, OwnPerHead };

/// How the slopes of ALiBi (Press et al. 2022) are made from the number of heads.
enum class AlibiKind {
    Bloom,  ///< the paper's; the remaining heads of a count that is no power of two take odd powers
            ///< of the next one
    Falcon,  ///< the same, multiplied in bfloat16 and divided by sqrt(head size)
    Mpt,     ///< of the next power of two, odd entries first
};

/// Names of modules below the layer path (or whole paths for the first eleven). Empty: the family
/// has no such module.
struct ModuleNames {
    std::string embedding;     ///< "model.embed_tokens"
    std::string positions;     ///< "transformer.wpe"
    std::string tokenTypes;    ///< "bert.embeddings.token_type_embeddings"
    std::string relative;      ///< "encoder.block.0.layer.0.SelfAttention.relative_attention_bias",
                               ///< "deberta.encoder.rel_embeddings"
    std::string relativeNorm;  ///< "deberta.encoder.LayerNorm"
    std::string embeddingNorm;  ///< "transformer.word_embeddings_layernorm"
    std::string projectIn;      ///< "model.decoder.project_in": embedding width → hidden
    std::string projectOut;     ///< "model.decoder.project_out": hidden → embedding width
    std::string finalNorm;      ///< "model.norm"
    std::string head = "lm_head";
    std::string layers;         ///< "model.layers."
    std::string attentionNorm;  ///< "input_layernorm": before attention (after the sum in PostNorm)
    std::string attentionPostNorm;           ///< of attention's output, before it is added
    std::string query, key, value;           ///< "self_attn.q_proj", …
    std::string fusedQkv;                    ///< "attn.c_attn"
    std::string queryNorm, keyNorm;          ///< "self_attn.q_norm"
    std::string relativeKey, relativeQuery;  ///< "attention.self.pos_key_proj": of DeBERTa's
                                             ///< positions, when they have projections of their own
    std::string attentionOut;
    std::string
        crossNorm;  ///< before attention over the encoder's rows (after the sum in PostNorm)
    std::string crossQuery, crossKey, crossValue, crossOut;  ///< "layer.1.EncDecAttention.q", …
    std::string feedForwardNorm;  ///< before feed-forward (after the sum in PostNorm)
    std::string feedForwardPostNorm;
    std::string gate, up, down;
    std::string gateUp;  ///< "mlp.gate_up_proj": gate rows, then up rows
};

/// A sparse mixture of gated feed-forward parts: a router's softmax picks `perToken` of `experts`
/// for each token.
struct MixtureSpec {
    std::int64_t experts = 0;  ///< 0: the family has none
    std::int64_t perToken = 0;
    std::int64_t intermediate = 0;
    std::int64_t sharedIntermediate = 0;  ///< 0: no expert that every token passes
    bool isNormalised = true;             ///< the chosen weights are scaled to a sum of 1
    std::string router;                   ///< "mlp.gate"
    std::string expert;                   ///< "mlp.experts.": before the expert's number
    std::string gate, up, down;           ///< "gate_proj", "w1", …
    std::string shared;                   ///< "mlp.shared_expert."
    std::string sharedGate;               ///< "mlp.shared_expert_gate"
};

/// Bucketed distances of PositionKind::Buckets and Disentangled.
struct RelativeSpec {
    std::int64_t buckets =
        32;  ///< T5: of the table; DeBERTa: position_buckets, 0: every distance has its own
    std::int64_t distance = 128;  ///< the largest one told apart
    bool hasContentToPosition = false;
    bool hasPositionToContent = false;

    /// Half the rows of DeBERTa's table of positions.
    std::int64_t span() const { return buckets > 0 ? buckets : distance; }
};

/// The row of a sequence that a classifier looks at.
enum class Pooling {
    LastToken,   ///< the last that is not padding (decoders)
    FirstToken,  ///< [CLS]
    LastEnd,     ///< the last end-of-text token (BART, T5)
};
enum class PoolActivation { Tanh, Relu, Gelu };

/// A sequence classifier on top: [dense, activation,] projection to the classes. The projection is
/// the model's head.
struct ClassifierSpec {
    std::int64_t classes = 0;  ///< 0: a language model
    Pooling pooling = Pooling::LastToken;
    std::string dense;            ///< "bert.pooler.dense"; empty: none
    bool isDenseOfModel = false;  ///< the dense layer belongs to the model (BERT's pooler), not to
                                  ///< the task: a new head keeps it
    PoolActivation activation = PoolActivation::Tanh;
    std::string head = "score";  ///< path of the projection
    bool hasHeadBias = false;
    std::string prefix;                   ///< of every path of the stacks ("transformer.": T5)
    std::vector<std::string> classNames;  ///< id2label, by index
    std::string problem;                  ///< config.json's problem_type; empty: not said
};

/// What may differ from layer to layer.
struct LayerSwitches {
    std::int64_t window = 0;  ///< keys that a query sees, itself included; 0: all before it
    bool isRotated = true;    ///< false: a layer without rotary positions (NoPE)
    bool usesLocalRope = false;
    bool isMixture = false;
};

struct ModelDescription {
    std::string family;        ///< model_type
    std::string architecture;  ///< class name
    std::int64_t vocabulary = 0;
    std::int64_t hidden = 0;
    std::int64_t layers = 0;
    std::int64_t heads = 0;
    std::int64_t keyValueHeads = 0;
    std::int64_t headSize = 0;
    std::int64_t intermediate = 0;
    std::int64_t maxPositions = 0;
    std::int64_t prefixHeads = 0;  ///< of the keys that a prefix is put before; 0: keyValueHeads

    bool isCausal = true;  ///< false: every row of a segment sees every other (encoders)
    /// The encoder of an encoder-decoder, whose decoder this description is; both share the token
    /// embedding.
    std::shared_ptr<const ModelDescription> encoder;
    ClassifierSpec classifier;
    std::int64_t decoderStart = -1;  ///< id that the decoder begins with
    std::int64_t endId = -1;         ///< eos_token_id, -1: none
    std::int64_t paddingId = -1;     ///< pad_token_id, -1: none
    bool learnsPadding = false;  ///< the padding token's embedding takes a gradient where it stands
                                 ///< in a text (no padding_idx in transformers)
    bool startsWithLast = false;  ///< the decoder begins with the last token of what it is to write
                                  ///< (mBART's language token)

    NormKind norm = NormKind::RmsNorm;
    double normEps = 1e-6;
    double normOffset = 0;  ///< 1: the stored weight is the deviation from 1 (Gemma)
    PositionKind position = PositionKind::Rope;
    RelativeSpec relative;
    bool hasPositionTable =
        false;  ///< learned positions beside another kind (DeBERTa's position_biased_input)
    std::int64_t tokenTypes = 0;  ///< rows of the token-type table; 0: none
    RopeSpec rope;
    std::optional<RopeSpec> localRope;  ///< of the layers that say so
    kernels::RopePairs ropePairs = kernels::RopePairs::Halves;
    AlibiKind alibi = AlibiKind::Bloom;
    std::int64_t positionOffset = 0;  ///< learned positions start at this row (OPT: 2)
    BlockFlow flow = BlockFlow::Sequential;
    bool isResidualNormed = false;  ///< the residual is the norm's output (BLOOM's
                                    ///< apply_residual_connection_post_layernorm)
    QkvLayout qkvLayout = QkvLayout::Blocks;
    QueryKeyNorm queryKeyNorm = QueryKeyNorm::None;
    bool hasQueryKeyNormBias = false;
    double attentionScale = 0;          ///< of the scores; 0: 1/sqrt(headSize)
    bool dividesScoresByLayer = false;  ///< the scores of layer i are divided by i + 1 besides
                                        ///< (GPT-2's scale_attn_by_inverse_layer_idx)
    double attentionSoftCap = 0;        ///< scores = cap * tanh(scores / cap); 0: none
    double clipQkv = 0;                 ///< q, k, v are clamped to ± this; 0: not
    double logitSoftCap = 0;
    double logitScale = 1;     ///< multiplies the head's input
    double residualScale = 1;  ///< multiplies each sub-layer's output
    MixtureSpec mixture;
    std::vector<LayerSwitches> layerSwitches;  ///< one a layer, or empty: all alike
    FeedForwardKind feedForward = FeedForwardKind::Gated;
    kernels::GateActivation activation = kernels::GateActivation::Silu;
    bool hasQkvBias = false;
    bool hasAttentionOutBias = false;
    bool hasFeedForwardBias = false;
    bool hasNormBias = false;
    bool hasNormWeight = true;
    bool hasHeadBias = false;
    bool isConv1D = false;            ///< projections are stored [in, out]
    std::int64_t embeddingWidth = 0;  ///< 0: hidden
    bool isTied = false;              ///< the head is the embedding
    double embeddingScale = 1;        ///< multiplies token embeddings, in their dtype (Gemma)
    double inputScale = 1;  ///< multiplies what enters the first block, prompts included (Granite)
    double initializerRange = 0.02;
    ModuleNames names;
    std::vector<std::string>
        prefixes;  ///< prefixes that old files leave out or add: "transformer.", "model."
    std::vector<std::string>
        ignoredSuffixes;  ///< buffers that old files hold: ".attn.bias", ".rotary_emb.inv_freq"
    std::vector<std::string> ignoredPrefixes;  ///< heads of other tasks: "cls."
    std::vector<std::string>
        zeroTensors;  ///< buffers that may be there, all zeros: "final_logits_bias"

    const LayerSwitches& layer(std::int64_t index) const {
        static const LayerSwitches alike;
        return layerSwitches.empty() ? alike : layerSwitches[static_cast<std::size_t>(index)];
    }
    bool learnsPositions() const { return position == PositionKind::Learned || hasPositionTable; }
    bool isEncoderDecoder() const { return encoder != nullptr; }
    bool isClassifier() const { return classifier.classes > 0; }
    /// Rows of the head.
    std::int64_t outputs() const { return isClassifier() ? classifier.classes : vocabulary; }
    std::int64_t widthOfEmbedding() const { return embeddingWidth > 0 ? embeddingWidth : hidden; }
    double scoreScale() const {
        return attentionScale > 0 ? attentionScale : 1.0 / std::sqrt(static_cast<double>(headSize));
    }
};

/// A parameter of the model as it stands in a file.
struct ParameterShape {
    std::string name;
    std::vector<std::int64_t> shape;
};

struct NormShape {
    std::string path;
    std::int64_t width = 0;
    bool hasBias = false;
};

/// The norms of one block of this stack that have weights, in the order in which data flows.
/// `layer` -1: those outside the blocks.
std::vector<NormShape> normsOf(const ModelDescription& description, std::int64_t layer);

/// The described language model with a sequence classifier in place of its head.
ModelDescription asClassifier(ModelDescription description, std::int64_t classes);

/// Every parameter of the described model, tied head left out.
std::vector<ParameterShape> parameterShapes(const ModelDescription& description);

/// The sites of the described model.
ModelSites sitesOf(const ModelDescription& description);

/// Absurd or contradictory numbers, each named with its key in `file`.
Problems checkDescription(const ModelDescription& description, const std::string& file);

}  // namespace luthier
