// SPDX-License-Identifier: Apache-2.0
#include "io/weight_folder.h"

#include "fixtures.h"

#include <doctest/doctest.h>

using namespace luthier;
using namespace luthier::test;

namespace {

constexpr const char* kFirst = "model-00001-of-00002.safetensors";
constexpr const char* kSecond = "model-00002-of-00002.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

std::string indexOf(const std::string& firstShard, const std::string& secondShard) {
    return R"({"metadata":{"total_size":8},"weight_map":{"a":")" + firstShard + R"(","b":")" +
           secondShard + "\"}}";
}

/// Two shards with one tensor each, and the index that belongs to them.
void writeShards(const TemporaryFolder& folder) {
    writeBytes(folder / kFirst, smallSafetensors({"a"}));
    writeBytes(folder / kSecond, smallSafetensors({"b"}));
    writeBytes(folder / kIndex, indexOf(kFirst, kSecond));
}

std::string codeOf(const TemporaryFolder& folder) {
    const auto opened = WeightFolder::open(folder.path());
    return opened.ok() ? "ok" : opened.problem().code;
}

}  // namespace

TEST_CASE("oneFileIsOpenedByItsUsualName") {
    const TemporaryFolder folder;
    writeBytes(folder / "model.safetensors", smallSafetensors({"b", "a"}));
    writeBytes(folder / "other.safetensors", "not looked at");
    writeBytes(folder / "pytorch_model.bin", "not looked at");
    const auto opened = WeightFolder::open(folder.path());
    REQUIRE(opened.ok());
    CHECK((*opened)->files() == std::vector<fs::path>{folder / "model.safetensors"});
    CHECK((*opened)->bytes() == fs::file_size(folder / "model.safetensors"));
    REQUIRE((*opened)->tensors().size() == 2);
    CHECK((*opened)->tensors()[0]->name == "a");
    CHECK((*opened)->find("b")->shape == std::vector<std::int64_t>{1});
    CHECK((*opened)->find("c") == nullptr);
}

TEST_CASE("oneFileOfAnotherNameIsTaken") {
    const TemporaryFolder folder;
    writeBytes(folder / "adapter_model.safetensors", smallSafetensors({"lora"}));
    CHECK(codeOf(folder) == "ok");
    writeBytes(folder / "second.safetensors", smallSafetensors({"lora"}));
    CHECK(codeOf(folder) == "weights_ambiguous");
}

TEST_CASE("shardsAreOneSetOfNames") {
    const TemporaryFolder folder;
    writeShards(folder);
    const auto opened = WeightFolder::open(folder.path());
    REQUIRE(opened.ok());
    CHECK((*opened)->files() == std::vector<fs::path>{folder / kFirst, folder / kSecond});
    CHECK((*opened)->bytes() == fs::file_size(folder / kFirst) + fs::file_size(folder / kSecond));
    CHECK((*opened)->find("a") != nullptr);
    CHECK((*opened)->find("b") != nullptr);
    CHECK((*opened)->tensors().size() == 2);
}

TEST_CASE("shardsMayBeLinksAsInTheDownloadCache") {
    const TemporaryFolder folder;
    writeShards(folder);
    const TemporaryFolder blobs;
    fs::rename(folder / kFirst, blobs / "0123abcd");
    fs::create_symlink(blobs / "0123abcd", folder / kFirst);
    CHECK(codeOf(folder) == "ok");
    fs::remove(blobs / "0123abcd");
    CHECK(codeOf(folder) == "shard_missing");
}

TEST_CASE("tensorsTheIndexForgotAreKept") {
    const TemporaryFolder folder;
    writeShards(folder);
    writeBytes(folder / kSecond, smallSafetensors({"b", "rotary.inv_freq"}));
    const auto opened = WeightFolder::open(folder.path());
    REQUIRE(opened.ok());
    CHECK((*opened)->find("rotary.inv_freq") != nullptr);
}

TEST_CASE("missingFoldersAndWeightsAreTold") {
    const TemporaryFolder folder;
    CHECK(WeightFolder::open(folder / "absent").problem().code == "folder_missing");
    CHECK(codeOf(folder) == "weights_missing");
    writeBytes(folder / "config.json", "{}");
    CHECK(codeOf(folder) == "weights_missing");
    CHECK(WeightFolder::open(folder / "config.json").problem().code == "folder_missing");
    fs::create_directory(folder / "model.safetensors");
    CHECK(codeOf(folder) == "weights_missing");
}

