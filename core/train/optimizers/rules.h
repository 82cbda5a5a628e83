// SPDX-License-Identifier: Apache-2.0
#pragma once
// The list of update rules besides AdamW (train/adamw.h), each in the file of its name.

#include "train/optimizer.h"

namespace luthier {

std::unique_ptr<Optimizer> makeAdafactor(std::vector<TrainedParameter> parameters,
                                         const OptimizerSettings& settings);
std::unique_ptr<Optimizer> makeAdamW8bit(std::vector<TrainedParameter> parameters,
                                         const OptimizerSettings& settings);
std::unique_ptr<Optimizer> makeLion(std::vector<TrainedParameter> parameters,
                                    const OptimizerSettings& settings);
std::unique_ptr<Optimizer> makeSgd(std::vector<TrainedParameter> parameters,
                                   const OptimizerSettings& settings);

/// Parameters with fewer elements keep float32 moments, as in bitsandbytes.
constexpr std::int64_t kMin8bitSize = 4096;
constexpr std::int64_t k8bitBlock = 256;

}  // namespace luthier
