// SPDX-License-Identifier: Apache-2.0
// Bottleneck adapters: f(z) = scale (U act(D z + b_D) + b_U), D [m, C], U [C, m], at the output h
// of a sub-layer with residual r.
//   houlsby  (Houlsby et al. 2019): h + f(h)      after attention and after feed-forward
//   pfeiffer (Pfeiffer et al. 2020): h + f(h + r)  after feed-forward
//   parallel (He et al. 2022):       h + f(r)      beside feed-forward
// on pre-norm models, as the `adapters` library computes it. Files in that library's format.
#include "contract/fields.h"
#include "peft/method.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

namespace luthier {

namespace {

/// The adapters library keeps its settings in an object of their own.
constexpr const char* kConfigKey = "config";

constexpr const char* kAdapterName = "luthier";

enum class Placement { Houlsby, Pfeiffer, Parallel };

at::Tensor activated(const at::Tensor& x, const std::string& name) {
    if (name == "relu") return at::relu(x);
    if (name == "gelu") return at::gelu(x);
    if (name == "tanh") return at::tanh(x);
    return at::silu(x);
}

class BottleneckLayer final : public BlockOutputHook {
public:
    BottleneckLayer(std::string path, Placement placement, std::string activation, double scale,
                    std::array<at::Tensor, 4> tensors)
        : m_path(std::move(path)),
          m_placement(placement),
          m_activation(std::move(activation)),
          m_scale(scale),
          m_tensors(std::move(tensors)) {}

    at::Tensor forward(const at::Tensor& h, const at::Tensor& r) override {
        const at::Tensor z = (m_placement == Placement::Houlsby    ? h
                              : m_placement == Placement::Pfeiffer ? h + r
                                                                   : r)
                                 .to(at::kFloat);
        const at::Tensor inner =
            activated(at::addmm(m_tensors[1], z, m_tensors[0].t()), m_activation);  // [N, m]
        const at::Tensor f = at::addmm(m_tensors[3], inner, m_tensors[2].t());      // [N, C]
        return h + (f * (m_scale * m_weight)).to(h.scalar_type());
    }

    std::vector<NamedTensor> tensors() const {
        return {{m_path + ".adapter_down.0.weight", m_tensors[0]},
                {m_path + ".adapter_down.0.bias", m_tensors[1]},
                {m_path + ".adapter_up.weight", m_tensors[2]},
                {m_path + ".adapter_up.bias", m_tensors[3]}};
    }
    void setWeight(double weight) { m_weight = weight; }

private:
    std::string m_path;
    Placement m_placement;
    std::string m_activation;
    double m_scale;
    double m_weight = 1;
    std::array<at::Tensor, 4> m_tensors;  // D [m, C], b_D [m], U [C, m], b_U [C]
};

class BottleneckAdapter final : public Adapter {
public:
    BottleneckAdapter(Json settings, const ModelSites& sites)
        : m_settings(std::move(settings)), m_sites(sites) {}

    void add(std::size_t site, const std::string& part, std::unique_ptr<BottleneckLayer> layer) {
        m_indices.push_back(site);
        m_parts.push_back(part);
        m_layers.push_back(std::move(layer));
    }

    std::string method() const override { return "bottleneck"; }

    std::vector<TrainedParameter> parameters() const override {
        std::vector<TrainedParameter> all;
        for (std::size_t i = 0; i < m_layers.size(); ++i)
            for (const NamedTensor& tensor : m_layers[i]->tensors())
                all.push_back({tensor.name, tensor.tensor, m_parts[i]});
        return all;
    }

    void install(SiteHooks& hooks) override {
        for (std::size_t i = 0; i < m_layers.size(); ++i)
            hooks.addBlockOutput(m_indices[i], m_layers[i].get());
    }

    Result<void> setWeight(double weight) override {
        for (const auto& layer : m_layers) layer->setWeight(weight);
        return {};
    }

    std::vector<NamedTensor> fileTensors() const override {
        std::vector<NamedTensor> tensors;
        for (const auto& layer : m_layers)
            for (NamedTensor& tensor : layer->tensors()) tensors.push_back(std::move(tensor));
        return tensors;
    }

