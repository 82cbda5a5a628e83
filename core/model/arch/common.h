// SPDX-License-Identifier: Apache-2.0
#pragma once
// What family files share: reading config.json with every problem remembered, and the block that
// LLaMA's descendants share.

#include "contract/json.h"
#include "contract/problem.h"
#include "model/description.h"
#include "model/gguf_spelling.h"

#include <cmath>
#include <functional>
#include <string>
#include <vector>

namespace luthier {

/// Reads integers and flags of a config.json and remembers every problem.
class ConfigReader {
public:
    ConfigReader(const Json& config, std::string file)
        : m_config(config), m_file(std::move(file)) {}

    std::int64_t integer(const char* key);                         ///< required
    std::int64_t integer(const char* key, std::int64_t fallback);  ///< absent or null: fallback
    double number(const char* key, double fallback);
    bool flag(const char* key, bool fallback);
    std::string text(const char* key, const std::string& fallback);
    kernels::GateActivation activation(const char* key, const std::string& fallback);
    /// The activation called `name`, which `key` asks for.
    kernels::GateActivation activationNamed(const char* key, const std::string& name);
    /// The first of two keys that the file has (files of different ages spell some names
    /// differently).
    std::int64_t eitherInteger(const char* key, const char* otherKey);
    /// Remembers that `key` must be `wanted` unless `isMet`.
    void require(const char* key, bool isMet, const std::string& wanted);
    bool has(const char* key) const;

    Problems& problems() { return m_problems; }

private:
    void complain(const char* key, const std::string& wanted);

    const Json& m_config;
    std::string m_file;
    Problems m_problems;
};

/// LLaMA's numbers and names: pre-RMSNorm, rotary positions, grouped heads, gated feed-forward.
/// Families adjust what differs. Problems stay in `read`; the rope is read with `defaultTheta` and
/// `defaultPartial`, heads are `defaultHeadSize` wide when the file does not say (0: hidden /
/// heads).
ModelDescription llamaLike(ConfigReader& read, const Json& config, const std::string& file,
                           double defaultTheta = 10000, double defaultPartial = 1.0,
                           std::int64_t defaultHeadSize = 0);

/// BERT's block: an encoder, post-LayerNorm, learned positions, plain feed-forward part, biases
/// everywhere. Families adjust what differs.
ModelDescription bertLike();

/// That block by BERT's own keys and, below `prefix` ("bert."), under its names.
ModelDescription readBertLike(ConfigReader& read, const std::string& prefix);

/// What GGUF files of Gemma 2 and 3 say of scores and windows. `largest`: layers of the size whose
/// scores llama.cpp scales by the width.
void cappedConfig(Json& config, GgufFacts& facts, std::int64_t largest);

/// Windows by `layer_types` of config.json ("sliding_attention"), else by `isSliding(layer)`;
/// `window` 0: none anywhere.
void readWindows(ConfigReader& read, const Json& config, ModelDescription& description,
                 std::int64_t window, const std::function<bool(std::int64_t)>& isSliding);

/// Fills layerSwitches with defaults when it is empty, so that single layers can be changed.
void spreadSwitches(ModelDescription& description);

/// Marks the layers whose feed-forward part is a mixture, by Qwen's `mlp_only_layers` and
/// `decoder_sparse_step`.
void readSparseLayers(ConfigReader& read, const Json& config, ModelDescription& description);

/// The description, or the problems met while reading it.
Result<ModelDescription> finished(ConfigReader& read, ModelDescription description);

}  // namespace luthier
