// SPDX-License-Identifier: Apache-2.0
#pragma once
// What full fine-tuning and freezing share: an "adapter" whose parameters are base weights. It installs nothing.

#include "peft/adapter.h"

#include <string>
#include <vector>

namespace luthier {

class BaseWeightsAdapter final : public Adapter {
public:
    /// Makes the named weights of `model` trainable; `model` must outlive this.
    BaseWeightsAdapter(std::string method, Model& model, std::vector<std::string> names);

    std::string method() const override { return m_method; }
    std::vector<TrainedParameter> parameters() const override;
    void install(SiteHooks&) override {}
    Result<void> setWeight(double) override { return {}; }
    std::vector<NamedTensor> fileTensors() const override;
    Json fileConfig() const override { return nullptr; }
    Result<void> merge(Model&) override { return {}; }
    bool trainsBase() const override { return true; }

private:
    std::string m_method;
    Model& m_model;
    std::vector<std::string> m_names;
};

}  // namespace luthier
