// SPDX-License-Identifier: Apache-2.0
#pragma once
// A checkpoint is a folder written whole or not at all: `state.safetensors` (trained parameters,
// float32, and what the optimiser keeps) and `state.json`. Since data order and randomness are
// functions of (seed, step), the step number is all of their state.
//
//   checkpoints/step-000100/state.safetensors   parameter.NAME, optimizer.NAME.KEY as the optimiser
//   names them, method.NAME checkpoints/step-000100/state.json          TrainState
//   checkpoints/step-000100/MANIFEST.json       length and SHA-256 of both (io/manifest.h)

#include "contract/problem.h"
#include "peft/adapter.h"
#include "train/optimizer.h"

#include <cstdint>
#include <filesystem>
#include <optional>

namespace luthier {

struct TrainState {
    std::int64_t step = 0;    ///< optimiser steps done
    double learningRate = 0;  ///< base rate; a `set` command may have changed it
    std::int64_t tokens = 0;  ///< seen since the run began
    std::int64_t supervisedTokens = 0;
    double seconds = 0;  ///< spent training
    double bestEvalLoss = 0;
    std::int64_t bestEvalStep = -1;     ///< -1 when none was finite yet
    std::int64_t evalsWithoutGain = 0;  ///< since the evaluation loss last fell
    std::optional<double> firstLoss,
        lastLoss;  ///< of the steps taken; not finite where a step's was not
    std::optional<double> lastEvalLoss;
    bool isEvaluationDue = false;  ///< the evaluation at this step was begun and not ended: a run
                                   ///< that goes on here takes it first
    int threads = 0;               ///< results are bit-equal only with as many
};

/// @returns bytes on disk. Problem codes: disk_full and those of io/atomic.h.
Result<std::int64_t> writeCheckpoint(const std::filesystem::path& folder, const Adapter& adapter,
                                     const Optimizer& optimizer, const TrainState& state);

/// Fills the parameters and moments in place. Problem codes: checkpoint_missing,
/// checkpoint_mismatch.
Result<TrainState> readCheckpoint(const std::filesystem::path& folder, const Adapter& adapter,
                                  Optimizer& optimizer);

}  // namespace luthier
