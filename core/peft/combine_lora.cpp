// SPDX-License-Identifier: Apache-2.0
#include "peft/combine_lora.h"

#include "io/atomic.h"
#include "io/safetensors.h"
#include "model/tensors.h"
#include "peft/adapter_file.h"
#include "peft/method.h"
#include "peft/targets.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/sign.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace luthier {

namespace fs = std::filesystem;

namespace {

constexpr const char* kPrefix = "base_model.model.";

/// The two matrices of one module: A [R, in], B [out, R]; on an embedding A [R, V], B [D, R] under
/// names of their own.
struct Pair {
    at::Tensor A;
    at::Tensor B;
    double scale = 1;
    bool isEmbedding = false;
};

struct LoadedLora {
    fs::path folder;
    double weight = 1;
    std::int64_t rank = 0;  // the largest of its modules, as PEFT counts it
    bool isRankStabilised = false;
    Json config;
    std::map<std::string, Pair> pairs;  // by module path
};

Problem notPlain(const fs::path& folder, const std::string& why) {
    return {"combine_method", folder.string() + " " + why + ".",
            "Only plain LoRA adapters, or IA3 adapters, can be combined; merge this one into its "
            "base instead.",
            folder.string()};
}

/// The module and the half that a tensor name of a LoRA file stands for.
bool split(const std::string& name, std::string& path, bool& isA, bool& isEmbedding) {
    static const struct {
        const char* ending;
        bool isA;
        bool isEmbedding;
    } kEndings[] = {{".lora_A.weight", true, false},
                    {".lora_B.weight", false, false},
                    {".lora_embedding_A", true, true},
                    {".lora_embedding_B", false, true}};
    if (name.rfind(kPrefix, 0) != 0) return false;
    for (const auto& half : kEndings)
        if (name.ends_with(half.ending)) {
            const std::size_t prefix = std::string_view(kPrefix).size();
            path = name.substr(prefix, name.size() - prefix - std::string_view(half.ending).size());
            isA = half.isA;
            isEmbedding = half.isEmbedding;
            return true;
        }
    return false;
}

Result<double> scaleOf(const Json& settings, const std::string& path) {
    Result<double> rank = patternValue(settings.at("rank_pattern"), path,
                                       settings.at("r").get<double>(), "rank_pattern");
    if (!rank) return rank;
    Result<double> alpha = patternValue(settings.at("alpha_pattern"), path,
                                        settings.at("lora_alpha").get<double>(), "alpha_pattern");
    if (!alpha) return alpha;
    return *alpha / (settings.at("use_rslora") == true ? std::sqrt(*rank) : *rank);
}

Result<LoadedLora> load(const CombineRequest::Part& part) {
    Result<AdapterFolder> folder = readAdapterFolder(part.folder);
    if (!folder) return folder.problems();
    if (folder->method->combine != &combineLora)
        return notPlain(part.folder, "holds an adapter of the method " + folder->method->type);
    if (folder->settings.at("use_dora") == true)
        return notPlain(part.folder,
                        "was trained with DoRA, whose row lengths have no weighted sum");
    if (folder->settings.at("init_lora_weights").is_string())
        return notPlain(part.folder,
                        "was started by PiSSA, which takes part of the base away: the sum of such "
                        "adapters is not the sum of what they do");
    Result<TensorMap> tensors = tensorsOf(*folder);
    if (!tensors) return tensors.problems();
    LoadedLora lora{part.folder,
                    part.weight,
                    folder->settings.at("r").get<std::int64_t>(),
                    folder->settings.at("use_rslora") == true,
                    folder->config,
                    {}};
    for (const auto& [key, value] : folder->settings.at("rank_pattern").items())
        lora.rank = std::max(lora.rank, value.get<std::int64_t>());
    for (const auto& [name, tensor] : *tensors) {
        std::string path;
        bool isA = false;
        bool isEmbedding = false;
        if (!split(name, path, isA, isEmbedding)) {
            if (name.ends_with(".base_layer.weight"))
                continue;  // PEFT's copy of a frozen embedding
            return notPlain(part.folder, "holds " + name + ", which is no half of a low-rank pair");
        }
        if (tensor.dim() != 2)
            return notPlain(part.folder, "holds " + name + " with " + std::to_string(tensor.dim()) +
                                             " dimensions");
        Pair& pair = lora.pairs[path];
        pair.isEmbedding = isEmbedding;
        (isA ? pair.A : pair.B) = tensor.to(at::kFloat);
    }
    for (auto& [path, pair] : lora.pairs) {
        if (!pair.A.defined() || !pair.B.defined() || pair.A.size(0) != pair.B.size(1))
            return Problem{"adapter_tensor_missing",
                           part.folder.string() + ": the two matrices of " + path +
                               " are not both there with one rank.",
                           "The file is damaged.", path};
        Result<double> scale = scaleOf(folder->settings, path);
        if (!scale) return asOfFile(scale.problems(), part.folder / "adapter_config.json");
        pair.scale = *scale;
    }
    return lora;
}

/// What one module is combined from.
struct Parts {
    std::vector<const Pair*> pairs;
    std::vector<double> weights;  // w_i
    std::vector<double> factors;  // w_i s_i
};

const std::string& nameOf(Combination how) {
    return combinationNames()[static_cast<std::size_t>(how)];
}

bool isCut(Combination how) { return how == Combination::Svd || how >= Combination::TiesSvd; }

/// What a combination does with values, be they halves or products.
Combination ruleOf(Combination how) {
    switch (how) {
        case Combination::Svd:
            return Combination::Linear;
        case Combination::TiesSvd:
            return Combination::Ties;
        case Combination::DareLinearSvd:
            return Combination::DareLinear;
        case Combination::DareTiesSvd:
            return Combination::DareTies;
        case Combination::MagnitudePruneSvd:
            return Combination::MagnitudePrune;
        default:
            return how;
    }
}

/// What takes adapters of unequal ranks.
std::string otherTypes(Combination how) {
    return how == Combination::Linear ? "Use --method cat or svd."
                                      : "Use --method cat, svd or " + nameOf(how) + "_svd.";
}

/// Random bits that depend on (seed, module, half, adapter) alone.
at::Tensor dropped(const at::Tensor& value, double density, std::uint64_t seed) {
    at::Tensor mask = at::empty_like(value);
    mask.bernoulli_(density, at::detail::createCPUGenerator(seed));
    return value * mask / density;
}

at::Tensor largestKept(const at::Tensor& value, double density) {
    const auto kept = static_cast<std::int64_t>(density * static_cast<double>(value.numel()));
    at::Tensor mask = at::zeros_like(value).reshape({-1});
    mask.index_fill_(0, std::get<1>(at::topk(at::abs(value).reshape({-1}), kept)), 1);
    return value * mask.reshape(value.sizes());
}

/// Sum of w_i t_i over the adapters whose sign agrees with the elected one, divided by their
/// number. `pruned` [n, …], `weights` [n, 1, 1].
at::Tensor elected(const at::Tensor& pruned, const at::Tensor& weights, bool votesByCount) {
    const at::Tensor sign = at::sign(pruned);
    const at::Tensor total = (votesByCount ? sign : pruned).sum(0);
    const at::Tensor majority = at::where(total >= 0, at::tensor(1.0f), at::tensor(-1.0f));
    const at::Tensor agrees = sign.eq(majority).to(at::kFloat);
    return (pruned * weights * agrees).sum(0) / agrees.sum(0).clamp_min(1.0);
}

/// The adapters' values at one place, A or B or B A of a module, made into one. `coefficients`:
/// what each is multiplied by.
at::Tensor mixedValues(const CombineRequest& request, std::vector<at::Tensor> values,
                       const std::vector<float>& coefficients, const std::string& name) {
    const Combination rule = ruleOf(*request.how);
    const bool isDare = rule == Combination::DareLinear || rule == Combination::DareTies;
    const bool isTies = rule == Combination::Ties || rule == Combination::DareTies;
    if (rule != Combination::Linear && request.density < 1)
        for (std::size_t i = 0; i < values.size(); ++i)
            values[i] = isDare ? dropped(values[i], request.density,
                                         tensorSeed(request.seed, name + " " + std::to_string(i)))
                               : largestKept(values[i], request.density);
    const at::Tensor stacked = at::stack(values);  // [n, …]
    const at::Tensor weights = at::tensor(coefficients).reshape({-1, 1, 1});
    return isTies ? elected(stacked, weights, request.votesByCount) : (stacked * weights).sum(0);
}

Result<Pair> mixed(const CombineRequest& request, const Parts& parts, const std::string& path) {
    std::vector<at::Tensor> A, B;
    std::vector<float> ofA, ofB;
    for (std::size_t i = 0; i < parts.pairs.size(); ++i) {
        if (parts.pairs[i]->A.size(0) != parts.pairs.front()->A.size(0))
            return Problem{"combine_rank",
                           "The adapters have different ranks at " + path + ", which " +
                               nameOf(*request.how) + " cannot mix.",
                           otherTypes(*request.how), "--method", ExitCode::BadUsage};
        A.push_back(parts.pairs[i]->A);
        B.push_back(parts.pairs[i]->B);
        const double root = std::sqrt(std::abs(parts.factors[i]));
        ofA.push_back(static_cast<float>(parts.factors[i] >= 0 ? root : -root));
        ofB.push_back(static_cast<float>(root));
    }
    return Pair{mixedValues(request, A, ofA, path + " A"),
                mixedValues(request, B, ofB, path + " B"), 1, parts.pairs.front()->isEmbedding};
}

Pair side(const Parts& parts) {
    std::vector<at::Tensor> A, B;
    for (std::size_t i = 0; i < parts.pairs.size(); ++i) {
        A.push_back(parts.pairs[i]->A * parts.factors[i]);
        B.push_back(parts.pairs[i]->B);
    }
    return {at::cat(A, 0), at::cat(B, 1), 1, parts.pairs.front()->isEmbedding};
}

/// The products s_i B_i A_i [out, in] made into one, cut to its largest singular values.
Pair cut(const CombineRequest& request, const Parts& parts, std::int64_t rank,
         const std::string& path) {
    std::vector<at::Tensor> products;
    for (const Pair* pair : parts.pairs) products.push_back(at::mm(pair->B, pair->A) * pair->scale);
    const at::Tensor delta =
        mixedValues(request, products, {parts.weights.begin(), parts.weights.end()}, path);
    const auto [U, S, V] = at::linalg_svd(delta, /*full_matrices=*/false);
    const std::int64_t R = std::min(rank, S.size(0));
    return {V.narrow(0, 0, R).contiguous(), (U.narrow(1, 0, R) * S.narrow(0, 0, R)).contiguous(), 1,
            parts.pairs.front()->isEmbedding};
}

/// Fills up with zeros to the one rank that the config names.
Pair padded(const Pair& pair, std::int64_t rank) {
    const std::int64_t lacking = rank - pair.A.size(0);
    if (lacking <= 0) return pair;
    return {at::cat({pair.A, at::zeros({lacking, pair.A.size(1)})}, 0),
            at::cat({pair.B, at::zeros({pair.B.size(0), lacking})}, 1), 1, pair.isEmbedding};
}

double largestProduct(const Pair& pair) {
    return at::mm(pair.B, pair.A).abs().max().item<double>();
}

Result<std::int64_t> rankOfResult(const CombineRequest& request,
                                  const std::vector<LoadedLora>& loras) {
    std::int64_t largest = 0, sum = 0;
    bool isOneRank = true;
    std::string ranks;
    for (const LoadedLora& lora : loras) {
        largest = std::max(largest, lora.rank);
        sum += lora.rank;
        isOneRank = isOneRank && lora.rank == loras.front().rank;
        ranks += (ranks.empty() ? "" : ", ") + std::to_string(lora.rank) + " (" +
                 lora.folder.string() + ")";
    }
    if (request.how == Combination::Cat) return sum;
    if (isCut(*request.how)) return request.rank > 0 ? request.rank : largest;
    if (!isOneRank)
        return Problem{"combine_rank",
                       "The adapters have different ranks: " + ranks + "; " + nameOf(*request.how) +
                           " needs one.",
                       otherTypes(*request.how), "--method", ExitCode::BadUsage};
    return largest;
}

/// The list of target modules: the union of the parts' lists where those say everything, else the
/// modules themselves.
Json targetsOf(const std::vector<LoadedLora>& loras, const std::set<std::string>& paths) {
    std::set<std::string> names;
    for (const LoadedLora& lora : loras) {
        for (const char* key : {"exclude_modules", "layers_to_transform"})
            if (lora.config.contains(key) && !lora.config[key].is_null() &&
                !lora.config[key].empty())
                return Json(paths);
        const Json targets = lora.config.value("target_modules", Json());
        if (!targets.is_array()) return Json(paths);
        for (const Json& name : targets) names.insert(name.get<std::string>());
    }
    return Json(names);
}

/// Which adapters act on each module. Refuses adapters whose layers differ in size: they belong to
/// different bases.
Result<std::map<std::string, Parts>> partsByModule(const std::vector<LoadedLora>& loras) {
    std::map<std::string, Parts> modules;
    for (const LoadedLora& lora : loras)
        for (const auto& [path, pair] : lora.pairs) {
            Parts& parts = modules[path];
            const auto size = [](const Pair& p) {
                return std::to_string(p.A.size(1)) + " to " + std::to_string(p.B.size(0));
            };
            if (!parts.pairs.empty() && size(*parts.pairs.front()) != size(pair))
                return Problem{"combine_shape",
                               path + " maps " + size(*parts.pairs.front()) + " in " +
                                   loras.front().folder.string() + ", but " + size(pair) + " in " +
                                   lora.folder.string() + ".",
                               "They were trained on different base models and cannot be combined.",
                               path};
            parts.pairs.push_back(&pair);
            parts.weights.push_back(lora.weight);
            parts.factors.push_back(lora.weight * pair.scale);
        }
    return modules;
}

/// PEFT's result goes on under the first adapter's use_rslora, and is sqrt(rank) times what was
/// summed up with it. So is ours under PEFT's names, but for `cat`, which promises the sum.
bool staysRankStabilised(const CombineRequest& asked, const std::vector<LoadedLora>& loras) {
    return loras.front().isRankStabilised &&
           asked.how.value_or(Combination::Cat) != Combination::Cat;
}

Result<std::uint64_t> write(const fs::path& folder, const std::vector<LoadedLora>& loras,
                            const std::map<std::string, Pair>& pairs, std::int64_t rank,
                            bool isRankStabilised) {
    std::set<std::string> paths;
    std::vector<at::Tensor> storage;
    std::vector<TensorView> views;
    for (const auto& [path, pair] : pairs) {
        paths.insert(path);
        views.push_back(
            viewOf(kPrefix + path + (pair.isEmbedding ? ".lora_embedding_A" : ".lora_A.weight"),
                   pair.A, storage));
        views.push_back(
            viewOf(kPrefix + path + (pair.isEmbedding ? ".lora_embedding_B" : ".lora_B.weight"),
                   pair.B, storage));
    }
    Json config{{"peft_type", "LORA"}, {"r", rank},
                {"lora_alpha", rank},  {"target_modules", targetsOf(loras, paths)},
                {"lora_dropout", 0.0}, {"bias", "none"}};
    for (const char* key : {"fan_in_fan_out", "task_type", "base_model_name_or_path"})
        if (loras.front().config.contains(key)) config[key] = loras.front().config[key];
    if (isRankStabilised) config["use_rslora"] = true;
    config["inference_mode"] = true;
    Result<void> done = writeJsonAtomically(folder / "adapter_config.json", config);
    if (!done) return done.problems();
    return writeSafetensors(folder / "adapter_model.safetensors", views, {{"format", "pt"}});
}

}  // namespace

