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
    Result<DecoderDescription> (*read)(const Json& config, const std::string& file);
};

const std::vector<Family>& families();

/// The description of a config.json, or why there is none: unknown family (with the nearest one named), remote code, bad values.
Result<DecoderDescription> describeModel(const Json& config, const std::string& file);

Result<DecoderDescription> readLlama(const Json& config, const std::string& file);
Result<DecoderDescription> readGpt2(const Json& config, const std::string& file);
Result<DecoderDescription> readGptNeo(const Json& config, const std::string& file);
Result<DecoderDescription> readGptJ(const Json& config, const std::string& file);
Result<DecoderDescription> readGptNeoX(const Json& config, const std::string& file);
Result<DecoderDescription> readOpt(const Json& config, const std::string& file);
Result<DecoderDescription> readBloom(const Json& config, const std::string& file);
Result<DecoderDescription> readFalcon(const Json& config, const std::string& file);
Result<DecoderDescription> readMpt(const Json& config, const std::string& file);
Result<DecoderDescription> readMistral(const Json& config, const std::string& file);
Result<DecoderDescription> readMixtral(const Json& config, const std::string& file);
Result<DecoderDescription> readQwen2(const Json& config, const std::string& file);
Result<DecoderDescription> readQwen2Moe(const Json& config, const std::string& file);
Result<DecoderDescription> readQwen3(const Json& config, const std::string& file);
Result<DecoderDescription> readQwen3Moe(const Json& config, const std::string& file);
Result<DecoderDescription> readGemma(const Json& config, const std::string& file);
Result<DecoderDescription> readGemma2(const Json& config, const std::string& file);
Result<DecoderDescription> readGemma3Text(const Json& config, const std::string& file);
Result<DecoderDescription> readPhi(const Json& config, const std::string& file);
Result<DecoderDescription> readPhi3(const Json& config, const std::string& file);
Result<DecoderDescription> readStableLm(const Json& config, const std::string& file);
Result<DecoderDescription> readOlmo(const Json& config, const std::string& file);
Result<DecoderDescription> readOlmo2(const Json& config, const std::string& file);
Result<DecoderDescription> readStarcoder2(const Json& config, const std::string& file);
Result<DecoderDescription> readGranite(const Json& config, const std::string& file);
Result<DecoderDescription> readSmolLm3(const Json& config, const std::string& file);
Result<DecoderDescription> readCohere(const Json& config, const std::string& file);

}  // namespace luthier
