// SPDX-License-Identifier: Apache-2.0
#include "fixtures.h"
#include "io/gguf.h"

#include <doctest/doctest.h>

#include <cstring>

using namespace luthier;
using namespace luthier::test;

namespace {

/// A whole file as llama.cpp's own gguf-py writes it: four keys, an F32 tensor [2, 6] of 0 to 11,
/// an F16 tensor [5, 2] of 0 to 9.
constexpr const char* kWrittenByGgufPy =
    "474755460300000002000000000000000400000000000000140000000000000067656e6572616c2e61726368697465"
    "63747572650800000005000000"
    "000000006c6c616d610c0000000000000067656e6572616c2e74797065080000000700000000000000616461707465"
    "720c0000000000000061646170"
    "7465722e747970650800000004000000000000006c6f72611200000000000000616461707465722e6c6f72612e616c"
    "70686106000000000000411a00"
    "000000000000626c6b2e302e6174746e5f712e7765696768742e6c6f72615f61020000000600000000000000020000"
    "00000000000000000000000000"
    "000000001a00000000000000626c6b2e302e6174746e5f712e7765696768742e6c6f72615f62020000000200000000"
    "00000005000000000000000100"
    "0000400000000000000000000000000000000000000000000000803f0000004000004040000080400000a0400000c0"
    "400000e0400000004100001041"
    "0000204100003041000000000000000000000000000000000000003c00400042004400450046004700488048000000"
    "000000000000000000";

std::string reference() {
    const std::string digits = kWrittenByGgufPy;
    std::string bytes;
    for (std::size_t i = 0; i + 1 < digits.size(); i += 2)
        bytes += static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16));
    return bytes;
}

template <class T>
std::vector<std::byte> bytesOfValues(const std::vector<T>& values) {
    std::vector<std::byte> bytes(values.size() * sizeof(T));
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return bytes;
}

GgufKeys keys() {
    return {{"general.architecture", std::string("llama")},
            {"general.type", std::string("adapter")},
            {"adapter.type", std::string("lora")},
            {"adapter.lora.alpha", 8.0f}};
}

std::vector<GgufSource> tensors() {
    std::vector<float> a;
    for (int i = 0; i < 12; ++i) a.push_back(static_cast<float>(i));
    const std::vector<std::uint16_t> b{0,      0x3c00, 0x4000, 0x4200, 0x4400, 0x4500,
                                       0x4600, 0x4700, 0x4800, 0x4880};  // 0 to 9 in half precision
    return {
        {"blk.0.attn_q.weight.lora_a", GgufType::F32, {2, 6}, [a] { return bytesOfValues(a); }},
        {"blk.0.attn_q.weight.lora_b", GgufType::F16, {5, 2}, [b] { return bytesOfValues(b); }}};
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
    const GgufKeys all{{"a", std::uint32_t{7}},
                       {"b", std::int32_t{-7}},
                       {"c", 0.5f},
                       {"d", true},
                       {"e", std::string("Luthier ✓")},
                       {"f", std::vector<std::int32_t>{1, -2}},
                       {"g", std::vector<float>{0.25f}},
                       {"h", std::vector<std::string>{"", "Ġa"}},
                       {"i", std::vector<bool>{true, false, true}}};
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
        if (file.ok())
            CHECK(size >= whole.size() - 12);
        else
            CHECK(file.problem().message.find("a.gguf") != std::string::npos);
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
            for (const GgufTensor& tensor : (*file)->tensors())
                CHECK(tensor.data.size() <= whole.size());
    }
}

