// SPDX-License-Identifier: Apache-2.0
#pragma once
// The weights of a model folder as one set of names, whether they lie in one file or in shards.
// Pickled weights are refused without being opened: unpickling runs code. Every rule is checked in
// open(); shard names of a foreign index must be plain file names, so that an index never reaches
// outside its folder.

#include "contract/problem.h"
#include "io/safetensors.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string_view>
#include <vector>

namespace luthier {

/// Immutable: any number of threads may read it.
class WeightFolder final {
public:
    /// Takes model.safetensors, else model.safetensors.index.json with its shards, else the only
    /// other *.safetensors. Problem codes: folder_missing, weights_missing, weights_ambiguous
    /// (several files and no index), pickle_refused, shard_missing, index_invalid (not the expected
    /// JSON, or a shard name that is not a plain file name), index_mismatch (a tensor not where the
    /// index says, or in two shards), file_too_large, file_*, and safetensors_*. A tensor that a
    /// shard holds but the index does not list is kept, as transformers does.
    static Result<std::shared_ptr<const WeightFolder>> open(const std::filesystem::path& folder);

    const TensorView* find(std::string_view name) const;  ///< nullptr when absent
    std::vector<const TensorView*> tensors() const;       ///< by name
    std::vector<std::filesystem::path> files() const;     ///< by name
    std::uint64_t bytes() const;                          ///< of all files, headers included

private:
    WeightFolder() = default;

    std::vector<std::shared_ptr<const SafetensorsFile>> m_files;
    std::map<std::string_view, const TensorView*> m_index;  // keys borrow from m_files
};

}  // namespace luthier
