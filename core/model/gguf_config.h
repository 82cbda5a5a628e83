// SPDX-License-Identifier: Apache-2.0
#pragma once
// config.json of a GGUF model: the inverse of gguf_layout.h, for files by llama.cpp's converters
// and by Luthier. What a file does not say is what the family's published models have: the form of
// GELU, Qwen's and Mixtral's way of scaling the chosen experts.

#include "contract/json.h"
#include "contract/problem.h"
#include "io/gguf.h"
#include "model/gguf_layout.h"

namespace luthier {

/// A Hugging Face configuration with the numbers of the file. Problem codes: gguf_family (no
/// decoder that Luthier knows), gguf_damaged (a key is missing), gguf_feature (a key that Luthier
/// has no counterpart of).
Result<Json> configOfGguf(const GgufFile& file, const std::string& name);

/// Whether the file says what a model of this layout would say: the same keys with the same values,
/// every tensor with its shape, and none besides. Problem codes: gguf_feature, gguf_damaged.
Result<void> checkAgainstLayout(const GgufFile& file, const std::string& name,
                                const GgufLayout& layout, const ModelDescription& description);

}  // namespace luthier
