// SPDX-License-Identifier: Apache-2.0
#pragma once
// A classifier's head beside any adapter: PEFT's `modules_to_save`. The head's layers get float32 copies that are trained and stand in for
// the base's; file names are the model's own, behind PEFT's prefix (methods.md 1.2). The base keeps its head.

#include "peft/adapter.h"

#include <memory>
#include <string>
#include <vector>

namespace luthier {

/// The sites of `sites` that PEFT saves whole for sequence classification, and how adapter_config.json names them: "classifier", "score",
/// and "classification_head", which PEFT saves only when it is told.
struct SavedHead {
    std::vector<std::size_t> linears;    ///< indices into sites.linears
    std::vector<std::string> modules;    ///< modules_to_save
};
SavedHead savedHeadOf(const ModelSites& sites);

/// `inner` with the model's classifier head; `model` outlives it.
std::shared_ptr<Adapter> withSavedHead(std::shared_ptr<Adapter> inner, Model& model);

}  // namespace luthier
