// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors.h"

#include "fixtures.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <array>

using namespace luthier;
using namespace luthier::test;

namespace {

using Limits = SafetensorsLimits;

std::string codeOf(const std::string& fileBytes) {
    const TemporaryFolder folder;
    writeBytes(folder / "model.safetensors", fileBytes);
    const auto file = SafetensorsFile::open(folder / "model.safetensors");
    if (file.ok()) return "ok";
    CHECK(file.problem().message.find("model.safetensors") != std::string::npos);
    CHECK(file.problem().message.back() == '.');
    CHECK_FALSE(file.problem().hint.empty());
    return file.problem().code;
}

/// One tensor "w" whose entry is `entry`, with `dataBytes` zero bytes of data.
std::string codeOfEntry(const std::string& entry, std::size_t dataBytes) {
    return codeOf(rawSafetensors("{\"w\":" + entry + "}", std::string(dataBytes, '\0')));
}

std::string entryOfShape(const std::string& shape, std::size_t bytes,
                         const std::string& dtype = "F32") {
    return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":[0,)" +
           std::to_string(bytes) + "]}";
}

TensorView viewOf(const std::string& name, DType dtype, std::vector<std::int64_t> shape,
                  const std::string& data) {
    return {name, dtype, std::move(shape), reinterpret_cast<const std::byte*>(data.data()),
            data.size()};
}

std::string dataOf(const TensorView& tensor) {
    return {reinterpret_cast<const char*>(tensor.data), tensor.bytes};
}

}  // namespace

TEST_CASE("dtypeNamesAndSizesAreThoseOfTheFormat") {
    for (int i = 0; i <= static_cast<int>(DType::F64); ++i) {
        const auto dtype = static_cast<DType>(i);
        CHECK(dtypeFromName(name(dtype)) == dtype);
    }
    CHECK(sizeOf(DType::Bool) == 1);
    CHECK(sizeOf(DType::F8E5M2) == 1);
    CHECK(sizeOf(DType::BF16) == 2);
    CHECK(sizeOf(DType::F32) == 4);
    CHECK(sizeOf(DType::F64) == 8);
    CHECK(std::string(name(DType::F8E4M3)) == "F8_E4M3");
    CHECK_FALSE(dtypeFromName("C64").has_value());
    CHECK_FALSE(dtypeFromName("f32").has_value());
}

TEST_CASE("writtenTensorsReadBackEqualInTheReferenceOrder") {
    const TemporaryFolder folder;
    const fs::path path = folder / "model.safetensors";
    const std::string eight(8, '8'), four("abcdefgh"), two("1234"), one("xyz"), none;
    const std::map<std::string, std::string> metadata{{"format", "pt"},
                                                      {"note", "Ünïcode \"quoted\"\n"}};
    const auto written = writeSafetensors(
        path,
        {viewOf("b.one", DType::U8, {3}, one), viewOf("z", DType::BF16, {2}, two),
         viewOf("b", DType::F32, {1, 2}, four), viewOf("a", DType::I32, {2}, four),
         viewOf("scalar", DType::F64, {}, eight), viewOf("empty", DType::F16, {0, 5}, none)},
        metadata);
    REQUIRE(written.ok());
    CHECK(*written == fs::file_size(path));

    const auto file = SafetensorsFile::open(path);
    REQUIRE(file.ok());
    std::vector<std::string> order;
    for (const TensorView& tensor : (*file)->tensors()) order.push_back(tensor.name);
    CHECK(order == std::vector<std::string>{"scalar", "a", "b", "empty", "z", "b.one"});
    CHECK((*file)->metadata() == metadata);
    CHECK((*file)->fileBytes() == *written);
    CHECK(dataOf(*(*file)->find("b")) == four);
    CHECK((*file)->find("b")->shape == std::vector<std::int64_t>{1, 2});
    CHECK((*file)->find("z")->dtype == DType::BF16);
    CHECK(dataOf(*(*file)->find("b.one")) == one);
    CHECK((*file)->find("empty")->bytes == 0);
    CHECK((*file)->find("scalar")->shape.empty());
    CHECK((*file)->find("absent") == nullptr);
    CHECK(reinterpret_cast<std::uintptr_t>((*file)->find("scalar")->data) % 8 == 0);
    CHECK(namesIn(folder.path()) == std::set<std::string>{"model.safetensors"});
}

