// SPDX-License-Identifier: Apache-2.0
#include "model_list.h"

#include "model_stores.h"
#include "survey.h"

#include <algorithm>
#include <set>

namespace luthier::cli {

namespace fs = std::filesystem;

namespace {

/// One bad file does not hide the others.
Json inspected(const StoredModel& model) {
    const auto refused = [&](const std::string& reason) {
        return Json{{"kind", "file"},
                    {"path", model.path.string()},
                    {"name", model.path.filename().string()},
                    {"can_train", false},
                    {"reason", reason},
                    {"problems", Json::array()}};
    };
    if (!model.refusal.empty()) return refused(model.refusal);
    try {
        return inspectPath(model.path);
    } catch (const Failure& failure) {
        Json document = refused(failure.problem().message);
        document["problems"].push_back({{"code", failure.problem().code},
                                        {"message", failure.problem().message},
                                        {"hint", failure.problem().hint},
                                        {"level", "error"}});
        return document;
    }
}

const char* trainingOf(const Json& document) {
    if (document.value("can_import", Json()) == true) return "import";
    const bool isSound = std::none_of(
        document["problems"].begin(), document["problems"].end(),
        [](const Json& problem) { return problem.value("level", "error") == "error"; });
    if (document["kind"] == "adapter") return isSound ? "adapter" : "no";
    return document.value("can_train", Json()) == true ? "trains" : "no";
}

Json entryOf(const StoredModel& model) {
    Json document = inspected(model);
    if (!model.name.empty()) document["name"] = model.name;
    document["store"] = model.store;
    document["training"] = trainingOf(document);
    if (document["training"] == "import") {
        const bool isNamed = model.store == "ollama" || model.store == "lmstudio";
        const std::string source = isNamed ? model.store + ":" + model.name : model.path.string();
        document["import"] = source;
        document["reason"] = "Import it first: luthier-cli import " + source + " --out FOLDER.";
    }
    if (document["kind"] == "adapter") {
        document["can_train"] = false;
        if (document.value("reason", "").empty())
            document["reason"] =
                document["training"] == "no"
                    ? document["problems"][0]["message"].get<std::string>()
                    : "An adapter: it is used on its base, --adapter " + model.path.string() + ".";
    }
    return document;
}

}  // namespace

Json listModels(const std::vector<std::string>& folders, const fs::path& workspace) {
    std::vector<StoredModel> found;
    const auto add = [&](std::vector<StoredModel> models) {
        found.insert(found.end(), models.begin(), models.end());
    };
    for (const std::string& folder : folders) {
        std::error_code code;
        if (!fs::exists(folder, code)) continue;  // one that is gone does not hide the others
        if (fs::is_directory(folder, code))
            add(modelsIn(folder, 4, "folder"));
        else
            add({{folder, "", "folder"}});
    }
    add(modelsIn(workspace / "models", 3, "workspace"));
    add(modelsOfHuggingFace());
    add(modelsOfLmStudio());
    add(modelsOfOllama());
    Json list = Json::array();
    std::set<std::string> seen;
    for (const StoredModel& model : found) {
        std::error_code code;
        // Two of Ollama's names may stand for one file: both are names that a person knows.
        const std::string key = fs::weakly_canonical(model.path, code).string() +
                                (model.store == "ollama" ? "\n" + model.name : "");
        if (!seen.insert(key).second) continue;
        Json entry = entryOf(model);
        if (entry["kind"] != "dataset" && entry["kind"] != "run")
            list.push_back(std::move(entry));  // a window's folders hold rows as well
    }
    return Json{{"models", std::move(list)}};
}

}  // namespace luthier::cli
