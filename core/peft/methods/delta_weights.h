// SPDX-License-Identifier: Apache-2.0
#pragma once
// What LoHa, LoKr and VeRA share: y = W x + b + delta x beside chosen projections, where delta
// [out, in] is made from small tensors. Each says how delta is made; placing, files, weighting and
// merging are the same.

#include "peft/adapter.h"
#include "peft/method.h"
#include "peft/targets.h"

#include <memory>
#include <string>
#include <vector>

namespace luthier {

/// What is left out while training, as shares.
struct DeltaDropout {
    double input = 0;          ///< of the inputs, values by themselves
    double rows = 0;           ///< of delta's rows, which are outputs
    bool rescalesRows = true;  ///< the rows that stay are divided by their share of all
    double whole = 0;          ///< of the steps, in which the layer goes without delta
};

class DeltaLayer : public LinearHook {
public:
    /// `tensors`: what is trained, under PEFT's suffix ("hada_w1_a").
    DeltaLayer(LinearSite site, std::vector<NamedTensor> tensors)
        : m_site(std::move(site)), m_tensors(std::move(tensors)) {}

    at::Tensor forward(const at::Tensor& x, const Projection& base) final;

    /// [out, in] f32
    virtual at::Tensor delta() const = 0;
    /// delta x, [N, in] f32 → [N, out] f32
    virtual at::Tensor applied(const at::Tensor& x) const;

    const LinearSite& site() const { return m_site; }
    const std::vector<NamedTensor>& tensors() const { return m_tensors; }
    double weight() const { return m_weight; }
    void setWeight(double weight) { m_weight = weight; }
    void setDropout(const DeltaDropout& dropout) { m_dropout = dropout; }
    void setRandom(const RandomKey& random) { m_random = random; }

protected:
    const at::Tensor& tensor(std::size_t index) const { return m_tensors[index].tensor; }

private:
    LinearSite m_site;
    std::vector<NamedTensor> m_tensors;
    double m_weight = 1;
    DeltaDropout m_dropout;
    RandomKey m_random;
};

class DeltaAdapter final : public Adapter {
public:
    /// `shared`: frozen tensors that the file holds once, under their names there.
    DeltaAdapter(std::string method, Json fileConfig, std::vector<NamedTensor> shared = {})
        : m_method(std::move(method)),
          m_fileConfig(std::move(fileConfig)),
          m_shared(std::move(shared)) {}

    void add(std::size_t siteIndex, std::unique_ptr<DeltaLayer> layer) {
        m_sites.push_back(siteIndex);
        m_layers.push_back(std::move(layer));
    }

    std::string method() const override { return m_method; }
    std::vector<TrainedParameter> parameters() const override;
    void install(SiteHooks& hooks) override;
    void beginPass(const RandomKey& key) override;
    Result<void> setWeight(double weight) override;
    std::vector<NamedTensor> fileTensors() const override;
    Json fileConfig() const override { return m_fileConfig; }
    Result<void> merge(Model& model) override;

private:
    std::string m_method;
    Json m_fileConfig;
    std::vector<NamedTensor> m_shared;
    std::vector<std::size_t> m_sites;
    std::vector<std::unique_ptr<DeltaLayer>> m_layers;
};

/// The layers that target_modules, exclude_modules and layers_to_transform of these settings name;
/// `defaults` where they name none.
Result<std::vector<std::size_t>> targetsOf(const MethodContext& context,
                                           DefaultTargets defaults = DefaultTargets::LowRank);
/// Refuses Conv1D layers (GPT-2), which PEFT's `method` does not take.
Result<void> refuseConv1D(const ModelSites& sites, const std::vector<std::size_t>& matched,
                          const std::string& method);

/// Rank and alpha / rank of one layer, by r, alpha and their patterns. Problem codes: bad_pattern,
/// out_of_range.
struct DeltaStrength {
    std::int64_t rank;
    double scale;
};
Result<DeltaStrength> strengthAt(const Json& settings, const std::string& path);
/// The patterns that are not empty, which a file says.
Json patternsOf(const Json& settings);

/// target_modules, exclude_modules, layers_to_transform, layers_pattern and init_from, as every
/// method of this kind has them.
std::vector<Setting> targetSettings();
Setting rankSetting(std::int64_t value);
Setting alphaSetting();
/// rank_dropout and module_dropout.
std::vector<Setting> deltaDropoutSettings();
/// Those of the settings that are not 0, which a file says.
Json deltaDropoutsOf(const Json& settings);

/// Uniform in +-1/sqrt(second dimension): torch's kaiming_uniform_ with a = sqrt(5).
at::Tensor kaimingTensor(at::IntArrayRef shape, std::uint64_t seed, const at::Device& device);

}  // namespace luthier
