// SPDX-License-Identifier: Apache-2.0
#include "io/recognise.h"

#include "fixtures.h"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

using namespace luthier;
using namespace luthier::test;
using namespace std::string_literals;

namespace {

struct Sample {
    std::string bytes;
    std::string code, says;
};

const std::vector<Sample>& foreign() {
    static const std::vector<Sample> samples{
        {"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n", "git_lfs_pointer",
         "git lfs pull"},
        {"/annex/objects/SHA256E-s12--ab\n", "git_lfs_pointer", "git annex get"},
        {"", "file_empty", "empty"},
        {std::string(4096, '\0'), "file_download", "zero bytes"},
        {"Entry not found", "file_download", "error message"},
        {"{\"error\":\"Access to model x is restricted\"}", "file_download", "error message"},
        {"\n<!DOCTYPE html><html>", "file_web_page", "web page"},
        {"<HTML lang=\"en\">", "file_web_page", "web page"},
        {"\x1f\x8b\x08\0\0"s, "file_compressed", "gzip"},
        {"\x28\xb5\x2f\xfd\x04"s, "file_compressed", "zstd"},
        {"BZh91AY&SY", "file_compressed", "bzip2"},
        {"\xfd"s + "7zXZ\0\0"s, "file_compressed", "xz"},
        {"PK\x03\x04"s + std::string(26, '\0') + "rows.jsonl", "file_archive", "unzip"},
        {"PK\x03\x04"s + std::string(26, '\0') + "model/data.pkl", "file_pickle", "torch.save"},
        {"PK\x03\x04"s + std::string(26, '\0') + "[Content_Types].xml", "file_kind", "CSV"},
        {"7z\xbc\xaf\x27\x1c\0\4"s, "file_archive", "7z"},
        {std::string(257, 'n') + "ustar" + std::string(200, '\0'), "file_archive", "tar"},
        {"\x80\x04\x95\x10\0\0"s, "file_pickle", "pickle"},
        {"\x80\x02\x8a\x0al"s, "file_pickle", "pickle"},
        {"\x89HDF\r\n\x1a\n"s, "file_kind", "HDF5"},
        {"SQLite format 3\0"s, "file_kind", "SQLite"},
        {"%PDF-1.7", "file_kind", "PDF"},
    };
    return samples;
}

}  // namespace

TEST_CASE("whatAFileHoldsIsToldByItsContentUnderEveryEnding") {
    const TemporaryFolder folder;
    for (const Sample& sample : foreign())
        for (const char* name : {"x.jsonl", "x.json", "x.csv", "x.parquet", "x.safetensors",
                                 "x.gguf", "x.model", "x"}) {
            writeBytes(folder / name, sample.bytes);
            const std::optional<Problem> problem = looksLike(folder / name, "rows");
            CAPTURE(sample.says);
            CAPTURE(name);
            REQUIRE(problem);
            CHECK(problem->code == sample.code);
            CHECK((problem->message + problem->hint).find(sample.says) != std::string::npos);
            CHECK(problem->message.find("rows should be there") != std::string::npos);
            CHECK(problem->field == (folder / name).string());
        }
}

TEST_CASE("whatMayBeRightIsLeftToItsOpener") {
    const TemporaryFolder folder;
    for (const char* text :
         {"{\"prompt\": \"version https://git-lfs\"}\n", "a,b\n1,2\n", "Entry,label\nx,1\n",
          "<p>a line of text</p>", "x", "\x80\x81 odd", "GIF", "PK", "BZ"}) {
        writeBytes(folder / "rows.csv", text);
        CAPTURE(text);
        CHECK_FALSE(looksLike(folder / "rows.csv", "rows"));
    }
    CHECK_FALSE(looksLike(folder / "absent", "rows"));
    CHECK_FALSE(looksLike(folder.path(), "rows"));
}

TEST_CASE("aKindThatIsOpenedIsForeignUnderAnotherKindsEndingOnly") {
    const TemporaryFolder folder;
    const std::string weights = "\x02\0\0\0\0\0\0\0{}"s;
    const std::vector<std::pair<std::string, std::string>> kinds{{weights, ".safetensors"},
                                                                 {"GGUF\3\0\0\0"s, ".gguf"},
                                                                 {"PAR1\x15\0"s, ".parquet"},
                                                                 {"ARROW1\0\0"s, ".arrow"}};
    for (const auto& [bytes, own] : kinds)
        for (const std::string ending :
             {".safetensors", ".gguf", ".parquet", ".arrow", ".jsonl", ".tmp", ""}) {
            const fs::path path = folder.path() / ("x" + ending);
            writeBytes(path, bytes);
            CAPTURE(own);
            CAPTURE(ending);
            CHECK(looksLike(path, "weights").has_value() ==
                  (ending != own && ending != ".tmp" && !ending.empty()));
        }
}

TEST_CASE("onlyPlainFilesAreOpened") {
    const TemporaryFolder folder;
    REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
    const int listener = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string name = folder / "socket";
    std::copy(name.begin(), name.end(), address.sun_path);
    REQUIRE(::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    for (const fs::path& path : {folder / "pipe", folder / "socket", fs::path("/dev/zero")}) {
        const std::optional<Problem> problem = looksLike(path, "rows");
        CAPTURE(path);
        REQUIRE(problem);
        CHECK(problem->code == "not_plain_file");
        CHECK_FALSE(contentOfFile(path).ok());
    }
    ::close(listener);
}

TEST_CASE("aDownloadThatIsNotFinishedIsNamed") {
    const TemporaryFolder folder;
    writeBytes(folder / "x.safetensors", "\x02\0\0\0\0\0\0\0{}"s);
    writeBytes(folder / "x.safetensors.aria2", "x");
    const std::optional<Problem> problem = looksLike(folder / "x.safetensors", "weights");
    REQUIRE(problem);
    CHECK(problem->code == "file_download");
}
