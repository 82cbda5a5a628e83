// SPDX-License-Identifier: Apache-2.0
#pragma once
// UTF-8 as foreign bytes need it: what is well-formed stays, every byte that is not becomes U+FFFD.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace luthier {

bool isUtf8(std::string_view bytes);
std::string toUtf8(std::string_view bytes);

/// Bytes of the well-formed character at `at`, or 0 (Unicode 15, table 3-7: no overlong forms, no
/// surrogates).
std::size_t characterLength(std::string_view bytes, std::size_t at);
/// Of one well-formed character.
std::uint32_t codePointOf(std::string_view character);
void appendCodePoint(std::string& text, std::uint32_t code);

}  // namespace luthier
