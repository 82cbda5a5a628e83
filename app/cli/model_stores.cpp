// SPDX-License-Identifier: Apache-2.0
#include "model_stores.h"

#include "contract/home_folder.h"
#include "contract/json.h"
#include "io/gguf.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>

namespace luthier::cli {

namespace fs = std::filesystem;

namespace {

constexpr std::uintmax_t kMaxManifest = 4u << 20;

std::optional<fs::path> variable(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr || *value == '\0' ? std::nullopt : std::optional<fs::path>(value);
}

/// What a folder holds, sorted; empty when it cannot be read.
std::vector<fs::path> childrenOf(const fs::path& folder) {
    std::error_code code;
    std::vector<fs::path> children;
    for (fs::directory_iterator entry(folder, fs::directory_options::skip_permission_denied, code),
         end;
         !code && entry != end; entry.increment(code))
        children.push_back(entry->path());
    std::sort(children.begin(), children.end());
    return children;
}

bool isFolder(const fs::path& path) {
    std::error_code code;
    return fs::is_directory(path, code);
}

bool isThere(const fs::path& path) {
    std::error_code code;
    return fs::exists(path, code);
}

/// A GGUF file that begins a model: no later part of one, no projector of pictures beside it.
bool isModelFile(const fs::path& path) {
    const std::string name = path.filename().string();
    return path.extension() == ".gguf" && name.rfind("mmproj", 0) != 0 && name.rfind('.', 0) != 0 &&
           ggufParts(path).front() == path && isGguf(path);
}

bool isOllama(const fs::path& folder) {
    return isFolder(folder / "manifests") && isFolder(folder / "blobs");
}

fs::path huggingFaceCache() {
    for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"})
        if (const auto cache = variable(name)) return *cache;
    if (const auto folder = variable("HF_HOME")) return *folder / "hub";
    if (const auto cache = variable("XDG_CACHE_HOME")) return *cache / "huggingface/hub";
    return homeFolder().empty() ? fs::path() : homeFolder() / ".cache/huggingface/hub";
}

std::vector<fs::path> lmStudioFolders() {
    if (homeFolder().empty()) return {};
    std::vector<fs::path> folders;
    fs::path own = homeFolder() / ".lmstudio";
    std::string pointed;
    if (std::getline(std::ifstream(homeFolder() / ".lmstudio-home-pointer"), pointed) &&
        !pointed.empty())
        own = pointed;
    if (const Result<Json> settings = readJsonFile(own / "settings.json", kMaxManifest);
        settings && settings->is_object())
        if (const Json chosen = settings->value("downloadsFolder", Json()); chosen.is_string())
            folders.emplace_back(chosen.get<std::string>());
    folders.push_back(own / "models");
    folders.push_back(homeFolder() / ".cache/lm-studio/models");
    return folders;
}

std::vector<fs::path> ollamaFolders() {
    if (const auto folder = variable("OLLAMA_MODELS")) return {*folder};
    std::vector<fs::path> folders;
    if (!homeFolder().empty()) folders.push_back(homeFolder() / ".ollama/models");
    folders.emplace_back("/usr/share/ollama/.ollama/models");
    folders.emplace_back("/var/lib/ollama/.ollama/models");
    return folders;
}

/// "registry.ollama.ai/library/llama3.2/1b" as Ollama says it: "llama3.2:1b".
std::string ollamaName(const fs::path& relative) {
    std::vector<std::string> parts;
    for (const fs::path& part : relative) parts.push_back(part.string());
    if (parts.size() < 2) return relative.string();
    const std::string tag = parts.back();
    parts.pop_back();
    if (parts.front() == "registry.ollama.ai") parts.erase(parts.begin());
    if (parts.size() > 1 && parts.front() == "library") parts.erase(parts.begin());
    std::string name;
    for (const std::string& part : parts) name += (name.empty() ? "" : "/") + part;
    return name + ":" + tag;
}

fs::path blobOf(const fs::path& folder, std::string digest) {
    fs::path old = folder / "blobs" / digest;  // early versions wrote the colon
    std::replace(digest.begin(), digest.end(), ':', '-');
    const fs::path blob = folder / "blobs" / digest;
    return !isThere(blob) && isThere(old) ? old : blob;
}

/// The layers of one manifest that a model or an adapter is.
std::vector<StoredModel> modelsOfManifest(const fs::path& folder, const fs::path& manifest) {
    const std::string name = ollamaName(fs::relative(manifest, folder / "manifests"));
    const Result<Json> read = readJsonFile(manifest, kMaxManifest);
    if (!read || !read->is_object() || !read->contains("layers") || !(*read)["layers"].is_array())
        return {
            {manifest, name, "ollama",
             "Ollama's manifest " + manifest.string() + " cannot be read; pull the model again."}};
    std::vector<StoredModel> found;
    for (const Json& layer : (*read)["layers"]) {
        if (!layer.is_object()) continue;
        const Json type = layer.value("mediaType", Json()), digest = layer.value("digest", Json());
        const bool isAdapter = type == "application/vnd.ollama.image.adapter";
        if (!digest.is_string() || (type != "application/vnd.ollama.image.model" && !isAdapter))
            continue;
        const fs::path blob = blobOf(folder, digest.get<std::string>());
        StoredModel model{blob, isAdapter ? name + " (adapter)" : name, "ollama"};
        if (!isThere(blob))
            model.refusal = "Its file " + blob.string() +
                            " is missing; pull the model again: ollama pull " + name + ".";
        else if (!isGguf(blob))
            model.refusal = "Its file " + blob.string() + " is no GGUF file.";
        found.push_back(std::move(model));
    }
    if (found.empty())
        found.push_back({manifest, name, "ollama",
                         "Its manifest names no GGUF file (a model that runs elsewhere, or in "
                         "Ollama's own format)."});
    return found;
}

void manifestsIn(const fs::path& folder, int depth, std::vector<fs::path>& found) {
    for (const fs::path& child : childrenOf(folder)) {
        if (child.filename().string().rfind('.', 0) == 0) continue;
        if (isFolder(child)) {
            if (depth > 0) manifestsIn(child, depth - 1, found);
        } else {
            found.push_back(child);
        }
    }
}

std::vector<StoredModel> modelsOfOllama(const fs::path& folder) {
    std::vector<fs::path> manifests;
    manifestsIn(folder / "manifests", 5, manifests);
    std::vector<StoredModel> found;
    for (const fs::path& manifest : manifests)
        for (StoredModel& model : modelsOfManifest(folder, manifest))
            found.push_back(std::move(model));
    return found;
}

void findModels(const fs::path& folder, int depth, const std::string& store,
                std::vector<StoredModel>& found) {
    if (depth < 0 || !isFolder(folder)) return;
    if (isOllama(folder)) {
        for (StoredModel& model : modelsOfOllama(folder)) found.push_back(std::move(model));
        return;
    }
    const bool isModel = isThere(folder / "config.json") || isThere(folder / "adapter_config.json");
    if (isModel) found.push_back({folder, "", store});
    for (const fs::path& child : childrenOf(folder)) {
        if (isModelFile(child))
            found.push_back({child, "", store});
        else if (!isModel && isFolder(child) && child.filename().string().rfind('.', 0) != 0)
            findModels(child, depth - 1, store, found);
    }
}

/// "models--owner--name" as the hub says it: "owner/name".
std::string hubName(const fs::path& cache, const fs::path& model) {
    const fs::path relative = model.lexically_relative(cache);
    std::string name = relative.begin() == relative.end() ? "" : relative.begin()->string();
    if (name.rfind("models--", 0) != 0) return "";
    name.erase(0, 8);
    for (std::size_t at = 0; (at = name.find("--", at)) != std::string::npos; ++at)
        name.replace(at, 2, "/");
    return model.extension() == ".gguf" ? name + "/" + model.filename().string() : name;
}

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
    return text;
}

std::string withoutEnding(const std::string& name) {
    return name.ends_with(".gguf") ? name.substr(0, name.size() - 5) : name;
}

/// Whether LM Studio's path of a model ("publisher/name/file.gguf") is what `wanted` says: all of
/// it, or what follows or precedes a slash.
bool isCalled(const std::string& path, const std::string& wanted) {
    const std::string whole = withoutEnding(lower(path)), part = withoutEnding(lower(wanted));
    if (whole == part || whole.ends_with("/" + part) || whole.rfind(part + "/", 0) == 0)
        return true;
    const std::string folder =
        whole.substr(0, whole.rfind('/') == std::string::npos ? 0 : whole.rfind('/'));
    return folder.ends_with("/" + part) || folder.ends_with("/" + part + "-gguf");
}

Result<fs::path> oneOf(const std::vector<StoredModel>& matching,
                       const std::vector<StoredModel>& all, const std::string& wanted,
                       const char* program, const char* prefix) {
    const auto namesOf = [&](const std::vector<StoredModel>& models) {
        std::string names;
        for (const StoredModel& model : models)
            names += (names.empty() ? "" : ", ") + (prefix + model.name);
        return names;
    };
    if (matching.empty())
        return Problem{"model_unknown",
                       std::string(program) + " has no model " + wanted + " on this machine.",
                       all.empty() ? std::string("Its folder was not found or holds none; "
                                                 "luthier-cli models lists what there is.")
                                   : "It has: " + namesOf(all) + ".",
                       wanted};
    if (matching.size() > 1)
        return Problem{"model_ambiguous",
                       std::to_string(matching.size()) + " models of " + program + " are called " +
                           wanted + ".",
                       "Say which: " + namesOf(matching) + ".", wanted};
    if (!matching.front().refusal.empty())
        return Problem{"file_missing",
                       program + std::string(" has ") + matching.front().name +
                           ", but it cannot be used. " + matching.front().refusal,
                       "", wanted};
    return matching.front().path;
}

}  // namespace

