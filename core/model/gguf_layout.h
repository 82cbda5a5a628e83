// SPDX-License-Identifier: Apache-2.0
#pragma once
// Where the weights of a described decoder stand in a GGUF file and how llama.cpp wants them
// turned: names by the role that a tensor has in the description, so a family says only what its
// graph in llama.cpp demands or cannot do (gguf_spelling.h).

#include "contract/problem.h"
#include "io/gguf.h"
#include "model/description.h"

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

namespace luthier {

/// The order that llama.cpp wants the rows of a projection in.
enum class RowOrder {
    AsStored,
    Neighbours,  ///< each head's rotated pairs side by side: new row h d + 2 i + e is old row h d +
                 ///< e d/2 + i
    Ungrouped,   ///< of a fused projection: all q, all k, all v instead of q, k, v for each
                 ///< key-value head
};

/// One tensor of the file.
struct GgufEntry {
    std::string name;
    std::vector<std::string>
        sources;  ///< Hugging Face names; several are stacked along a new first dimension
    RowOrder order = RowOrder::AsStored;
    std::int64_t heads = 0;            ///< of Neighbours; key-value heads of Ungrouped
    std::int64_t queriesPerGroup = 1;  ///< of Ungrouped
    bool isTransposed = false;         ///< stored [in, out] (Conv1D)
    double offset = 0;                 ///< added to the values (Gemma's norms)
    bool isAlwaysFloat =
        false;  ///< norms, biases, positions, routers: F32 whatever the file's type
};

struct GgufLayout {
    std::string architecture;  ///< llama.cpp's name of it
    std::vector<GgufEntry> entries;
    GgufKeys keys;  ///< the architecture's own: "llama.block_count", …
    std::vector<std::pair<std::string, at::Tensor>>
        extra;  ///< tensors that the model has none for: rope_freqs.weight

    /// The entry that holds a Hugging Face tensor alone; nullptr when there is none.
    const GgufEntry* find(const std::string& source) const;
};

/// Problem codes: gguf_family (llama.cpp does not know it), gguf_feature (a switch that its graph
/// does not have).
Result<GgufLayout> ggufLayout(const ModelDescription& description);

/// Rows [out, …] in the order of the file, and back.
at::Tensor inFileOrder(const GgufEntry& entry, const at::Tensor& rows);
at::Tensor inModelOrder(const GgufEntry& entry, const at::Tensor& rows);

}  // namespace luthier
