// SPDX-License-Identifier: Apache-2.0
#pragma once
// Between files and tensors: views of mapped bytes as tensors, tensors as views to write.

#include "contract/problem.h"
#include "io/safetensors.h"

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>

namespace luthier {

std::optional<at::ScalarType> scalarType(DType dtype);
DType dtypeOf(at::ScalarType type);

/// The bytes of `view` as a CPU tensor that keeps `owner` alive; copied only when they are not
/// aligned. Never to be written to.
at::Tensor mappedTensor(const TensorView& view, std::shared_ptr<const void> owner);

/// A view of a tensor's bytes; `storage` receives a contiguous CPU copy when the tensor is not one
/// itself.
TensorView viewOf(const std::string& name, const at::Tensor& tensor,
                  std::vector<at::Tensor>& storage);

}  // namespace luthier
