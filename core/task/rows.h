// SPDX-License-Identifier: Apache-2.0
#pragma once
// From the data room's rows to a task's examples, and whether their labels are ones that the model
// has.

#include "contract/problem.h"
#include "contract/run_config.h"
#include "data/dataset.h"
#include "model/description.h"
#include "task/task.h"

namespace luthier {

/// A view of the row, which outlives it.
Example exampleOf(const DataRow& row);

/// Holds the labels of a classifier's rows against its outputs; whole numbers are values where
/// there is one output only. Problem codes: too_many_classes, label_count (also rows of which some
/// name a class and others give values), label_not_a_number.
Result<void> fitLabels(Dataset& data, const ModelDescription& description);

/// What the configuration asks of the task on these rows. Problem codes: no_choices,
/// label_smoothing_values.
Result<TaskOptions> taskOptions(const RunConfig& config, const Dataset& data,
                                const ModelDescription& description);

/// Whether every row, at least one, has choices.
bool haveChoices(const Dataset& data);

}  // namespace luthier
