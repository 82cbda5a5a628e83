// SPDX-License-Identifier: Apache-2.0
#pragma once
// RUN.json as a value. The document stays JSON, so that what a user
// wrote and what a run folder keeps are the same thing; RunConfig is a checked copy with every
// default filled in and paths made absolute, plus typed accessors for what the engine reads.
// Schemas of methods come from the caller: they are declared by the methods themselves.

#include "contract/json.h"
#include "contract/problem.h"
#include "contract/schema.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace luthier {

const Schema& modelSchema();  ///< keys of "model"
const Schema& dataSchema();   ///< keys of "data" (train.path, eval.split, max_length, …)
const Schema& trainSchema();  ///< keys of "train" (max_steps, loss.unlikelihood, …)

/// The schema of a method by its `type`, or nullptr; `names` lists all types for messages.
struct MethodSchemas {
    std::function<const Schema*(const std::string& type)> find;
    std::vector<std::string> names;
    std::string byDefault;  ///< what a run begins with where nothing was chosen
    std::string whole;      ///< the one that trains every weight
};

struct RunConfig {
    Json document;                    ///< the whole resolved document
    std::filesystem::path directory;  ///< relative paths started here
    bool learnsFirstToken = false;    ///< Schema::putsTokensBeforeText of the method

    std::string name() const { return document.at("name"); }
    std::string group() const { return document.at("group"); }
    std::string device() const { return document.at("device"); }
    const Json& model() const { return document.at("model"); }
    const Json& method() const { return document.at("method"); }
    const Json& data() const { return document.at("data"); }
    const Json& train() const { return document.at("train"); }
    std::string methodType() const { return method().at("type"); }

    /// The value under a dotted key of the whole document ("train.seed"), converted; the key must
    /// exist.
    template <class T>
    T get(const std::string& dottedKey) const {
        return findDotted(document, dottedKey)->get<T>();
    }
    /// As above; nullopt when the value is null or absent.
    template <class T>
    std::optional<T> optional(const std::string& dottedKey) const {
        const Json* value = findDotted(document, dottedKey);
        if (value == nullptr || value->is_null()) return std::nullopt;
        return value->get<T>();
    }
};

/// Checks the whole document, reports every problem at once, fills in defaults and makes paths
/// absolute against `directory`. Does not look at the file system.
Result<RunConfig> resolveRunConfig(const Json& document, const std::filesystem::path& directory,
                                   const MethodSchemas& methods);

/// Reads RUN.json (comments allowed), applies `--set dotted.key=JSON` overrides, then resolves.
Result<RunConfig> loadRunConfig(const std::filesystem::path& path,
                                const std::vector<std::string>& overrides,
                                const MethodSchemas& methods);

}  // namespace luthier
