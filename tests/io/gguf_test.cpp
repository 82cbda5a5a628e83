// SPDX-License-Identifier: Apache-2.0
#include "fixtures.h"
#include "io/gguf.h"

#include <doctest/doctest.h>

#include <cstring>

using namespace luthier;
using namespace luthier::test;

namespace {

/// A whole file as llama.cpp's own gguf-py writes it: four keys, an F32 tensor [2, 6] of 0 to 11, an F16 tensor [5, 2] of 0 to 9.
constexpr const char* kWrittenByGgufPy =
    "474755460300000002000000000000000400000000000000140000000000000067656e6572616c2e6172636869746563747572650800000005000000"
    "000000006c6c616d610c0000000000000067656e6572616c2e74797065080000000700000000000000616461707465720c0000000000000061646170"
    "7465722e747970650800000004000000000000006c6f72611200000000000000616461707465722e6c6f72612e616c70686106000000000000411a00"
    "000000000000626c6b2e302e6174746e5f712e7765696768742e6c6f72615f6102000000060000000000000002000000000000000000000000000000"
    "000000001a00000000000000626c6b2e302e6174746e5f712e7765696768742e6c6f72615f6202000000020000000000000005000000000000000100"
    "0000400000000000000000000000000000000000000000000000803f0000004000004040000080400000a0400000c0400000e0400000004100001041"
    "0000204100003041000000000000000000000000000000000000003c00400042004400450046004700488048000000000000000000000000";

std::string reference() {
    const std::string digits = kWrittenByGgufPy;
    std::string bytes;
    for (std::size_t i = 0; i + 1 < digits.size(); i += 2) bytes += static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16));
    return bytes;
}

template <class T>
std::vector<std::byte> bytesOfValues(const std::vector<T>& values) {
    std::vector<std::byte> bytes(values.size() * sizeof(T));
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return bytes;
}

GgufKeys keys() {
    return {{"general.architecture", std::string("llama")}, {"general.type", std::string("adapter")}, {"adapter.type", std::string("lora")}, {"adapter.lora.alpha", 8.0f}};
}

std::vector<GgufSource> tensors() {
    std::vector<float> a;
    for (int i = 0; i < 12; ++i) a.push_back(static_cast<float>(i));
    const std::vector<std::uint16_t> b{0, 0x3c00, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600, 0x4700, 0x4800, 0x4880};  // 0 to 9 in half precision
    return {{"blk.0.attn_q.weight.lora_a", GgufType::F32, {2, 6}, [a] { return bytesOfValues(a); }}, {"blk.0.attn_q.weight.lora_b", GgufType::F16, {5, 2}, [b] { return bytesOfValues(b); }}};
}

}  // namespace

TEST_CASE("ggufFilesAreByteForByteThoseOfGgufPy") {
    const TemporaryFolder folder;
    const Result<std::uint64_t> written = writeGguf(folder / "a.gguf", keys(), tensors());
    REQUIRE(written.ok());
    CHECK(readBytes(folder / "a.gguf") == reference());
    CHECK(*written == reference().size());
}

TEST_CASE("ggufKeysAndTensorsOfAnotherWriterAreRead") {
    const TemporaryFolder folder;
    writeBytes(folder / "a.gguf", reference());
    const auto file = GgufFile::open(folder / "a.gguf");
    REQUIRE(file.ok());
    CHECK(*(*file)->value<float>("adapter.lora.alpha") == 8.0f);
    CHECK(*(*file)->value<std::string>("general.type") == "adapter");
    CHECK((*file)->value<float>("general.type") == nullptr);
    const GgufTensor* a = (*file)->find("blk.0.attn_q.weight.lora_a");
    REQUIRE(a != nullptr);
    CHECK((a->shape == std::vector<std::int64_t>{2, 6}));
    float seventh = 0;
    std::memcpy(&seventh, a->data.data() + 7 * sizeof(float), sizeof seventh);
    CHECK(seventh == 7.0f);
}

TEST_CASE("ggufValuesOfEveryTypeComeBack") {
    const TemporaryFolder folder;
    const GgufKeys all{{"a", std::uint32_t{7}}, {"b", std::int32_t{-7}}, {"c", 0.5f}, {"d", true}, {"e", std::string("Luthier ✓")}, {"f", std::vector<std::int32_t>{1, -2}},
                       {"g", std::vector<float>{0.25f}}, {"h", std::vector<std::string>{"", "Ġa"}}, {"i", std::vector<bool>{true, false, true}}};
    REQUIRE(writeGguf(folder / "a.gguf", all, {}).ok());
    const auto file = GgufFile::open(folder / "a.gguf");
    REQUIRE(file.ok());
    CHECK(((*file)->keys() == all));
}

