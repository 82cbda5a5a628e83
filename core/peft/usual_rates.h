// SPDX-License-Identifier: Apache-2.0
#pragma once
// The learning rate each method is usually trained with (AdamW), and who says so: where a
// comparison of methods starts.

#include <string>

namespace luthier {

struct UsualRate {
    double rate = 0;
    std::string source;
};

/// Of LoRA for a method without a rate of its own in the literature, which the source then says.
UsualRate usualRate(const std::string& method);

}  // namespace luthier
