// SPDX-License-Identifier: Apache-2.0
#pragma once
// Randomness of an adapter in a training step. Every draw depends on the pass's key (seed, step,
// micro-step) and on the name of what draws it, so that neither a resumed run nor a block that runs
// again sees another one. Masks are drawn on the CPU: devices agree.

#include "contract/schema.h"
#include "model/site.h"

#include <ATen/core/Tensor.h>

#include <string>

namespace luthier {

/// 1 with the probability 1 - share, else 0. f32 on the CPU.
at::Tensor keepMask(at::IntArrayRef shape, double share, const RandomKey& random,
                    const std::string& name);
/// Inverted dropout: x times a mask over its mean, x's shape and dtype.
at::Tensor droppedOut(const at::Tensor& x, double share, const RandomKey& random,
                      const std::string& name);

/// A share from 0 to 0.99, 0 unless it is set.
Setting dropoutSetting(const char* key, const char* label, const char* help);

}  // namespace luthier
