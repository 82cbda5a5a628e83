// SPDX-License-Identifier: Apache-2.0
#include "peft/combine_ia3.h"

#include "io/atomic.h"
#include "io/safetensors.h"
#include "model/tensors.h"
#include "peft/adapter_file.h"
#include "peft/method.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>

#include <algorithm>
#include <cmath>
#include <set>

namespace luthier {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kPrefix = "base_model.model.";
constexpr std::string_view kEnding = ".ia3_l";

struct LoadedIa3 {
    Json config;
    TensorMap vectors;  // by the name in the file: [out, 1], at a feed-forward module [1, in]
};

Result<LoadedIa3> load(const fs::path& path) {
    Result<AdapterFolder> folder = readAdapterFolder(path);
    if (!folder) return folder.problems();
    const Problem other{"combine_method",
                        path.string() + " holds an adapter of the method " + folder->method->type +
                            ", the first folder one of IA3.",
                        "Combine adapters of one method.", path.string()};
    if (folder->method->combine != &combineIa3) return other;
    Result<TensorMap> tensors = tensorsOf(*folder);
    if (!tensors) return tensors.problems();
    for (auto& [name, tensor] : *tensors) {
        if (!name.starts_with(kPrefix) || !name.ends_with(kEnding))
            return Problem{"combine_method",
                           path.string() + " holds " + name + ", which is no vector of IA3.",
                           "Modules that are saved whole cannot be combined.", path.string()};
        tensor = tensor.to(at::kFloat);
    }
    return LoadedIa3{folder->config, std::move(*tensors)};
}

/// The union of the parts' lists where those say everything, else the modules' own paths.
Json namesOf(const std::vector<LoadedIa3>& parts, const char* key,
             const std::set<std::string>& paths) {
    std::set<std::string> names;
    for (const LoadedIa3& part : parts) {
        const Json excluded = part.config.value("exclude_modules", Json());
        const Json list = part.config.value(key, Json());
        if (!list.is_array() || !(excluded.is_null() || excluded.empty())) return Json(paths);
        for (const Json& name : list) names.insert(name.get<std::string>());
    }
    return Json(names);
}

/// l = sum_i w_i l_i over the adapters that have the module.
Result<TensorMap> sumOf(const CombineRequest& request, const std::vector<LoadedIa3>& parts) {
    TensorMap sums;
    double largest = 0;  // of the sums' values
    double given = 0;    // of what is summed
    for (std::size_t i = 0; i < parts.size(); ++i)
        for (const auto& [name, vector] : parts[i].vectors) {
            at::Tensor& sum = sums[name];
            if (sum.defined() && sum.sizes() != vector.sizes())
                return Problem{"combine_shape",
                               name + " has " + std::to_string(sum.size(0)) + " x " +
                                   std::to_string(sum.size(1)) + " values in one adapter and " +
                                   std::to_string(vector.size(0)) + " x " +
                                   std::to_string(vector.size(1)) + " in " +
                                   request.parts[i].folder.string() + ".",
                               "They were trained on different base models, or with other "
                               "feedforward_modules.",
                               name};
            const at::Tensor one = vector * request.parts[i].weight;
            given = std::max(given, one.abs().max().item<double>());
            sum = sum.defined() ? sum + one : one;
        }
    for (const auto& [name, sum] : sums)
        largest = std::max(largest, sum.abs().max().item<double>());
    if (!(largest > 1e-5 * given) || !std::isfinite(largest))
        return Problem{"combination_zero",
                       "The weighted vectors cancel each other, so the combination would silence "
                       "every layer that it scales.",
                       "Choose weights that sum to 1.", "--adapter", ExitCode::BadUsage};
    return sums;
}

}  // namespace

Result<Json> combineIa3(const CombineRequest& request, const fs::path& out) {
    if (request.how.value_or(Combination::Linear) != Combination::Linear)
        return Problem{"combine_method",
                       "IA3 adapters have no " +
                           combinationNames()[static_cast<std::size_t>(*request.how)] +
                           ": their vectors can only be added.",
                       "Use --method linear.", "--method", ExitCode::BadUsage};
    std::vector<LoadedIa3> parts;
    for (const CombineRequest::Part& part : request.parts) {
        Result<LoadedIa3> loaded = load(part.folder);
        if (!loaded) return loaded.problems();
        parts.push_back(std::move(*loaded));
    }
    Result<TensorMap> sums = sumOf(request, parts);
    if (!sums) return sums.problems();

    std::set<std::string> paths, feedForward;
    std::vector<at::Tensor> storage;
    std::vector<TensorView> views;
    for (const auto& [name, sum] : *sums) {
        const std::string path =
            name.substr(kPrefix.size(), name.size() - kPrefix.size() - kEnding.size());
        paths.insert(path);
        if (sum.size(0) == 1) feedForward.insert(path);
        views.push_back(viewOf(name, sum, storage));
    }
    Json config{{"peft_type", "IA3"},
                {"target_modules", namesOf(parts, "target_modules", paths)},
                {"feedforward_modules", namesOf(parts, "feedforward_modules", feedForward)},
                {"inference_mode", true}};
    for (const char* key : {"fan_in_fan_out", "task_type", "base_model_name_or_path"})
        if (parts.front().config.contains(key)) config[key] = parts.front().config[key];
    Result<AtomicDir> target = AtomicDir::begin(out);
    if (!target) return target.problems();
    if (Result<void> done = writeJsonAtomically(target->path() / "adapter_config.json", config);
        !done)
        return done.problems();
    Result<std::uint64_t> bytes =
        writeSafetensors(target->path() / "adapter_model.safetensors", views, {{"format", "pt"}});
    if (!bytes) return bytes.problems();
    if (Result<void> done = target->commit(Existing::Refuse); !done) return done.problems();
    return Json{
        {"path", out.string()}, {"bytes", *bytes}, {"modules", sums->size()}, {"method", "linear"}};
}

}  // namespace luthier
