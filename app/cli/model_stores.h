// SPDX-License-Identifier: Apache-2.0
#pragma once
// Where other programs keep models on this machine, and the names that they give them.
//
//   Hugging Face  $HF_HUB_CACHE, $HF_HOME/hub, ~/.cache/huggingface/hub:
//   models--OWNER--NAME/snapshots/REVISION/… LM Studio     ~/.lmstudio/models,
//   ~/.cache/lm-studio/models: PUBLISHER/NAME/FILE.gguf Ollama        $OLLAMA_MODELS,
//   ~/.ollama/models, /usr/share/ollama/.ollama/models: manifests/HOST/NAMESPACE/NAME/TAG (JSON:
//   layers by media
//                 type and digest), blobs/sha256-DIGEST

#include "contract/problem.h"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace luthier::cli {

/// A model, or an adapter, as it lies on the disk.
struct StoredModel {
    std::filesystem::path path;  ///< a folder or a GGUF file (of several parts the first)
    std::string name;   ///< as its program calls it: "meta-llama/Llama-3.2-1B", "llama3.2:1b";
                        ///< empty: by its path
    std::string store;  ///< folder, workspace, huggingface, lmstudio, ollama
    std::string refusal = {};  ///< what keeps the store's own files from being used ("The blob … is
                               ///< missing."); empty usually
};

/// Folders with a config.json or adapter_config.json, and GGUF files, at most `depth` folders down;
/// an Ollama folder by its manifests.
std::vector<StoredModel> modelsIn(const std::filesystem::path& folder, int depth,
                                  const std::string& store);
std::vector<StoredModel> modelsOfHuggingFace();
std::vector<StoredModel> modelsOfLmStudio();
std::vector<StoredModel> modelsOfOllama();

/// The snapshot of "owner/name" in Hugging Face's cache, the one that refs/main names where it is
/// there; its folder holds a config.json.
std::optional<std::filesystem::path> downloadedModel(const std::string& name);

/// "ollama:NAME[:TAG]" and "lmstudio:NAME" as the file they stand for; anything else as it is.
/// Problem codes: model_unknown (the names there are are said), model_ambiguous, file_missing.
Result<std::filesystem::path> pathOfModelName(const std::string& name);

}  // namespace luthier::cli