TEST_CASE("aGgufFileCutAnywhereIsAProblemAndNeverACrash") {
    const TemporaryFolder folder;
    const std::string whole = reference();
    for (std::size_t size = 0; size < whole.size(); ++size) {
        writeBytes(folder / "a.gguf", whole.substr(0, size));
        const auto file = GgufFile::open(folder / "a.gguf");
        // Only the padding behind the last tensor may be missing.
        if (file.ok()) CHECK(size >= whole.size() - 12);
        else CHECK(file.problem().message.find("a.gguf") != std::string::npos);
    }
}

TEST_CASE("aGgufFileWithAnyByteTurnedNeverCrashes") {
    const TemporaryFolder folder;
    const std::string whole = reference();
    for (std::size_t place = 0; place < whole.size(); ++place) {
        std::string bytes = whole;
        bytes[place] = static_cast<char>(~bytes[place]);
        writeBytes(folder / "a.gguf", bytes);
        const auto file = GgufFile::open(folder / "a.gguf");
        if (file.ok())
            for (const GgufTensor& tensor : (*file)->tensors()) CHECK(tensor.data.size() <= whole.size());
    }
}

TEST_CASE("anotherVersionOfGgufIsNamed") {
    const TemporaryFolder folder;
    std::string bytes = reference();
    bytes[4] = 2;
    writeBytes(folder / "a.gguf", bytes);
    const auto file = GgufFile::open(folder / "a.gguf");
    REQUIRE(!file.ok());
    CHECK(file.problem().code == "gguf_unsupported");
}

TEST_CASE("aGgufFileIsKnownByItsFirstBytesNotByItsName") {
    const TemporaryFolder folder;
    writeBytes(folder / ".a.gguf.partial", reference());
    writeBytes(folder / "b.gguf", "GGU");
    CHECK(isGguf(folder / ".a.gguf.partial"));
    CHECK_FALSE(isGguf(folder / "b.gguf"));
    CHECK_FALSE(isGguf(folder / "none.gguf"));
    CHECK_FALSE(isGguf(folder.path()));
}

TEST_CASE("ggufNumbersOfOtherWidthsAreReadAsTheNearestType") {
    const TemporaryFolder folder;
    std::string bytes = "GGUF";
    const auto put = [&](auto value) { bytes.append(reinterpret_cast<const char*>(&value), sizeof value); };
    put(std::uint32_t{3});
    put(std::uint64_t{0});
    put(std::uint64_t{5});
    const auto key = [&](const char* name, std::uint32_t type, auto value) {
        put(std::uint64_t{1});
        bytes += name;
        put(type);
        put(value);
    };
    key("a", 10, std::uint64_t{12});
    key("b", 10, std::uint64_t{1} << 40);
    key("c", 1, std::int8_t{-3});
    key("d", 12, 0.5);
    key("e", 9, std::uint32_t{2});  // an array of two u16
    put(std::uint64_t{2});
    put(std::uint16_t{7});
    put(std::uint16_t{8});
    writeBytes(folder / "a.gguf", bytes);
    const auto file = GgufFile::open(folder / "a.gguf");
    REQUIRE(file.ok());
    CHECK(((*file)->keys() == GgufKeys{{"a", std::uint32_t{12}}, {"b", 1099511627776.0f}, {"c", std::int32_t{-3}}, {"d", 0.5f}, {"e", std::vector<std::int32_t>{7, 8}}}));
}

TEST_CASE("aGgufTensorOfAnotherTypeIsNamed") {
    const TemporaryFolder folder;
    std::string bytes = reference();
    const std::size_t place = bytes.find("lora_b") + 6 + 4 + 16;  // behind its name: dimensions, two sizes, then the type
    bytes[place] = 12;                                            // Q4_K
    writeBytes(folder / "a.gguf", bytes);
    const auto file = GgufFile::open(folder / "a.gguf");
    REQUIRE(!file.ok());
    CHECK(file.problem().code == "gguf_unsupported");
    CHECK(file.problem().message.find("blk.0.attn_q.weight.lora_b") != std::string::npos);
}
