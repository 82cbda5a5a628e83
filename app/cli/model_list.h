// SPDX-License-Identifier: Apache-2.0
#pragma once
// The models on this machine, each with a word on whether and how it can be trained.

#include "contract/json.h"

#include <filesystem>
#include <string>
#include <vector>

namespace luthier::cli {

/// {"models": [what `inspect` says of each, with "name", "store", "training" (trains | import |
/// adapter | no) and "reason"]}: of the given folders (or files), the workspace, Hugging Face's
/// cache, LM Studio and Ollama. "import" also has "import": what `luthier-cli import` takes. Throws
/// Failure when a given folder does not exist.
Json listModels(const std::vector<std::string>& folders, const std::filesystem::path& workspace);

}  // namespace luthier::cli
