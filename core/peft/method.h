// SPDX-License-Identifier: Apache-2.0
#pragma once
// A method is one file in methods/ that fills in a Method, and one line in methods.cpp. Its
// settings carry PEFT's own field names, so an adapter_config.json and the `method` object of
// RUN.json are read by the same code.

#include "contract/json.h"
#include "contract/problem.h"
#include "contract/run_config.h"
#include "contract/schema.h"
#include "peft/adapter.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace luthier {

/// What a method gets to make an adapter. `tokenize` turns a text into ids (prompt_tuning_init
/// TEXT); may be empty.
struct MethodContext {
    Model& model;
    const Json& settings;  ///< complete, checked against the schema
    std::uint64_t seed = 0;
    std::function<std::vector<std::int64_t>(const std::string&)> tokenize;
};

struct Method {
    std::string type;      ///< "lora"
    std::string title;     ///< "LoRA"
    std::string group;     ///< heading of the method cards
    std::string summary;   ///< one sentence
    std::string peftType;  ///< "LORA"; empty when PEFT has no such method
    bool isMergeable = false;
    Schema schema;
    Result<std::shared_ptr<Adapter>> (*create)(const MethodContext& context);
};

/// The adapter of a method for the model's task: says the task in its file, and trains what is to
/// be trained beside it (saved_modules.h).
Result<std::shared_ptr<Adapter>> createAdapter(const Method& method, const MethodContext& context);

const std::vector<Method>& methods();
const Method* findMethod(const std::string& type);
const Method* findPeftMethod(const std::string& peftType);
MethodSchemas methodSchemas();

/// `methods --json` (core/contract/PROTOCOL.md).
Json describeMethods();

Method fullMethod();
Method freezeMethod();
Method loraMethod();
Method ia3Method();
Method prefixTuningMethod();
Method promptTuningMethod();
Method bottleneckMethod();
Method lnTuningMethod();
Method bitfitMethod();
Method pTuningMethod();
Method pTuningV2Method();
Method adaloraMethod();
Method lohaMethod();
Method lokrMethod();
Method veraMethod();
Method oftMethod();

/// A seed for the tensor `name`, independent of every other tensor's.
std::uint64_t tensorSeed(std::uint64_t seed, const std::string& name);
at::Tensor uniformTensor(at::IntArrayRef shape, double bound, std::uint64_t seed,
                         const at::Device& device);
at::Tensor normalTensor(at::IntArrayRef shape, double deviation, std::uint64_t seed,
                        const at::Device& device);
/// A contiguous float32 leaf that takes a gradient.
at::Tensor leaf(const at::Tensor& value);

}  // namespace luthier
