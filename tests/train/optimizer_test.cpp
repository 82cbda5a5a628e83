// SPDX-License-Identifier: Apache-2.0
#include "train/optimizer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <doctest/doctest.h>

#include <cmath>

using namespace luthier;

namespace {

const std::vector<std::string> kKinds{"adamw", "adamw_8bit", "adafactor", "lion", "sgd"};

OptimizerSettings everySetting() {
    OptimizerSettings settings;
    settings.weightDecay = 0.01;
    settings.momentum = 0.9;
    settings.adafactorBeta1 = 0.5;
    settings.scaleParameter = true;
    return settings;
}

std::vector<TrainedParameter> twoParameters() {
    return {{"matrix",
             at::linspace(-1, 2, 6000, at::kFloat).view({60, 100}).clone().set_requires_grad(true),
             "m"},
            {"vector", at::linspace(1, 3, 5, at::kFloat).clone().set_requires_grad(true), "v"}};
}

void oneStep(Optimizer& optimizer, const std::vector<TrainedParameter>& parameters, int step) {
    for (const TrainedParameter& parameter : parameters)
        parameter.tensor.mutable_grad() = parameter.tensor.detach().mul(3.0 + step).sin();
    optimizer.step(0.01);
}

}  // namespace

TEST_CASE("everyOptimizerGoesOnBitForBitFromItsState") {
    for (const std::string& kind : kKinds) {
        CAPTURE(kind);
        const auto whole = twoParameters();
        const auto optimizer = createOptimizer(kind, whole, everySetting());
        for (int step = 0; step < 3; ++step) oneStep(*optimizer, whole, step);
        const auto resumed = twoParameters();
        const auto second = createOptimizer(kind, resumed, everySetting());
        {
            const at::NoGradGuard guard;
            for (std::size_t i = 0; i < whole.size(); ++i)
                at::Tensor(resumed[i].tensor).copy_(whole[i].tensor);
            const auto from = optimizer->state();
            const auto into = second->state();
            REQUIRE(from.size() == into.size());
            for (std::size_t i = 0; i < from.size(); ++i) {
                CHECK(from[i].name == into[i].name);
                at::Tensor(into[i].tensor).copy_(from[i].tensor);
            }
        }
        for (int step = 3; step < 6; ++step) {
            oneStep(*optimizer, whole, step);
            oneStep(*second, resumed, step);
        }
        for (std::size_t i = 0; i < whole.size(); ++i)
            CHECK(at::equal(whole[i].tensor, resumed[i].tensor));
    }
}

TEST_CASE("everyOptimizerLeavesAParameterWithoutGradientAlone") {
    for (const std::string& kind : kKinds) {
        CAPTURE(kind);
        const auto parameters = twoParameters();
        const auto optimizer = createOptimizer(kind, parameters, everySetting());
        parameters[1].tensor.mutable_grad() = parameters[1].tensor.detach().clone();
        optimizer->step(0.1);
        CHECK(at::equal(parameters[0].tensor, twoParameters()[0].tensor));
        CHECK_FALSE(at::equal(parameters[1].tensor, twoParameters()[1].tensor));
    }
}

TEST_CASE("everyOptimizerScalesTheRateByTheParametersFactor") {
    for (const std::string& kind : kKinds) {
        CAPTURE(kind);
        auto slow = twoParameters();
        for (TrainedParameter& parameter : slow) parameter.rateFactor = 0;
        const auto optimizer = createOptimizer(kind, slow, everySetting());
        oneStep(*optimizer, slow, 0);
        CHECK(at::equal(slow[0].tensor, twoParameters()[0].tensor));
    }
}

TEST_CASE("theStateIsAsLargeAsEstimated") {
    for (const std::string& kind : kKinds) {
        CAPTURE(kind);
        const auto parameters = twoParameters();
        std::int64_t expected = 0;
        for (const TrainedParameter& parameter : parameters)
            expected += optimizerBytes(kind, parameter.tensor.sizes().vec(), everySetting());
        std::int64_t bytes = 0;
        for (const NamedTensor& tensor : createOptimizer(kind, parameters, everySetting())->state())
            if (tensor.tensor.dim() > 0) bytes += static_cast<std::int64_t>(tensor.tensor.nbytes());
        CHECK(bytes == expected);
    }
}

TEST_CASE("lionMovesEveryElementByTheRate") {
    const TrainedParameter weight{"w", at::tensor({1.0f, 1.0f, 1.0f}).set_requires_grad(true), "w"};
    const auto optimizer = createOptimizer("lion", {weight}, {});
    weight.tensor.mutable_grad() = at::tensor({1e-6f, -1e6f, 0.0f});
    optimizer->step(0.25);
    CHECK(at::equal(weight.tensor.detach(), at::tensor({0.75f, 1.25f, 1.0f})));
}

TEST_CASE("theRelativeStepOfAdafactorIgnoresTheSchedule") {
    OptimizerSettings settings;
    settings.relativeStep = true;
    const auto parameters = twoParameters();
    const auto optimizer = createOptimizer("adafactor", parameters, settings);
    CHECK(optimizer->usedRate(5.0) == 1e-2);
    oneStep(*optimizer, parameters, 0);
    CHECK(parameters[0].tensor[0][0].item<double>() == doctest::Approx(-1 + 1e-2).epsilon(5e-3));
    settings.warmupInit = true;
    CHECK(createOptimizer("adafactor", parameters, settings)->usedRate(5.0) ==
          doctest::Approx(1e-6));
}

TEST_CASE("biases and norms of every family have no weight decay, all else has") {
    OptimizerSettings settings;
    settings.weightDecay = 0.1;
    for (const char* name :
         {"model.layers.0.input_layernorm.weight", "model.norm.weight",
          "model.layers.3.self_attn.q_norm.weight", "transformer.h.0.ln_1.weight",
          "transformer.ln_f.weight", "transformer.blocks.0.norm_1.weight",
          "bert.encoder.layer.0.output.LayerNorm.weight",
          "encoder.block.0.layer.0.layer_norm.weight", "decoder.final_layer_norm.weight",
          "transformer.h.0.attn.c_attn.bias", "model.layers.0.self_attn.q_proj.lora_B.bias",
          "gpt_neox.layers.0.attention.dense.bias"})
        CHECK_MESSAGE(decayOf(settings, name) == 0, name);
    for (const char* name : {"model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight",
                             "model.layers.0.self_attn.q_proj.lora_A.weight",
                             "model.layers.0.mlp.down_proj.lora_magnitude_vector",
                             "model.layers.0.mlp.down_proj.ia3_l", "prompt_embeddings",
                             "lm_head.weight", "model.layers.0.self_attn.normalizer.weight"})
        CHECK_MESSAGE(decayOf(settings, name) == 0.1, name);
}
