// SPDX-License-Identifier: Apache-2.0
#include "io/dtype.h"

#include <array>

namespace luthier {

namespace {

struct DTypeRow {
    DType dtype;
    std::size_t size;
    const char* name;
};

// In the order of the enumeration, which indexes it.
constexpr std::array<DTypeRow, 15> kRows{{
    {DType::Bool, 1, "BOOL"},
    {DType::U8, 1, "U8"},
    {DType::I8, 1, "I8"},
    {DType::F8E4M3, 1, "F8_E4M3"},
    {DType::F8E5M2, 1, "F8_E5M2"},
    {DType::I16, 2, "I16"},
    {DType::U16, 2, "U16"},
    {DType::F16, 2, "F16"},
    {DType::BF16, 2, "BF16"},
    {DType::I32, 4, "I32"},
    {DType::U32, 4, "U32"},
    {DType::F32, 4, "F32"},
    {DType::I64, 8, "I64"},
    {DType::U64, 8, "U64"},
    {DType::F64, 8, "F64"},
}};

}  // namespace

std::size_t sizeOf(DType dtype) { return kRows[static_cast<std::size_t>(dtype)].size; }

const char* name(DType dtype) { return kRows[static_cast<std::size_t>(dtype)].name; }

std::optional<DType> dtypeFromName(std::string_view name) {
    for (const DTypeRow& row : kRows) {
        if (name == row.name) return row.dtype;
    }
    return std::nullopt;
}

}  // namespace luthier
