// SPDX-License-Identifier: Apache-2.0
#pragma once
// An exporter writes a trained result in a format of other tools, then reads back what it wrote
// through the ordinary opening code and compares logits on probe prompts with the trained model. A
// mismatch is a failed export: nothing is left behind. The certificate lies beside the files as
// luthier-export.json. What it allows is what the format's rounding does to this model, measured by
// the same rounding in memory, and the noise of float32 sums: a head that is off fails by orders of
// magnitude.

#include "contract/json.h"
#include "contract/problem.h"
#include "model/arch/families.h"
#include "model/model.h"
#include "peft/adapter.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace luthier {

/// A row on which two models are compared.
struct Probe {
    std::vector<std::int64_t> ids;
    std::vector<std::int64_t>
        labels;  ///< as long as ids, below 0 where no loss is taken; empty: none is
};

struct ExportRequest {
    std::filesystem::path model;    ///< folder of the base model
    std::filesystem::path adapter;  ///< adapter folder; empty: the model itself is the result
    std::filesystem::path out;      ///< must not exist
    std::string type;  ///< of the values in a GGUF file: f32, f16, bf16, q8_0; "" takes the
                       ///< format's usual one
    std::vector<Probe> probes;  ///< empty: drawn from the vocabulary
    Json provenance =
        Json::object();  ///< goes into the certificate: where the result and the probes come from
    std::function<void(const std::string& phase, std::int64_t done, std::int64_t total)> progress;
};

struct ExportedFile {
    std::string name;
    std::int64_t bytes = 0;
};

struct ExportResult {
    std::filesystem::path path;
    std::vector<ExportedFile> files;
    Json certificate;  ///< what certify() says, "format" and the provenance
};

/// A file that an export will write, before it is written.
struct PlannedFile {
    enum class Size { Unknown, Adapter, Model };
    std::string name;  ///< empty: as the method calls its file of tensors
    Size size = Size::Unknown;
};

/// An exporter is one file in exporters/ that fills in an Exporter, and one line of exporters.list.
struct Exporter {
    std::string format;  ///< "gguf"
    std::string title;
    std::string summary;
    Result<ExportResult> (*write)(const ExportRequest& request);

    bool isDefault = false;      ///< what an adapter is offered as first
    bool takesModels = false;    ///< also of a model folder, and of a run that trained base weights
    bool folds = false;          ///< the adapter into its base: only of methods that can be merged
    bool isGgufAdapter = false;  ///< only of methods that GGUF has a type for
    std::string exampleOut = "FOLDER";
    std::vector<std::string> formerNames = {};  ///< that certificates may have instead
    /// Settings of a method that it cannot express when they are true, and why.
    std::vector<std::pair<std::string, std::string>> refused = {};
    /// What lies in its folder, for the lines by which other tools load it: folder, gguf-model,
    /// gguf-adapter.
    std::string holds = "folder";
    std::vector<PlannedFile> files = {};
    std::string icon = "plug";
};

/// Made from exporters.list.
std::vector<Exporter> listOfExporters();
const std::vector<Exporter>& exporters();
const Exporter* findExporter(const std::string& format);

/// What a run's result is exported as unless something else is asked for.
const Exporter& usualExporter(bool isModel);
/// `formats --json`.
Json describeExporters();

/// What the request's base is opened for: its adapter's task, else its own.
Result<ModelTask> taskOf(const ExportRequest& request);
/// The request's base model in float32, opened for what the adapter was trained for.
Result<std::unique_ptr<Model>> openBase(const ExportRequest& request);

/// A model and what is installed on it.
struct Compared {
    const Model& model;
    AdapterStack& stack;
};

/// Compares two models on the same rows, position by position: {"probes", "tokens",
/// "max_abs_difference", "largest_logit", "mean_kl", "greedy_agreement", "loss_before",
/// "loss_after"}.
Json compareModels(const Compared& trained, const Compared& readBack,
                   const std::vector<Probe>& probes);

/// How an export came about.
struct ExportSteps {
    Compared trained;                   ///< base and adapter
    const Compared* exact = nullptr;    ///< the same as the file's kind has it, before its numbers
                                        ///< are rounded (merged); null: as it was trained
    const Compared* rounded = nullptr;  ///< rounded in memory as the file's type rounds; null: what
                                        ///< was read back, whose weights were held against that
    Compared readBack;
    bool isRounded = false;       ///< the file's type rounds numbers at all
    double weightDifference = 0;  ///< the worst of all tensors in the file against the same rounded
                                  ///< in memory, over the tensor's largest number
    double mostNoise = 0;         ///< what sums in another order may do to a logit at most
};

/// What compareModels() says and the judgement by one rule, which the certificate spells out
/// ("rule"):
///   max_abs_difference <= tolerance = rounding + noise, merge_difference <= noise,
///   max_weight_difference <= 1e-6
/// "rounding": exact against rounded; "merge_difference": trained against exact; "noise": a share
/// of the largest logit, at most `mostNoise`.
Json certify(const ExportSteps& steps, const std::vector<Probe>& probes);

/// The largest difference of two tensors of one shape over the largest number of `wanted`.
double weightDifference(const at::Tensor& wanted, const at::Tensor& found);

/// Adds the files of `folder` ("files": [{"name","bytes","sha256"}]) to the certificate and writes
/// it beside them as luthier-export.json.
Result<void> writeCertificate(const std::filesystem::path& folder, Json& certificate);

/// `count` rows of `length` ids spread over the vocabulary, without labels; the last is the end
/// token, where some classifiers look.
std::vector<Probe> drawnProbes(const ModelDescription& description, std::size_t count,
                               std::size_t length);

std::vector<ExportedFile> filesIn(const std::filesystem::path& folder);

}  // namespace luthier
