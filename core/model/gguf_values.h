// SPDX-License-Identifier: Apache-2.0
#pragma once
// Tensors as the bytes of a GGUF type, and back.

#include "io/gguf.h"

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace luthier {

/// "f32", "f16", "bf16", "q8_0": the types that Luthier writes.
std::optional<GgufType> ggufTypeOf(const std::string& name);

/// The type a tensor gets in a file of `wanted`: Q8_0 needs rows of a multiple of 32 values, else
/// F16 as llama.cpp's converter does.
GgufType fitting(GgufType wanted, const at::Tensor& tensor);

/// Q8_0: each 32 values are d q with d = max|x| / 127 in half precision and q = x / d rounded to
/// the nearest, halves away from zero.
std::vector<std::byte> ggufBytes(GgufType type, const at::Tensor& tensor);
/// The values in the tensor's shape, rounded to `type`. Of blocks no more memory than the result
/// takes.
at::Tensor ggufTensor(const GgufTensor& tensor, at::ScalarType type = at::kFloat);

}  // namespace luthier
