// SPDX-License-Identifier: Apache-2.0
// P-tuning (Liu et al. 2021, "GPT Understands, Too", arXiv 2103.10385): n virtual tokens before the
// text whose embeddings e [n, D] pass through an encoder that is dropped after training. With H =
// encoder_hidden_size, as PEFT builds it:
//   MLP:   W3 relu(W2 relu(W1 e + b1) + b2) + b3, widths D, H, H, D
//   LSTM:  a bidirectional LSTM of encoder_num_layers layers, H each way, then W2 relu(W1 h + b1) +
//   b2, widths 2 H, 2 H, D
// File: PEFT's `prompt_embeddings` [n, D], the encoder's output.
#include "peft/method.h"
#include "peft/dropout.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/lstm.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/zeros.h>

#include <cmath>

namespace luthier {

namespace {

struct PromptEncoder {
    at::Tensor embedding;  // [N, D], N = n, or 2 n for an encoder-decoder; the rows themselves when
                           // there is no encoder
    std::vector<NamedTensor> lstm;  // weight_ih [4 H, in], weight_hh [4 H, H], bias_ih, bias_hh [4
                                    // H], by layer and direction
    std::vector<NamedTensor> linears;  // weight [out, in] and bias [out] of each layer of the head
    std::int64_t layers = 0;           // of the LSTM
    double dropout = 0;                // between those
};

class PTuningAdapter final : public Adapter, public InputHook {
public:
    PTuningAdapter(const ModelSites& sites, PromptEncoder encoder)
        : m_sites(sites), m_encoder(std::move(encoder)) {}

    std::string method() const override { return "p_tuning"; }

    std::vector<TrainedParameter> parameters() const override {
        std::vector<TrainedParameter> all{{"embedding.weight", m_encoder.embedding, "prompt"}};
        for (const auto* part : {&m_encoder.lstm, &m_encoder.linears})
            for (const NamedTensor& tensor : *part)
                all.push_back({tensor.name, tensor.tensor, "encoder"});
        return all;
    }

    void install(SiteHooks& hooks) override { hooks.addInput(this); }
    void beginPass(const RandomKey& key) override { m_random = key; }

    Result<void> setWeight(double weight) override {
        if (weight == 1) return {};
        return Problem{"cannot_weight", "A prompt cannot be given a weight other than 1.",
                       "Use weight 1 or another method.", "", ExitCode::BadUsage};
    }

    at::Tensor prompt() override { return rows(m_random).narrow(0, 0, length()); }
    std::int64_t length() const override { return m_encoder.embedding.size(0) / submodules(); }

    std::vector<NamedTensor> fileTensors() const override {
        const at::NoGradGuard guard;
        return {{"prompt_embeddings", rows({})}};
    }

    Json fileConfig() const override {
        return Json{{"peft_type", "P_TUNING"},
                    {"num_virtual_tokens", length()},
                    {"token_dim", m_sites.hidden},
                    {"num_layers", m_sites.layers},
                    {"num_attention_heads", m_sites.heads},
                    {"num_transformer_submodules", submodules()},
                    {"encoder_hidden_size", m_sites.hidden}};
    }

protected:
    std::vector<NamedTensor> fileSlots() const override {
        return {{"prompt_embeddings", m_encoder.embedding}};
    }

private:
    std::int64_t submodules() const {
        return m_sites.isEncoderDecoder() ? 2 : 1;
    }  // PEFT keeps rows for the decoder that nothing reads

    at::Tensor rows(const RandomKey& random) const {
        const at::Tensor& e = m_encoder.embedding;
        if (e.is_meta())
            return at::empty(
                {e.size(0), m_sites.hidden},
                e.options());  // counting needs no values, and ATen's LSTM has no shapes alone
        at::Tensor x = e;
        for (std::int64_t layer = 0; layer < m_encoder.layers; ++layer) {
            if (layer > 0 && m_encoder.dropout > 0 && random.isTraining)
                x = droppedOut(x, m_encoder.dropout, random, "p_tuning " + std::to_string(layer));
            std::vector<at::Tensor> weights;  // four of each direction
            for (std::int64_t i = 8 * layer; i < 8 * (layer + 1); ++i)
                weights.push_back(m_encoder.lstm[static_cast<std::size_t>(i)].tensor);
            const at::Tensor zero =
                at::zeros({2, 1, weights[1].size(1)}, e.options().requires_grad(false));
            constexpr bool kTrain = true;  // cuDNN keeps what a backward pass needs only then;
                                           // there is no dropout for it to switch on
            x = std::get<0>(at::lstm(x.unsqueeze(0), {zero, zero}, weights, true, 1, 0.0, kTrain,
                                     true, true))
                    .squeeze(0);  // [n, 2 H]
        }
        for (std::size_t i = 0; i < m_encoder.linears.size(); i += 2) {
            if (i > 0) x = at::relu(x);
            x = at::addmm(m_encoder.linears[i + 1].tensor, x, m_encoder.linears[i].tensor.t());
        }
        return x;
    }

