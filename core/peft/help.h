// SPDX-License-Identifier: Apache-2.0
#pragma once
// The help pages of resources/help, which core/engine.cmake puts into the program.

#include <string>

namespace luthier {

/// Markdown; empty when the method has no page.
const std::string& methodHelp(const std::string& type);

}  // namespace luthier