Result<Json> combineLora(const CombineRequest& asked, const fs::path& out) {
    CombineRequest request = asked;
    request.how = asked.how.value_or(Combination::Cat);
    if (request.parts.size() == 1)
        request.how = Combination::Linear;  // as PEFT: nothing to stack, elect or cut
    std::vector<LoadedLora> loras;
    for (const CombineRequest::Part& part : request.parts) {
        Result<LoadedLora> lora = load(part);
        if (!lora) return lora.problems();
        loras.push_back(std::move(*lora));
    }
    Result<std::map<std::string, Parts>> modules = partsByModule(loras);
    if (!modules) return modules.problems();
    Result<std::int64_t> rank = rankOfResult(request, loras);
    if (!rank) return rank.problems();

    std::map<std::string, Pair> pairs;
    double largest = 0;  // of the combination's values
    double given = 0;    // of its parts'
    for (const auto& [path, parts] : *modules) {
        Result<Pair> pair = request.how == Combination::Cat ? side(parts)
                            : isCut(*request.how)           ? cut(request, parts, *rank, path)
                                                            : mixed(request, parts, path);
        if (!pair) return pair.problems();
        largest = std::max(largest, largestProduct(*pair));
        for (std::size_t i = 0; i < parts.pairs.size(); ++i)
            given = std::max(given, largestProduct(*parts.pairs[i]) * std::abs(parts.factors[i]));
        pairs[path] = padded(*pair, *rank);
    }
    if (!(largest > 1e-5 * given) ||
        !std::isfinite(largest))  // float32 leaves some 1e-7 of what cancels
        return Problem{
            "combination_zero",
            "The weighted adapters cancel each other: the combination is " +
                std::string(std::isfinite(largest) ? "zero in every layer" : "not a number") + ".",
            "Choose other weights, or a higher density.", "--adapter", ExitCode::BadUsage};
    Result<AtomicDir> target = AtomicDir::begin(out);
    if (!target) return target.problems();
    Result<std::uint64_t> bytes =
        write(target->path(), loras, pairs, *rank, staysRankStabilised(asked, loras));
    if (!bytes) return bytes.problems();
    Result<void> done = target->commit(Existing::Refuse);
    if (!done) return done.problems();
    return Json{{"path", out.string()},
                {"bytes", *bytes},
                {"r", *rank},
                {"modules", pairs.size()},
                {"method", nameOf(*request.how)},
                {"use_rslora", staysRankStabilised(asked, loras)}};
}

}  // namespace luthier
