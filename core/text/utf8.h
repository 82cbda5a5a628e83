// SPDX-License-Identifier: Apache-2.0
#pragma once
// UTF-8 as foreign bytes need it: what is well-formed stays, every byte that is not becomes U+FFFD.

#include <string>
#include <string_view>

namespace luthier {

bool isUtf8(std::string_view bytes);
std::string toUtf8(std::string_view bytes);

}  // namespace luthier
