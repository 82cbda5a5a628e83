// SPDX-License-Identifier: Apache-2.0
#include "io/weight_folder.h"

#include "contract/system_error.h"
#include "io/file.h"
#include "io/json_events.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <utility>

namespace luthier {

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kIndexBytes = 64u << 20;
constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";
constexpr const char* kAgainHint = "Download the model again, with all its files.";

using WeightMap = std::map<std::string, std::string>;  // tensor -> shard

/// A plain name of a safetensors file: no separator of any system, nothing that leads out of the
/// folder.
bool isPlainShardName(const std::string& name) {
    return name.find_first_of(std::string_view("/\\:\0", 4)) == std::string::npos &&
           name.front() != '.' && name.size() <= 255 &&
           fs::path(name).extension() == ".safetensors";
}

/// {"metadata": …, "weight_map": {tensor: shard}}; other keys are passed over.
class IndexReader final : public JsonEvents {
public:
    explicit IndexReader(std::string file) : m_file(std::move(file)) {}

    std::optional<WeightMap> weightMap;

private:
    Stop onKey(std::size_t depth, const std::string& key) override {
        if (depth == 1) {
            m_inMap = key == "weight_map";
            if (m_inMap && weightMap) return bad("\"weight_map\" is there twice");
        }
        if (depth != 2 || !m_inMap) return std::nullopt;
        if (weightMap->count(key) != 0) return bad("tensor " + shownName(key) + " is listed twice");
        if (key.size() > SafetensorsLimits::kNameBytes)
            return bad("the tensor name " + shownName(key) + " is too long");
        if (weightMap->size() == SafetensorsLimits::kTensors) {
            return bad("it lists more than " + std::to_string(SafetensorsLimits::kTensors) +
                       " tensors");
        }
        m_tensor = key;
        return std::nullopt;
    }

    Stop onValue(std::size_t depth, JsonKind kind, std::uint64_t,
                 const std::string& text) override {
        if (depth == 0 && kind != JsonKind::Object) return bad("it is not an object");
        if (!m_inMap) return std::nullopt;
        if (depth == 1) {
            if (kind != JsonKind::Object) return bad("\"weight_map\" is not an object");
            weightMap.emplace();
            return std::nullopt;
        }
        if (kind != JsonKind::String)
            return bad("the shard of tensor " + shownName(m_tensor) + " is not a string");
        if (text.empty() || !isPlainShardName(text)) {
            return bad("the shard of tensor " + shownName(m_tensor) + " is " + shownName(text) +
                       ", which is not the plain name of a .safetensors file");
        }
        weightMap->emplace(m_tensor, text);
        return std::nullopt;
    }

    Stop onClose(std::size_t depth) override {
        if (depth == 1) m_inMap = false;
        return std::nullopt;
    }

    Stop bad(const std::string& what) const {
        return Problem{"index_invalid", m_file + " cannot be used: " + what + ".", kAgainHint,
                       m_file};
    }

    std::string m_file;
    std::string m_tensor;
    bool m_inMap = false;
};

Result<WeightMap> readIndex(const fs::path& file) {
    const Result<std::string> text = readWholeFile(file, kIndexBytes);
    if (!text) return text.problems();
    IndexReader reader(file.string());
    if (Result<void> read = reader.read(*text, file.string(), "index_invalid"); !read)
        return read.problems();
    if (!reader.weightMap || reader.weightMap->empty()) {
        return Problem{"index_invalid", file.string() + " names no tensors.", kAgainHint,
                       file.string()};
    }
    return *std::move(reader.weightMap);
}

/// What there is in the folder: regular files (or links to them) by name.
Result<std::vector<fs::path>> filesIn(const fs::path& folder) {
    std::error_code error;
    std::vector<fs::path> files;
    fs::directory_iterator entries(folder, error);
    for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
        std::error_code broken;  // a link to nowhere is not a file, and no reason to stop
        if (entries->is_regular_file(broken)) files.push_back(entries->path());
    }
    if (error) {
        return Problem{"file_unreadable",
                       folder.string() + " could not be listed: " + error.message() + ".",
                       remedyFor(error.value(), "Check its permissions."), folder.string()};
    }
    std::sort(files.begin(), files.end());
    return files;
}

Problem noWeights(const fs::path& folder, const std::vector<fs::path>& files) {
    static const std::set<std::string> kPickled{".bin", ".pt", ".pth", ".ckpt"};
    for (const fs::path& file : files) {
        if (kPickled.count(file.extension().string()) == 0) continue;
        return Problem{"pickle_refused",
                       folder.string() + " holds pickled weights (" + file.filename().string() +
                           "), which can run code; Luthier never opens them.",
                       "If you trust their author, convert them with transformers: "
                       "AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER, "
                       "safe_serialization=True).",
                       folder.string()};
    }
    return Problem{"weights_missing", folder.string() + " holds no .safetensors file.",
                   "Choose the folder that has config.json and model.safetensors.",
                   folder.string()};
}

