// SPDX-License-Identifier: Apache-2.0
#pragma once
// Adapter folders: adapter_config.json and adapter_model.safetensors (PEFT), or adapter.safetensors (the `adapters` library). Where a
// model is at hand a GGUF LoRA (gguf_adapter.h) may stand for a folder.

#include "contract/json.h"
#include "contract/problem.h"
#include "model/arch/families.h"
#include "peft/adapter.h"
#include "peft/method.h"

#include <filesystem>
#include <memory>

namespace luthier {

/// What a folder says of its adapter, before any model is at hand.
struct AdapterFolder {
    std::filesystem::path path;
    std::filesystem::path tensorFile;
    const Method* method = nullptr;
    Json settings;  ///< complete settings of the method
    Json config;    ///< adapter_config.json as it stands
};

/// Problem codes: folder_missing, adapter_config_missing, adapter_config, adapter_method, adapter_feature (a PEFT option that
/// changes the result and that Luthier does not compute), pickle_refused, adapter_weights_missing.
Result<AdapterFolder> readAdapterFolder(const std::filesystem::path& folder);

/// What the base must be opened for: its classifier and its classes where the adapter has one, else as the base's config.json says.
ModelTask taskOfAdapter(const AdapterFolder& folder);
Result<ModelTask> taskOfAdapter(const std::filesystem::path& folder);

/// The tensors of a safetensors file as CPU tensors.
Result<TensorMap> readTensors(const std::filesystem::path& file);

/// Makes the adapter for `model` and fills it from the folder.
Result<std::shared_ptr<Adapter>> openAdapter(const std::filesystem::path& folder, Model& model);

/// Fills `adapter`, which is made for `model`, from the file of another folder of the same method (init_from).
Result<void> loadInto(Adapter& adapter, const std::filesystem::path& folder, const Model& model);

/// Writes the adapter's file and config into an existing folder. @returns bytes of the tensor file.
/// How an adapter names its base: the hub's "owner/name" of a folder in Hugging Face's cache, else the folder's absolute path.
std::string baseNameOf(const std::filesystem::path& modelFolder);

Result<std::int64_t> writeAdapter(const Adapter& adapter, const std::filesystem::path& folder, const std::string& baseModelName);

/// Writes a model folder: config.json and the other small files of `source`, and the weights of `model` as stored or float32.
/// @returns bytes of the weights.
Result<std::int64_t> writeModel(const Model& model, const std::filesystem::path& source, const std::filesystem::path& folder, at::ScalarType dtype);

}  // namespace luthier
