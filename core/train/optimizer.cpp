// SPDX-License-Identifier: Apache-2.0
#include "train/optimizer.h"

#include "text/pattern.h"
#include "train/adamw.h"
#include "train/optimizers/rules.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <string_view>

namespace luthier {

void Optimizer::clearGradients() {
    for (const TrainedParameter& parameter : m_parameters)
        parameter.tensor.mutable_grad() = at::Tensor();
}

double Optimizer::clipGradients(double maxNorm) {
    const at::NoGradGuard guard;
    double squares = 0;
    for (const TrainedParameter& parameter : m_parameters) {
        const at::Tensor& gradient = parameter.tensor.grad();
        if (!gradient.defined()) continue;
        const double norm = gradient.norm().item<double>();
        squares += norm * norm;
    }
    const double norm = std::sqrt(squares);
    const double factor = maxNorm / (norm + 1e-6);
    if (maxNorm > 0 && factor < 1)
        for (const TrainedParameter& parameter : m_parameters)
            if (parameter.tensor.grad().defined()) parameter.tensor.mutable_grad().mul_(factor);
    return norm;
}

OptimizerSettings optimizerSettings(const RunConfig& config) {
    OptimizerSettings settings;
    settings.beta1 = config.get<double>("train.adam_beta1");
    settings.beta2 = config.get<double>("train.adam_beta2");
    settings.epsilon = config.get<double>("train.adam_epsilon");
    settings.weightDecay = config.get<double>("train.weight_decay");
    settings.noDecay = config.get<std::vector<std::string>>("train.no_decay");
    settings.momentum = config.get<double>("train.momentum");
    settings.nesterov = config.get<bool>("train.nesterov");
    settings.clipThreshold = config.get<double>("train.adafactor.clip_threshold");
    settings.decayRate = config.get<double>("train.adafactor.decay_rate");
    settings.adafactorBeta1 = config.optional<double>("train.adafactor.beta1").value_or(0);
    settings.scaleParameter = config.get<bool>("train.adafactor.scale_parameter");
    settings.relativeStep = config.get<bool>("train.adafactor.relative_step");
    settings.warmupInit = config.get<bool>("train.adafactor.warmup_init");
    return settings;
}

double decayOf(const OptimizerSettings& settings, const std::string& parameter) {
    if (settings.undecayed.contains(parameter)) return 0;
    std::string name = parameter;
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    for (const char* part : {"bias", "layernorm", "rmsnorm"})
        if (name.find(part) != std::string::npos) return 0;
    // Trainer's patterns for segments, and torch's LayerNorms that are called otherwise (GPT-2's
    // ln_1, MPT's norm_1).
    for (std::size_t begin = 0; begin <= name.size();) {
        const std::size_t end = std::min(name.find('.', begin), name.size());
        const std::string_view segment = std::string_view(name).substr(begin, end - begin);
        if (segment == "norm" || segment.ends_with("_norm") || segment.starts_with("norm_") ||
            segment.starts_with("ln_"))
            return 0;
        begin = end + 1;
    }
    return settings.weightDecay;
}

Result<std::map<std::string, std::set<std::string>>> matchedByNoDecay(
    const std::vector<std::string>& noDecay, const std::vector<TrainedParameter>& parameters) {
    std::map<std::string, std::set<std::string>> matched;
    for (const std::string& expression : noDecay) {
        Result<Pattern> pattern = Pattern::create(".*(?:" + expression + ").*", "train.no_decay");
        if (!pattern) return pattern.problems();
        std::set<std::string>& names = matched[expression];
        for (const TrainedParameter& parameter : parameters)
            if (pattern->matchesWhole(parameter.name)) names.insert(parameter.name);
    }
    return matched;
}

std::unique_ptr<Optimizer> createOptimizer(const std::string& kind,
                                           std::vector<TrainedParameter> parameters,
                                           const OptimizerSettings& asked) {
    OptimizerSettings settings = asked;
    for (auto& [expression, names] : matchedByNoDecay(asked.noDecay, parameters).orThrow())
        settings.undecayed.merge(names);
    if (kind == "adamw") return std::make_unique<AdamW>(parameters, settings);
    if (kind == "adamw_8bit") return makeAdamW8bit(std::move(parameters), settings);
    if (kind == "adafactor") return makeAdafactor(std::move(parameters), settings);
    if (kind == "lion") return makeLion(std::move(parameters), settings);
    if (kind == "sgd") return makeSgd(std::move(parameters), settings);
    throw Failure({"unknown_choice", "train.optimizer \"" + kind + "\" is not an optimiser.",
                   "Choose adamw, adamw_8bit, adafactor, lion or sgd.", "train.optimizer",
                   ExitCode::BadUsage});
}

std::int64_t optimizerBytes(const std::string& kind, const std::vector<std::int64_t>& shape,
                            const OptimizerSettings& settings) {
    std::int64_t count = 1;
    for (const std::int64_t size : shape) count *= size;
    if (kind == "sgd") return settings.momentum > 0 ? 4 * count : 0;
    if (kind == "lion") return 4 * count;
    if (kind == "adamw_8bit" && count >= kMin8bitSize) {
        const std::int64_t blocks = (count + k8bitBlock - 1) / k8bitBlock;
        return 2 * blocks * (k8bitBlock + 4);
    }
    if (kind == "adafactor") {
        const std::int64_t first = settings.adafactorBeta1 > 0 ? 4 * count : 0;
        return first + (shape.size() < 2 || count == 0
                            ? 4 * count
                            : 4 * (count / shape.back() + count / shape[shape.size() - 2]));
    }
    return 8 * count;
}

}  // namespace luthier
