// SPDX-License-Identifier: Apache-2.0
#pragma once
// IA3's part of combine.h.

#include "peft/combine.h"

namespace luthier {

Result<Json> combineIa3(const CombineRequest& request, const std::filesystem::path& out);

}  // namespace luthier
