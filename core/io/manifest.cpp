// SPDX-License-Identifier: Apache-2.0
#include "io/manifest.h"

#include "io/atomic.h"
#include "io/sha256.h"

#include <map>

namespace luthier {

namespace fs = std::filesystem;

namespace {

/// Regular files beneath `folder`, by their name relative to it.
std::map<std::string, fs::path> filesBeneath(const fs::path& folder) {
    std::map<std::string, fs::path> files;
    std::error_code code;
    for (const auto& entry : fs::recursive_directory_iterator(folder, code))
        if (entry.is_regular_file(code))
            files[fs::relative(entry.path(), folder, code).generic_string()] = entry.path();
    files.erase(kManifestName);
    return files;
}

}  // namespace

Result<void> writeManifest(const fs::path& folder) {
    Json files = Json::object();
    for (const auto& [name, path] : filesBeneath(folder)) {
        Result<std::string> hash = sha256OfFile(path);
        if (!hash) return hash.problems();
        std::error_code code;
        files[name] = {{"bytes", fs::file_size(path, code)}, {"sha256", *hash}};
    }
    return writeJsonAtomically(folder / kManifestName, Json{{"files", files}});
}

std::string ManifestCheck::text() const {
    std::string all;
    for (const std::string& each : damaged) all += (all.empty() ? "" : "; ") + each;
    return all;
}

ManifestCheck checkManifest(const fs::path& folder) {
    std::error_code code;
    if (!fs::exists(folder / kManifestName, code))
        return {ManifestState::Missing, {std::string(kManifestName) + " is missing"}};
    ManifestCheck check;
    const Result<Json> document = readJsonFile(folder / kManifestName);
    const auto listed =
        document && document->is_object() ? document->find("files") : Json::const_iterator();
    if (!document || !document->is_object() || listed == document->end() || !listed->is_object())
        return {ManifestState::Damaged, {std::string(kManifestName) + " cannot be read"}};
    std::map<std::string, fs::path> there = filesBeneath(folder);
    for (const auto& [name, facts] : listed->items()) {
        const auto found = there.find(name);
        if (found == there.end()) {
            check.damaged.push_back(name + " is missing");
            continue;
        }
        const Json bytes = facts.is_object() ? facts.value("bytes", Json()) : Json();
        const Json wanted = facts.is_object() ? facts.value("sha256", Json()) : Json();
        const auto size = fs::file_size(found->second, code);
        if (!bytes.is_number_unsigned() || bytes.get<std::uint64_t>() != size) {
            check.damaged.push_back(name + " has " + std::to_string(size) + " bytes instead of " +
                                    dumpLine(bytes));
        } else if (const Result<std::string> hash = sha256OfFile(found->second); !hash) {
            check.damaged.push_back(name + " cannot be read");
        } else if (!wanted.is_string() || *hash != wanted.get<std::string>()) {
            check.damaged.push_back(name + ": its SHA-256 differs");
        }
        there.erase(found);
    }
    for (const auto& [name, path] : there)
        check.damaged.push_back(name + " is not one of its files");
    if (!check.damaged.empty()) check.state = ManifestState::Damaged;
    return check;
}

}  // namespace luthier