TEST_CASE("anotherVersionOfGgufIsNamed") {
    const TemporaryFolder folder;
    const std::string whole = reference();
    const auto opened = [&](const std::string& version) {
        writeBytes(folder / "a.gguf", std::string(whole).replace(4, 4, version));
        return GgufFile::open(folder / "a.gguf");
    };
    CHECK(opened(std::string("\2\0\0\0", 4)).ok());
    for (const std::string& version : {std::string("\1\0\0\0", 4), std::string("\4\0\0\0", 4)}) {
        const auto file = opened(version);
        REQUIRE(!file.ok());
        CHECK(file.problem().code == "gguf_unsupported");
        CHECK(file.problem().message.find("versions 2 and 3") != std::string::npos);
    }
    const auto big = opened(std::string("\0\0\0\3", 4));
    REQUIRE(!big.ok());
    CHECK(big.problem().message.find("big-endian") != std::string::npos);
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
    const auto put = [&](auto value) {
        bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    };
    put(std::uint32_t{3});
    put(std::uint64_t{0});
    put(std::uint64_t{7});
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
    key("f", 9, std::uint32_t{4});  // two u32
    put(std::uint64_t{2});
    put(std::uint32_t{16777217});
    put(std::uint32_t{8});
    key("g", 9, std::uint32_t{10});  // two u64, one of them too large for 32 bits
    put(std::uint64_t{2});
    put(std::uint64_t{1} << 40);
    put(std::uint64_t{8});
    writeBytes(folder / "a.gguf", bytes);
    const auto file = GgufFile::open(folder / "a.gguf");
    REQUIRE(file.ok());
    CHECK(((*file)->keys() == GgufKeys{{"a", std::uint32_t{12}},
                                       {"b", 1099511627776.0f},
                                       {"c", std::int32_t{-3}},
                                       {"d", 0.5f},
                                       {"e", std::vector<std::int32_t>{7, 8}},
                                       {"f", std::vector<std::int32_t>{16777217, 8}},
                                       {"g", std::vector<float>{1099511627776.0f, 8}}}));
}

TEST_CASE("aGgufTensorOfAnotherTypeIsNamed") {
    const TemporaryFolder folder;
    std::string bytes = reference();
    const std::size_t place =
        bytes.find("lora_b") + 6 + 4 + 16;  // behind its name: dimensions, two sizes, then the type
    bytes[place] = 16;
    writeBytes(folder / "a.gguf", bytes);
    const auto file = GgufFile::open(folder / "a.gguf");
    REQUIRE(!file.ok());
    CHECK(file.problem().code == "gguf_unsupported");
    CHECK(file.problem().exit == ExitCode::BadInput);
    CHECK(file.problem().message.find("blk.0.attn_q.weight.lora_b (IQ2_XXS, 5 x 2)") !=
          std::string::npos);
    CHECK(file.problem().hint.find("Q4_K") != std::string::npos);
    bytes[place] = 12;  // Q4_K: blocks of 256
    writeBytes(folder / "a.gguf", bytes);
    const auto uneven = GgufFile::open(folder / "a.gguf");
    REQUIRE(!uneven.ok());
    CHECK(uneven.problem().code == "gguf_damaged");
    CHECK(uneven.problem().message.find("lora_b (Q4_K, 5 x 2)") != std::string::npos);
}

TEST_CASE("aGgufFileCutShortNamesTheTensorItsTypeAndTheBytes") {
    const TemporaryFolder folder;
    writeBytes(folder / "a.gguf", reference().substr(0, reference().size() - 20));
    const auto file = GgufFile::open(folder / "a.gguf");
    REQUIRE(!file.ok());
    CHECK(file.problem().code == "gguf_damaged");
    CHECK(file.problem().message.find("lora_b (F16, 5 x 2)") != std::string::npos);
    CHECK(file.problem().hint.find("download it again") != std::string::npos);
}

TEST_CASE("aShapeOfMoreValuesThanAnyFileHasIsDamage") {
    const TemporaryFolder folder;
    std::string bytes = reference();
    const std::size_t sizes = bytes.find("lora_b") + 6 + 4;
    const std::uint64_t large = std::uint64_t{1} << 31;
    for (int i = 0; i < 2; ++i)
        bytes.replace(sizes + 8 * static_cast<std::size_t>(i), 8,
                      reinterpret_cast<const char*>(&large), 8);
    writeBytes(folder / "a.gguf", bytes);
    CHECK_FALSE(GgufFile::open(folder / "a.gguf").ok());
}

TEST_CASE("sizesWhoseProductWrapsToNothingAreDamage") {
    const TemporaryFolder folder;
    for (const auto& sizes :
         {std::vector<std::uint64_t>{std::uint64_t{1} << 21, std::uint64_t{1} << 21,
                                     std::uint64_t{1} << 22},
          {0, std::uint64_t{1} << 31, std::uint64_t{1} << 31},
          {std::uint64_t{1} << 31, std::uint64_t{1} << 31, 0}}) {
        std::string bytes = reference();
        const std::size_t at = bytes.find("lora_b") + 6;
        std::string table(4 + 8 * sizes.size(), '\0');
        const auto dimensions = static_cast<std::uint32_t>(sizes.size());
        std::memcpy(table.data(), &dimensions, 4);
        std::memcpy(table.data() + 4, sizes.data(), 8 * sizes.size());
        bytes.replace(at, 4 + 2 * 8, table);
        writeBytes(folder / "a.gguf", bytes);
        CHECK_FALSE(GgufFile::open(folder / "a.gguf").ok());
    }
}

