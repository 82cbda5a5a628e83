// SPDX-License-Identifier: Apache-2.0
#pragma once
// A decoder family as data. Most decoder-only families are one network with other switches; a family file (arch/) reads
// config.json and fills this in, and Decoder builds the network from it. Names are Hugging Face's, so that tensors, PEFT's
// target modules and messages all speak of the same places.

#include "kernels/elementwise.h"
#include "model/rope.h"
#include "model/site.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace luthier {

enum class NormKind { RmsNorm, LayerNorm };
enum class PositionKind { Rope, Learned };
enum class FeedForwardKind { Gated, Plain };  ///< act(gate) * up → down, or act(up) → down

/// Names of modules below the layer path (or whole paths for the first four). Empty: the family has no such module.
struct ModuleNames {
    std::string embedding;          ///< "model.embed_tokens"
    std::string positions;          ///< "transformer.wpe"
    std::string finalNorm;          ///< "model.norm"
    std::string head = "lm_head";
    std::string layers;             ///< "model.layers."
    std::string attentionNorm;      ///< "input_layernorm"
    std::string query, key, value;  ///< "self_attn.q_proj", …
    std::string fusedQkv;           ///< "attn.c_attn": rows q, k, v one after another
    std::string attentionOut;
    std::string feedForwardNorm;
    std::string gate, up, down;
};

struct DecoderDescription {
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

    NormKind norm = NormKind::RmsNorm;
    double normEps = 1e-6;
    double normOffset = 0;     ///< 1: the stored weight is the deviation from 1 (Gemma)
    PositionKind position = PositionKind::Rope;
    RopeSpec rope;
    FeedForwardKind feedForward = FeedForwardKind::Gated;
    kernels::GateActivation activation = kernels::GateActivation::Silu;
    bool hasQkvBias = false;
    bool hasAttentionOutBias = false;
    bool hasFeedForwardBias = false;
    bool hasNormBias = false;
    bool isConv1D = false;     ///< projections are stored [in, out]
    bool isTied = false;       ///< the head is the embedding
    double embeddingScale = 1;
    double initializerRange = 0.02;
    ModuleNames names;
    std::vector<std::string> prefixes;         ///< prefixes that old files leave out or add: "transformer.", "model."
    std::vector<std::string> ignoredSuffixes;  ///< buffers that old files hold: ".attn.bias", ".rotary_emb.inv_freq"
};

/// A parameter of the model as it stands in a file.
struct ParameterShape {
    std::string name;
    std::vector<std::int64_t> shape;
};

/// Every parameter of the described model, tied head left out.
std::vector<ParameterShape> parameterShapes(const DecoderDescription& description);

/// The sites of the described model.
ModelSites sitesOf(const DecoderDescription& description);

/// Absurd or contradictory numbers, each named with its key in `file`.
Problems checkDescription(const DecoderDescription& description, const std::string& file);

}  // namespace luthier