std::vector<StoredModel> modelsIn(const fs::path& folder, int depth, const std::string& store) {
    std::vector<StoredModel> found;
    findModels(folder, depth, store, found);
    return found;
}

std::vector<StoredModel> modelsOfHuggingFace() {
    const fs::path cache = huggingFaceCache();
    std::vector<StoredModel> found;
    for (const fs::path& child : childrenOf(cache)) {
        if (child.filename().string().rfind("models--", 0) != 0) continue;
        findModels(child / "snapshots", 3, "huggingface", found);
    }
    for (StoredModel& model : found) model.name = hubName(cache, model.path);
    return found;
}

std::vector<StoredModel> modelsOfLmStudio() {
    std::vector<StoredModel> all;
    for (const fs::path& folder : lmStudioFolders()) {
        std::vector<StoredModel> found;
        findModels(folder, 4, "lmstudio", found);
        for (StoredModel& model : found) {
            model.name = model.path.lexically_relative(folder).string();
            const bool isKnown = std::any_of(all.begin(), all.end(), [&](const StoredModel& each) {
                return each.path == model.path;
            });
            if (!isKnown) all.push_back(std::move(model));
        }
    }
    return all;
}

std::vector<StoredModel> modelsOfOllama() {
    std::vector<StoredModel> all;
    for (const fs::path& folder : ollamaFolders())
        for (StoredModel& model : modelsOfOllama(folder)) all.push_back(std::move(model));
    return all;
}

