// SPDX-License-Identifier: Apache-2.0
#include "contract/shootout.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace luthier {

namespace {

/// Two digits are all that a rate's origin justifies.
double rounded(double rate) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1e", rate);
    return std::stod(text);
}

std::string rateWords(double rate) {
    char text[32];
    std::snprintf(text, sizeof text, "%g", rate);
    return text;
}

}  // namespace

std::vector<Json> shootoutConfigs(const Json& base, const std::vector<Contender>& contenders,
                                  const ShootoutOptions& options) {
    std::vector<Json> configs;
    const auto firstSeed = base.value("/train/seed"_json_pointer, std::int64_t{42});
    for (const Contender& contender : contenders)
        for (int attempt = 0; attempt < options.rateTries; ++attempt) {
            const double rate =
                rounded(contender.learningRate * std::pow(3.0, attempt - options.rateTries / 2));
            for (int seed = 0; seed < options.seeds; ++seed) {
                Json config = base;
                std::string name = contender.method.at("type").get<std::string>();
                std::replace(name.begin(), name.end(), '_', '-');
                name = options.group + "-" + name;
                if (options.rateTries > 1) name += "-lr" + rateWords(rate);
                if (options.seeds > 1) name += "-seed" + std::to_string(firstSeed + seed);
                config["name"] = name;
                config["group"] = options.group;
                config["method"] = contender.method;
                config["train"]["learning_rate"] = rate;
                config["train"]["max_steps"] = contender.steps;
                config["train"]["seed"] = firstSeed + seed;
                configs.push_back(std::move(config));
            }
        }
    return configs;
}

}  // namespace luthier
