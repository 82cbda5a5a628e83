// SPDX-License-Identifier: Apache-2.0
#pragma once
// Tokenised data sets on disk, by what they come from: the rows' files, the tokenizer, the settings
// and this program. One file each,
//
//     magic (8 bytes) | checksum of the rest (u64) | the name (64 hexadecimal digits) and what
//     describes the data set | the rows' bytes (row_list.h), which stay in the file and are mapped
//
// 1. A file appears whole or not at all (io/atomic.h), so two processes may store the same one.
// 2. A file whose checksum or name is not right is deleted and the rows are tokenised again.
// 3. All files together stay below a limit; those that were not used for longest go first.
// They hold the users' texts, so the folder is theirs alone. Failing to write is no failure: it is
// only a cache.

#include "data/dataset.h"
#include "data/sources/folder.h"

#include <filesystem>
#include <optional>
#include <string>

namespace luthier {

class TokenCache final {
public:
    explicit TokenCache(std::filesystem::path folder,
                        std::int64_t limitBytes = std::int64_t{4} << 30)
        : m_folder(std::move(folder)), m_limitBytes(limitBytes) {}
    /// In $XDG_CACHE_HOME, else ~/.cache: luthier/tokens; nullopt where neither is known, or
    /// LUTHIER_TOKEN_CACHE is "off".
    static std::optional<TokenCache> ofUser();

    std::optional<Dataset> find(const std::string& key) const;
    void store(const std::string& key, const Dataset& dataset) const;

private:
    void makeRoom() const;

    std::filesystem::path m_folder;
    std::int64_t m_limitBytes;
};

/// The name of what `files` become; empty when it is not worth a file (below a mebibyte they are
/// tokenised as soon as read), the encoder has no fingerprint or a file cannot be read. `progress`
/// hears of "hashing".
std::string tokenCacheKey(const RunConfig& config, const DataFiles& files,
                          const TextEncoder& encoder, const Dataset::Progress& progress);

/// Size and time of each file: whether one changed while it was read.
std::string stateOf(const DataFiles& files);

}  // namespace luthier
