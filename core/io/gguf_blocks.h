// SPDX-License-Identifier: Apache-2.0
#pragma once
// The types of values in GGUF files, and their blocks as float32 numbers. A type is one line of the
// table and one function. Blocks lie one after another along a row, unaligned, little-endian;
// decoding is exact: every product fits into float32, so any implementation has the same bits as
// llama.cpp's dequantize_row_*.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace luthier {

/// Numbers are the format's own (ggml_type).
enum class GgufType : std::uint32_t {
    F32 = 0,
    F16 = 1,
    Q4_0 = 2,
    Q4_1 = 3,
    Q5_0 = 6,
    Q5_1 = 7,
    Q8_0 = 8,
    Q2_K = 10,
    Q3_K = 11,
    Q4_K = 12,
    Q5_K = 13,
    Q6_K = 14,
    IQ4_NL = 20,
    IQ4_XS = 23,
    BF16 = 30,
    MXFP4 = 39
};

struct GgufTypeInfo {
    GgufType type;
    const char* name;      ///< "q4_k", as options and documents spell it
    std::uint32_t values;  ///< of a block; 1: plain numbers
    std::uint32_t bytes;   ///< of a block
    void (*decode)(const std::byte* block, float* values);  ///< one block
    std::int32_t scales[2] = {-1, -1};  ///< where a block's half-precision scales stand

    bool isBlocks() const { return values > 1; }
};

/// All types that Luthier reads.
std::span<const GgufTypeInfo> ggufTypes();
/// The line of a type's number; nullptr when Luthier does not read it.
const GgufTypeInfo* findGgufType(std::uint32_t number);
const GgufTypeInfo& infoOf(GgufType type);

/// "f32", "f16", "q8_0", …
const char* name(GgufType type);
/// A number's name in ggml, also of types that Luthier does not read: "IQ2_XXS"; "type 99" where
/// there is none.
std::string ggufTypeName(std::uint32_t number);
/// "F32, F16, Q4_0, …": what Luthier reads.
std::string ggufTypeNames();

/// Bytes of `count` values, which must be whole blocks.
std::uint64_t bytesOf(GgufType type, std::uint64_t count);

/// `data` holds the blocks of `count` values.
void decodeGguf(GgufType type, const std::byte* data, std::uint64_t count, float* values);

/// The first of the blocks whose scale is infinite or not a number (of MXFP4: beyond float32);
/// nothing for plain numbers.
std::optional<std::uint64_t> firstBrokenBlock(GgufType type, std::span<const std::byte> data);

}  // namespace luthier
