// SPDX-License-Identifier: Apache-2.0
// A LoRA adapter for llama.cpp: pairs `<base tensor>.weight.lora_a` = A [R, in] and
// `.lora_b` = B [out, R], the rows of B in the order in which llama.cpp holds the base's. One alpha
// a file, divided by each pair's own rank: what rsLoRA, rank_pattern and alpha_pattern make of a
// layer's scale beyond that is folded into its B.
#include "export/gguf_file.h"
#include "model/gguf_layout.h"
#include "model/gguf_values.h"
#include "model/open.h"
#include "peft/adapter_file.h"
#include "peft/gguf_adapter.h"
#include "peft/method.h"
#include "peft/targets.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

namespace luthier {

namespace {

constexpr double kMostNoise = 1e-4;
constexpr const char* kPrefix = "base_model.model.";

struct LoraPair {
    std::string path;
    at::Tensor A;  // [R, in]
    at::Tensor B;  // [out, R]
    double scale = 1;
};

Problem notExpressible(const AdapterFolder& folder, const std::string& what) {
    return {"gguf_feature",
            folder.path.string() + " holds " + what + ", which a GGUF adapter cannot express.",
            "Export it as gguf-merged, folded into its base.", folder.path.string(),
            ExitCode::BadUsage};
}

Result<std::vector<LoraPair>> pairsOf(const AdapterFolder& folder) {
    if (folder.method->ggufType.empty())
        return notExpressible(folder, "a " + folder.method->type + " adapter");
    if (folder.settings.at("use_dora") == true) return notExpressible(folder, "a DoRA adapter");
    Result<TensorMap> tensors = tensorsOf(folder);
    if (!tensors) return tensors.problems();
    std::vector<LoraPair> pairs;
    for (const auto& [name, tensor] : *tensors) {
        const std::string endA = ".lora_A.weight", endB = ".lora_B.weight";
        if (name.ends_with(endB)) continue;
        if (!name.ends_with(endA) || name.rfind(kPrefix, 0) != 0)
            return notExpressible(folder, name);
        LoraPair pair{name.substr(std::string(kPrefix).size(),
                                  name.size() - std::string(kPrefix).size() - endA.size()),
                      tensor.to(at::kFloat),
                      {},
                      1};
        const auto B = tensors->find(kPrefix + pair.path + endB);
        if (B == tensors->end())
            return Problem{"adapter_tensor_missing",
                           folder.path.string() + " has no " + kPrefix + pair.path + endB + ".",
                           "The file is damaged.", pair.path};
        pair.B = B->second.to(at::kFloat);
        Result<double> alpha =
            patternValue(folder.settings.at("alpha_pattern"), pair.path,
                         folder.settings.at("lora_alpha").get<double>(), "alpha_pattern");
        if (!alpha) return alpha.problems();
        const double R = static_cast<double>(pair.A.size(0));
        pair.scale = *alpha / (folder.settings.at("use_rslora") == true ? std::sqrt(R) : R);
        pairs.push_back(std::move(pair));
    }
    return pairs;
}

/// What a pair's B is multiplied by in the file, whose one alpha stands for all scales.
double factorOf(const LoraPair& pair, double alpha) {
    return pair.scale * static_cast<double>(pair.A.size(0)) / alpha;
}

at::Tensor roundedTo(GgufType type, const at::Tensor& value) {
    const std::vector<std::byte> bytes = ggufBytes(type, value.contiguous());
    return ggufTensor({"", type, value.sizes().vec(), bytes});
}

/// The adapter's own tensors, rounded in memory where the file rounds them: with B as the file
/// holds it, and as the adapter takes it.
struct RoundedPairs {
    TensorMap inFile, ofAdapter;
};

RoundedPairs roundedPairs(const std::vector<LoraPair>& pairs, double alpha, GgufType type) {
    RoundedPairs rounded;
    for (const LoraPair& pair : pairs) {
        const std::string path = kPrefix + pair.path;
        const double factor = factorOf(pair, alpha);
        const at::Tensor A = roundedTo(type, pair.A),
                         B = roundedTo(type, factor == 1 ? pair.B : pair.B * factor);
        rounded.inFile[path + ".lora_A.weight"] = rounded.ofAdapter[path + ".lora_A.weight"] = A;
        rounded.inFile[path + ".lora_B.weight"] = B;
        rounded.ofAdapter[path + ".lora_B.weight"] = factor == 1 ? B : B / factor;
    }
    return rounded;
}

double worstTensor(const TensorMap& wanted, const TensorMap& found) {
    if (wanted.size() != found.size()) return std::numeric_limits<double>::infinity();
    double worst = 0;
    for (const auto& [name, tensor] : wanted) {
        const auto other = found.find(name);
        worst = std::max(worst, other == found.end() ? std::numeric_limits<double>::infinity()
                                                     : weightDifference(tensor, other->second));
    }
    return worst;
}

GgufSource source(const std::string& name, GgufType type, const at::Tensor& tensor) {
    return {name, type, tensor.sizes().vec(), [type, tensor] { return ggufBytes(type, tensor); }};
}

Result<std::vector<GgufSource>> tensorsFor(const std::vector<LoraPair>& pairs,
                                           const GgufLayout& layout, double alpha, GgufType type) {
    std::vector<GgufSource> tensors;
    for (const LoraPair& pair : pairs) {
        const GgufEntry* entry = layout.find(pair.path + ".weight");
        if (entry == nullptr)
            return Problem{"gguf_feature",
                           "llama.cpp has no tensor that stands for " + pair.path + " alone.",
                           "Leave it out of target_modules, or export as gguf-merged.", pair.path,
                           ExitCode::BadUsage};
        const double factor = factorOf(pair, alpha);
        tensors.push_back(source(entry->name + ".lora_a", type, pair.A));
        tensors.push_back(
            source(entry->name + ".lora_b", type,
                   inFileOrder(*entry, factor == 1 ? pair.B : pair.B * factor).contiguous()));
    }
    return tensors;
}

GgufKeys keysFor(const ExportRequest& request, const GgufLayout& layout, const std::string& type,
                 double alpha) {
    return {{"general.architecture", layout.architecture},
            {"general.type", std::string("adapter")},
            {"adapter.type", type},
            {"general.name", folderName(request.adapter)},
            {"general.base_model.count", std::uint32_t{1}},
            {"general.base_model.0.name", folderName(request.model)},
            {"general.tags", std::vector<std::string>{type, "text-generation"}},
            {"adapter.lora.alpha", static_cast<float>(alpha)},
            {"general.quantization_version", std::uint32_t{2}}};
}

Result<ExportResult> writeGgufAdapter(const ExportRequest& request) {
    const at::NoGradGuard guard;
    const auto progress = [&](const std::string& phase, std::int64_t done) {
        if (request.progress) request.progress(phase, done, 3);
    };
    progress("opening", 0);
    Result<GgufType> type = ggufTypeOf(request, GgufType::F32);
    if (!type) return type.problems();
    if (*type == GgufType::Q8_0)
        return Problem{"unknown_choice", "An adapter's matrices are too narrow for q8_0.",
                       "Choose f32, f16 or bf16.", "--type", ExitCode::BadUsage};
    if (isGgufAdapter(request.adapter))
        return Problem{"bad_usage", request.adapter.string() + " is a GGUF adapter already.",
                       "Choose another format.", "--format", ExitCode::BadUsage};
    Result<AdapterFolder> folder = readAdapterFolder(request.adapter);
    if (!folder) return folder.problems();
    Result<std::unique_ptr<Model>> model = openBase(request);
    if (!model) return model.problems();
    Result<std::shared_ptr<Adapter>> trained = openAdapter(request.adapter, **model);
    if (!trained) return trained.problems();
    Result<GgufLayout> layout = ggufLayout((*model)->description());
    if (!layout) return layout.problems();
    Result<std::vector<LoraPair>> pairs = pairsOf(*folder);
    if (!pairs) return pairs.problems();
    const double alpha = pairs->front().scale * static_cast<double>(pairs->front().A.size(0));
    Result<std::vector<GgufSource>> tensors = tensorsFor(*pairs, *layout, alpha, *type);
    if (!tensors) return tensors.problems();
    return publishGguf(
        request, "adapter.gguf", [&](const std::filesystem::path& path) -> Result<Json> {
            progress("writing", 1);
            Result<std::uint64_t> bytes = writeGguf(
                path, keysFor(request, *layout, folder->method->ggufType, alpha), *tensors);
            if (!bytes) return bytes.problems();
            progress("comparing", 2);
            Result<std::shared_ptr<Adapter>> again = openAdapter(path, **model);
            if (!again) return again.problems();
            Result<GgufAdapter> written = readGgufAdapter(path, (*model)->description());
            if (!written) return written.problems();
            const RoundedPairs wanted = roundedPairs(*pairs, alpha, *type);
            // The trained adapter, its own numbers rounded: what its scales do to the file's shows
            // as a difference.
            Result<std::shared_ptr<Adapter>> inMemory = openAdapter(request.adapter, **model);
            if (!inMemory) return inMemory.problems();
            if (Result<void> loaded = (*inMemory)->load(wanted.ofAdapter); !loaded)
                return loaded.problems();
            AdapterStack trainedStack(**model);
            trainedStack.add(*trained);
            AdapterStack againStack(**model);
            againStack.add(*again);
            AdapterStack roundedStack(**model);
            roundedStack.add(*inMemory);
            const Compared rounded{**model, roundedStack};
            const auto probes = request.probes.empty() ? drawnProbes((*model)->description(), 5, 24)
                                                       : request.probes;
            Json certificate =
                certify({.trained = {**model, trainedStack},
                         .rounded = &rounded,
                         .readBack = {**model, againStack},
                         .isRounded = *type != GgufType::F32,
                         .weightDifference = worstTensor(wanted.inFile, written->tensors),
                         .mostNoise = kMostNoise},
                        probes);
            certificate["format"] = "gguf";
            certificate["type"] = name(*type);
            certificate.update(request.provenance);
            return certificate;
        });
}

}  // namespace

Exporter ggufExporter() {
    Exporter exporter{"gguf", "GGUF adapter",
                      "A LoRA for llama.cpp, beside a GGUF of the same base", &writeGgufAdapter};
    exporter.isGgufAdapter = true;
    exporter.refused = {
        {"use_dora", "llama.cpp adapters cannot hold DoRA. The GGUF model has it folded in."}};
    exporter.holds = "gguf-adapter";
    return exporter;
}

}  // namespace luthier
