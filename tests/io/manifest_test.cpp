// SPDX-License-Identifier: Apache-2.0
#include "io/manifest.h"

#include <doctest/doctest.h>

#include <fstream>
#include <unistd.h>

using namespace luthier;
namespace fs = std::filesystem;

namespace {

class Folder {
public:
    Folder() {
        std::string name = (fs::temp_directory_path() / "luthier-manifest-XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path = name;
        write("state.safetensors", std::string(100'000, 'x'));
        write("inner/state.json", "{}");
    }
    ~Folder() {
        std::error_code code;
        fs::remove_all(path, code);
    }
    void write(const std::string& name, const std::string& text) {
        fs::create_directories((path / name).parent_path());
        std::ofstream(path / name, std::ios::binary) << text;
    }
    fs::path path;
};

}  // namespace

TEST_CASE("what was written is whole, and stays so") {
    Folder folder;
    CHECK(checkManifest(folder.path).state == ManifestState::Missing);
    REQUIRE(writeManifest(folder.path));
    CHECK(checkManifest(folder.path).state == ManifestState::Whole);
    const Json manifest = *readJsonFile(folder.path / kManifestName);
    CHECK(manifest["files"].size() == 2);
    CHECK(manifest["files"]["state.safetensors"]["bytes"] == 100'000);
    CHECK(manifest["files"]["inner/state.json"]["sha256"] ==
          "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
}

TEST_CASE("every kind of damage is named") {
    const auto damaged = [](auto change) {
        Folder folder;
        REQUIRE(writeManifest(folder.path));
        change(folder);
        const ManifestCheck check = checkManifest(folder.path);
        CHECK(check.state == ManifestState::Damaged);
        return check.text();
    };
    CHECK(damaged([](Folder& folder) {  // one flipped bit, length and time as before
              std::fstream file(folder.path / "state.safetensors",
                                std::ios::in | std::ios::out | std::ios::binary);
              file.seekp(54'321);
              file.put('y');
          }) == "state.safetensors: its SHA-256 differs");
    CHECK(damaged([](Folder& folder) {
              fs::resize_file(folder.path / "state.safetensors", 99'999);
          }) == "state.safetensors has 99999 bytes instead of 100000");
    CHECK(damaged([](Folder& folder) { fs::remove(folder.path / "inner/state.json"); }) ==
          "inner/state.json is missing");
    CHECK(damaged([](Folder& folder) { folder.write("other", ""); }) ==
          "other is not one of its files");
    CHECK(damaged([](Folder& folder) { folder.write(kManifestName, "{\"files\": 5}"); }) ==
          "MANIFEST.json cannot be read");
    CHECK(damaged([](Folder& folder) {
              folder.write(kManifestName, "{\"files\": {\"state.safetensors\": {\"bytes\": 1e400");
          }) == "MANIFEST.json cannot be read");
    CHECK(damaged([](Folder& folder) {
              folder.write(kManifestName,
                           "{\"files\": {\"state.safetensors\": null, \"inner/state.json\": []}}");
          }).find("instead of null") != std::string::npos);
}
