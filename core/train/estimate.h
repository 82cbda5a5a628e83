// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a run will cost, from config.json alone: counts are exact (the method is attached to a model without memory), bytes of
// the adapter file are exact, memory is a model of the step (which tensors it keeps, for how many tokens).

#include "contract/json.h"
#include "contract/problem.h"
#include "contract/run_config.h"
#include "model/open.h"
#include "peft/adapter.h"

namespace luthier {

/// What the configuration opens its model for.
ModelTask taskOf(const RunConfig& config);
/// Whether the run starts with a fresh head whatever the folder has (freeze's new_head).
bool wantsNewHead(const RunConfig& config);

/// The configuration with model.task "auto" replaced by what the model's config.json says. Problem codes: those of readDescription.
Result<RunConfig> withTask(RunConfig config);

/// The document of `estimate --json` (core/README.md).
Result<Json> estimateRun(const RunConfig& config);

/// What train.gradient_checkpointing comes to for this model and adapter: "auto" recomputes when the step's memory, kept
/// activations included, would not fit into what the machine has free now.
Activations chooseActivations(const RunConfig& config, const Model& model, const Adapter& adapter);

/// {"name","kind","total_bytes"} of the device that a run would use.
Json describeDevice(const std::string& name);

/// Parameters by the last part of the module they belong to.
Json countByPart(const Adapter& adapter);

}  // namespace luthier