std::optional<fs::path> downloadedModel(const std::string& name) {
    std::string folderName = "models--" + name;
    for (std::size_t at = 0; (at = folderName.find('/', at)) != std::string::npos; at += 2)
        folderName.replace(at, 1, "--");
    const fs::path folder = huggingFaceCache() / folderName;
    const auto isModel = [&](const fs::path& snapshot) {
        return isThere(snapshot / "config.json");
    };
    std::string revision;
    std::ifstream(folder / "refs/main") >> revision;
    if (!revision.empty() && isModel(folder / "snapshots" / revision))
        return folder / "snapshots" / revision;
    for (const fs::path& snapshot : childrenOf(folder / "snapshots"))
        if (isModel(snapshot)) return snapshot;
    return std::nullopt;
}

Result<fs::path> pathOfModelName(const std::string& name) {
    if (name.rfind("ollama:", 0) == 0) {
        std::string wanted = name.substr(7);
        if (wanted.find(':', wanted.rfind('/') == std::string::npos ? 0 : wanted.rfind('/')) ==
            std::string::npos)
            wanted += ":latest";
        const std::vector<StoredModel> all = modelsOfOllama();
        std::vector<StoredModel> matching;
        for (const StoredModel& model : all)
            if (lower(model.name) == lower(wanted)) matching.push_back(model);
        if (matching.size() > 1)
            matching.resize(
                1);  // the same name in several folders: the first, as Ollama itself has one folder
        return oneOf(matching, all, wanted, "Ollama", "ollama:");
    }
    if (name.rfind("lmstudio:", 0) == 0) {
        const std::string wanted = name.substr(9);
        const std::vector<StoredModel> all = modelsOfLmStudio();
        std::vector<StoredModel> matching;
        for (const StoredModel& model : all)
            if (isCalled(model.name, wanted)) matching.push_back(model);
        return oneOf(matching, all, wanted, "LM Studio", "lmstudio:");
    }
    return fs::path(name);
}

}  // namespace luthier::cli
