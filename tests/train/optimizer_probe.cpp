// SPDX-License-Identifier: Apache-2.0
// The engine's optimisers and schedules over a pipe, for comparison with torch, transformers and
// bitsandbytes' definitions. One JSON request a line: {"optimizer", "settings", "rate", "shape",
// "start", "gradients"} answers the parameter after each step and the state at the end;
// {"schedule", "steps"} answers the factors.
#include "contract/json.h"
#include "train/optimizer.h"
#include "train/schedule.h"

#include <ATen/ops/tensor.h>

#include <iostream>

using namespace luthier;

namespace {

std::vector<double> numbers(const at::Tensor& tensor) {
    const at::Tensor flat = tensor.detach().to(at::kDouble).reshape({-1}).contiguous();
    return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

OptimizerSettings settingsOf(const Json& json) {
    OptimizerSettings settings;
    for (const auto& [key, slot] :
         {std::pair{"beta1", &settings.beta1}, std::pair{"beta2", &settings.beta2},
          std::pair{"epsilon", &settings.epsilon}, std::pair{"weight_decay", &settings.weightDecay},
          std::pair{"momentum", &settings.momentum},
          std::pair{"adafactor_beta1", &settings.adafactorBeta1}})
        *slot = json.value(key, *slot);
    for (const auto& [key, slot] : {std::pair{"nesterov", &settings.nesterov},
                                    std::pair{"scale_parameter", &settings.scaleParameter},
                                    std::pair{"relative_step", &settings.relativeStep},
                                    std::pair{"warmup_init", &settings.warmupInit}})
        *slot = json.value(key, *slot);
    return settings;
}

Json optimise(const Json& request) {
    const auto shape = request["shape"].get<std::vector<std::int64_t>>();
    const auto tensorOf = [&](const Json& values) {
        return at::tensor(values.get<std::vector<float>>()).view(shape);
    };
    const TrainedParameter parameter{"p", tensorOf(request["start"]).requires_grad_(true), "p"};
    const auto optimizer =
        createOptimizer(request["optimizer"], {parameter}, settingsOf(request["settings"]));
    Json answer{{"after", Json::array()}, {"state", Json::object()}};
    for (const Json& gradient : request["gradients"]) {
        parameter.tensor.mutable_grad() = tensorOf(gradient);
        optimizer->step(request["rate"]);
        answer["after"].push_back(numbers(parameter.tensor));
    }
    for (const NamedTensor& tensor : optimizer->state())
        answer["state"][tensor.name] = numbers(tensor.tensor);
    return answer;
}

Json factors(const Json& request) {
    const Json& json = request["schedule"];
    Schedule schedule;
    schedule.kind = json["kind"];
    schedule.warmupSteps = json.value("warmup_steps", 0);
    schedule.totalSteps = json.value("total_steps", 0);
    schedule.baseRate = json.value("rate", 1.0);
    schedule.numCycles = json.value("num_cycles", 0.0);
    schedule.power = json.value("power", 1.0);
    schedule.endRate = json.value("lr_end", 1e-7);
    schedule.timescale = json.value("timescale", 0.0);
    schedule.minFactor = json.value("min_factor", 0.0);
    schedule.decaySteps = json.value("num_decay_steps", 0);
    schedule.warmupType = json.value("warmup_type", "linear");
    schedule.decayType = json.value("decay_type", "cosine");
    Json answer{{"factors", Json::array()}};
    for (std::int64_t step = 0; step < request["steps"].get<std::int64_t>(); ++step)
        answer["factors"].push_back(schedule.factor(step));
    return answer;
}

}  // namespace

int main() {
    for (std::string line; std::getline(std::cin, line);) {
        const Json request = Json::parse(line);
        std::cout << (request.contains("schedule") ? factors(request) : optimise(request)).dump()
                  << std::endl;
    }
}