    Json fileConfig() const override {
        const std::string placement = m_settings.at("placement");
        const bool isHoulsby = placement == "houlsby";
        Json config{{"architecture", isHoulsby                 ? "houlsby"
                                     : placement == "pfeiffer" ? "pfeiffer"
                                                               : "parallel"}};
        config = Json{{"mh_adapter", isHoulsby},
                      {"output_adapter", true},
                      {"cross_adapter", false},
                      {"reduction_factor", m_settings.at("reduction_factor")},
                      {"non_linearity", nonLinearity()},
                      {"scaling", scaling()},
                      {"original_ln_before", placement == "pfeiffer"},
                      {"original_ln_after", true},
                      {"ln_before", false},
                      {"ln_after", false},
                      {"init_weights", placement == "parallel" ? "mam_adapter" : "bert"},
                      {"is_parallel", placement == "parallel"},
                      {"residual_before_ln", true},
                      {"adapter_residual_before_ln", false},
                      {"inv_adapter", nullptr},
                      {"inv_adapter_reduction_factor", nullptr},
                      {"leave_out", Json::array()},
                      {"use_gating", false},
                      {"phm_layer", false},
                      {"dropout", 0.0},
                      {"stochastic_depth", 0.0}};
        return Json{{"config", config},
                    {"hidden_size", m_sites.hidden},
                    {"model_class", m_sites.architecture},
                    {"model_name", nullptr},
                    {"model_type", m_sites.family},
                    {"name", kAdapterName},
                    {"version", "adapters.1.2.0"}};
    }

