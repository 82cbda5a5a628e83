// SPDX-License-Identifier: Apache-2.0
// Layouts in field order; d and m are scales in half precision, n a 4-bit number ("nibble"), S
// bytes of scales. Nibbles of 32 values: byte j holds value j in its low half and value j + 16 in
// its high half.
//
//   q8_0    d | q int8[32]                              d q
//   q4_0    d | qs[16]                                  d (n - 8)
//   q4_1    d | m | qs[16]                              d n + m
//   q5_0    d | qh u32 | qs[16]                         d (n + 16 bit - 16)
//   q5_1    d | m | qh u32 | qs[16]                     d (n + 16 bit) + m
//   iq4_nl  d | qs[16]                                  d K[n]
//   mxfp4   e u8 | qs[16]                               2^(e - 127) E[n]
//   q2_k    S[16] | qs[64] | d | m                      d (S & 15) q - m (S >> 4), 16 values a
//   scale q3_k    hmask[32] | qs[64] | S[12] | d              d (s - 32) (q + 4 bit - 4), 16 values
//   a scale of 6 bits q4_k    d | m | S[12] | qs[128]                     (d s) q - (m t), 32
//   values a pair of 6 bits q5_k    d | m | S[12] | qh[32] | qs[128]            (d s) (q + 16 bit)
//   - (m t) q6_k    ql[128] | qh[64] | S int8[16] | d           d S (q - 32) iq4_xs  d | sh u16 |
//   sl[4] | qs[128]                d (s - 32) K[n], 32 values a scale of 6 bits
#include "io/gguf_blocks.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>

