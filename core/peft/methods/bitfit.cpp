// SPDX-License-Identifier: Apache-2.0
// BitFit (Ben Zaken et al. 2021, arXiv 2106.10199): only the biases are trained. PEFT has no such
// method; what it loads with equal results is a LoRA of rank 1 and bias "all" whose one low-rank
// layer is zero. That layer's own bias stands in the file as `base_layer.bias`,
// every other one under its own name.
#include "peft/method.h"
#include "peft/methods/own_copies.h"
#include "peft/saved_modules.h"

#include <ATen/ops/zeros.h>

#include <set>

namespace luthier {

namespace {

/// How a BitFit run is written for PEFT.
bool isBitFit(const Json& config) {
    const Json targets = config.value("target_modules", Json());
    return config.value("peft_type", Json()) == "LORA" && config.value("bias", Json()) == "all" &&
           config.value("r", Json()) == 1 && config.value("lora_alpha", Json()) == 1 &&
           targets.is_array() && targets.size() == 1 && targets[0].is_string() &&
           targets[0].get<std::string>().find('.') != std::string::npos;
}

Result<std::shared_ptr<Adapter>> createBitfit(const MethodContext& context) {
    const ModelSites& sites = context.model.sites();
    const LinearSite& carrier = sites.linears.front();
    std::vector<std::unique_ptr<OwnCopy>> copies;
    std::set<std::string>
        headBiases;  // a classifier's head is trained whole beside every method (saved_modules.h)
    if (sites.classes > 0)
        for (const std::size_t index : savedHeadOf(sites).linears)
            headBiases.insert(sites.linears[index].path + ".bias");
    for (const std::string& name : context.model.weights().names()) {
        if (!name.ends_with(".bias") || headBiases.contains(name)) continue;
        const bool isCarriers = name == carrier.path + ".bias";
        copies.push_back(std::make_unique<OwnCopy>(
            context.model.weights().at(name), name,
            "base_model.model." + (isCarriers ? carrier.path + ".base_layer.bias" : name)));
    }
    if (copies.empty())
        return Problem{
            "no_target_matches",
            "This " + sites.family + " model has no biases, so BitFit has nothing to train.",
            "Choose another method, for example ln_tuning.", "method.type", ExitCode::BadUsage};
    const auto options = at::TensorOptions(at::kFloat).device(context.model.device());
    const std::string path = "base_model.model." + carrier.path;
    std::vector<NamedTensor> constants{
        {path + ".lora_A.weight", at::zeros({1, carrier.in}, options)},
        {path + ".lora_B.weight", at::zeros({carrier.out, 1}, options)}};
    Json config{{"peft_type", "LORA"},
                {"r", 1},
                {"lora_alpha", 1},
                {"target_modules", {carrier.path}},
                {"bias", "all"}};
    if (carrier.isConv1D) config["fan_in_fan_out"] = true;
    return std::shared_ptr<Adapter>(std::make_shared<OwnCopiesAdapter>(
        "bitfit", std::move(config), std::move(copies), std::move(constants)));
}

}  // namespace

Method bitfitMethod() {
    Method method{"bitfit",
                  "BitFit",
                  "Adjust existing weights",
                  "Trains the biases and nothing else.",
                  "",
                  true,
                  {},
                  &createBitfit};
    Setting initFrom{"init_from", SettingType::Path, nullptr, "Continue from",
                     "An adapter folder that a BitFit run wrote."};
    initFrom.isUsual = false;
    initFrom.isNullable = true;
    method.schema = {"bitfit", {initFrom}};
    method.usualRate = {3e-4, "T-Few's baselines (Liu et al. 2022)"};
    method.owns = &isBitFit;
    method.readSettings = [](const Json&, const std::string&) -> Result<Json> {
        return Json::object();
    };
    method.glyph = "layers 2 16 0 bar 21 2 4 4 bar 21 8 4 4 bar 21 14 4 4";
    return method;
}

}  // namespace luthier
