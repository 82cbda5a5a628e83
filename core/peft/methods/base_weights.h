// SPDX-License-Identifier: Apache-2.0
#pragma once
// What full fine-tuning and freezing share: an "adapter" whose parameters are base weights. It
// installs nothing. Two ways of ULMFiT (Howard and Ruder 2018, arXiv 1801.06146) go with it, both
// by a parameter's depth: 0 the embeddings, then the encoder's blocks and the decoder's, and above
// all blocks the final norm and the head.
//   Discriminative rates: rate * decay^(top - depth), so that the top learns at the run's rate and
//   the embeddings slowest. Gradual unfreezing: at first only the last trained block and what lies
//   above it learn; after every `unfreezeEvery` steps the next depth below joins. What is frozen
//   yet takes no gradient, so the optimiser leaves it and its moments alone.

#include "contract/schema.h"
#include "peft/adapter.h"
#include "peft/training_hooks.h"

#include <string>
#include <vector>

namespace luthier {

class BaseWeightsAdapter final : public Adapter, public TrainingHooks {
public:
    /// Makes the named weights of `model` trainable; `model` must outlive this. `settings`: with
    /// those of depthSettings().
    BaseWeightsAdapter(std::string method, Model& model, std::vector<std::string> names,
                       const Json& settings);

    std::string method() const override { return m_method; }
    std::vector<TrainedParameter> parameters() const override;
    void install(SiteHooks&) override {}
    Result<void> setWeight(double) override { return {}; }
    std::vector<NamedTensor> fileTensors() const override;
    Json fileConfig() const override { return nullptr; }
    Result<void> merge(Model&) override { return {}; }
    bool trainsBase() const override { return true; }
    Json beforeStep(std::int64_t step) override;

private:
    std::string m_method;
    Model& m_model;
    std::vector<std::string> m_names;
    std::vector<std::int64_t> m_depths;  // of m_names
    std::int64_t m_top = 0;              // depth of the head
    double m_decay = 1;
    std::int64_t m_unfreezeEvery = 0;  // 0: all learns from the start
    std::int64_t m_lowest = -1;        // depth down to which parameters learn now; -1: no step yet
};

/// layer_lr_decay and unfreeze_every.
std::vector<Setting> depthSettings();

}  // namespace luthier
