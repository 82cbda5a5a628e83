// SPDX-License-Identifier: Apache-2.0
// Files that hold something else than their name says: compressed rows are read, foreign content is
// called by its name, and a folder's files are read or named.
#include "data/source.h"
#include "data/sources/folder.h"
#include "letters.h"

#include <doctest/doctest.h>

#include <sys/stat.h>

using namespace luthier;

namespace {

std::string fromHex(std::string_view hex) {
    std::string bytes;
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
        bytes += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
    return bytes;
}

// Python's gzip.compress(b'{"text": "a"}\n{"text": "b"}\n', mtime=0) and the zstd program of the
// same bytes.
const std::string kGzip =
    fromHex("1f8b0800000000000203ab562a49ad2851b252504a54aae5aa86f392803c003dbde6101c000000");
const std::string kZstd =
    fromHex("28b52ffd0458c50000907b2274657874223a202261227d0a62227d0a0100b14d25787d3d1a");

struct Folder {
    std::filesystem::path path =
        std::filesystem::temp_directory_path() / ("luthier-packed-" + std::to_string(::getpid()));
    Folder() { std::filesystem::create_directories(path); }
    ~Folder() { std::filesystem::remove_all(path); }
    void write(const std::string& name, const std::string& bytes) const {
        std::filesystem::create_directories((path / name).parent_path());
        std::ofstream(path / name, std::ios::binary) << bytes;
    }
};

std::vector<std::string> textsOf(const std::filesystem::path& path) {
    std::vector<std::string> texts;
    auto source = openSource(path);
    REQUIRE_MESSAGE(source.ok(), (source.ok() ? "" : source.problem().message));
    while (true) {
        auto row = source->rows->next();
        REQUIRE_MESSAGE(row.ok(), (row.ok() ? "" : row.problem().message));
        if (!row->has_value()) return texts;
        texts.push_back((*row)->value["text"]);
    }
}

std::vector<std::string> names(const std::vector<std::filesystem::path>& files) {
    std::vector<std::string> result;
    for (const auto& file : files) result.push_back(file.filename().string());
    return result;
}

const std::string kRows = "{\"text\": \"a\"}\n{\"text\": \"b\"}\n";

}  // namespace

TEST_CASE("compressed rows are read under every ending") {
    const Folder folder;
    const std::vector<std::string> both{"a", "b"};
    for (const char* name : {"x.jsonl", "x.jsonl.gz", "x.json.gz", "x.json", "x.JSONL.GZ",
                             "x.jsonl.zst", "x.ndjson.zst"}) {
        folder.write(name, std::string(name).ends_with("zst") ? kZstd : kGzip);
        CAPTURE(name);
        CHECK(textsOf(folder.path / name) == both);
    }
    folder.write("two.jsonl.gz", kGzip + kGzip);
    CHECK(textsOf(folder.path / "two.jsonl.gz").size() == 4);
    folder.write("two.jsonl.zst", kZstd + kZstd);
    CHECK(textsOf(folder.path / "two.jsonl.zst").size() == 4);
}

TEST_CASE("half a compressed download is a problem, not half the rows") {
    const Folder folder;
    for (const std::string& bytes : {kGzip, kZstd})
        for (const std::size_t size : {bytes.size() - 1, bytes.size() / 2, std::size_t{6}}) {
            folder.write("half.jsonl.gz", bytes.substr(0, size));
            const auto source = openSource(folder.path / "half.jsonl.gz");
            REQUIRE_FALSE(source.ok());
            CHECK(source.problem().code == "data_unpack");
        }
}

TEST_CASE("foreign content is called by its name before anyone parses it") {
    const Folder folder;
    for (const char* ending : {"jsonl", "json", "csv", "tsv", "txt", "parquet", "arrow"}) {
        const std::string name = std::string("x.") + ending;
        const auto codeOf = [&](const std::string& bytes) {
            folder.write(name, bytes);
            const auto source = openSource(folder.path / name);
            return source.ok() ? std::string("read") : source.problem().code;
        };
        CAPTURE(ending);
        CHECK(codeOf("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n") ==
              "git_lfs_pointer");
        CHECK(codeOf("<!DOCTYPE html><html></html>") == "file_web_page");
        CHECK(codeOf(std::string("PK\x03\x04", 4) + std::string(26, 'z') + "rows.csv") ==
              "file_archive");
        CHECK(codeOf("BZh91AY&SY") == "file_compressed");
        CHECK(codeOf("") == "data_empty");
    }
    REQUIRE(::mkfifo((folder.path / "pipe.jsonl").c_str(), 0600) == 0);
    CHECK(openSource(folder.path / "pipe.jsonl").problem().code == "not_plain_file");
    CHECK(openSource(std::filesystem::path("/dev/zero")).problem().code == "not_plain_file");
}

TEST_CASE("a table is parted by what its header has") {
    const Folder folder;
    for (const auto& [name, bytes] : {std::pair{"t.csv", "text\tother\na,1\tx\nb\ty\n"},
                                      {"s.csv", "text;other\na,1;x\nb;y\n"},
                                      {"c.tsv", "text,other\n\"a,1\",x\nb,y\n"},
                                      {"e.csv", "sep=;\ntext;other\na,1;x\nb;y\n"}}) {
        folder.write(name, bytes);
        CAPTURE(name);
        CHECK(textsOf(folder.path / name) == std::vector<std::string>{"a,1", "b"});
    }
}

TEST_CASE("of a folder everything that may hold rows is read or named") {
    const Folder folder;
    folder.write("a.jsonl", kRows + kRows + kRows);
    folder.write("b.csv", "text\nx\n");
    folder.write("c.json", "[]");
    folder.write("old.zip", "PK");
    folder.write("more.jsonl.gz", kGzip);
    folder.write("README.md", "# rows");
    folder.write("LICENSE", "words");
    folder.write("card.png", "picture");
    folder.write(".DS_Store", "x");
    folder.write("._a.jsonl", "x");
    folder.write(".ipynb_checkpoints/a-checkpoint.jsonl", kRows);
    const auto files = filesOfFolder(folder.path);
    REQUIRE(files.ok());
    CHECK(names(files->train) == std::vector<std::string>{"a.jsonl", "more.jsonl.gz"});
    CHECK(names(files->left) == std::vector<std::string>{"b.csv", "c.json", "old.zip"});
}

TEST_CASE("splits that nobody reads are named") {
    const Folder folder;
    for (const char* name : {"train.jsonl", "validation.jsonl", "test.jsonl", "extra.jsonl"})
        folder.write(name, kRows);
    const auto files = filesOfFolder(folder.path);
    REQUIRE(files.ok());
    CHECK(names(files->train) == std::vector<std::string>{"train.jsonl"});
    CHECK(names(files->eval) == std::vector<std::string>{"validation.jsonl"});
    CHECK(names(files->left) == std::vector<std::string>{"extra.jsonl", "test.jsonl"});
}