TEST_CASE("ggufTensorsLieWhereTheFilesOwnAlignmentPutsThem") {
    const TemporaryFolder folder;
    std::string bytes = "GGUF";
    const auto put = [&](auto value) {
        bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    };
    const auto text = [&](const std::string& words) {
        put(std::uint64_t{words.size()});
        bytes += words;
    };
    put(std::uint32_t{3});
    put(std::uint64_t{1});
    put(std::uint64_t{1});
    text("general.alignment");
    put(std::uint32_t{4});
    put(std::uint32_t{128});
    text("x");
    put(std::uint32_t{1});
    put(std::uint64_t{1});
    put(std::uint32_t{0});
    put(std::uint64_t{0});
    REQUIRE(bytes.size() < 128);
    bytes.resize(128);
    put(2.5f);
    writeBytes(folder / "a.gguf", bytes);
    const auto file = GgufFile::open(folder / "a.gguf");
    REQUIRE(file.ok());
    float value = 0;
    std::memcpy(&value, (*file)->find("x")->data.data(), sizeof value);
    CHECK(value == 2.5f);
    bytes[bytes.find("general.alignment") + 17 + 4] = 96;
    writeBytes(folder / "a.gguf", bytes);
    CHECK_FALSE(GgufFile::open(folder / "a.gguf").ok());
}

TEST_CASE("anyPartOfASplitGgufOpensThemAllAndAMissingOneIsNamed") {
    const TemporaryFolder folder;
    const auto part = [&](const char* name, std::uint32_t number, const GgufKeys& more,
                          const std::string& tensor) {
        GgufKeys keys = more;
        keys.insert(keys.end(), {{"split.no", number},
                                 {"split.count", std::uint32_t{2}},
                                 {"split.tensors.count", std::int32_t{2}}});
        REQUIRE(
            writeGguf(folder / name, keys,
                      {{tensor,
                        GgufType::F32,
                        {1},
                        [number] { return bytesOfValues<float>({static_cast<float>(number)}); }}})
                .ok());
    };
    part("m-00001-of-00002.gguf", 0, {{"general.architecture", std::string("llama")}}, "a");
    part("m-00002-of-00002.gguf", 1, {}, "b");
    for (const char* name : {"m-00001-of-00002.gguf", "m-00002-of-00002.gguf"}) {
        const auto file = GgufFile::open(folder / name);
        REQUIRE(file.ok());
        CHECK((*file)->tensors().size() == 2);
        CHECK(*(*file)->value<std::string>("general.architecture") == "llama");
        float value = 0;
        std::memcpy(&value, (*file)->find("b")->data.data(), sizeof value);
        CHECK(value == 1.0f);
        CHECK(ggufParts(folder / name).size() == 2);
    }
    fs::rename(folder / "m-00002-of-00002.gguf", folder / "renamed.gguf");
    for (const char* name : {"m-00001-of-00002.gguf", "renamed.gguf"}) {
        const auto file = GgufFile::open(folder / name);
        REQUIRE(!file.ok());
        CHECK(file.problem().code == "gguf_part_missing");
        CHECK(file.problem().exit == ExitCode::BadInput);
    }
    CHECK(GgufFile::open(folder / "m-00001-of-00002.gguf")
              .problem()
              .message.find("m-00002-of-00002.gguf") != std::string::npos);
    fs::copy_file(folder / "m-00001-of-00002.gguf", folder / "m-00002-of-00002.gguf");
    CHECK(GgufFile::open(folder / "m-00001-of-00002.gguf").problem().code == "gguf_damaged");
}

TEST_CASE("stackedTensorsAreTakenOneByOne") {
    const std::vector<std::byte> bytes(std::size_t{3} * 4 * 34);
    const GgufTensor stack{"experts", GgufType::Q8_0, {3, 4, 32}, bytes};
    const GgufTensor second = stack.at(1);
    CHECK((second.shape == std::vector<std::int64_t>{4, 32}));
    CHECK(second.data.data() == bytes.data() + 4 * 34);
    CHECK(second.data.size() == 4 * 34);
}
