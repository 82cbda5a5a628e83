// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the files of functions.h share to write autograd nodes; nobody else includes this.

#include "model/functions.h"

#include <torch/csrc/autograd/custom_function.h>

#include <optional>

namespace luthier::nn {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::Variable;
using torch::autograd::variable_list;

/// An argument that may be missing: autograd nodes take those as std::optional, never as an
/// undefined tensor.
using Maybe = std::optional<at::Tensor>;

inline Maybe maybe(const at::Tensor& tensor) {
    return tensor.defined() ? Maybe(tensor) : std::nullopt;
}
inline at::Tensor orUndefined(const Maybe& tensor) { return tensor.value_or(at::Tensor()); }

inline bool isWidened(const at::Tensor& x) {
    return x.scalar_type() == at::kBFloat16 && !hasFastBfloat16(x.device());
}

/// The dtype in which products with `x` are computed.
inline at::ScalarType productType(const at::Tensor& x) {
    return isWidened(x) ? at::kFloat : x.scalar_type();
}

}  // namespace luthier::nn