TEST_CASE("writtenBytesAreThoseOfTheReferenceWriter") {
    // What safetensors 0.8.0 (Python) wrote for the same tensors; the header is padded by 4 spaces.
    const TemporaryFolder folder;
    const std::string header =
        R"({"__metadata__":{"format":"pt"},"a":{"dtype":"I64","shape":[2,2],"data_offsets":[0,32]},)"
        R"("b":{"dtype":"F32","shape":[2],"data_offsets":[32,40]},)"
        R"("s":{"dtype":"F32","shape":[],"data_offsets":[40,44]},)"
        R"("h":{"dtype":"F16","shape":[1],"data_offsets":[44,46]}}    )";
    const std::string a("\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0", 32);
    const std::string b("\0\0\x80\x3f\0\0\0\xc0", 8), scalar("\0\0\x40\x40", 4), half("\0\x3e", 2);
    REQUIRE(
        writeSafetensors(folder / "f",
                         {viewOf("s", DType::F32, {}, scalar), viewOf("h", DType::F16, {1}, half),
                          viewOf("a", DType::I64, {2, 2}, a), viewOf("b", DType::F32, {2}, b)},
                         {{"format", "pt"}})
            .ok());
    CHECK(readBytes(folder / "f") == rawSafetensors(header, a + b + scalar + half));
    REQUIRE(writeSafetensors(folder / "none", {}, {}).ok());
    CHECK(readBytes(folder / "none") == rawSafetensors("{}      "));
    CHECK(SafetensorsFile::open(folder / "none").ok());
}

