// SPDX-License-Identifier: Apache-2.0
#pragma once
// Element types a safetensors file may hold here: an allow-list, ordered by size. C64 and the
// sub-byte types are left out on purpose, since nothing in Luthier computes with them; a file that
// has one is refused by name.

#include <cstddef>
#include <optional>
#include <string_view>

namespace luthier {

enum class DType {
    Bool,
    U8,
    I8,
    F8E4M3,
    F8E5M2,
    I16,
    U16,
    F16,
    BF16,
    I32,
    U32,
    F32,
    I64,
    U64,
    F64
};

/// Bytes of one element: 1, 2, 4 or 8.
std::size_t sizeOf(DType dtype);

/// The spelling of safetensors headers: "F32", "F8_E4M3", "BOOL", …
const char* name(DType dtype);

/// The inverse of name(); nothing for a spelling outside the allow-list.
std::optional<DType> dtypeFromName(std::string_view name);

}  // namespace luthier
