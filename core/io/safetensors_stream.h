// SPDX-License-Identifier: Apache-2.0
#pragma once
// writeSafetensors for tensors that are made one at a time, so that a file larger than memory can
// be written.

#include "io/safetensors.h"

#include <functional>

namespace luthier {

/// The bytes of the tensor at `index`, good until the next call. May throw: then no file appears.
using TensorBytes = std::function<const std::byte*(std::size_t index)>;

/// `data` of the views is not looked at. `bytes` is asked once for each, in the order of the file.
/// Problem codes: those of writeSafetensors.
Result<std::uint64_t> streamSafetensors(const std::filesystem::path& file,
                                        const std::vector<TensorView>& tensors,
                                        const std::map<std::string, std::string>& metadata,
                                        const TensorBytes& bytes);

}  // namespace luthier
