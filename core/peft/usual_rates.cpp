// SPDX-License-Identifier: Apache-2.0
#include "peft/usual_rates.h"

#include <map>

namespace luthier {

UsualRate usualRate(const std::string& method) {
    static const std::map<std::string, UsualRate> rates{
        {"full", {2e-5, "Devlin et al. 2019 (2e-5 to 5e-5), Taori et al. 2023 (Alpaca, 2e-5)"}},
        {"freeze", {5e-5, "the upper end of full fine-tuning's (Devlin et al. 2019)"}},
        {"bitfit", {3e-4, "T-Few's baselines (Liu et al. 2022)"}},
        {"ln_tuning", {3e-4, "T-Few's baselines (Liu et al. 2022)"}},
        {"bottleneck", {3e-4, "Houlsby et al. 2019 (3e-5, 3e-4, 3e-3 were tried)"}},
        {"lora", {2e-4, "Hu et al. 2022 (GPT-2), Dettmers et al. 2023"}},
        {"adalora", {5e-4, "Zhang et al. 2023"}},
        {"vera", {4e-3, "Kopiczko et al. 2024"}},
        {"ia3", {3e-3, "Liu et al. 2022"}},
        {"prompt_tuning", {3e-2, "PEFT's guide; Lester et al. 2021 use 0.3 with Adafactor"}},
        {"p_tuning", {1e-3, "PEFT's guide"}},
        {"prefix_tuning", {1e-2, "PEFT's guide, T-Few's baselines (Liu et al. 2022)"}},
        {"p_tuning_v2", {7e-3, "Liu et al. 2022 (P-tuning v2: 5e-3 to 1e-2)"}},
    };
    const auto found = rates.find(method);
    if (found != rates.end()) return found->second;
    return {rates.at("lora").rate, "as LoRA; it has no rate of its own in the literature"};
}

}  // namespace luthier
