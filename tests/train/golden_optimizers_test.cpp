// SPDX-License-Identifier: Apache-2.0
// The update rules against torch and transformers, three steps each, from tests/golden.
#include "golden/golden.h"
#include "train/optimizer.h"

#include <ATen/ops/arange.h>

using namespace luthier;

namespace {

OptimizerSettings settingsOf(const Json& json) {
    OptimizerSettings settings;
    settings.beta1 = json.value("beta1", settings.beta1);
    settings.beta2 = json.value("beta2", settings.beta2);
    settings.weightDecay = json.value("weight_decay", 0.0);
    settings.momentum = json.value("momentum", 0.0);
    settings.nesterov = json.value("nesterov", false);
    settings.adafactorBeta1 = json.value("adafactor_beta1", 0.0);
    settings.scaleParameter = json.value("scale_parameter", false);
    settings.relativeStep = json.value("relative_step", false);
    settings.warmupInit = json.value("warmup_init", false);
    return settings;
}

}  // namespace

TEST_CASE("every rule takes the steps of the library that has it") {
    const Json cases = golden::jsonOf(golden::root() / "optimizers.json");
    const TensorMap tensors = readTensors(golden::root() / "optimizers.safetensors").orThrow();
    REQUIRE(cases.size() >= 24);
    for (const Json& entry : cases) {
        const std::string name = entry.at("case");
        CAPTURE(name);
        const TrainedParameter parameter{
            "p", tensors.at(name + "/start").clone().set_requires_grad(true), "p"};
        const auto optimizer =
            createOptimizer(entry.at("kind"), {parameter}, settingsOf(entry.at("settings")));
        for (std::int64_t step = 0; step < entry.at("steps").get<std::int64_t>(); ++step) {
            parameter.tensor.mutable_grad() =
                tensors.at(name + "/gradient." + std::to_string(step)).clone();
            optimizer->step(entry.at("rate"));
            CHECK(golden::largest(parameter.tensor.detach() -
                                  tensors.at(name + "/after." + std::to_string(step))) < 1e-6);
        }
    }
}

TEST_CASE("moments of 8 bits take the steps of their rule") {
    const at::Tensor i = at::arange(4200, at::kLong);
    const TrainedParameter parameter{
        "p", ((i * 31).remainder(257) - 128).to(at::kFloat).div(256).set_requires_grad(true), "p"};
    OptimizerSettings settings;
    settings.weightDecay = 0.01;
    const auto optimizer = createOptimizer("adamw_8bit", {parameter}, settings);
    for (std::int64_t step = 1; step <= 3; ++step) {
        parameter.tensor.mutable_grad() =
            ((i * 7919 * step).remainder(1013) - 506).to(at::kFloat).div(512);
        optimizer->step(0.01);
    }
    const at::Tensor wanted =
        readTensors(golden::root() / "optimizers.safetensors").orThrow().at("adamw_8bit/after");
    const at::Tensor distance =
        (parameter.tensor.detach().slice(0, 0, std::nullopt, 7) - wanted).abs();
    // A code may fall to either side of the middle between two.
    CHECK(distance.gt(1e-6).sum().item<std::int64_t>() <= distance.numel() / 100);
    CHECK(golden::largest(distance) < 1e-2);
}
