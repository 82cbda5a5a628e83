// SPDX-License-Identifier: Apache-2.0
#pragma once
// A GGUF model as a Hugging Face folder: what Luthier trains, plays and exports, and transformers loads. Values are kept exactly:
// F32, F16 and BF16 as they are, Q8_0 as the float32 numbers that its blocks stand for.

#include "contract/problem.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace luthier {

struct GgufImport {
    std::filesystem::path file;
    std::filesystem::path out;  ///< must not exist
    std::function<void(const std::string& phase, std::int64_t done, std::int64_t total)> progress;  ///< may throw to end the import: nothing stays behind
};

struct GgufImported {
    std::string family;
    std::int64_t parameters = 0;
    std::int64_t bytes = 0;        ///< of the weights
    std::string dtype;             ///< float32, float16, bfloat16
    bool hasTokenizer = false;
};

/// Writes the whole folder or nothing. Problem codes: those of GgufFile::open, gguf_config.h, vocabulary_files.h, io/atomic.h; gguf_kind
/// (a GGUF file that is no model).
Result<GgufImported> importGguf(const GgufImport& request);

}  // namespace luthier
