// SPDX-License-Identifier: Apache-2.0
#pragma once
// A GGUF model as a Hugging Face folder: what Luthier trains, plays and exports, and transformers
// loads. Values of F32, F16 and BF16 are kept exactly; blocks become the numbers that they stand
// for, rounded to bfloat16 unless another type is asked for. One tensor is held at a time (of
// stacked experts one expert), whatever the file's size.

#include "contract/problem.h"
#include "io/gguf.h"
#include "model/description.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>

namespace luthier {

struct GgufImport {
    std::filesystem::path file;
    std::filesystem::path out;   ///< must not exist
    std::string dtype = "auto";  ///< auto (a file without blocks exactly as it is, else bfloat16) |
                                 ///< float32 | float16 | bfloat16
    /// Phases: opening, writing (bytes), checking. May throw to end the import: nothing stays
    /// behind.
    std::function<void(const std::string& phase, std::int64_t done, std::int64_t total)> progress;
};

struct GgufImported {
    std::string family;
    std::int64_t parameters = 0;
    std::int64_t bytes = 0;  ///< of the weights
    std::string dtype;       ///< float32, float16, bfloat16: what the matrices have
    std::map<std::string, std::int64_t> types;  ///< of the file's tensors, how many have each
    bool hasTokenizer = false;
};

/// Writes the whole folder or nothing. Problem codes: those of GgufFile::open, gguf_config.h,
/// vocabulary_files.h, io/atomic.h; gguf_kind (a GGUF file that is no model), tensor_not_finite,
/// dtype_too_narrow (a value that float16 does not have), disk_full.
Result<GgufImported> importGguf(const GgufImport& request);

/// What importGguf would say of the file before it writes: its description, or why it cannot be
/// imported. Reads no weights.
Result<ModelDescription> describeGguf(const GgufFile& file, const std::string& name);

}  // namespace luthier
