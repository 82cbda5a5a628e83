// SPDX-License-Identifier: Apache-2.0
#pragma once
// Files of this folder, read by its tests.

#include "contract/json.h"

#include <filesystem>

namespace luthier {

inline Json golden(const char* name) {
    return readJsonFile(std::filesystem::path(LUTHIER_TASK_TESTS) / name).orThrow();
}

}  // namespace luthier