TEST_CASE("aFileMayBeReplacedByViewsOfItself") {
    const TemporaryFolder folder;
    const std::string data(100'000, 'q');
    REQUIRE(writeSafetensors(folder / "f", {viewOf("w", DType::U8, {100'000}, data)}, {}).ok());
    const auto before = SafetensorsFile::open(folder / "f");
    REQUIRE(before.ok());
    REQUIRE(writeSafetensors(folder / "f", (*before)->tensors(), {{"second", "yes"}}).ok());
    const auto after = SafetensorsFile::open(folder / "f");
    REQUIRE(after.ok());
    CHECK(dataOf((*after)->tensors()[0]) == data);
}

TEST_CASE("whatOpenWouldRefuseIsNotWritten") {
    const TemporaryFolder folder;
    const std::string four("abcd");
    const auto codeOfWriting = [&](const std::vector<TensorView>& tensors) {
        const auto written = writeSafetensors(folder / "f", tensors, {});
        return written.ok() ? std::string("ok") : written.problem().code;
    };
    CHECK(codeOfWriting({viewOf("w", DType::F32, {2}, four)}) == "safetensors_size");
    CHECK(codeOfWriting({viewOf("w", DType::F32, {-1}, four)}) == "safetensors_shape");
    CHECK(codeOfWriting({viewOf("w", DType::F32, {1}, four), viewOf("w", DType::F32, {1}, four)}) ==
          "safetensors_duplicate");
    CHECK(codeOfWriting({viewOf(std::string(1025, 'w'), DType::F32, {1}, four)}) ==
          "safetensors_limit");
    CHECK(codeOfWriting({viewOf("__metadata__", DType::F32, {1}, four)}) == "safetensors_limit");
    CHECK(codeOfWriting({viewOf("\xff", DType::F32, {1}, four)}) == "safetensors_header");
    CHECK(writeSafetensors(folder / "absent" / "f", {}, {}).problem().code == "folder_missing");
    CHECK(namesIn(folder.path()).empty());
}

TEST_CASE("whatTheFormatAllowsIsRead") {
    CHECK(codeOf(rawSafetensors("{}")) == "ok");
    CHECK(codeOf(rawSafetensors("{}   \n")) == "ok");
    CHECK(codeOf(rawSafetensors(R"({"__metadata__":null})")) == "ok");
    CHECK(codeOf(rawSafetensors(R"({"__metadata__":{"a":"b"}})")) == "ok");
    // Extra keys, whatever they hold; order of keys; data that are not aligned.
    CHECK(
        codeOfEntry(
            R"({"extra":[{"shape":[-1],"dtype":3}],"data_offsets":[0,4],"shape":[1],"dtype":"F32"})",
            4) == "ok");
    CHECK(
        codeOf(rawSafetensors(
            R"({"b":{"dtype":"F32","shape":[],"data_offsets":[1,5]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
            "12345")) == "ok");
    // Empty tensors may lie anywhere on a border.
    CHECK(
        codeOf(rawSafetensors(
            R"({"e":{"dtype":"F32","shape":[0],"data_offsets":[4,4]},"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
            "1234")) == "ok");
}

TEST_CASE("whatIsNoFileIsAProblemAndNeverBlocks") {
    const TemporaryFolder folder;
    CHECK(SafetensorsFile::open(folder / "absent").problem().code == "file_missing");
    CHECK(SafetensorsFile::open(folder.path()).problem().code == "file_unreadable");
    REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
    CHECK(SafetensorsFile::open(folder / "pipe").problem().code == "not_plain_file");
}

TEST_CASE("filesCutShortAreTruncated") {
    CHECK(codeOf("") == "file_empty");
    CHECK(codeOf("1234567") == "safetensors_truncated");
    CHECK(codeOfEntry(entryOfShape("[1]", 4), 3) == "safetensors_truncated");
    // Every cut of a good file is refused, whatever the code.
    const std::string whole = smallSafetensors({"a", "b"});
    for (std::size_t length = 0; length < whole.size(); ++length)
        CHECK(codeOf(whole.substr(0, length)) != "ok");
    CHECK(codeOf(whole) == "ok");
}

TEST_CASE("headersThatAreNoHeadersAreRefused") {
    const auto withLength = [](std::uint64_t length, const std::string& rest) {
        std::string bytes(8, '\0');
        std::memcpy(bytes.data(), &length, 8);
        return bytes + rest;
    };
    CHECK(codeOf(withLength(0, "{}")) == "safetensors_header");
    CHECK(codeOf(withLength(3, "{}")) == "safetensors_header");
    CHECK(codeOf(withLength(~std::uint64_t{0}, "{}")) == "safetensors_header");
    CHECK(codeOf(rawSafetensors(" {}")) == "safetensors_header");
    CHECK(codeOf(rawSafetensors("[]")) == "safetensors_header");
    CHECK(codeOf(rawSafetensors("{")) == "safetensors_header");
    CHECK(codeOf(rawSafetensors("{}x")) == "safetensors_header");
    CHECK(codeOf(rawSafetensors(std::string("{}\0garbage", 10))) == "safetensors_header");
    CHECK(codeOf(rawSafetensors("{\"\xff\":null}")) == "safetensors_header");
    CHECK(codeOf("PK\x03\x04" + std::string(100, 'z')) == "file_archive");
    CHECK(codeOf(rawSafetensors("{\"x\":" + std::string(40, '[') + std::string(40, ']') + "}")) ==
          "safetensors_header");
    CHECK(codeOf(rawSafetensors("{\"w\":{\"extra\":" + std::string(1'000'000, '['))) ==
          "safetensors_header");
}

TEST_CASE("theHeaderLimitIsThatOfTheFormat") {
    // Sparse files: the length is what counts, spaces are never written.
    for (const std::uint64_t length : {Limits::kHeaderBytes, Limits::kHeaderBytes + 1}) {
        const TemporaryFolder folder;
        std::string start(8, '\0');
        std::memcpy(start.data(), &length, 8);
        writeBytes(folder / "f", start + "{");
        fs::resize_file(folder / "f", 8 + length);
        const auto file = SafetensorsFile::open(folder / "f");
        REQUIRE_FALSE(file.ok());
        const bool aboveLimit =
            file.problem().message.find("at most 100000000 are allowed") != std::string::npos;
        CHECK(aboveLimit == (length > Limits::kHeaderBytes));
    }
}

TEST_CASE("badEntriesAreRefused") {
    const std::vector<std::string> entries{
        "3",
        "[]",
        "null",
        "\"F32\"",
        "{}",
        R"({"shape":[1],"data_offsets":[0,4]})",
        R"({"dtype":"F32","data_offsets":[0,4]})",
        R"({"dtype":"F32","shape":[1]})",
        R"({"dtype":1,"shape":[1],"data_offsets":[0,4]})",
        R"({"dtype":"F32","shape":1,"data_offsets":[0,4]})",
        R"({"dtype":"F32","shape":["1"],"data_offsets":[0,4]})",
        R"({"dtype":"F32","shape":[[1]],"data_offsets":[0,4]})",
        R"({"dtype":"F32","shape":[1],"data_offsets":4})",
        R"({"dtype":"F32","shape":[1],"data_offsets":[]})",
        R"({"dtype":"F32","shape":[1],"data_offsets":[0]})",
        R"({"dtype":"F32","shape":[1],"data_offsets":[0,4,4]})",
        R"({"dtype":"F32","shape":[1],"data_offsets":[-4,0]})",
        R"({"dtype":"F32","shape":[1],"data_offsets":[0,4.0]})",
        R"({"dtype":"F32","shape":[1],"data_offsets":[[0],4]})",
        R"({"dtype":"F32","shape":[1],"data_offsets":[0,99999999999999999999]})",
    };
    for (const std::string& entry : entries) {
        CAPTURE(entry);
        CHECK(codeOfEntry(entry, 4) == "safetensors_header");
    }
    CHECK(codeOf(rawSafetensors(R"({"__metadata__":3})")) == "safetensors_header");
    CHECK(codeOf(rawSafetensors(R"({"__metadata__":{"a":3}})")) == "safetensors_header");
    CHECK(codeOf(rawSafetensors(R"({"__metadata__":{"a":{}}})")) == "safetensors_header");
    CHECK(codeOf(rawSafetensors(R"({"__metadata__":{"a":null}})")) == "safetensors_header");
}

TEST_CASE("whatIsThereTwiceIsRefused") {
    CHECK(codeOf(smallSafetensors({"w", "w"})) == "safetensors_duplicate");
    CHECK(
        codeOf(rawSafetensors(
            R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"\u0077":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
            "1234")) == "safetensors_duplicate");
    CHECK(codeOf(rawSafetensors(R"({"__metadata__":{},"__metadata__":{}})")) ==
          "safetensors_duplicate");
    CHECK(codeOf(rawSafetensors(R"({"__metadata__":{"a":"1","a":"2"}})")) ==
          "safetensors_duplicate");
    CHECK(codeOfEntry(R"({"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]})", 4) ==
          "safetensors_duplicate");
    CHECK(codeOfEntry(R"({"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]})", 4) ==
          "safetensors_duplicate");
    CHECK(codeOfEntry(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4],"data_offsets":[0,4]})",
                      4) == "safetensors_duplicate");
}

