// SPDX-License-Identifier: Apache-2.0
#pragma once
// What an adapter may want of the training loop besides gradients: a word before each step (gradual
// unfreezing), a term in the loss, a word after each update (AdaLoRA's budget). An adapter that
// does derives from this too; the trainer and the checkpoint ask for it.

#include "peft/adapter.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace luthier {

class TrainingHooks {
public:
    virtual ~TrainingHooks() = default;
    /// Called before the forward passes of step `step` (from 1). @returns an event to tell, or
    /// null.
    virtual Json beforeStep(std::int64_t) { return nullptr; }
    /// What the method adds to a step's loss, [] f32 with its graph; undefined: nothing.
    virtual at::Tensor regularisation() const { return {}; }
    /// Called after the optimiser's update number `step` (from 1), while the gradients are still
    /// there.
    virtual void afterUpdate(std::int64_t, std::int64_t) {}
    /// What a resumed run needs besides the parameters; filled in place.
    virtual std::vector<NamedTensor> trainingState() const { return {}; }
};

}  // namespace luthier
