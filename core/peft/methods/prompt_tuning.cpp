// SPDX-License-Identifier: Apache-2.0
// Prompt tuning (Lester et al. 2021, arXiv 2104.08691): n learned embeddings before the text's.
// File: PEFT's `prompt_embeddings` [n, hidden], of an encoder-decoder [2 n, hidden] whose second
// half is never used; the config says RANDOM, since TEXT would ask every loader
// for a tokenizer.
#include "peft/method.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>

namespace luthier {

namespace {

class PromptAdapter final : public Adapter, public InputHook {
public:
    PromptAdapter(const ModelSites& sites, at::Tensor rows)
        : m_sites(sites), m_rows(std::move(rows)) {}

    std::string method() const override { return "prompt_tuning"; }
    std::vector<TrainedParameter> parameters() const override {
        return {{"prompt_embeddings", m_rows, "prompt"}};
    }
    void install(SiteHooks& hooks) override { hooks.addInput(this); }

    Result<void> setWeight(double weight) override {
        if (weight == 1) return {};
        return Problem{"cannot_weight", "A prompt cannot be given a weight other than 1.",
                       "Use weight 1 or another method.", "", ExitCode::BadUsage};
    }

    at::Tensor prompt() override { return m_rows.narrow(0, 0, length()); }
    std::int64_t length() const override { return m_rows.size(0) / submodules(); }

    std::vector<NamedTensor> fileTensors() const override {
        return {{"prompt_embeddings", m_rows}};
    }

    Json fileConfig() const override {
        return Json{
            {"peft_type", "PROMPT_TUNING"},         {"num_virtual_tokens", length()},
            {"token_dim", m_sites.hidden},          {"num_layers", m_sites.layers},
            {"num_attention_heads", m_sites.heads}, {"num_transformer_submodules", submodules()},
            {"prompt_tuning_init", "RANDOM"}};
    }

private:
    std::int64_t submodules() const { return m_sites.isEncoderDecoder() ? 2 : 1; }

    ModelSites m_sites;
    at::Tensor m_rows;  // [n * submodules, hidden] f32
};

/// Embedding rows of the ids, repeated or cut to n.
at::Tensor embeddedRows(const MethodContext& context, std::vector<std::int64_t> ids,
                        std::int64_t n) {
    const std::size_t given = ids.size();
    for (std::size_t i = given; i < static_cast<std::size_t>(n); ++i) ids.push_back(ids[i % given]);
    ids.resize(static_cast<std::size_t>(n));
    const at::Tensor& embedding =
        context.model.weights().at(context.model.sites().embeddingPath + ".weight");
    return at::index_select(embedding, 0, at::tensor(ids, at::kLong).to(embedding.device()))
        .to(at::kFloat);
}

Result<std::shared_ptr<Adapter>> createPromptTuning(const MethodContext& context) {
    const Json& settings = context.settings;
    const ModelSites& sites = context.model.sites();
    const std::int64_t n =
        settings.at("num_virtual_tokens").get<std::int64_t>() * (sites.isEncoderDecoder() ? 2 : 1);
    const std::string init = settings.at("prompt_tuning_init");
    at::Tensor rows;
    const bool isFilledLater = !settings.at("init_from").is_null();
    if (init == "TEXT" && !isFilledLater) {
        const std::string text = settings.at("prompt_tuning_init_text").is_null()
                                     ? ""
                                     : settings.at("prompt_tuning_init_text").get<std::string>();
        const std::vector<std::int64_t> ids = context.tokenize && !text.empty()
                                                  ? context.tokenize(text)
                                                  : std::vector<std::int64_t>{};
        if (ids.empty())
            return Problem{"missing_key", "method.prompt_tuning_init_text is empty.",
                           "Give the text that the prompt starts from, or use RANDOM.",
                           "method.prompt_tuning_init_text", ExitCode::BadUsage};
        rows = embeddedRows(context, ids, n);
    } else if (init == "SAMPLE_VOCAB" && !isFilledLater) {
        std::vector<std::int64_t> ids;
        for (std::int64_t i = 0; i < n; ++i)
            ids.push_back(
                static_cast<std::int64_t>(tensorSeed(context.seed, "prompt." + std::to_string(i)) %
                                          static_cast<std::uint64_t>(sites.vocabulary)));
        rows = embeddedRows(context, ids, n);
    } else {
        rows = normalTensor({n, sites.hidden}, 1.0, tensorSeed(context.seed, "prompt"),
                            context.model.device());
    }
    return std::shared_ptr<Adapter>(std::make_shared<PromptAdapter>(sites, leaf(rows)));
}

}  // namespace

Method promptTuningMethod() {
    Method method{"prompt_tuning",
                  "Prompt tuning",
                  "Add virtual tokens",
                  "Learned tokens put before the input.",
                  "PROMPT_TUNING",
                  false,
                  {},
                  &createPromptTuning};
    Setting count{"num_virtual_tokens", SettingType::Integer, 20, "Virtual tokens",
                  "Number of learned tokens."};
    count.minimum = 1;
    count.maximum = 4096;
    count.unit = "tokens";
    Setting init{"prompt_tuning_init", SettingType::Choice, "RANDOM", "Start from",
                 "RANDOM: normal values; SAMPLE_VOCAB: random tokens; TEXT: the tokens of a text."};
    init.choices = {"RANDOM", "SAMPLE_VOCAB", "TEXT"};
    Setting text{"prompt_tuning_init_text", SettingType::Text, nullptr, "Initial text",
                 "Repeated or cut to the number of virtual tokens."};
    text.isNullable = true;
    text.appliesWhen = {"prompt_tuning_init", {"TEXT"}};
    Setting initFrom{"init_from", SettingType::Path, nullptr, "Continue from",
                     "An adapter folder in PEFT format."};
    initFrom.isUsual = false;
    initFrom.isNullable = true;
    method.schema = {"prompt_tuning", {count, init, text, initFrom}};
    method.schema.putsTokensBeforeText = true;
    method.usualRate = {3e-2, "PEFT's guide; Lester et al. 2021 use 0.3 with Adafactor"};
    method.isPrompt = true;
    method.glyph = "layers 13 15 0 frozen 13 14 15 4 bar 0 14 4 4 bar 6 14 4 4";
    method.marks = {"tokens"};
    method.words = {{"num_virtual_tokens", "%1 tokens"}};
    return method;
}

}  // namespace luthier
