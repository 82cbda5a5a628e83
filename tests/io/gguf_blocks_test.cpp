// SPDX-License-Identifier: Apache-2.0
// gguf_blocks.json: of each type a block made by llama.cpp and one of arbitrary bytes (every field
// and bit used, negative scales too), with the float32 values that llama.cpp and the gguf package
// give for them, as hexadecimal bytes.
#include "contract/json.h"
#include "io/gguf_blocks.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <vector>

using namespace luthier;

namespace {

Json golden() {
    return readJsonFile(std::filesystem::path(LUTHIER_IO_TESTS) / "gguf_blocks.json").orThrow();
}

std::vector<std::byte> bytesOfHex(const std::string& digits) {
    std::vector<std::byte> bytes;
    for (std::size_t i = 0; i + 1 < digits.size(); i += 2)
        bytes.push_back(static_cast<std::byte>(std::stoi(digits.substr(i, 2), nullptr, 16)));
    return bytes;
}

std::vector<float> decoded(GgufType type, const std::vector<std::byte>& blocks) {
    const GgufTypeInfo& info = infoOf(type);
    std::vector<float> values(blocks.size() / info.bytes * info.values);
    decodeGguf(type, blocks.data(), values.size(), values.data());
    return values;
}

/// Bits, so that -0 is not 0.
bool isSame(const std::vector<float>& values, const std::vector<std::byte>& wanted) {
    return values.size() * sizeof(float) == wanted.size() &&
           std::memcmp(values.data(), wanted.data(), wanted.size()) == 0;
}

}  // namespace

TEST_CASE("blocksOfEveryGgufTypeDecodeToTheBitsOfLlamaCpp") {
    const Json document = golden();
    std::size_t seen = 0;
    for (const auto& [name, type] : document["types"].items()) {
        INFO(name);
        const GgufTypeInfo* info = findGgufType(type["number"].get<std::uint32_t>());
        REQUIRE(info != nullptr);
        CHECK(ggufTypeName(type["number"].get<std::uint32_t>()) == name);
        CHECK(info->values == type["values"].get<std::uint32_t>());
        CHECK(info->bytes == type["bytes"].get<std::uint32_t>());
        std::vector<std::byte> all, wanted;
        for (const Json& block : type["blocks"]) {
            const std::vector<std::byte> bytes = bytesOfHex(block["bytes"].get<std::string>()),
                                         values = bytesOfHex(block["values"].get<std::string>());
            CHECK(isSame(decoded(info->type, bytes), values));
            all.insert(all.end(), bytes.begin(), bytes.end());
            wanted.insert(wanted.end(), values.begin(), values.end());
        }
        CHECK(isSame(decoded(info->type, all), wanted));
        ++seen;
    }
    CHECK(seen + 1 == ggufTypes().size());  // all but F32
}

TEST_CASE("ggufBlocksDecodeFromAnyAddress") {
    const Json type = golden()["types"]["Q6_K"];
    std::vector<std::byte> shifted = bytesOfHex(type["blocks"][1]["bytes"].get<std::string>());
    shifted.insert(shifted.begin(), std::byte{0});
    std::vector<float> values(256);
    decodeGguf(GgufType::Q6_K, shifted.data() + 1, 256, values.data());
    CHECK(isSame(values, bytesOfHex(type["blocks"][1]["values"].get<std::string>())));
}

TEST_CASE("theSmallestAndLargestPowersOfMxfp4AreExact") {
    for (const Json& entry : golden()["mxfp4_exponents"]) {
        const auto exponent = entry["e"].get<int>();
        INFO(exponent);
        std::vector<std::byte> block(17, std::byte{0x71});  // code 1 in the low half, 7 in the high
        block[0] = static_cast<std::byte>(exponent);
        const std::vector<float> values = decoded(GgufType::MXFP4, block);
        CHECK(isSame({values[0]}, bytesOfHex(entry["code1"].get<std::string>())));
        CHECK(isSame({values[16]}, bytesOfHex(entry["code7"].get<std::string>())));
        CHECK(firstBrokenBlock(GgufType::MXFP4, block).has_value() == (exponent > 252));
    }
}

TEST_CASE("aScaleThatIsNoNumberIsFoundInEveryTypeOfBlocks") {
    for (const GgufTypeInfo& info : ggufTypes()) {
        if (!info.isBlocks() || info.type == GgufType::MXFP4) continue;
        INFO(info.name);
        for (const std::int32_t place : info.scales) {
            if (place < 0) continue;
            std::vector<std::byte> blocks(std::size_t{3} * info.bytes);
            CHECK_FALSE(firstBrokenBlock(info.type, blocks).has_value());
            const std::uint16_t infinite = 0xfc00, largest = 0x7bff;
            std::memcpy(
                blocks.data() + 2 * std::size_t{info.bytes} + static_cast<std::size_t>(place),
                &largest, 2);
            CHECK_FALSE(firstBrokenBlock(info.type, blocks).has_value());
            std::memcpy(
                blocks.data() + 2 * std::size_t{info.bytes} + static_cast<std::size_t>(place),
                &infinite, 2);
            CHECK(firstBrokenBlock(info.type, blocks) == 2);
            std::vector<float> values(std::size_t{3} * info.values);
            decodeGguf(info.type, blocks.data(), values.size(), values.data());
            bool isFinite = true;
            for (const float value : values) isFinite = isFinite && std::isfinite(value);
            CHECK_FALSE(isFinite);  // the place is the one that decoding reads
        }
    }
}

TEST_CASE("ggufTypesThatLuthierDoesNotReadHaveTheirNames") {
    CHECK(ggufTypeName(16) == "IQ2_XXS");
    CHECK(ggufTypeName(34) == "TQ1_0");
    CHECK(ggufTypeName(12) == "Q4_K");
    CHECK(ggufTypeName(999) == "type 999");
    CHECK(findGgufType(16) == nullptr);
}