/// The one file to open when there is no index.
Result<fs::path> singleFile(const fs::path& folder, const std::vector<fs::path>& files) {
    std::vector<fs::path> candidates;
    for (const fs::path& file : files) {
        if (file.extension() == ".safetensors") candidates.push_back(file);
    }
    if (candidates.empty()) return noWeights(folder, files);
    if (candidates.size() == 1) return candidates.front();
    return Problem{"weights_ambiguous",
                   folder.string() + " holds " + std::to_string(candidates.size()) +
                       " .safetensors files, such as " + candidates[0].filename().string() +
                       " and " + candidates[1].filename().string() + ", but no " + kIndexFile + ".",
                   "Add the index that belongs to the shards, or keep one file only.",
                   folder.string()};
}

/// Every tensor is in the shard that the index names.
std::optional<Problem> checkPlaces(
    const WeightMap& index, const std::map<std::string_view, const TensorView*>& tensors,
    const std::map<std::string, std::shared_ptr<const SafetensorsFile>>& shards,
    const fs::path& file) {
    for (const auto& [tensor, shard] : index) {
        if (shards.at(shard)->find(tensor) == nullptr) {
            const bool elsewhere = tensors.count(tensor) != 0;
            return Problem{"index_mismatch",
                           file.string() + " places tensor " + shownName(tensor) + " in " + shard +
                               ", but it is " +
                               (elsewhere ? "in another shard." : "in none of the shards."),
                           kAgainHint, file.string()};
        }
    }
    return std::nullopt;
}

}  // namespace

Result<std::shared_ptr<const WeightFolder>> WeightFolder::open(const fs::path& folder) {
    std::error_code error;
    if (!fs::is_directory(folder, error)) {
        return Problem{"folder_missing", folder.string() + " does not exist or is not a folder.",
                       "Check the path.", folder.string()};
    }
    const Result<std::vector<fs::path>> files = filesIn(folder);
    if (!files) return files.problems();
    const auto has = [&](const char* name) {
        return std::binary_search(files->begin(), files->end(), folder / name);
    };

    std::shared_ptr<WeightFolder> opened(new WeightFolder);
    const fs::path indexFile = folder / kIndexFile;
    if (has(kSingleFile) || !has(kIndexFile)) {
        const Result<fs::path> single =
            has(kSingleFile) ? Result<fs::path>(folder / kSingleFile) : singleFile(folder, *files);
        if (!single) return single.problems();
        Result<std::shared_ptr<const SafetensorsFile>> file = SafetensorsFile::open(*single);
        if (!file) return file.problems();
        opened->m_files.push_back(*file);
        for (const TensorView& tensor : (*file)->tensors())
            opened->m_index.emplace(tensor.name, &tensor);
        return std::shared_ptr<const WeightFolder>(std::move(opened));
    }

    const Result<WeightMap> index = readIndex(indexFile);
    if (!index) return index.problems();
    std::set<std::string> names;
    for (const auto& [tensor, shard] : *index) names.insert(shard);

    // All that is wrong with the shards is told at once: a download that lacks three files is then
    // repaired in one go.
    Problems problems;
    std::map<std::string, std::shared_ptr<const SafetensorsFile>> shards;
    for (const std::string& name : names) {
        if (!has(name.c_str())) {
            problems.push_back(
                {"shard_missing",
                 (folder / name).string() + " is named by " + kIndexFile + ", but is not there.",
                 kAgainHint, (folder / name).string()});
            continue;
        }
        Result<std::shared_ptr<const SafetensorsFile>> shard = SafetensorsFile::open(folder / name);
        if (shard)
            shards.emplace(name, *shard);
        else
            problems.insert(problems.end(), shard.problems().begin(), shard.problems().end());
    }
    if (!problems.empty()) return problems;

    for (const auto& [name, shard] : shards) {
        opened->m_files.push_back(shard);
        for (const TensorView& tensor : shard->tensors()) {
            if (opened->m_index.emplace(tensor.name, &tensor).second) continue;
            return Problem{"index_mismatch",
                           "Tensor " + shownName(tensor.name) + " is in two shards of " +
                               folder.string() + ", the second being " + name + ".",
                           kAgainHint, folder.string()};
        }
    }
    if (auto problem = checkPlaces(*index, opened->m_index, shards, indexFile))
        return *std::move(problem);
    return std::shared_ptr<const WeightFolder>(std::move(opened));
}

const TensorView* WeightFolder::find(std::string_view name) const {
    const auto found = m_index.find(name);
    return found == m_index.end() ? nullptr : found->second;
}

std::vector<const TensorView*> WeightFolder::tensors() const {
    std::vector<const TensorView*> all;
    for (const auto& [name, tensor] : m_index) all.push_back(tensor);
    return all;
}

std::vector<fs::path> WeightFolder::files() const {
    std::vector<fs::path> paths;
    for (const auto& file : m_files) paths.push_back(file->path());
    return paths;
}

std::uint64_t WeightFolder::bytes() const {
    std::uint64_t total = 0;
    for (const auto& file : m_files) total += file->fileBytes();
    return total;
}

}  // namespace luthier
