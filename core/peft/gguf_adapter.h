// SPDX-License-Identifier: Apache-2.0
#pragma once
// A LoRA adapter as llama.cpp has it: names of the base's GGUF, rows of B in the
// order in which llama.cpp holds the base's, one alpha a file over each pair's own rank.

#include "contract/json.h"
#include "contract/problem.h"
#include "io/gguf.h"
#include "model/description.h"
#include "peft/adapter.h"

#include <filesystem>

namespace luthier {

struct Method;

/// The adapter in PEFT's names and order.
struct GgufAdapter {
    const Method* method = nullptr;
    Json settings;  ///< complete settings of the method
    TensorMap tensors;
};

/// A file whose name ends in .gguf, or one that begins as a GGUF file does.
bool isGgufAdapter(const std::filesystem::path& path);

/// Problem codes: those of GgufFile::open and ggufLayout, adapter_method (no LoRA adapter),
/// adapter_base (another architecture), adapter_tensor_unexpected, adapter_tensor_missing.
Result<GgufAdapter> readGgufAdapter(const std::filesystem::path& path,
                                    const ModelDescription& description);

}  // namespace luthier
