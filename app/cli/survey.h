// SPDX-License-Identifier: Apache-2.0
#pragma once
// The documents that describe things on disk, for the commands and for the window's session alike
// (core/contract/PROTOCOL.md, "Documents"). All throw Failure.

#include "contract/json.h"
#include "contract/run_config.h"

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace luthier::cli {

/// `methods --json`: methods, their schemas and the kinds of files that rows come in.
Json listMethods();

/// Problems have a "level": an error keeps the thing from being used, a warning does not.
Json inspectPath(const std::filesystem::path& path);
Json previewData(
    const RunConfig& config, std::int64_t first, std::int64_t count,
    const std::function<void(const std::string&, std::int64_t, std::int64_t)>& progress = {});

/// The last data previewed, tokenised: turning its pages reads nothing again while files and
/// settings stay as they are.
class DataPreviews final {
public:
    DataPreviews();
    ~DataPreviews();
    /// `filter`: "all", "cut" or "longest". Throws Failure. Of files that take a while `beginning`
    /// gets the first rows first: the same document with what is known by then, and "beginning":
    /// true.
    Json page(const RunConfig& config, std::int64_t first, std::int64_t count,
              const std::string& filter,
              const std::function<void(const std::string&, std::int64_t, std::int64_t)>& progress,
              const std::function<void(const Json&)>& beginning);

private:
    struct Entry;
    std::unique_ptr<Entry> m_entry;
};

}  // namespace luthier::cli
