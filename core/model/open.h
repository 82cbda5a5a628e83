// SPDX-License-Identifier: Apache-2.0
#pragma once
// A model folder (config.json, *.safetensors) as a Model.

#include "contract/json.h"
#include "contract/problem.h"
#include "model/arch/families.h"
#include "model/model.h"
#include "text/tokenizer.h"

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace luthier {

struct ModelRequest {
    std::filesystem::path folder;
    std::string dtype = "auto";       ///< auto | float32 | bfloat16
    std::string device = "auto";      ///< auto | cpu | cuda | cuda:N
    std::string init = "pretrained";  ///< pretrained | random
    std::uint64_t seed = 42;
    ModelTask task = {};
    bool mayDrawHead = false;  ///< a classifier's head that the folder lacks is drawn from `seed`
    bool hasNewHead = false;  ///< the head is drawn from `seed` whatever the folder has; a tied one
                              ///< gets weights of its own
};

/// The device that a name stands for; auto: what LUTHIER_DEVICE says, else the first CUDA device,
/// else the CPU. Problem codes: unknown_device, no_cuda.
Result<at::Device> chooseDevice(const std::string& name);
/// auto: bfloat16 where the device is fast at it, else float32.
at::ScalarType chooseDtype(const std::string& name, const at::Device& device);

/// config.json of a folder, checked. Problem codes: folder_missing, config_missing, config_*,
/// unknown_family, pickle_refused.
Result<Json> readConfig(const std::filesystem::path& folder);
/// The description, a tied head that is stored with other weights untied.
Result<ModelDescription> readDescription(const std::filesystem::path& folder,
                                         const ModelTask& task = {});

Result<std::unique_ptr<Model>> openModel(const ModelRequest& request);
/// The model without weights: for counting and estimates.
Result<std::unique_ptr<Model>> openShapes(const ModelRequest& request);

/// The tokenizer of a model folder, which knows how many rows the embedding has
/// (Tokenizer::usableIds). Problem codes: those of text/tokenizer.h.
Result<std::unique_ptr<Tokenizer>> openTokenizer(const std::filesystem::path& folder,
                                                 const ModelDescription& description);
/// The same by the folder's own config.json, where it has one.
Result<std::unique_ptr<Tokenizer>> openTokenizer(const std::filesystem::path& folder);
/// tokenizer_larger: what a person should know of a tokenizer with more tokens than the embedding
/// has rows.
std::optional<Problem> warningOf(const Tokenizer& tokenizer);

}  // namespace luthier
