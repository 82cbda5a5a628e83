// SPDX-License-Identifier: Apache-2.0
#pragma once
// The list of model families. A family is one file here that fills in a Family, and one line of
// core/model/arch.list. All that other rooms and the window know of a family stands in it: no other
// file names one.

#include "model/arch/common.h"
#include "model/gguf_spelling.h"

#include <optional>
#include <string>
#include <vector>

namespace luthier {

/// Modules that PEFT adapts by default, by what is put there. Empty: it has no default for the
/// family.
struct TargetDefaults {
    using Names = std::vector<std::string>;
    Names lowRank = {};                        ///< matrices of low rank
    Names scaled = {};                         ///< scales of activations
    Names scaledFeedForward = {};              ///< those of `scaled` that scale what enters
    std::optional<Names> adaptive = {};        ///< ranks shared out in training; none: lowRank
    std::optional<Names> sharedMatrices = {};  ///< one pair for all layers; none: lowRank
    Names norms = {};                          ///< copies of norms
};

struct Family {
    std::string modelType;             ///< config.json's "model_type"
    std::string title;                 ///< as people write it: "Qwen 2"
    const char* architecture;          ///< its language model class; nullptr: an encoder, which
                                       ///< only classifies here
    const char* classifier = nullptr;  ///< its sequence classification class; nullptr: Hugging Face
                                       ///< has none
    Result<ModelDescription> (*read)(const Json& config, const std::string& file);
    TargetDefaults targets = {};
    GgufSpelling gguf = {};
};

/// Made from arch.list.
std::vector<Family> listOfFamilies();

const std::vector<Family>& families();
const Family* findFamily(const std::string& modelType);
/// Its title; the word itself of a family that nobody knows.
std::string familyTitle(const std::string& modelType);

/// What a model is opened for.
struct ModelTask {
    std::string name = "auto";  ///< auto (as config.json's architectures say) | causal_lm |
                                ///< seq2seq_lm | sequence_classification
    std::int64_t classes = 0;   ///< 0: as config.json says
};

/// The description of a config.json, or why there is none: unknown family (with the nearest one
/// named), remote code, bad values, a task that the family has no model for (code
/// task_unsupported).
Result<ModelDescription> describeModel(const Json& config, const std::string& file,
                                       const ModelTask& task = {});

}  // namespace luthier
