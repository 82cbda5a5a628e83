// SPDX-License-Identifier: Apache-2.0
#pragma once
// The list of model families. A family is one file that reads config.json into a description, and one line in families.cpp.

#include "model/arch/common.h"

#include <string>
#include <vector>

namespace luthier {

struct Family {
    const char* modelType;     ///< config.json's "model_type"
    const char* architecture;  ///< its causal language model class
    Result<ModelDescription> (*read)(const Json& config, const std::string& file);
};

const std::vector<Family>& families();

/// The description of a config.json, or why there is none: unknown family (with the nearest one named), remote code, bad values.
Result<ModelDescription> describeModel(const Json& config, const std::string& file);

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

}  // namespace luthier
