// SPDX-License-Identifier: Apache-2.0
// A folder in PEFT's format (or the adapters library's for bottlenecks): tensors, the smallest
// config, and a model card.
#include "export/exporter.h"

#include "contract/fields.h"
#include "io/atomic.h"
#include "model/open.h"
#include "peft/adapter_file.h"

#include <algorithm>
#include <limits>
#include <map>
#include <string>

namespace luthier {

namespace {

// Both sides compute in float32 from the same numbers: only a wrong name or shape can make a
// difference.
constexpr double kMostNoise = 1e-5;

/// adapter_config.json of the adapter; empty for one out of a GGUF file.
Json configOf(const ExportRequest& request) {
    const Result<Json> config = readJsonFile(request.adapter / "adapter_config.json");
    return config && config->is_object() ? *config : Json::object();
}

/// The worst of the adapter's tensors, written and as they were.
double worstTensor(const Adapter& trained, const Adapter& again) {
    std::map<std::string, at::Tensor> written;
    for (const NamedTensor& tensor : again.fileTensors()) written[tensor.name] = tensor.tensor;
    double worst = 0;
    for (const NamedTensor& tensor : trained.fileTensors()) {
        const auto found = written.find(tensor.name);
        worst = std::max(worst, found == written.end()
                                    ? std::numeric_limits<double>::infinity()
                                    : weightDifference(tensor.tensor, found->second));
    }
    return worst;
}

/// What the adapter says already, when that is no folder of this machine; else the base as it is
/// here.
std::string baseOf(const ExportRequest& request) {
    const std::string named = textOr(configOf(request), "base_model_name_or_path");
    return named.empty() || named.front() == '/' ? baseNameOf(request.model) : named;
}

/// transformers' class for what the adapter was trained for.
const char* autoClassOf(const Adapter& adapter) {
    if (adapter.taskType() == "SEQ_CLS") return "AutoModelForSequenceClassification";
    return adapter.taskType() == "SEQ_2_SEQ_LM" ? "AutoModelForSeq2SeqLM" : "AutoModelForCausalLM";
}

std::string modelCard(const ExportRequest& request, const Adapter& adapter, const ModelSites& sites,
                      const std::string& library) {
    const std::string base = baseOf(request);
    const std::string autoClass = autoClassOf(adapter);
    std::string card = "---\nlibrary_name: " + (library.empty() ? "peft" : library) +
                       "\ntags:\n- luthier\n---\n\n";
    card += "# " + adapter.method() + " adapter for " + base + "\n\nTrained with Luthier.\n";
    if (library.empty())
        card += "\n```python\nfrom transformers import " + autoClass +
                "\nfrom peft import PeftModel\n\n"
                "model = " +
                autoClass + ".from_pretrained(\"" + base + "\"" +
                (sites.classes > 0 ? ", num_labels=" + std::to_string(sites.classes) : "") +
                ")\nmodel = PeftModel.from_pretrained(model, \"" + request.out.filename().string() +
                "\")\n```\n";
    return card;
}

Result<ExportResult> writePeft(const ExportRequest& request) {
    const auto progress = [&](const std::string& phase, std::int64_t done) {
        if (request.progress) request.progress(phase, done, 3);
    };
    progress("opening", 0);
    Result<std::unique_ptr<Model>> model = openBase(request);
    if (!model) return model.problems();
    Result<std::shared_ptr<Adapter>> trained = openAdapter(request.adapter, **model);
    if (!trained) return trained.problems();
    progress("writing", 1);
    Result<AtomicDir> target = AtomicDir::begin(request.out);
    if (!target) return target.problems();
    Result<std::int64_t> bytes =
        writeAdapter(**trained, target->path(), baseOf(request), configOf(request));
    if (!bytes) return bytes.problems();
    const Method& method = *findMethod((*trained)->method());
    Result<void> done =
        writeFileAtomically(target->path() / "README.md",
                            modelCard(request, **trained, (*model)->sites(), method.library));
    if (!done) return done.problems();
    progress("comparing", 2);
    Result<std::shared_ptr<Adapter>> again = openAdapter(target->path(), **model);
    if (!again) return again.problems();
    AdapterStack trainedStack(**model);
    trainedStack.add(*trained);
    AdapterStack againStack(**model);
    againStack.add(*again);
    const auto probes =
        request.probes.empty() ? drawnProbes((*model)->description(), 5, 24) : request.probes;
    ExportResult result;
    result.certificate = certify({.trained = {**model, trainedStack},
                                  .readBack = {**model, againStack},
                                  .weightDifference = worstTensor(**trained, **again),
                                  .mostNoise = kMostNoise},
                                 probes);
    result.certificate["format"] = method.library.empty() ? "peft" : method.library;
    result.certificate.update(request.provenance);
    if (result.certificate["passed"] != true)
        return Problem{
            "export_mismatch",
            "The exported adapter does not give the trained model's logits: they differ by " +
                dumpLine(result.certificate["max_abs_difference"]) + ".",
            "Nothing was written. Please report this.", request.out.string(), ExitCode::RunFailed};
    done = writeCertificate(target->path(), result.certificate);
    if (done) done = target->commit(Existing::Refuse);
    if (!done) return done.problems();
    result.path = request.out;
    result.files = filesIn(request.out);
    progress("done", 3);
    return result;
}

}  // namespace

Exporter peftExporter() {
    Exporter exporter{"peft", "PEFT folder", "Loads in PEFT beside the same base", &writePeft};
    exporter.isDefault = true;
    exporter.formerNames = {"adapters"};  // the library of bottlenecks
    exporter.files = {{"", PlannedFile::Size::Adapter}, {"adapter_config.json, README.md"}};
    return exporter;
}

}  // namespace luthier
