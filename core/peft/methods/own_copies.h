// SPDX-License-Identifier: Apache-2.0
#pragma once
// What LN tuning and BitFit share: an adapter of float32 copies of base parameters, which stand in
// for them in every pass. The base keeps its own. In a weighted sum a parameter is base + sum of w
// (copy - base).

#include "peft/adapter.h"

#include <memory>
#include <string>
#include <vector>

namespace luthier {

/// One parameter of the base and the copy that is trained.
class OwnCopy final : public ParameterHook {
public:
    /// `base`: the entry of the model's Weights; outlives this. `name`: in the model; `fileName`:
    /// in the adapter's file.
    OwnCopy(const at::Tensor& base, std::string name, std::string fileName);

    at::Tensor forward(const at::Tensor& below) override;
    /// The model's own parameter with this adapter's share in it, when `below` is what the model
    /// has now.
    at::Tensor merged(const at::Tensor& below) const;

    const at::Tensor& base() const { return m_base; }
    const at::Tensor& copy() const { return m_copy; }
    const std::string& name() const { return m_name; }
    const std::string& fileName() const { return m_fileName; }
    void setWeight(double weight) { m_weight = weight; }

private:
    const at::Tensor& m_base;
    at::Tensor m_baseValue;  // what the entry held when this was made: merging changes the entry
    at::Tensor m_copy;       // f32
    std::string m_name;
    std::string m_fileName;
    double m_weight = 1;
};

class OwnCopiesAdapter final : public Adapter {
public:
    /// `constants`: tensors that the file holds besides, never trained; a file must hold the same
    /// values.
    OwnCopiesAdapter(std::string method, Json fileConfig,
                     std::vector<std::unique_ptr<OwnCopy>> copies,
                     std::vector<NamedTensor> constants = {})
        : m_method(std::move(method)),
          m_fileConfig(std::move(fileConfig)),
          m_copies(std::move(copies)),
          m_constants(std::move(constants)) {}

    std::string method() const override { return m_method; }
    std::vector<TrainedParameter> parameters() const override;
    void install(SiteHooks& hooks) override;
    Result<void> setWeight(double weight) override;
    std::vector<NamedTensor> fileTensors() const override;
    Json fileConfig() const override { return m_fileConfig; }
    Result<void> load(const TensorMap& tensors) override;
    Result<void> merge(Model& model) override;

private:
    std::string m_method;
    Json m_fileConfig;
    std::vector<std::unique_ptr<OwnCopy>> m_copies;
    std::vector<NamedTensor> m_constants;
};

}  // namespace luthier
