// SPDX-License-Identifier: Apache-2.0
#pragma once
// The list of model families. A family is one file that reads config.json into a description, and one line in families.cpp.

#include "contract/json.h"
#include "contract/problem.h"
#include "model/description.h"

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

/// Reads integers and flags of a config.json and remembers every problem.
class ConfigReader {
public:
    ConfigReader(const Json& config, std::string file) : m_config(config), m_file(std::move(file)) {}

    std::int64_t integer(const char* key);                         ///< required
    std::int64_t integer(const char* key, std::int64_t fallback);  ///< absent or null: fallback
    double number(const char* key, double fallback);
    bool flag(const char* key, bool fallback);
    std::string text(const char* key, const std::string& fallback);
    kernels::GateActivation activation(const char* key, const std::string& fallback);

    Problems& problems() { return m_problems; }

private:
    void complain(const char* key, const std::string& wanted);

    const Json& m_config;
    std::string m_file;
    Problems m_problems;
};

}  // namespace luthier