    double scaling() const {
        if (!m_settings.at("scaling").is_null()) return m_settings.at("scaling").get<double>();
        return m_settings.at("placement") == "parallel" ? 4.0 : 1.0;
    }
    std::string nonLinearity() const {
        if (!m_settings.at("non_linearity").is_null())
            return m_settings.at("non_linearity").get<std::string>();
        return m_settings.at("placement") == "houlsby" ? "swish" : "relu";
    }

private:
    Json m_settings;
    ModelSites m_sites;
    std::vector<std::size_t> m_indices;
    std::vector<std::string> m_parts;
    std::vector<std::unique_ptr<BottleneckLayer>> m_layers;
};

Result<std::shared_ptr<Adapter>> createBottleneck(const MethodContext& context) {
    const Json& settings = context.settings;
    const ModelSites& sites = context.model.sites();
    auto adapter = std::make_shared<BottleneckAdapter>(settings, sites);
    const std::string name = settings.at("placement");
    const Placement placement = name == "houlsby"    ? Placement::Houlsby
                                : name == "pfeiffer" ? Placement::Pfeiffer
                                                     : Placement::Parallel;
    const std::int64_t C = sites.hidden;
    const std::int64_t m = std::max<std::int64_t>(
        1, static_cast<std::int64_t>(static_cast<double>(C) /
                                     settings.at("reduction_factor").get<double>()));
    const at::Device& device = context.model.device();
    for (std::size_t i = 0; i < sites.blockOutputs.size(); ++i) {
        const BlockOutputSite& site = sites.blockOutputs[i];
        if (site.after == Sublayer::Attention && placement != Placement::Houlsby) continue;
        const std::string part =
            site.after == Sublayer::Attention ? "attention_adapters" : "output_adapters";
        const std::string path = site.layerPath + "." + part + ".adapters." + kAdapterName;
        const auto seed = [&](const char* tensor) {
            return tensorSeed(context.seed, path + tensor);
        };
        // "bert": both normal with deviation 0.02; "mam_adapter" (parallel): D Kaiming-uniform, U
        // zero. Biases zero.
        const auto options = at::TensorOptions(at::kFloat).device(device);
        const bool isMam = placement == Placement::Parallel;
        const at::Tensor down = isMam
                                    ? uniformTensor({m, C}, 1.0 / std::sqrt(static_cast<double>(C)),
                                                    seed("down"), device)
                                    : normalTensor({m, C}, 0.02, seed("down"), device);
        const at::Tensor up =
            isMam ? at::zeros({C, m}, options) : normalTensor({C, m}, 0.02, seed("up"), device);
        adapter->add(i, part,
                     std::make_unique<BottleneckLayer>(
                         path, placement, adapter->nonLinearity(), adapter->scaling(),
                         std::array<at::Tensor, 4>{leaf(down), leaf(at::zeros({m}, options)),
                                                   leaf(up), leaf(at::zeros({C}, options))}));
    }
    return std::shared_ptr<Adapter>(adapter);
}

/// The adapters library puts the adapter's name into every tensor name.
TensorMap withOurName(const TensorMap& tensors, const Json& config) {
    const std::string name = config.value("name", "luthier");
    TensorMap renamed;
    for (const auto& [key, tensor] : tensors) {
        const std::string from = ".adapters." + name + ".";
        const std::size_t at = key.find(from);
        renamed[at == std::string::npos ? key
                                        : key.substr(0, at) + ".adapters.luthier." +
                                              key.substr(at + from.size())] = tensor;
    }
    return renamed;
}

/// The `config` object of the adapters library as our settings.
Result<Json> settingsOf(const Json& adapterConfig, const std::string& file) {
    const Fields config(adapterConfig.at(kConfigKey), "config");
    const auto refuse = [&](const std::string& key, const std::string& why) {
        return Problem{"adapter_feature", file + ": " + key + " " + why, "", key};
    };
    try {
        for (const char* key :
             {"ln_before", "ln_after", "use_gating", "phm_layer", "cross_adapter"})
            if (config.get(key, false))
                return refuse(key, "is set, which Luthier does not compute yet.");
        const bool isParallel = config.get("is_parallel", false);
        const bool isHoulsby = config.get("mh_adapter", false);
        // What the placements are by name; other ways through the norms are other networks.
        const std::pair<const char*, bool> usual[] = {
            {"original_ln_before", !isParallel && !isHoulsby},
            {"residual_before_ln", true},
            {"adapter_residual_before_ln", false},
            {"output_adapter", true}};
        for (const auto& [key, value] : usual)
            if (config.get(key, value) != value)
                return refuse(key, std::string("is ") + (value ? "false" : "true") +
                                       ", which Luthier does not compute yet.");
        const auto numberOf = [&](const char* key, Json fallback) {
            return config.has(key) ? Json(config.need<double>(key)) : fallback;
        };
        return Json{{"placement", isParallel  ? "parallel"
                                  : isHoulsby ? "houlsby"
                                              : "pfeiffer"},
                    {"reduction_factor", numberOf("reduction_factor", 16)},
                    {"non_linearity", config.get("non_linearity", "swish")},
                    {"scaling", numberOf("scaling", 1.0)}};
    } catch (const Failure& failure) {
        return Problem{"adapter_feature", file + ": " + failure.problem().message,
                       failure.problem().hint, failure.problem().field};
    }
}

}  // namespace

Method bottleneckMethod() {
    Method method{
        "bottleneck", "Bottleneck", "Add layers", "Small nets after attention and feed-forward.",
        "",           false,        {},           &createBottleneck};
    Setting placement{
        "placement", SettingType::Choice, "houlsby", "Placement",
        "houlsby: after both sub-layers; pfeiffer: after feed-forward; parallel: beside it."};
    placement.choices = {"houlsby", "pfeiffer", "parallel"};
    Setting reduction{"reduction_factor", SettingType::Real, 16, "Reduction",
                      "Hidden size divided by the width of the bottleneck."};
    reduction.minimum = 1;
    reduction.maximum = 65536;
    Setting activation{"non_linearity", SettingType::Choice, nullptr, "Activation",
                       "Empty: swish for houlsby, relu otherwise."};
    activation.choices = {"swish", "relu", "gelu", "tanh"};
    activation.isNullable = true;
    activation.isUsual = false;
    Setting scaling{"scaling", SettingType::Real, nullptr, "Scaling",
                    "Factor on the output; empty: 4 for parallel, 1 otherwise."};
    scaling.isNullable = true;
    scaling.isUsual = false;
    Setting initFrom{"init_from", SettingType::Path, nullptr, "Continue from",
                     "An adapter folder in the adapters library's format."};
    initFrom.isUsual = false;
    initFrom.isNullable = true;
    method.schema = {"bottleneck", {placement, reduction, activation, scaling, initFrom}};
    method.usualRate = {3e-4, "Houlsby et al. 2019 (3e-5, 3e-4, 3e-3 were tried)"};
    method.tensorFile = "adapter.safetensors";
    method.library = "adapters";
    method.plainNames = &withOurName;
    method.owns = [](const Json& config) {
        const auto found = config.find(kConfigKey);
        return found != config.end() && found->is_object();
    };
    method.readSettings = &settingsOf;
    method.glyph =
        "frozen 2 0.5 26 3.6 frozen 2 16 26 3.6 shape 5 5.5 25 5.5 18 10 25 14.5 5 14.5 12 10";
    method.marks = {"nets"};
    method.words = {{"reduction_factor", "width ÷ %1"}, {"placement", ""}};
    return method;
}

}  // namespace luthier