    ModelSites m_sites;
    PromptEncoder m_encoder;
    RandomKey m_random;
};

Result<std::shared_ptr<Adapter>> createPTuning(const MethodContext& context) {
    const Json& settings = context.settings;
    const ModelSites& sites = context.model.sites();
    const at::Device& device = context.model.device();
    const std::int64_t n =
        settings.at("num_virtual_tokens").get<std::int64_t>() * (sites.isEncoderDecoder() ? 2 : 1);
    const std::int64_t D = sites.hidden;
    const auto seed = [&](const std::string& name) {
        return tensorSeed(context.seed, "p_tuning." + name);
    };
    PromptEncoder encoder;
    encoder.embedding = leaf(normalTensor({n, D}, 1.0, seed("embedding"), device));
    // A file holds the rows themselves, so a run that continues from one has no encoder.
    if (!settings.at("init_from").is_null())
        return std::shared_ptr<Adapter>(
            std::make_shared<PTuningAdapter>(sites, std::move(encoder)));
    const std::int64_t H = settings.at("encoder_hidden_size").is_null()
                               ? D
                               : settings.at("encoder_hidden_size").get<std::int64_t>();
    const auto uniform = [&](const std::string& name, at::IntArrayRef shape, double bound) {
        return NamedTensor{name, leaf(uniformTensor(shape, bound, seed(name), device))};
    };
    const auto addLinear = [&](const std::string& name, std::int64_t in, std::int64_t out) {
        const double bound = 1.0 / std::sqrt(static_cast<double>(in));
        encoder.linears.push_back(uniform("mlp_head." + name + ".weight", {out, in}, bound));
        encoder.linears.push_back(uniform("mlp_head." + name + ".bias", {out}, bound));
    };
    if (settings.at("encoder_reparameterization_type") == "MLP") {
        addLinear("0", D, H);
        addLinear("2", H, H);
        addLinear("4", H, D);
    } else {
        encoder.layers = settings.at("encoder_num_layers").get<std::int64_t>();
        encoder.dropout = settings.at("encoder_dropout");
        const double bound = 1.0 / std::sqrt(static_cast<double>(H));
        for (std::int64_t layer = 0; layer < encoder.layers; ++layer)
            for (const char* direction : {"", "_reverse"}) {
                const std::string tail = "_l" + std::to_string(layer) + direction;
                encoder.lstm.push_back(
                    uniform("lstm_head.weight_ih" + tail, {4 * H, layer == 0 ? D : 2 * H}, bound));
                encoder.lstm.push_back(uniform("lstm_head.weight_hh" + tail, {4 * H, H}, bound));
                encoder.lstm.push_back(uniform("lstm_head.bias_ih" + tail, {4 * H}, bound));
                encoder.lstm.push_back(uniform("lstm_head.bias_hh" + tail, {4 * H}, bound));
            }
        addLinear("0", 2 * H, 2 * H);
        addLinear("2", 2 * H, D);
    }
    return std::shared_ptr<Adapter>(std::make_shared<PTuningAdapter>(sites, std::move(encoder)));
}

}  // namespace

Method pTuningMethod() {
    Method method{"p_tuning",
                  "P-tuning",
                  "Add virtual tokens",
                  "Learned tokens from a small network that is dropped afterwards.",
                  "P_TUNING",
                  false,
                  {},
                  &createPTuning};
    Setting count{"num_virtual_tokens", SettingType::Integer, 20, "Virtual tokens",
                  "Number of learned tokens."};
    count.minimum = 1;
    count.maximum = 4096;
    count.unit = "tokens";
    Setting type{"encoder_reparameterization_type", SettingType::Choice, "MLP", "Encoder",
                 "Network over the virtual tokens: MLP, or LSTM as in the paper."};
    type.choices = {"MLP", "LSTM"};
    Setting hidden{"encoder_hidden_size", SettingType::Integer, nullptr, "Encoder width",
                   "Hidden size of that network; empty: the model's."};
    hidden.minimum = 1;
    hidden.maximum = 65536;
    hidden.isNullable = true;
    hidden.isUsual = false;
    Setting layers{"encoder_num_layers", SettingType::Integer, 2, "LSTM layers",
                   "Layers of the LSTM."};
    layers.minimum = 1;
    layers.maximum = 16;
    layers.isUsual = false;
    layers.appliesWhen = {"encoder_reparameterization_type", {"LSTM"}};
    Setting dropout =
        dropoutSetting("encoder_dropout", "Encoder dropout",
                       "Share of the values dropped between the LSTM's layers while training.");
    dropout.isUsual = false;
    dropout.appliesWhen = {"encoder_reparameterization_type", {"LSTM"}};
    Setting initFrom{
        "init_from", SettingType::Path, nullptr, "Continue from",
        "An adapter folder in PEFT format; its rows are trained on without an encoder."};
    initFrom.isUsual = false;
    initFrom.isNullable = true;
    method.schema = {"p_tuning", {count, type, hidden, layers, dropout, initFrom}};
    method.schema.putsTokensBeforeText = true;
    method.usualRate = {1e-3, "PEFT's guide"};
    method.isPrompt = true;
    method.glyph =
        "layers 13 15 0 frozen 13 14 15 4 bar 0 14 4 4 bar 6 14 4 4 curve 1.2 0 10 2 4 4 14 6 8 "
        "line 1.2 6 8 9 8";
    method.marks = {"tokens"};
    method.words = {{"num_virtual_tokens", "%1 tokens"}, {"encoder_reparameterization_type", ""}};
    return method;
}

}  // namespace luthier
