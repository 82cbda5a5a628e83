// SPDX-License-Identifier: Apache-2.0
// Prefix tuning (Li & Liang 2021, arXiv 2101.00190): n learned keys and values before those of the
// text, in every layer. With prefix_projection they come from a two-layer MLP over a small
// embedding, P = W2 tanh(W1 e + b1) + b2, which is dropped after training. File: PEFT's
// `prompt_embeddings` [n, 2 L t], t = key-value heads x head size (Falcon's new decoder: all heads
// x head size, as transformers caches them); slice 2l is the key of layer l, slice 2l + 1 its
// value, each split into heads. Keys are not rotated. Of an encoder-decoder PEFT
// uses the slices of the encoder's number of layers in an order of its own: decoder layer i takes
// pair (2 i) mod L as its prefix. P-tuning v2 (Liu et al. 2021, arXiv 2110.07602)
// is the same prefix trained without the MLP, in the same file.
#include "peft/method.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/tanh.h>

#include <cmath>

namespace luthier {

namespace {

std::int64_t prefixHeads(const ModelSites& sites) { return sites.keyValues.front().heads; }

class PrefixAdapter final : public Adapter, public KeyValueHook {
public:
    PrefixAdapter(std::string method, const ModelSites& sites, std::int64_t n)
        : m_method(std::move(method)),
          m_sites(sites),
          m_n(n),
          m_heads(prefixHeads(sites)),
          m_width(m_heads * sites.headSize) {}

    std::int64_t pairs() const {
        return m_sites.isEncoderDecoder() ? m_sites.encoderLayers : m_sites.layers;
    }
    std::int64_t rowWidth() const { return 2 * pairs() * m_width; }

    void setDirect(at::Tensor embedding) { m_embedding = std::move(embedding); }
    void setProjected(at::Tensor embedding, std::array<at::Tensor, 4> mlp) {
        m_embedding = std::move(embedding);
        m_mlp = std::move(mlp);
        m_isProjected = true;
    }

    std::string method() const override { return m_method; }

    std::vector<TrainedParameter> parameters() const override {
        std::vector<TrainedParameter> all{{"embedding.weight", m_embedding, "prefix"}};
        const char* names[] = {"transform.0.weight", "transform.0.bias", "transform.2.weight",
                               "transform.2.bias"};
        if (m_isProjected)
            for (std::size_t i = 0; i < m_mlp.size(); ++i)
                all.push_back({names[i], m_mlp[i], "projection"});
        return all;
    }

    void install(SiteHooks& hooks) override { hooks.addKeyValue(this); }
    void beginPass(const RandomKey&) override { m_rows = at::Tensor(); }

    Result<void> setWeight(double weight) override {
        if (weight == 1) return {};
        return Problem{"cannot_weight", "A prefix cannot be given a weight other than 1.",
                       "Use weight 1 or another method.", "", ExitCode::BadUsage};
    }

    std::pair<at::Tensor, at::Tensor> prefix(int layer) override {
        if (!m_rows.defined()) m_rows = flattened();
        const auto heads = [&](std::int64_t slice) {
            return m_rows.narrow(1, slice * m_width, m_width)
                .view({m_n, m_heads, m_sites.headSize})
                .transpose(0, 1);
        };
        const std::int64_t pair = m_sites.isEncoderDecoder() ? 2 * layer % pairs() : layer;
        return {heads(2 * pair), heads(2 * pair + 1)};
    }
    std::int64_t length() const override { return m_n; }

    std::vector<NamedTensor> fileTensors() const override {
        const at::NoGradGuard guard;
        return {{"prompt_embeddings", flattened()}};
    }

    Json fileConfig() const override {
        return Json{{"peft_type", "PREFIX_TUNING"},
                    {"num_virtual_tokens", m_n},
                    {"token_dim", m_width},
                    {"num_layers", pairs()},
                    {"num_attention_heads", m_heads},
                    {"num_transformer_submodules", m_sites.isEncoderDecoder() ? 2 : 1},
                    {"encoder_hidden_size", m_width},
                    {"prefix_projection", false}};
    }

protected:
    std::vector<NamedTensor> fileSlots() const override {
        return {{"prompt_embeddings", m_embedding}};
    }

private:
    at::Tensor flattened() const {
        if (!m_isProjected) return m_embedding;
        const at::Tensor inner =
            at::tanh(at::addmm(m_mlp[1], m_embedding, m_mlp[0].t()));  // [n, E]
        return at::addmm(m_mlp[3], inner, m_mlp[2].t());               // [n, 2 L t]
    }

