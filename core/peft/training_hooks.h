// SPDX-License-Identifier: Apache-2.0
#pragma once
// What an adapter may want of the training loop besides gradients: a term in the loss, a word after each update (AdaLoRA's budget).
// An adapter that does derives from this too; the trainer and the checkpoint ask for it.

#include "peft/adapter.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace luthier {

class TrainingHooks {
public:
    virtual ~TrainingHooks() = default;
    /// What the method adds to a step's loss, [] f32 with its graph; undefined: nothing.
    virtual at::Tensor regularisation() const = 0;
    /// Called after the optimiser's update number `step` (from 1), while the gradients are still there.
    virtual void afterUpdate(std::int64_t step, std::int64_t totalSteps) = 0;
    /// What a resumed run needs besides the parameters; filled in place.
    virtual std::vector<NamedTensor> trainingState() const = 0;
};

}  // namespace luthier
