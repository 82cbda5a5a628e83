// SPDX-License-Identifier: Apache-2.0
#pragma once
// A method is one file in methods/ that fills in a Method, and one line of methods.list. All that
// other rooms, the window and the tests know of a method stands in it: no other file names one. Its
// settings carry PEFT's own field names, so an adapter_config.json and the `method` object of
// RUN.json are read by the same code.

#include "contract/json.h"
#include "contract/problem.h"
#include "contract/run_config.h"
#include "contract/schema.h"
#include "peft/adapter.h"

#include <filesystem>
#include <functional>
#include <memory>
#include <set>
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

/// The learning rate that a method is usually trained with (AdamW), and who says so: where a
/// comparison of methods starts.
struct UsualRate {
    double rate = 2e-4;
    std::string source = "as LoRA; it has no rate of its own in the literature";
};

/// A setting as a run's short description says it: "r %1", %1 being its value. Without %1 the value
/// itself is said.
struct SettingWord {
    std::string key;
    std::string text;
};

struct CombineRequest;

struct Method {
    std::string type;      ///< "lora"
    std::string title;     ///< "LoRA"
    std::string group;     ///< heading of the method cards
    std::string summary;   ///< one sentence
    std::string peftType;  ///< "LORA"; empty when PEFT has no such method
    bool isMergeable = false;
    Schema schema;
    Result<std::shared_ptr<Adapter>> (*create)(const MethodContext& context);

    UsualRate usualRate = {};
    bool isDefault = false;        ///< what a run begins with where nothing was chosen
    bool trainsAll = false;        ///< every weight of the model
    bool leavesModel = false;      ///< the result is a model, no adapter
    bool keepsInputs = false;      ///< a step keeps the inputs of the projections (the estimate)
    std::string trainedBlocksKey;  ///< setting that says how many last blocks are trained
    std::string ownBias = {};      ///< third choice of the setting `bias`: "lora_only"

    // Its files.
    bool isPrompt = false;      ///< PEFT wraps no module: names begin "base_model.", not
                                ///< "base_model.model."
    std::string fileType = {};  ///< method whose files these are as well; empty: its own
    std::string tensorFile = "adapter_model.safetensors";
    std::string library = {};  ///< that reads its folders; empty: PEFT
    TensorMap (*plainNames)(const TensorMap& tensors, const Json& config) =
        nullptr;  ///< of a file's tensors, without an adapter's own name; null: PEFT's
    std::set<std::string> unusedKeys = {};  ///< of adapter_config.json, though PEFT writes them
    bool (*owns)(const Json& config) = nullptr;  ///< an adapter_config.json that peftType does not
                                                 ///< tell by itself
    Result<Json> (*readSettings)(const Json& config, const std::string& file) =
        nullptr;                ///< of such a config; null: by PEFT's names
    std::string ggufType = {};  ///< adapter.type of a GGUF file; empty: GGUF has none of it
    /// Several adapters made into one (combine.h); null: they cannot be.
    Result<Json> (*combine)(const CombineRequest& request,
                            const std::filesystem::path& out) = nullptr;

    // How it looks. `glyph`: a picture of 32 x 20, grey what is frozen and in the accent what is
    // trained; commands behind each other, numbers in units of the picture:
    //   frozen X Y W H | bar X Y W H          a bar
    //   layers X W N                          three bars, the first N trained
    //   tie X Y W H                           two thin matrices
    //   line WIDTH X Y X Y … | shape X Y …    strokes, a filled outline
    //   curve WIDTH X Y X1 Y1 X2 Y2 X3 Y3 | arc WIDTH X Y W H FROM SPAN
    std::string glyph = "layers 0 15 0 tie 18 1 10 8 tie 18 11 10 8";
    /// What a picture of the model shows beside trained projections: all, norms, prefix,
    /// nets, tokens.
    std::vector<std::string> marks = {};
    std::vector<SettingWord> words = {};
};

/// The adapter of a method for the model's task: says the task in its file, and trains what is to
/// be trained beside it (saved_modules.h).
Result<std::shared_ptr<Adapter>> createAdapter(const Method& method, const MethodContext& context);

/// Made from methods.list.
std::vector<Method> listOfMethods();

/// Those of methods.list, with the settings that PEFT's methods have in common.
const std::vector<Method>& methods();
const Method* findMethod(const std::string& type);
/// The method of an adapter_config.json; nullptr: none knows it.
const Method* methodOfConfig(const Json& config);
/// The method whose adapters a GGUF file holds under this adapter.type.
const Method* methodOfGguf(const std::string& ggufType);
/// The method that a new run begins with, and the one that trains every weight.
const Method& defaultMethod();
const Method& wholeMethod();
MethodSchemas methodSchemas();

/// `methods --json` (core/contract/PROTOCOL.md).
Json describeMethods();

/// A seed for the tensor `name`, independent of every other tensor's.
std::uint64_t tensorSeed(std::uint64_t seed, const std::string& name);
at::Tensor uniformTensor(at::IntArrayRef shape, double bound, std::uint64_t seed,
                         const at::Device& device);
at::Tensor normalTensor(at::IntArrayRef shape, double deviation, std::uint64_t seed,
                        const at::Device& device);
/// A contiguous float32 leaf that takes a gradient.
at::Tensor leaf(const at::Tensor& value);

}  // namespace luthier
