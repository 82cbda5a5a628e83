// SPDX-License-Identifier: Apache-2.0
#pragma once
// Adapter folders: adapter_config.json and adapter_model.safetensors (PEFT), or adapter.safetensors
// (the `adapters` library). Where a model is at hand a GGUF LoRA (gguf_adapter.h) may stand for a
// folder.

#include "contract/json.h"
#include "contract/problem.h"
#include "model/arch/families.h"
#include "peft/adapter.h"
#include "peft/method.h"

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace luthier {

/// What a folder says of its adapter, before any model is at hand.
struct AdapterFolder {
    std::filesystem::path path;
    std::filesystem::path tensorFile;
    const Method* method = nullptr;
    Json settings;  ///< complete settings of the method
    Json config;    ///< adapter_config.json as it stands
};

/// Problem codes: folder_missing, adapter_config_missing, adapter_config, adapter_method,
/// adapter_feature (a PEFT option that changes the result and that Luthier does not compute),
/// pickle_refused, adapter_weights_missing.
Result<AdapterFolder> readAdapterFolder(const std::filesystem::path& folder);

/// Problems with settings that `file` gave, not a run: they name it and the key, and it is a bad
/// input.
Problems asOfFile(Problems problems, const std::filesystem::path& file);

/// What the base must be opened for: its classifier and its classes where the adapter has one, else
/// as the base's config.json says.
ModelTask taskOfAdapter(const AdapterFolder& folder);
Result<ModelTask> taskOfAdapter(const std::filesystem::path& folder);

/// The tensors of an adapter folder under the names that Luthier writes: an adapter's own name in
/// them is taken out.
Result<TensorMap> tensorsOf(const AdapterFolder& folder);

/// The tensors of a safetensors file as CPU tensors.
Result<TensorMap> readTensors(const std::filesystem::path& file);

/// Makes the adapter for `model` and fills it from the folder.
Result<std::shared_ptr<Adapter>> openAdapter(const std::filesystem::path& folder, Model& model);

/// Fills `adapter`, which is made for `model`, from the file of another folder of the same method
/// (init_from).
Result<void> loadInto(Adapter& adapter, const std::filesystem::path& folder, const Model& model);

/// How an adapter names its base: the hub's "owner/name" of a folder in Hugging Face's cache, else
/// the folder's absolute path.
std::string baseNameOf(const std::filesystem::path& modelFolder);

/// Writes the adapter's file and config into an existing folder. `came`: the adapter_config.json
/// that it was read from; what this says of the adapter and the file does not say in its own words
/// goes along. @returns bytes of the tensor file.
Result<std::int64_t> writeAdapter(const Adapter& adapter, const std::filesystem::path& folder,
                                  const std::string& baseModelName,
                                  const Json& came = Json::object());

/// The type that a folder's copy of `model` has for each weight: `dtype`, or what `source` stores
/// it as (what is new there: as most of its values).
Result<std::map<std::string, at::ScalarType>> writtenTypes(const Model& model,
                                                           const std::filesystem::path& source,
                                                           std::optional<at::ScalarType> dtype);

/// Writes a model folder: config.json and the other small files of `source`, and the weights of
/// `model` in these types, rounded once.
/// @returns bytes of the weights.
Result<std::int64_t> writeModel(const Model& model, const std::filesystem::path& source,
                                const std::filesystem::path& folder,
                                const std::map<std::string, at::ScalarType>& types);

/// Rounds the weights of a float32 model to these types: what a folder that writeModel() wrote
/// gives back.
void roundWeights(Model& model, const std::map<std::string, at::ScalarType>& types);

}  // namespace luthier
