// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a method leaves on a model: tensors of its own, hooks at the model's sites, and a file that
// other tools read. An adapter never copies or changes the base's frozen weights; methods that
// train base weights themselves (full, freeze) say so with trainsBase(). Several adapters may sit
// on one base; each is installed into the hook tables that should see it.

#include "contract/json.h"
#include "contract/problem.h"
#include "model/model.h"
#include "model/site.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace luthier {

struct TrainedParameter {
    std::string name;   ///< unique in the adapter; the name in checkpoints
    at::Tensor tensor;  ///< float32 leaf that takes a gradient
    std::string part;   ///< last part of the module it belongs to ("q_proj"), for counts by part
    double rateFactor = 1;  ///< its learning rate over the run's (LoRA+)
};

struct NamedTensor {
    std::string name;
    at::Tensor tensor;
};

using TensorMap = std::map<std::string, at::Tensor>;

class Adapter {
public:
    virtual ~Adapter() = default;

    /// `type` of RUN.json: "lora", …
    virtual std::string method() const = 0;
    virtual std::vector<TrainedParameter> parameters() const = 0;
    /// Installs this adapter's hooks. They stay valid as long as the adapter.
    virtual void install(SiteHooks& hooks) = 0;
    /// Called before every forward pass: fixes the randomness of dropout and drops what was kept
    /// from the last pass.
    virtual void beginPass(const RandomKey&) {}
    /// Share of this adapter in a weighted sum of several (1: alone).
    virtual Result<void> setWeight(double weight) = 0;

    /// Tensors as they stand in the adapter's file, and its adapter_config.json (the smallest that
    /// every PEFT since 0.13 loads).
    virtual std::vector<NamedTensor> fileTensors() const = 0;
    virtual Json fileConfig() const = 0;
    /// Takes over the tensors of a file; every one must be there with its shape, and no other.
    /// Problem codes: adapter_tensor_missing, adapter_tensor_shape, adapter_tensor_unexpected.
    virtual Result<void> load(const TensorMap& tensors);

    /// Folds the adapter into the base's weights where its mathematics allow that.
    virtual Result<void> merge(Model& model);
    /// True when base weights themselves are trained; the result is then a model, not an adapter.
    virtual bool trainsBase() const { return false; }

    /// PEFT's task_type, which the file says: CAUSAL_LM, SEQ_2_SEQ_LM, SEQ_CLS.
    const std::string& taskType() const { return m_taskType; }
    void setTaskType(std::string type) { m_taskType = std::move(type); }

protected:
    /// Tensors that load() fills, by their name in the file.
    virtual std::vector<NamedTensor> fileSlots() const { return fileTensors(); }
    /// What load() does for the given slots.
    static Result<void> loadSlots(const std::vector<NamedTensor>& slots, const TensorMap& tensors);

private:
    std::string m_taskType = "CAUSAL_LM";
};

/// The adapters of one forward pass and the table of their hooks. An empty stack is the base model.
class AdapterStack {
public:
    explicit AdapterStack(const Model& model) : m_hooks(model.sites()) {}

    void add(std::shared_ptr<Adapter> adapter);
    const SiteHooks& hooks() const { return m_hooks; }
    const std::vector<std::shared_ptr<Adapter>>& adapters() const { return m_adapters; }
    void beginPass(const RandomKey& key = {});

private:
    SiteHooks m_hooks;
    std::vector<std::shared_ptr<Adapter>> m_adapters;
};

}  // namespace luthier
