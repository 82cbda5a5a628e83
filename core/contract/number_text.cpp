// SPDX-License-Identifier: Apache-2.0
#include "contract/number_text.h"

#include <cstdio>
#include <cstdlib>

namespace luthier {

std::string withThousands(std::int64_t value) {
    std::string digits = std::to_string(std::abs(value));
    for (int at = static_cast<int>(digits.size()) - 3; at > 0; at -= 3) digits.insert(static_cast<std::size_t>(at), ",");
    return value < 0 ? '-' + digits : digits;
}

std::string bytesText(std::int64_t bytes) {
    const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = static_cast<double>(bytes);
    int unit = 0;
    while (value >= 1024 && unit < 4) {
        value /= 1024;
        ++unit;
    }
    char text[64];
    std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return text;
}

}  // namespace luthier
