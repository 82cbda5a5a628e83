// SPDX-License-Identifier: Apache-2.0
#pragma once
// Numbers as people read them in tables and reports.

#include <cstdint>
#include <string>

namespace luthier {

/// "1,234,567"
std::string withThousands(std::int64_t value);
/// "17.2 MiB"
std::string bytesText(std::int64_t bytes);

}  // namespace luthier