namespace luthier {

namespace {

using Byte = std::uint8_t;
constexpr std::size_t kSuper = 256;  // values of a block of the K types

std::uint16_t wordAt(const Byte* bytes) {
    std::uint16_t word;
    std::memcpy(&word, bytes, sizeof word);
    return word;
}

float halfOf(std::uint16_t half) {
    const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16,
                        exponent = half >> 10 & 0x1fu, fraction = half & 0x3ffu;
    if (exponent == 0) {
        const float value = static_cast<float>(fraction) * 0x1p-24f;
        return sign != 0 ? -value : value;
    }
    return std::bit_cast<float>(sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) |
                                fraction << 13);
}
float halfAt(const Byte* bytes) { return halfOf(wordAt(bytes)); }

constexpr std::array<float, 16> kCurve{-127, -104, -83, -65, -49, -35, -22, -10,
                                       1,    13,   25,  38,  53,  69,  89,  113};
// llama.cpp's codes are whole numbers, so code 8 is 0 and not -0.
constexpr std::array<float, 16> kE2m1{0, 0.5f,  1,  1.5f,  2,  3,  4,  6,
                                      0, -0.5f, -1, -1.5f, -2, -3, -4, -6};

void f32(const Byte* block, float* y) { std::memcpy(y, block, sizeof *y); }
void f16(const Byte* block, float* y) { *y = halfAt(block); }
void bf16(const Byte* block, float* y) {
    *y = std::bit_cast<float>(static_cast<std::uint32_t>(wordAt(block)) << 16);
}

void q8_0(const Byte* block, float* y) {
    const float d = halfAt(block);
    for (int j = 0; j < 32; ++j)
        y[j] = d * static_cast<float>(static_cast<std::int8_t>(block[2 + j]));
}

void q4_0(const Byte* block, float* y) {
    const float d = halfAt(block);
    for (int j = 0; j < 16; ++j) {
        y[j] = d * static_cast<float>((block[2 + j] & 15) - 8);
        y[j + 16] = d * static_cast<float>((block[2 + j] >> 4) - 8);
    }
}

void q4_1(const Byte* block, float* y) {
    const float d = halfAt(block), m = halfAt(block + 2);
    for (int j = 0; j < 16; ++j) {
        y[j] = d * static_cast<float>(block[4 + j] & 15) + m;
        y[j + 16] = d * static_cast<float>(block[4 + j] >> 4) + m;
    }
}

/// The 5-bit number of value j, for j and j + 16.
int fifth(std::uint32_t high, int nibble, int place) {
    return nibble | static_cast<int>(high >> place & 1u) << 4;
}

void q5_0(const Byte* block, float* y) {
    const float d = halfAt(block);
    std::uint32_t high;
    std::memcpy(&high, block + 2, sizeof high);
    for (int j = 0; j < 16; ++j) {
        y[j] = d * static_cast<float>(fifth(high, block[6 + j] & 15, j) - 16);
        y[j + 16] = d * static_cast<float>(fifth(high, block[6 + j] >> 4, j + 16) - 16);
    }
}

void q5_1(const Byte* block, float* y) {
    const float d = halfAt(block), m = halfAt(block + 2);
    std::uint32_t high;
    std::memcpy(&high, block + 4, sizeof high);
    for (int j = 0; j < 16; ++j) {
        y[j] = d * static_cast<float>(fifth(high, block[8 + j] & 15, j)) + m;
        y[j + 16] = d * static_cast<float>(fifth(high, block[8 + j] >> 4, j + 16)) + m;
    }
}

void curve(const Byte* nibbles, float d, float* y) {
    for (int j = 0; j < 16; ++j) {
        y[j] = d * kCurve[nibbles[j] & 15];
        y[j + 16] = d * kCurve[nibbles[j] >> 4];
    }
}

void iq4_nl(const Byte* block, float* y) { curve(block + 2, halfAt(block), y); }

void mxfp4(const Byte* block, float* y) {
    const float power = std::ldexp(1.0f, static_cast<int>(block[0]) - 127);
    for (int j = 0; j < 16; ++j) {
        y[j] = power * kE2m1[block[1 + j] & 15];
        y[j + 16] = power * kE2m1[block[1 + j] >> 4];
    }
}

/// Value 128 h + 32 k + l of Q2_K and Q3_K has bits 2k, 2k + 1 of byte 32 h + l.
int lowTwo(const Byte* codes, int half, int k, int l) {
    return codes[32 * half + l] >> (2 * k) & 3;
}

void q2_k(const Byte* block, float* y) {
    const Byte* codes = block + 16;
    const float d = halfAt(block + 80), m = halfAt(block + 82);
    for (int h = 0; h < 2; ++h)
        for (int k = 0; k < 4; ++k)
            for (int l = 0; l < 32; ++l) {
                const Byte scale = block[8 * h + 2 * k + l / 16];
                *y++ = d * static_cast<float>(scale & 15) *
                           static_cast<float>(lowTwo(codes, h, k, l)) -
                       m * static_cast<float>(scale >> 4);
            }
}

void q3_k(const Byte* block, float* y) {
    const Byte* codes = block + 32;
    const Byte* packed = block + 96;
    const float d = halfAt(block + 108);
    std::array<float, 16> scales{};
    for (int j = 0; j < 16; ++j) {
        const int low = j < 8 ? packed[j] & 15 : packed[j - 8] >> 4;
        const int high = packed[8 + j % 4] >> (2 * (j / 4)) & 3;
        scales[static_cast<std::size_t>(j)] = d * static_cast<float>((low | high << 4) - 32);
    }
    for (int h = 0; h < 2; ++h)
        for (int k = 0; k < 4; ++k)
            for (int l = 0; l < 32; ++l) {
                const int high = block[l] >> (4 * h + k) & 1;
                *y++ = scales[static_cast<std::size_t>(8 * h + 2 * k + l / 16)] *
                       static_cast<float>(lowTwo(codes, h, k, l) + 4 * high - 4);
            }
}

struct Pair {
    float scale = 0, least = 0;
};

/// Scale and subtrahend of sub-block j of Q4_K and Q5_K.
Pair pairAt(const Byte* block, int j) {
    const float d = halfAt(block), m = halfAt(block + 2);
    const Byte* S = block + 4;
    const int s = j < 4 ? S[j] & 63 : (S[j + 4] & 15) | (S[j - 4] >> 6) << 4;
    const int t = j < 4 ? S[j + 4] & 63 : S[j + 4] >> 4 | (S[j] >> 6) << 4;
    return {d * static_cast<float>(s), m * static_cast<float>(t)};
}

void q4_k(const Byte* block, float* y) {
    const Byte* codes = block + 16;
    for (int i = 0; i < 4; ++i, codes += 32) {
        const Pair low = pairAt(block, 2 * i), high = pairAt(block, 2 * i + 1);
        for (int l = 0; l < 32; ++l)
            *y++ = low.scale * static_cast<float>(codes[l] & 15) - low.least;
        for (int l = 0; l < 32; ++l)
            *y++ = high.scale * static_cast<float>(codes[l] >> 4) - high.least;
    }
}

void q5_k(const Byte* block, float* y) {
    const Byte* top = block + 16;
    const Byte* codes = block + 48;
    for (int i = 0; i < 4; ++i, codes += 32) {
        const Pair low = pairAt(block, 2 * i), high = pairAt(block, 2 * i + 1);
        for (int l = 0; l < 32; ++l)
            *y++ = low.scale * static_cast<float>((codes[l] & 15) + 16 * (top[l] >> (2 * i) & 1)) -
                   low.least;
        for (int l = 0; l < 32; ++l)
            *y++ = high.scale *
                       static_cast<float>((codes[l] >> 4) + 16 * (top[l] >> (2 * i + 1) & 1)) -
                   high.least;
    }
}

void q6_k(const Byte* block, float* y) {
    const Byte* top = block + 128;
    const Byte* scales = block + 192;
    const float d = halfAt(block + 208);
    for (int h = 0; h < 2; ++h)
        for (int k = 0; k < 4; ++k)
            for (int l = 0; l < 32; ++l) {
                const Byte low = block[64 * h + 32 * (k & 1) + l];
                const int code = (k < 2 ? low & 15 : low >> 4) | (top[32 * h + l] >> (2 * k) & 3)
                                                                     << 4;
                *y++ =
                    d *
                    static_cast<float>(static_cast<std::int8_t>(scales[8 * h + 2 * k + l / 16])) *
                    static_cast<float>(code - 32);
            }
}

void iq4_xs(const Byte* block, float* y) {
    const float d = halfAt(block);
    const int high = wordAt(block + 2);
    for (int j = 0; j < 8; ++j) {
        const int low = block[4 + j / 2] >> (4 * (j % 2)) & 15;
        curve(block + 8 + 16 * j, d * static_cast<float>((low | (high >> (2 * j) & 3) << 4) - 32),
              y + 32 * j);
    }
}

template <void (*function)(const Byte*, float*)>
void bytes(const std::byte* block, float* values) {
    function(reinterpret_cast<const Byte*>(block), values);
}

constexpr std::array kTypes{
    GgufTypeInfo{GgufType::F32, "f32", 1, 4, bytes<f32>},
    GgufTypeInfo{GgufType::F16, "f16", 1, 2, bytes<f16>},
    GgufTypeInfo{GgufType::BF16, "bf16", 1, 2, bytes<bf16>},
    GgufTypeInfo{GgufType::Q8_0, "q8_0", 32, 34, bytes<q8_0>, {0, -1}},
    GgufTypeInfo{GgufType::Q4_0, "q4_0", 32, 18, bytes<q4_0>, {0, -1}},
    GgufTypeInfo{GgufType::Q4_1, "q4_1", 32, 20, bytes<q4_1>, {0, 2}},
    GgufTypeInfo{GgufType::Q5_0, "q5_0", 32, 22, bytes<q5_0>, {0, -1}},
    GgufTypeInfo{GgufType::Q5_1, "q5_1", 32, 24, bytes<q5_1>, {0, 2}},
    GgufTypeInfo{GgufType::Q2_K, "q2_k", kSuper, 84, bytes<q2_k>, {80, 82}},
    GgufTypeInfo{GgufType::Q3_K, "q3_k", kSuper, 110, bytes<q3_k>, {108, -1}},
    GgufTypeInfo{GgufType::Q4_K, "q4_k", kSuper, 144, bytes<q4_k>, {0, 2}},
    GgufTypeInfo{GgufType::Q5_K, "q5_k", kSuper, 176, bytes<q5_k>, {0, 2}},
    GgufTypeInfo{GgufType::Q6_K, "q6_k", kSuper, 210, bytes<q6_k>, {208, -1}},
    GgufTypeInfo{GgufType::IQ4_NL, "iq4_nl", 32, 18, bytes<iq4_nl>, {0, -1}},
    GgufTypeInfo{GgufType::IQ4_XS, "iq4_xs", kSuper, 136, bytes<iq4_xs>, {0, -1}},
    GgufTypeInfo{GgufType::MXFP4, "mxfp4", 32, 17, bytes<mxfp4>},
};

struct Unread {
    std::uint32_t number;
    const char* name;
};

/// ggml's names of what Luthier does not read.
constexpr std::array kUnread{
    Unread{4, "Q4_2"},        Unread{5, "Q4_3"},        Unread{9, "Q8_1"},
    Unread{15, "Q8_K"},       Unread{16, "IQ2_XXS"},    Unread{17, "IQ2_XS"},
    Unread{18, "IQ3_XXS"},    Unread{19, "IQ1_S"},      Unread{21, "IQ3_S"},
    Unread{22, "IQ2_S"},      Unread{24, "I8"},         Unread{25, "I16"},
    Unread{26, "I32"},        Unread{27, "I64"},        Unread{28, "F64"},
    Unread{29, "IQ1_M"},      Unread{31, "Q4_0_4_4"},   Unread{32, "Q4_0_4_8"},
    Unread{33, "Q4_0_8_8"},   Unread{34, "TQ1_0"},      Unread{35, "TQ2_0"},
    Unread{36, "IQ4_NL_4_4"}, Unread{37, "IQ4_NL_4_8"}, Unread{38, "IQ4_NL_8_8"},
    Unread{40, "NVFP4"}};

std::string upper(const char* text) {
    std::string result;
    for (; *text != '\0'; ++text)
        result += *text >= 'a' && *text <= 'z' ? static_cast<char>(*text - 'a' + 'A') : *text;
    return result;
}

bool isFinite(std::uint16_t half) { return (half & 0x7c00u) != 0x7c00u; }

bool isBroken(const GgufTypeInfo& info, const Byte* block) {
    if (info.type == GgufType::MXFP4)
        return block[0] >
               252;  // from 253 on the largest numbers pass float32's, 255 is the standard's NaN
    for (const std::int32_t place : info.scales)
        if (place >= 0 && !isFinite(wordAt(block + place))) return true;
    return false;
}

}  // namespace

