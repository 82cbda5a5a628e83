// SPDX-License-Identifier: Apache-2.0
#pragma once
// The list of model families. A family is one file that reads config.json into a description, and
// one line in families.cpp.

#include "model/arch/common.h"

#include <string>
#include <vector>

namespace luthier {

struct Family {
    const char* modelType;     ///< config.json's "model_type"
    const char* architecture;  ///< its language model class; nullptr: an encoder, which only
                               ///< classifies here
    const char* classifier;  ///< its sequence classification class; nullptr: Hugging Face has none
    Result<ModelDescription> (*read)(const Json& config, const std::string& file);
};

const std::vector<Family>& families();

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

Result<ModelDescription> readLlama(const Json& config, const std::string& file);
Result<ModelDescription> readGpt2(const Json& config, const std::string& file);
Result<ModelDescription> readGptNeo(const Json& config, const std::string& file);
Result<ModelDescription> readGptJ(const Json& config, const std::string& file);
Result<ModelDescription> readGptNeoX(const Json& config, const std::string& file);
Result<ModelDescription> readOpt(const Json& config, const std::string& file);
Result<ModelDescription> readBloom(const Json& config, const std::string& file);
Result<ModelDescription> readFalcon(const Json& config, const std::string& file);
Result<ModelDescription> readMpt(const Json& config, const std::string& file);
Result<ModelDescription> readMistral(const Json& config, const std::string& file);
Result<ModelDescription> readMixtral(const Json& config, const std::string& file);
Result<ModelDescription> readQwen2(const Json& config, const std::string& file);
Result<ModelDescription> readQwen2Moe(const Json& config, const std::string& file);
Result<ModelDescription> readQwen3(const Json& config, const std::string& file);
Result<ModelDescription> readQwen3Moe(const Json& config, const std::string& file);
Result<ModelDescription> readGemma(const Json& config, const std::string& file);
Result<ModelDescription> readGemma2(const Json& config, const std::string& file);
Result<ModelDescription> readGemma3Text(const Json& config, const std::string& file);
Result<ModelDescription> readPhi(const Json& config, const std::string& file);
Result<ModelDescription> readPhi3(const Json& config, const std::string& file);
Result<ModelDescription> readStableLm(const Json& config, const std::string& file);
Result<ModelDescription> readOlmo(const Json& config, const std::string& file);
Result<ModelDescription> readOlmo2(const Json& config, const std::string& file);
Result<ModelDescription> readStarcoder2(const Json& config, const std::string& file);
Result<ModelDescription> readGranite(const Json& config, const std::string& file);
Result<ModelDescription> readSmolLm3(const Json& config, const std::string& file);
Result<ModelDescription> readCohere(const Json& config, const std::string& file);
Result<ModelDescription> readT5(const Json& config, const std::string& file);
Result<ModelDescription> readMt5(const Json& config, const std::string& file);
Result<ModelDescription> readBart(const Json& config, const std::string& file);
Result<ModelDescription> readMbart(const Json& config, const std::string& file);
Result<ModelDescription> readBert(const Json& config, const std::string& file);
Result<ModelDescription> readRoberta(const Json& config, const std::string& file);
Result<ModelDescription> readDistilBert(const Json& config, const std::string& file);
Result<ModelDescription> readDebertaV2(const Json& config, const std::string& file);

}  // namespace luthier
