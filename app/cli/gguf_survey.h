// SPDX-License-Identifier: Apache-2.0
#pragma once
// A GGUF file as `inspect` and `models` describe it.

#include "contract/json.h"

#include <filesystem>

namespace luthier::cli {

/// {"kind": "gguf" (a model) or "adapter", …, "can_import", "reason"}. Throws Failure when the file
/// cannot be read.
Json inspectGguf(const std::filesystem::path& path);

}  // namespace luthier::cli