std::span<const GgufTypeInfo> ggufTypes() { return kTypes; }

const GgufTypeInfo* findGgufType(std::uint32_t number) {
    for (const GgufTypeInfo& info : kTypes)
        if (static_cast<std::uint32_t>(info.type) == number) return &info;
    return nullptr;
}

const GgufTypeInfo& infoOf(GgufType type) {
    const GgufTypeInfo* info = findGgufType(static_cast<std::uint32_t>(type));
    return info != nullptr ? *info : kTypes.front();
}

const char* name(GgufType type) { return infoOf(type).name; }

std::string ggufTypeName(std::uint32_t number) {
    if (const GgufTypeInfo* info = findGgufType(number)) return upper(info->name);
    for (const Unread& each : kUnread)
        if (each.number == number) return each.name;
    return "type " + std::to_string(number);
}

std::string ggufTypeNames() {
    std::string names;
    for (const GgufTypeInfo& info : kTypes) names += (names.empty() ? "" : ", ") + upper(info.name);
    return names;
}

std::uint64_t bytesOf(GgufType type, std::uint64_t count) {
    const GgufTypeInfo& info = infoOf(type);
    return count / info.values * info.bytes;
}

void decodeGguf(GgufType type, const std::byte* data, std::uint64_t count, float* values) {
    const GgufTypeInfo& info = infoOf(type);
    for (std::uint64_t block = 0; block < count / info.values; ++block)
        info.decode(data + block * info.bytes, values + block * info.values);
}

std::optional<std::uint64_t> firstBrokenBlock(GgufType type, std::span<const std::byte> data) {
    const GgufTypeInfo& info = infoOf(type);
    if (!info.isBlocks()) return {};
    for (std::uint64_t block = 0; block < data.size() / info.bytes; ++block)
        if (isBroken(info, reinterpret_cast<const Byte*>(data.data()) + block * info.bytes))
            return block;
    return {};
}

}  // namespace luthier
