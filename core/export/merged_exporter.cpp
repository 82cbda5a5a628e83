// SPDX-License-Identifier: Apache-2.0
// A full model in Hugging Face format with the adapter folded into its weights, as PEFT's merge_and_unload leaves it.
#include "export/exporter.h"

#include "io/atomic.h"
#include "model/open.h"
#include "peft/adapter_file.h"

namespace luthier {

namespace {

// Merging reorders float32 sums: W x + s B (A x) against (W + s B A) x. 1e-3 is far above rounding and far below any fault.
constexpr double kTolerance = 1e-3;

Result<ExportResult> write(const ExportRequest& request) {
    const auto progress = [&](const std::string& phase, std::int64_t done) {
        if (request.progress) request.progress(phase, done, 4);
    };
    progress("opening", 0);
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
    Result<std::int64_t> bytes = writeModel(**merged, request.model, target->path(), at::kFloat);
    if (!bytes) return bytes.problems();
    merged->reset();
    progress("comparing", 3);
    Result<std::unique_ptr<Model>> again = openModel({target->path(), "float32", "cpu"});
    if (!again) return again.problems();
    AdapterStack trainedStack(**base);
    trainedStack.add(*trained);
    AdapterStack none(**again);
    const auto probes = request.probes.empty() ? drawnProbes((*base)->description(), 5, 24) : request.probes;
    ExportResult result;
    result.certificate = compareModels(**base, trainedStack, **again, none, probes, kTolerance);
    result.certificate["format"] = "merged";
    result.certificate.update(request.provenance);
    if (result.certificate["passed"] != true)
        return Problem{"export_mismatch", "The merged model does not give the trained model's logits: they differ by " + dumpLine(result.certificate["max_abs_difference"]) + ".",
                       "Nothing was written. Export the adapter folder instead, and please report this.", request.out.string(), ExitCode::RunFailed};
    done = writeCertificate(target->path(), result.certificate);
    if (done) done = target->commit(Existing::Refuse);
    if (!done) return done.problems();
    result.path = request.out;
    result.files = filesIn(request.out);
    progress("done", 4);
    return result;
}

}  // namespace

Exporter mergedExporter() { return {"merged", "Merged model", "Loads wherever its base does", &write}; }

}  // namespace luthier
