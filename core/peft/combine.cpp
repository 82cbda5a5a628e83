// SPDX-License-Identifier: Apache-2.0
#include "peft/combine.h"

#include "peft/adapter_file.h"
#include "peft/method.h"

#include <cmath>

namespace luthier {

namespace fs = std::filesystem;

namespace {

Problems wrongValues(const CombineRequest& request) {
    Problems problems;
    for (const CombineRequest::Part& part : request.parts)
        if (!std::isfinite(part.weight))
            problems.push_back(
                {"combine_weight",
                 "The weight of " + part.folder.string() + " is " + dumpLine(part.weight) + ".",
                 "Give a finite number.", "--adapter", ExitCode::BadUsage});
    if (!(request.density > 0 && request.density <= 1))
        problems.push_back({"combine_density", "The density is " + dumpLine(request.density) + ".",
                            "Give a share above 0 and up to 1.", "--density", ExitCode::BadUsage});
    return problems;
}

}  // namespace

const std::vector<std::string>& combinationNames() {
    static const std::vector<std::string> names{"cat",
                                                "svd",
                                                "linear",
                                                "ties",
                                                "dare_linear",
                                                "dare_ties",
                                                "magnitude_prune",
                                                "ties_svd",
                                                "dare_linear_svd",
                                                "dare_ties_svd",
                                                "magnitude_prune_svd"};
    return names;
}

Result<Json> combineAdapters(const CombineRequest& request, const fs::path& out) {
    if (Problems problems = wrongValues(request); !problems.empty()) return problems;
    const fs::path& first = request.parts.front().folder;
    Result<AdapterFolder> folder = readAdapterFolder(first);
    if (!folder) return folder.problems();
    if (folder->method->combine != nullptr) return folder->method->combine(request, out);
    std::string known;
    for (const Method& method : methods())
        if (method.combine != nullptr) known += (known.empty() ? "" : ", ") + method.title;
    return Problem{
        "combine_method",
        first.string() + " holds an adapter of the method " + folder->method->type + ".",
        "Adapters of these can be combined: " + known + "; merge this one into its base instead.",
        first.string()};
}

}  // namespace luthier
