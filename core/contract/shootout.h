// SPDX-License-Identifier: Apache-2.0
#pragma once
// A fair comparison of methods: the configurations of one run per method, learning rate and seed on
// the same model, data and steps. Rates start where each method is usually trained
// (Method::usualRate), in proportion to the rate of the configuration they come from; `rateTries`
// spreads each around that, since a rate that suits one method and not another is the usual way
// such comparisons go wrong.

#include "contract/json.h"

#include <cstdint>
#include <string>
#include <vector>

namespace luthier {

struct Contender {
    Json method;              ///< the `method` section, with `type`
    double learningRate = 0;  ///< where its rates are spread around
    std::int64_t steps = 0;
};

struct ShootoutOptions {
    std::string group;
    int seeds = 1;      ///< the configuration's seed and those that follow it
    int rateTries = 1;  ///< odd; rates a factor of 3 apart
};

/// Configurations that go to trainRun one after the other; their names are unique:
/// GROUP-METHOD[-lrRATE][-seedN].
std::vector<Json> shootoutConfigs(const Json& base, const std::vector<Contender>& contenders,
                                  const ShootoutOptions& options);

}  // namespace luthier
