// SPDX-License-Identifier: Apache-2.0
#pragma once
// LoRA's part of combine.h.

#include "peft/combine.h"

namespace luthier {

Result<Json> combineLora(const CombineRequest& request, const std::filesystem::path& out);

}  // namespace luthier
