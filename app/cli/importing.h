// SPDX-License-Identifier: Apache-2.0
#pragma once
// `import` of a GGUF model, as the command and the window's session both do it.

#include "contract/json.h"

#include <functional>
#include <string>

namespace luthier::cli {

/// `path`: a GGUF file, or the name that Ollama or LM Studio has for one (model_stores.h). `dtype`:
/// auto, float32, float16 or bfloat16.
/// @returns
/// {"path","file","from":"gguf","out","family","parameters","bytes","dtype","types","tokenizer"}.
/// Throws Failure.
Json importedModel(
    const std::string& path, const std::string& out, const std::string& dtype,
    const std::function<void(const std::string&, std::int64_t, std::int64_t)>& progress);

}  // namespace luthier::cli
