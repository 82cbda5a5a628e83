// SPDX-License-Identifier: Apache-2.0
#include "data/sources/folder.h"

#include "data/sources/file_kind.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <utility>

namespace luthier {

namespace fs = std::filesystem;

namespace {

/// Endings under which rows come that have to be unpacked or converted first.
const std::set<std::string> kOther{".gz",    ".zst",     ".zip",    ".tar",      ".tgz",  ".bz2",
                                   ".xz",    ".7z",      ".rar",    ".lz4",      ".xlsx", ".xls",
                                   ".ods",   ".pkl",     ".pickle", ".npy",      ".npz",  ".h5",
                                   ".hdf5",  ".db",      ".sqlite", ".sqlite3",  ".avro", ".orc",
                                   ".lance", ".msgpack", ".mdb",    ".tfrecord", ".bin",  ".idx"};
const std::set<std::string> kAbout{"dataset_info.json", "dataset_infos.json", "dataset_dict.json",
                                   "state.json",        "config.json",        "README.txt",
                                   "LICENSE.txt",       "requirements.txt"};

std::string inSmallLetters(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
}

/// datasets--org--name: the snapshot that its main branch stands at.
fs::path resolved(const fs::path& folder) {
    std::error_code code;
    if (!fs::is_directory(folder / "snapshots", code)) return folder;
    std::string hash;
    std::ifstream(folder / "refs/main") >> hash;
    if (!hash.empty() && fs::is_directory(folder / "snapshots" / hash, code))
        return folder / "snapshots" / hash;
    for (const auto& entry : fs::directory_iterator(folder / "snapshots", code))
        return entry.path();
    return folder;
}

/// ".jsonl" of rows.jsonl and of rows.jsonl.gz
std::string kindOf(const fs::path& path) {
    const std::string ending = endingOf(path);
    const std::string inner = ending == ".gz" || ending == ".zst" ? endingOf(path.stem()) : "";
    const FileKind* kind = fileKindOf(inner);
    return kind != nullptr && kind->openText != nullptr ? inner : ending;
}

enum class Split { None, Train, Validation, Test };

/// By a word in a file's name or a folder below `root`: train, test, validation, valid, val, dev,
/// eval.
Split splitOf(const fs::path& file, const fs::path& root) {
    std::string word;
    Split split = Split::None;
    const auto take = [&] {
        if (word == "train" || word == "training") split = Split::Train;
        if (word == "test") split = Split::Test;
        if (word == "validation" || word == "valid" || word == "val" || word == "dev" ||
            word == "eval")
            split = Split::Validation;
        word.clear();
    };
    for (const char c : inSmallLetters(fs::relative(file, root).string())) {
        if (std::isalpha(static_cast<unsigned char>(c)))
            word += c;
        else
            take();
    }
    take();
    return split;
}

/// Not rows, though its kind is one of rows.
bool isAside(const std::string& name) {
    const FileKind* kind = fileKindOf(endingOf(name));
    const bool isDerived = kind != nullptr && kind->isAside != nullptr && kind->isAside(name);
    return name[0] == '.' || kAbout.contains(name) || isDerived;
}

/// Two folders with a file of the same name, which in a cache of `datasets` are two configurations
/// or versions of a data set.
std::pair<fs::path, fs::path> twins(const std::vector<fs::path>& files) {
    std::map<fs::path, fs::path> folders;
    for (const fs::path& file : files)
        if (const auto [known, isNew] = folders.try_emplace(file.filename(), file.parent_path());
            !isNew)
            return {known->second, file.parent_path()};
    return {};
}

}  // namespace

Result<DataFiles> filesOfFolder(const fs::path& folder) {
    const fs::path root = resolved(folder);
    std::map<std::string, std::vector<fs::path>> byKind;
    std::map<std::string, std::uintmax_t> bytes;
    DataFiles files;
    std::error_code code;
    for (auto entry =
             fs::recursive_directory_iterator(root,
                                              fs::directory_options::follow_directory_symlink |
                                                  fs::directory_options::skip_permission_denied,
                                              code);
         entry != fs::recursive_directory_iterator(); entry.increment(code)) {
        const fs::path& path = entry->path();
        if (entry.depth() > 5 || path.filename().string().rfind('.', 0) == 0)
            entry.disable_recursion_pending();
        const std::string kind = kindOf(path);
        const bool isRows = fileKindOf(kind) != nullptr;
        if ((!isRows && !kOther.contains(kind)) || entry->is_directory(code) ||
            isAside(path.filename().string()))
            continue;
        if (!isRows || !entry->is_regular_file(code)) {
            files.left.push_back(path);
            continue;
        }
        byKind[kind].push_back(path);
        bytes[kind] += fs::file_size(path, code);
    }
    if (byKind.empty())
        return Problem{
            "data_kind",
            folder.string() + " holds no file of rows" +
                (files.left.empty() ? std::string()
                                    : ", but " + files.left.front().filename().string()) +
                ".",
            "Unpack archives, and put " + endingsOfRows() + " files there.", folder.string()};
    const std::string kind =
        std::max_element(bytes.begin(), bytes.end(), [](const auto& a, const auto& b) {
            return a.second < b.second;
        })->first;
    for (const auto& [other, paths] : byKind)
        if (other != kind) files.left.insert(files.left.end(), paths.begin(), paths.end());
    std::map<Split, std::vector<fs::path>> splits;
    for (const fs::path& path : byKind[kind]) splits[splitOf(path, root)].push_back(path);
    if (fileKindOf(kind)->isOfCaches)
        for (const auto& [split, paths] : splits)
            if (const auto [one, other] = twins(paths); !one.empty())
                return Problem{"data_several",
                               folder.string() +
                                   " holds several data sets, or one in several configurations or "
                                   "versions: in " +
                                   one.string() + " and in " + other.string() + ".",
                               "Choose one of these folders.", folder.string()};
    for (auto& [split, paths] : splits) std::sort(paths.begin(), paths.end());
    // A folder without a training split is one split itself, or has the others only.
    const auto take = [&splits](std::vector<fs::path>& to, Split split) {
        if (to.empty()) to = std::exchange(splits[split], {});
    };
    take(files.train, Split::Train);
    take(files.train, Split::None);
    take(files.eval, Split::Validation);
    take(files.eval, Split::Test);
    if (files.train.empty()) std::swap(files.train, files.eval);
    for (const auto& [split, paths] : splits)
        files.left.insert(files.left.end(), paths.begin(), paths.end());
    std::sort(files.left.begin(), files.left.end());
    return files;
}

}  // namespace luthier
