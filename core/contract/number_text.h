// SPDX-License-Identifier: Apache-2.0
#pragma once
// Numbers as people read them in tables and reports, and foreign text as a terminal can show it.

#include <cstdint>
#include <string>
#include <string_view>

namespace luthier {

/// "1,234,567"
std::string withThousands(std::int64_t value);
/// "17.2 MiB"
std::string bytesText(std::int64_t bytes);
/// UTF-8 text on one line without anything that a terminal would obey: control characters (C0, C1, DEL) as \xNN, a line break as \n; bytes that are no
/// UTF-8 as \xNN.
std::string printable(std::string_view text);

}  // namespace luthier