TEST_CASE("elementTypesOutsideTheListAreRefused") {
    for (const char* dtype : {"C64", "F4", "F8_E8M0", "f32", "", "float32"})
        CHECK(codeOfEntry(entryOfShape("[1]", 8, dtype), 8) == "safetensors_dtype");
}

TEST_CASE("impossibleShapesAreRefused") {
    CHECK(codeOfEntry(entryOfShape("[-1]", 4), 4) == "safetensors_shape");
    CHECK(codeOfEntry(entryOfShape("[-1,-1]", 4), 4) == "safetensors_shape");
    // The product is 16 bytes modulo 2^64 (safetensors-cpp accepted it).
    CHECK(codeOfEntry(entryOfShape("[4194305,4194305,211106198978564]", 16), 16) ==
          "safetensors_shape");
    CHECK(codeOfEntry(entryOfShape("[9223372036854775807]", 4), 4) == "safetensors_shape");
    CHECK(codeOfEntry(entryOfShape("[9223372036854775808]", 4), 4) == "safetensors_shape");
    CHECK(codeOfEntry(entryOfShape("[99999999999999999999]", 4), 4) == "safetensors_shape");
    CHECK(codeOfEntry(entryOfShape("[4611686018427387904,4,0]", 0), 0) == "safetensors_shape");
    CHECK(codeOfEntry(entryOfShape("[1.0]", 4), 4) == "safetensors_shape");
    CHECK(codeOfEntry(entryOfShape("[1,1,1,1,1,1,1]", 4), 4) == "ok");
    CHECK(codeOfEntry(entryOfShape("[1,1,1,1,1,1,1,1]", 4), 4) == "ok");
    CHECK(codeOfEntry(entryOfShape("[1,1,1,1,1,1,1,1,1]", 4), 4) == "safetensors_shape");
}

