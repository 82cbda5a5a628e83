// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a run will cost, from config.json alone: counts are exact (the method is attached to a model
// without memory), bytes of the adapter file are exact, memory is a model of the step (which
// tensors it keeps, for how many tokens).

#include "contract/json.h"
#include "contract/problem.h"
#include "contract/run_config.h"
#include "model/open.h"
#include "peft/adapter.h"

#include <optional>

namespace luthier {

/// What the configuration opens its model for.
ModelTask taskOf(const RunConfig& config);
/// Whether the run starts with a fresh head whatever the folder has (freeze's new_head).
bool wantsNewHead(const RunConfig& config);

/// The configuration as the model's config.json lets it be: model.task "auto" replaced by what it
/// says, and data.max_length by the positions that the model has learned where it asks for more
/// (virtual tokens of the method taken off). Problem codes: those of readDescription.
Result<RunConfig> withTask(RunConfig config);

/// A warning when data.max_length is beyond what the model can read or was made for. Problem codes:
/// max_length_positions (rows are cut to the positions learned), max_length_context.
std::optional<Problem> lengthWarning(const RunConfig& config);

/// What evaluating is of a run's computation.
struct EvaluationShare {
    std::int64_t times = 0;
    std::int64_t rows = 0;  ///< of each
    std::int64_t ofRows = 0;
    double share = 0;  ///< of the passes through the model that the run makes, tokens counted

    Json toJson() const;
};

/// @param trainTokens, evalTokens of all steps, and of one evaluation
EvaluationShare evaluationShare(const RunConfig& config, std::int64_t steps,
                                Activations activations, std::int64_t rows, std::int64_t ofRows,
                                double trainTokens, double evalTokens);

/// A warning when evaluating is more than half of the run, with what to set. Problem code:
/// evaluation_share.
std::optional<Problem> heavyEvaluation(const EvaluationShare& share);

/// The document of `estimate --json` (core/contract/PROTOCOL.md).
Result<Json> estimateRun(const RunConfig& config);

/// What train.gradient_checkpointing comes to for this model and adapter: "auto" recomputes when
/// the step's memory, kept activations included, would not fit into what the machine has free now.
Activations chooseActivations(const RunConfig& config, const Model& model, const Adapter& adapter);

/// {"name","kind","total_bytes"} of the device that a run would use.
Json describeDevice(const std::string& name);

/// Parameters by the last part of the module they belong to.
Json countByPart(const Adapter& adapter);

}  // namespace luthier