    std::string m_method;
    ModelSites m_sites;
    std::int64_t m_n;
    std::int64_t m_heads;
    std::int64_t m_width;
    bool m_isProjected = false;
    at::Tensor m_embedding;           // [n, 2 L t], or [n, t] under the MLP
    std::array<at::Tensor, 4> m_mlp;  // [E, t], [E], [2 L t, E], [2 L t]
    at::Tensor m_rows;                // [n, 2 L t] of this pass
};

at::Tensor start(const MethodContext& context, at::IntArrayRef shape) {
    return leaf(normalTensor(shape, 1.0, tensorSeed(context.seed, "prefix.embedding"),
                             context.model.device()));
}

/// Rows that are trained themselves.
std::shared_ptr<PrefixAdapter> direct(const char* method, const MethodContext& context) {
    const auto n = context.settings.at("num_virtual_tokens").get<std::int64_t>();
    auto adapter = std::make_shared<PrefixAdapter>(method, context.model.sites(), n);
    adapter->setDirect(start(context, {n, adapter->rowWidth()}));
    return adapter;
}

Result<void> refuseWithoutPrefix(const ModelSites& sites) {
    if (!sites.keyValues.empty()) return {};
    return Problem{"unsupported_model",
                   "The attention of " + sites.architecture +
                       " looks at distances between words and has no place for a prefix of keys.",
                   "Use prompt_tuning, p_tuning or lora.", "method.type", ExitCode::BadUsage};
}

Result<std::shared_ptr<Adapter>> createDeep(const MethodContext& context) {
    if (Result<void> checked = refuseWithoutPrefix(context.model.sites()); !checked)
        return checked.problems();
    return std::shared_ptr<Adapter>(direct("p_tuning_v2", context));
}

Result<std::shared_ptr<Adapter>> createPrefixTuning(const MethodContext& context) {
    const Json& settings = context.settings;
    const ModelSites& sites = context.model.sites();
    const auto n = settings.at("num_virtual_tokens").get<std::int64_t>();
    if (Result<void> checked = refuseWithoutPrefix(sites); !checked) return checked.problems();
    // A file holds the rows themselves, so a run that continues from one has nothing to project.
    if (settings.at("prefix_projection") == false || !settings.at("init_from").is_null())
        return std::shared_ptr<Adapter>(direct("prefix_tuning", context));
    auto adapter = std::make_shared<PrefixAdapter>("prefix_tuning", sites, n);
    const at::Device& device = context.model.device();
    const auto seed = [&](const char* name) {
        return tensorSeed(context.seed, std::string("prefix.") + name);
    };
    const std::int64_t t = prefixHeads(sites) * sites.headSize;
    const std::int64_t E = settings.at("encoder_hidden_size").is_null()
                               ? t
                               : settings.at("encoder_hidden_size").get<std::int64_t>();
    const double first = 1.0 / std::sqrt(static_cast<double>(t));
    const double second = 1.0 / std::sqrt(static_cast<double>(E));
    adapter->setProjected(
        start(context, {n, t}),
        {leaf(uniformTensor({E, t}, first, seed("w1"), device)),
         leaf(uniformTensor({E}, first, seed("b1"), device)),
         leaf(uniformTensor({adapter->rowWidth(), E}, second, seed("w2"), device)),
         leaf(uniformTensor({adapter->rowWidth()}, second, seed("b2"), device))});
    return std::shared_ptr<Adapter>(adapter);
}

}  // namespace

namespace {

Setting lengthSetting() {
    Setting count{"num_virtual_tokens", SettingType::Integer, 20, "Virtual tokens",
                  "Length of the prefix."};
    count.minimum = 1;
    count.maximum = 4096;
    count.unit = "tokens";
    return count;
}

Setting initFromSetting() {
    Setting initFrom{"init_from", SettingType::Path, nullptr, "Continue from",
                     "An adapter folder in PEFT format."};
    initFrom.isUsual = false;
    initFrom.isNullable = true;
    return initFrom;
}

}  // namespace

Method prefixTuningMethod() {
    Method method{"prefix_tuning",
                  "Prefix tuning",
                  "Add virtual tokens",
                  "Learned keys and values in every layer.",
                  "PREFIX_TUNING",
                  false,
                  {},
                  &createPrefixTuning};
    Setting projection{"prefix_projection", SettingType::Boolean, false, "Through an MLP",
                       "Train the prefix through a two-layer network that is dropped afterwards."};
    Setting hidden{"encoder_hidden_size", SettingType::Integer, nullptr, "MLP width",
                   "Hidden size of that network; empty: the size of a key."};
    hidden.minimum = 1;
    hidden.maximum = 65536;
    hidden.isNullable = true;
    hidden.isUsual = false;
    hidden.appliesWhen = {"prefix_projection", {true}};
    method.schema = {"prefix_tuning", {lengthSetting(), projection, hidden, initFromSetting()}};
    method.usualRate = {1e-2, "PEFT's guide, T-Few's baselines (Liu et al. 2022)"};
    method.isPrompt = true;
    method.glyph =
        "layers 13 15 0 bar 0 2 4 4 bar 6 2 4 4 bar 0 8 4 4 bar 6 8 4 4 bar 0 14 4 4 bar 6 14 4 4";
    method.marks = {"prefix"};
    method.words = {{"num_virtual_tokens", "%1 tokens"}};
    return method;
}

Method pTuningV2Method() {
    Method method{"p_tuning_v2",
                  "P-tuning v2",
                  "Add virtual tokens",
                  "A learned prefix in every layer, trained directly.",
                  "PREFIX_TUNING",
                  false,
                  {},
                  &createDeep};
    method.schema = {"p_tuning_v2", {lengthSetting(), initFromSetting()}};
    method.usualRate = {7e-3, "Liu et al. 2022 (P-tuning v2: 5e-3 to 1e-2)"};
    method.isPrompt = true;
    method.fileType = "prefix_tuning";
    method.glyph =
        "layers 13 9 0 bar 0 2 4 4 bar 6 2 4 4 bar 24 2 4 4 bar 0 8 4 4 bar 6 8 4 4 bar 24 8 4 4 "
        "bar 0 14 4 4 bar 6 14 4 4 bar 24 14 4 4";
    method.marks = {"prefix"};
    method.words = {{"num_virtual_tokens", "%1 tokens"}};
    return method;
}

}  // namespace luthier
