// SPDX-License-Identifier: Apache-2.0
#pragma once
// How llama.cpp has a family: what its network wants of the weights (gguf_layout.h), and how the
// keys of a file become a config.json (gguf_config.h). A family's leaf in arch/ fills it in.

#include "contract/json.h"
#include "contract/problem.h"
#include "io/gguf.h"

#include <cstdint>
#include <optional>
#include <string>

namespace luthier {

struct ModelDescription;

/// What one file says: the keys of its architecture, without its name in front.
class GgufFacts {
public:
    GgufFacts(const GgufFile& file, std::string name, std::string architecture)
        : m_file(file), m_name(std::move(name)), m_architecture(std::move(architecture)) {}

    std::optional<std::int64_t> whole(const std::string& key) const;
    std::optional<double> number(const std::string& key) const;
    std::string text(const std::string& key) const;
    bool isSet(const std::string& key) const;
    bool hasTensor(const std::string& tensor) const;
    std::int64_t needed(const std::string& key);  ///< remembers a problem where it is missing
    std::int64_t headSize() const;
    bool hasQkvBias() const;
    bool hasUpBias() const;

    /// config[name] = the number under `key`, where there is one.
    void copyNumber(Json& config, const char* name, const std::string& key) const;
    void copyWhole(Json& config, const char* name, const std::string& key) const;

    Problems& problems() { return m_problems; }
    const GgufFile& file() const { return m_file; }

private:
    const GgufFile& m_file;
    std::string m_name, m_architecture;
    Problems m_problems;
};

struct GgufSpelling {
    std::string architecture = {};  ///< llama.cpp's name; empty: it does not know the family

    // What its network demands.
    bool isPermuted = false;   ///< its rotation pairs neighbours, so q and k are turned
    bool needsHead = false;    ///< it wants output.weight though the head is tied
    bool takesBiases = false;  ///< projections may have biases where the usual ones have none
    bool isGelu = false;       ///< else SiLU
    bool takesLlama3Rope = false;
    bool takesLongRope = false;
    bool saysScoreScale = false;         ///< files say the scale of the scores; else 1/sqrt(head
                                         ///< size)
    std::int64_t widthScaledLayers = 0;  ///< the size, by its layers, of which llama.cpp takes the
                                         ///< width instead of the head size for that scale
    std::int64_t windowPeriod = 0;       ///< one layer in so many has no window, the others have
                                         ///< one; 0: its network has none
    bool leavesOutWindow = false;        ///< files say a window that its network does not have
    bool hasNormsSwapped = false;        ///< of two norms side by side its first feeds the
                                         ///< feed-forward part
    /// A switch of the model that its network lacks, as a message says it ("… model has X");
    /// empty: none. What every family's may lack is known to gguf_layout.cpp.
    std::string (*lacks)(const ModelDescription& description) = nullptr;
    /// Keys of its own, without the architecture in front.
    GgufKeys (*ownKeys)(const ModelDescription& description) = nullptr;

    // How config.json spells what every decoder has. Empty: the family has no such key.
    std::string hidden = "hidden_size";
    std::string layers = "num_hidden_layers";
    std::string heads = "num_attention_heads";
    std::string keyValueHeads = "num_key_value_heads";
    std::string intermediate = "intermediate_size";
    std::string positions = "max_position_embeddings";
    std::string normEps = "rms_norm_eps";
    std::string headSize = "head_dim";
    std::string experts = "num_experts";
    std::string ropeTheta = "rope_theta";
    std::string rotaryShare = "partial_rotary_factor";
    bool saysRotaryShare = false;  ///< also where all of a head is rotated
    /// norm_topk_prob of all files of the family, where config.json says it beside the experts'
    /// size and which layers have them.
    std::optional<bool> normalisesExperts = {};
    /// Puts what only this family has into config.json.
    void (*toConfig)(Json& config, GgufFacts& facts) = nullptr;
    /// Of families that llama.cpp computes as one architecture: whether a file is of this one.
    /// Null: every file that no other of them owns.
    bool (*owns)(const GgufFacts& facts) = nullptr;
};

}  // namespace luthier