TEST_CASE("offsetsThatDoNotFitTheShapeAreRefused") {
    CHECK(codeOfEntry(entryOfShape("[2]", 4), 4) == "safetensors_size");
    CHECK(codeOfEntry(entryOfShape("[1]", 8), 8) == "safetensors_size");
    CHECK(codeOfEntry(R"({"dtype":"F32","shape":[1],"data_offsets":[4,0]})", 4) ==
          "safetensors_size");
}

TEST_CASE("holesOverlapsAndTrailingBytesAreRefused") {
    const auto two = [](const char* first, const char* second) {
        return std::string(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":)") + first +
               R"(},"b":{"dtype":"F32","shape":[1],"data_offsets":)" + second + "}}";
    };
    CHECK(codeOf(rawSafetensors(two("[0,4]", "[4,8]"), "12345678")) == "ok");
    CHECK(codeOf(rawSafetensors(two("[0,4]", "[5,9]"), "123456789")) == "safetensors_layout");
    CHECK(codeOf(rawSafetensors(two("[1,5]", "[5,9]"), "123456789")) == "safetensors_layout");
    CHECK(codeOf(rawSafetensors(two("[0,4]", "[2,6]"), "123456")) == "safetensors_layout");
    CHECK(codeOf(rawSafetensors(two("[0,4]", "[0,4]"), "1234")) == "safetensors_layout");
    CHECK(codeOf(rawSafetensors(two("[0,4]", "[4,8]"), "123456789")) == "safetensors_layout");
    CHECK(codeOf(rawSafetensors("{}", "1")) == "safetensors_layout");
    // An empty tensor inside another one.
    CHECK(
        codeOf(rawSafetensors(
            R"({"e":{"dtype":"F32","shape":[0],"data_offsets":[2,2]},"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
            "1234")) == "safetensors_layout");
}

TEST_CASE("nameAndTensorLimitsHoldAtTheirBoundary") {
    CHECK(codeOf(smallSafetensors({std::string(1023, 'n')})) == "ok");
    CHECK(codeOf(smallSafetensors({std::string(1024, 'n')})) == "ok");
    CHECK(codeOf(smallSafetensors({std::string(1025, 'n')})) == "safetensors_limit");

    std::vector<std::string> names;
    for (std::size_t i = 0; i < Limits::kTensors; ++i) names.push_back(std::to_string(i));
    CHECK(codeOf(smallSafetensors(names)) == "ok");
    names.push_back("one more");
    CHECK(codeOf(smallSafetensors(names)) == "safetensors_limit");
}

TEST_CASE("messagesStayPrintableWhateverTheNames") {
    const TemporaryFolder folder;
    writeBytes(folder / "f", rawSafetensors(R"({"\u001b[31m\nevil":3})"));
    const auto file = SafetensorsFile::open(folder / "f");
    REQUIRE_FALSE(file.ok());
    CHECK(file.problem().message.find_first_of("\x1b\n") == std::string::npos);
    CHECK(file.problem().message.find("evil") != std::string::npos);
}

TEST_CASE("noByteOfAHeaderCanBeChangedIntoACrash") {
    // Every byte of length and header replaced by a few telling ones; what opens must have views
    // inside the file.
    const std::string whole = rawSafetensors(
        R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[],"data_offsets":[8,9]}})",
        "123456789");
    const TemporaryFolder folder;
    for (std::size_t i = 0; i + 9 < whole.size(); ++i) {
        for (const char c :
             {'\0', '\xff', '"', '{', '}', '[', ']', '-', '9', '0', ',', 'e', '\\'}) {
            std::string changed = whole;
            changed[i] = c;
            writeBytes(folder / "f", changed);
            const auto file = SafetensorsFile::open(folder / "f");
            if (!file.ok()) continue;
            std::size_t total = 0;
            for (const TensorView& tensor : (*file)->tensors()) total += dataOf(tensor).size();
            REQUIRE(total <= 9);
        }
    }
}
