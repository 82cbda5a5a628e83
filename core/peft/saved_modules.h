// SPDX-License-Identifier: Apache-2.0
#pragma once
// What an adapter trains beside its own tensors, by two keys that most of PEFT's methods share:
// `modules_to_save`, modules of the base that are trained whole (embeddings, head, norms), and
// `bias`, biases that are trained. Each parameter gets a float32 copy that
// stands in for the base's; file names are the model's own behind PEFT's prefix. The base keeps
// what it has, and a tied head that is trained, or whose embedding is, has weights of its own from
// then on. A classifier's head is trained beside every adapter.

#include "peft/adapter.h"

#include <memory>
#include <string>
#include <vector>

namespace luthier {

/// The sites of `sites` that PEFT saves whole for sequence classification, and how
/// adapter_config.json names them: "classifier", "score", and "classification_head", which PEFT
/// saves only when it is told.
struct SavedHead {
    std::vector<std::size_t> linears;  ///< indices into sites.linears
    std::vector<std::string> modules;  ///< modules_to_save
};
SavedHead savedHeadOf(const ModelSites& sites);

/// `inner` with what its settings train beside it: `modules_to_save`, `bias`, and the head of a
/// classifier; `inner` itself when that is nothing. `model` outlives it. Problem codes:
/// no_target_matches, unsupported_module.
Result<std::shared_ptr<Adapter>> withSavedModules(std::shared_ptr<Adapter> inner,
                                                  const Json& settings, Model& model);

}  // namespace luthier
