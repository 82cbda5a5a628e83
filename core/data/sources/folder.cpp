// SPDX-License-Identifier: Apache-2.0
#include "data/sources/folder.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <set>

namespace luthier {

namespace fs = std::filesystem;

namespace {

const std::set<std::string> kKinds{".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".txt"};
const std::set<std::string> kAbout{"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "config.json", "README.txt",
                                   "LICENSE.txt", "requirements.txt"};

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
}

/// datasets--org--name: the snapshot that its main branch stands at.
fs::path resolved(const fs::path& folder) {
    std::error_code code;
    if (!fs::is_directory(folder / "snapshots", code)) return folder;
    std::string hash;
    std::ifstream(folder / "refs/main") >> hash;
    if (!hash.empty() && fs::is_directory(folder / "snapshots" / hash, code)) return folder / "snapshots" / hash;
    for (const auto& entry : fs::directory_iterator(folder / "snapshots", code)) return entry.path();
    return folder;
}

enum class Split { None, Train, Validation, Test };

/// By a word in a file's name or a folder below `root`: train, test, validation, valid, val, dev, eval.
Split splitOf(const fs::path& file, const fs::path& root) {
    std::string word;
    Split split = Split::None;
    const auto take = [&] {
        if (word == "train" || word == "training") split = Split::Train;
        if (word == "test") split = Split::Test;
        if (word == "validation" || word == "valid" || word == "val" || word == "dev" || word == "eval") split = Split::Validation;
        word.clear();
    };
    for (const char c : lower(fs::relative(file, root).string())) {
        if (std::isalpha(static_cast<unsigned char>(c))) word += c;
        else take();
    }
    take();
    return split;
}

}  // namespace

Result<DataFiles> filesOfFolder(const fs::path& folder) {
    const fs::path root = resolved(folder);
    std::map<std::string, std::vector<fs::path>> byKind;
    std::map<std::string, std::uintmax_t> bytes;
    std::error_code code;
    bool hasArrow = false;
    for (auto entry = fs::recursive_directory_iterator(root, fs::directory_options::follow_directory_symlink | fs::directory_options::skip_permission_denied, code);
         entry != fs::recursive_directory_iterator(); entry.increment(code)) {
        const fs::path& path = entry->path();
        if (entry.depth() > 5 || path.filename().string().rfind('.', 0) == 0) entry.disable_recursion_pending();
        const std::string kind = lower(path.extension().string());
        hasArrow = hasArrow || kind == ".arrow";
        if (!entry->is_regular_file(code) || !kKinds.contains(kind) || kAbout.contains(path.filename().string()) || path.filename().string()[0] == '.') continue;
        byKind[kind].push_back(path);
        bytes[kind] += fs::file_size(path, code);
    }
    if (byKind.empty())
        return Problem{"data_kind", folder.string() + " holds no file of rows" + (hasArrow ? ", only .arrow files, which Luthier does not read." : "."),
                       hasArrow ? "Write it with dataset.to_parquet(…)." : "Put .jsonl, .json, .csv, .tsv, .parquet or .txt files there.", folder.string()};
    const std::string kind = std::max_element(bytes.begin(), bytes.end(), [](const auto& a, const auto& b) { return a.second < b.second; })->first;
    std::map<Split, std::vector<fs::path>> splits;
    for (const fs::path& path : byKind[kind]) splits[splitOf(path, root)].push_back(path);
    for (auto& [split, files] : splits) std::sort(files.begin(), files.end());
    DataFiles files;
    files.train = splits.contains(Split::Train) ? splits[Split::Train] : splits[Split::None];
    files.eval = splits.contains(Split::Validation) ? splits[Split::Validation] : splits[Split::Test];
    if (files.train.empty()) std::swap(files.train, files.eval);  // a folder that is one split
    return files;
}

}  // namespace luthier
