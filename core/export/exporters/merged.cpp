// SPDX-License-Identifier: Apache-2.0
// A full model in Hugging Face format with the adapter folded into its weights in float32, as
// PEFT's merge_and_unload leaves it, then rounded once to the types in which the base is stored.
#include "export/exporter.h"

#include "io/atomic.h"
#include "model/open.h"
#include "peft/adapter_file.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <map>
#include <optional>

namespace luthier {

namespace {

// Merging reorders float32 sums: W x + s B (A x) against (W + s B A) x. 1e-3 is far above rounding
// and far below any fault.
constexpr double kMostNoise = 1e-3;

/// --type of `export` for a folder of weights; none: the base's own.
Result<std::optional<at::ScalarType>> typeOf(const ExportRequest& request) {
    if (request.type.empty()) return std::optional<at::ScalarType>();
    for (const auto& [name, type] : {std::pair{"f32", at::kFloat}, std::pair{"f16", at::kHalf},
                                     std::pair{"bf16", at::kBFloat16}})
        if (request.type == name) return std::optional(type);
    return Problem{
        "unknown_choice", "A merged folder holds no values of the type " + request.type + ".",
        "Choose f32, f16 or bf16; leave it out for the base's own.", "--type", ExitCode::BadUsage};
}

/// The worst of all weights that were read back, against the merged ones rounded in memory.
double worstWeight(const Model& merged, const std::map<std::string, at::ScalarType>& types,
                   const Model& again) {
    double worst = 0;
    for (const auto& [name, type] : types)
        worst = std::max(
            worst, weightDifference(merged.weights().at(name).to(type), again.weights().at(name)));
    return worst;
}

Result<ExportResult> writeMerged(const ExportRequest& request) {
    const at::NoGradGuard guard;
    const auto progress = [&](const std::string& phase, std::int64_t done) {
        if (request.progress) request.progress(phase, done, 4);
    };
    progress("opening", 0);
    Result<std::optional<at::ScalarType>> type = typeOf(request);
    if (!type) return type.problems();
    Result<std::unique_ptr<Model>> base = openBase(request);
    if (!base) return base.problems();
    Result<std::unique_ptr<Model>> merged = openBase(request);
    if (!merged) return merged.problems();
    Result<std::shared_ptr<Adapter>> trained = openAdapter(request.adapter, **base);
    if (!trained) return trained.problems();
    progress("merging", 1);
    Result<void> done = (*trained)->merge(**merged);
    if (!done) return done.problems();
    progress("writing", 2);
    Result<AtomicDir> target = AtomicDir::begin(request.out);
    if (!target) return target.problems();
    Result<std::map<std::string, at::ScalarType>> types =
        writtenTypes(**merged, request.model, *type);
    if (!types) return types.problems();
    Result<std::int64_t> bytes = writeModel(**merged, request.model, target->path(), *types);
    if (!bytes) return bytes.problems();
    progress("comparing", 3);
    Result<std::unique_ptr<Model>> again = openModel({target->path(), "float32", "cpu"});
    if (!again) return again.problems();
    AdapterStack trainedStack(**base);
    trainedStack.add(*trained);
    AdapterStack none(**again);
    AdapterStack plain(**merged);
    const auto probes =
        request.probes.empty() ? drawnProbes((*base)->description(), 5, 24) : request.probes;
    ExportResult result;
    const Compared exact{**merged, plain};
    const bool isRounded = std::any_of(types->begin(), types->end(), [](const auto& written) {
        return written.second != at::kFloat;
    });
    result.certificate = certify({.trained = {**base, trainedStack},
                                  .exact = &exact,
                                  .readBack = {**again, none},
                                  .isRounded = isRounded,
                                  .weightDifference = worstWeight(**merged, *types, **again),
                                  .mostNoise = kMostNoise},
                                 probes);
    result.certificate["format"] = "merged";
    result.certificate.update(request.provenance);
    if (result.certificate["passed"] != true)
        return Problem{
            "export_mismatch",
            "The merged model does not give the trained model's logits: they differ by " +
                dumpLine(result.certificate["max_abs_difference"]) + ".",
            "Nothing was written. Export the adapter folder instead, and please report this.",
            request.out.string(), ExitCode::RunFailed};
    done = writeCertificate(target->path(), result.certificate);
    if (done) done = target->commit(Existing::Refuse);
    if (!done) return done.problems();
    result.path = request.out;
    result.files = filesIn(request.out);
    progress("done", 4);
    return result;
}

}  // namespace

Exporter mergedExporter() {
    Exporter exporter{"merged", "Merged model", "Loads wherever its base does", &writeMerged};
    exporter.folds = true;
    exporter.files = {{"model.safetensors", PlannedFile::Size::Model}, {"config.json, tokenizer"}};
    exporter.icon = "cube";
    return exporter;
}

}  // namespace luthier
