// SPDX-License-Identifier: Apache-2.0
#pragma once
// MANIFEST.json of a folder that must be what was written: `{"files": {name: {"bytes": n, "sha256":
// hex}}}` of every file beneath it but itself. Silent damage at rest (a flipped bit, a file cut
// short by a full disk or a copy) shows when it is held against it.

#include "contract/json.h"
#include "contract/problem.h"

#include <filesystem>
#include <string>
#include <vector>

namespace luthier {

constexpr const char* kManifestName = "MANIFEST.json";

/// Hashes every file of `folder` and writes its manifest there, which a commit of the folder makes
/// durable. Problem codes: those of io/atomic.h and io/sha256.h.
Result<void> writeManifest(const std::filesystem::path& folder);

enum class ManifestState { Whole, Missing, Damaged };

struct ManifestCheck {
    ManifestState state = ManifestState::Whole;
    std::vector<std::string> damaged;  ///< "state.safetensors: its SHA-256 differs", …

    std::string text() const;  ///< joined for a message
};

/// Holds the files against the manifest: missing ones, other lengths, other contents, files that it
/// does not name. A folder without one is Missing: written by an earlier version.
ManifestCheck checkManifest(const std::filesystem::path& folder);

}  // namespace luthier