TEST_CASE("pickledWeightsAreRefusedWithAWayOut") {
    for (const char* name : {"pytorch_model.bin", "pytorch_model-00001-of-00002.bin",
                             "consolidated.00.pth", "model.pt"}) {
        const TemporaryFolder folder;
        writeBytes(folder / name, "anything");
        const auto opened = WeightFolder::open(folder.path());
        REQUIRE_FALSE(opened.ok());
        CHECK(opened.problem().code == "pickle_refused");
        CHECK(opened.problem().message.find("which can run code; Luthier never opens them.") !=
              std::string::npos);
        CHECK(opened.problem().hint.find("save_pretrained") != std::string::npos);
    }
}

TEST_CASE("everyMissingOrDamagedShardIsTold") {
    const TemporaryFolder folder;
    writeShards(folder);
    fs::remove(folder / kFirst);
    writeBytes(folder / kSecond, "short");
    const auto opened = WeightFolder::open(folder.path());
    REQUIRE_FALSE(opened.ok());
    REQUIRE(opened.problems().size() == 2);
    CHECK(opened.problems()[0].code == "shard_missing");
    CHECK(opened.problems()[0].message.find(kFirst) != std::string::npos);
    CHECK(opened.problems()[1].code == "safetensors_truncated");
}

TEST_CASE("anIndexNeverReachesOutsideItsFolder") {
    const TemporaryFolder outside;
    writeBytes(outside / "x.safetensors", smallSafetensors({"a"}));
    const TemporaryFolder folder;
    writeShards(folder);
    fs::create_directory(folder / "sub");
    fs::copy_file(folder / kFirst, folder / "sub" / "x.safetensors");
    const std::string outsideName = outside.path().filename().string();
    for (const std::string& shard :
         {"../" + outsideName + "/x.safetensors", (outside / "x.safetensors").string(),
          std::string("sub/x.safetensors"), std::string("./") + kFirst,
          std::string("..\\\\x.safetensors"), std::string("C:x.safetensors"), std::string(""),
          std::string("."), std::string(".."), std::string(".hidden.safetensors"),
          std::string(kFirst) + "\\u0000.safetensors", std::string("pytorch_model.bin"),
          std::string("config.json"), std::string(300, 'x') + ".safetensors"}) {
        CAPTURE(shard);
        writeBytes(folder / kIndex, indexOf(shard, kSecond));
        CHECK(codeOf(folder) == "index_invalid");
    }
}

TEST_CASE("anIndexThatIsNoneIsRefused") {
    const TemporaryFolder folder;
    writeShards(folder);
    const std::string first = kFirst;
    for (const std::string& text :
         {std::string(), std::string("["), std::string("[]"), std::string("{}"),
          std::string(R"({"weight_map":{}})"), std::string(R"({"weight_map":[]})"),
          std::string(R"({"weight_map":{"a":3}})"), std::string(R"({"weight_map":{"a":["x"]}})"),
          std::string(R"({"weight_map":null})"),
          R"({"weight_map":{"a":")" + first + R"(","a":")" + first + "\"}}",
          R"({"weight_map":{"a":")" + first + R"("},"weight_map":{"a":")" + first + "\"}}",
          std::string(100'000, '[')}) {
        CAPTURE(text);
        writeBytes(folder / kIndex, text);
        CHECK(codeOf(folder) == "index_invalid");
    }
}

TEST_CASE("aTensorThatIsNotWhereTheIndexSaysIsRefused") {
    const TemporaryFolder folder;
    writeShards(folder);
    writeBytes(folder / kIndex, indexOf(kSecond, kFirst));
    CHECK(codeOf(folder) == "index_mismatch");
    writeShards(folder);
    writeBytes(folder / kSecond, smallSafetensors({"c"}));
    CHECK(codeOf(folder) == "index_mismatch");
    writeShards(folder);
    writeBytes(folder / kSecond, smallSafetensors({"b", "a"}));
    CHECK(codeOf(folder) == "index_mismatch");
}
