// SPDX-License-Identifier: Apache-2.0
#include "export/exporter.h"

#include "io/atomic.h"
#include "io/sha256.h"
#include "model/open.h"
#include "peft/adapter_file.h"
#include "peft/method.h"
#include "task/task.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/log_softmax.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace luthier {

const std::vector<Exporter>& exporters() {
    static const std::vector<Exporter> list = listOfExporters();
    return list;
}

const Exporter* findExporter(const std::string& format) {
    for (const Exporter& exporter : exporters())
        if (exporter.format == format) return &exporter;
    return nullptr;
}

const Exporter& usualExporter(bool isModel) {
    for (const Exporter& exporter : exporters())
        if (isModel ? exporter.takesModels : exporter.isDefault) return exporter;
    return exporters().front();
}

Json describeExporters() {
    Json list = Json::array();
    for (const Exporter& exporter : exporters()) {
        Json refused = Json::array(), files = Json::array();
        for (const auto& [key, why] : exporter.refused) refused.push_back({key, why});
        for (const PlannedFile& file : exporter.files)
            files.push_back({{"name", file.name},
                             {"size", file.size == PlannedFile::Size::Adapter ? "adapter"
                                      : file.size == PlannedFile::Size::Model ? "model"
                                                                              : ""}});
        list.push_back({{"format", exporter.format},
                        {"title", exporter.title},
                        {"summary", exporter.summary},
                        {"default", exporter.isDefault},
                        {"takes_models", exporter.takesModels},
                        {"folds", exporter.folds},
                        {"gguf_adapter", exporter.isGgufAdapter},
                        {"former_names", exporter.formerNames},
                        {"refused", std::move(refused)},
                        {"holds", exporter.holds},
                        {"files", std::move(files)},
                        {"icon", exporter.icon}});
    }
    return Json{{"formats", std::move(list)}};
}

namespace {

constexpr double kSumNoise =
    5e-5;  ///< of the largest logit: float32 sums in another order, through all layers
constexpr double kWeightTolerance = 1e-6;  ///< of a tensor's largest number: the last bit of
                                           ///< float32, where a format stores an offset

Example exampleOf(const Probe& probe, std::vector<std::int32_t>& ids,
                  std::vector<std::int32_t>& labels) {
    ids.assign(probe.ids.begin(), probe.ids.end());
    labels.assign(probe.labels.begin(), probe.labels.end());
    if (labels.empty()) labels = ids;
    return {ids, labels};
}

/// Outputs of several models for each probe in turn, so that no more than one probe's are held: [T,
/// V], or [1, classes].
void eachOutput(
    const std::vector<Probe>& probes, const std::vector<Compared>& models,
    const std::function<void(const Probe& probe, const std::vector<at::Tensor>& outputs)>& show) {
    const at::NoGradGuard guard;
    const std::unique_ptr<Task> task = makeTask(models.front().model);
    for (const Probe& probe : probes) {
        std::vector<std::int32_t> ids, labels;
        const Example example = exampleOf(probe, ids, labels);
        std::vector<at::Tensor> outputs;
        for (const Compared& compared : models) {
            compared.stack.beginPass({});
            const at::Tensor logits = task->logits(compared.model, example, compared.stack.hooks());
            outputs.push_back(logits.dim() == 1 ? logits.unsqueeze(0) : logits);
        }
        show(probe, outputs);
    }
}

/// NaN counts as a difference.
double furthest(const at::Tensor& a, const at::Tensor& b) {
    const double largest = (a - b).abs().max().item<double>();
    return std::isnan(largest) ? std::numeric_limits<double>::infinity() : largest;
}

/// Collects what two models have in common, probe by probe.
class Comparison {
public:
    explicit Comparison(const Model& trained)
        : m_isDecoderOnly(!trained.description().encoder && !trained.description().isClassifier()) {
    }

    void add(const Probe& probe, const at::Tensor& a, const at::Tensor& b) {
        m_largest = std::max(m_largest, furthest(a, b));
        m_largestLogit = std::max(m_largestLogit, a.abs().max().item<double>());
        const at::Tensor logA = at::log_softmax(a, -1);
        const at::Tensor logB = at::log_softmax(b, -1);
        m_divergence += (logA.exp() * (logA - logB)).sum().item<double>();
        for (std::size_t i = 1; m_isDecoderOnly && i < probe.labels.size(); ++i) {
            if (probe.labels[i] < 0) continue;
            const auto row = static_cast<std::int64_t>(i) - 1;  // position i - 1 predicts label i
            m_lossA -= logA[row][probe.labels[i]].item<double>();
            m_lossB -= logB[row][probe.labels[i]].item<double>();
            ++m_predicted;
        }
        m_agreeing += (a.argmax(-1) == b.argmax(-1)).sum().item<std::int64_t>();
        m_tokens += a.size(0);
        ++m_probes;
    }

    double largest() const { return m_largest; }
    double largestLogit() const { return m_largestLogit; }

    Json found() const {
        const double count = static_cast<double>(std::max<std::int64_t>(1, m_tokens));
        Json found{{"probes", m_probes}, {"tokens", m_tokens}};
        setNumber(found, "max_abs_difference", m_largest);
        setNumber(found, "largest_logit", m_largestLogit);
        setNumber(found, "mean_kl", std::max(0.0, m_divergence / count));
        if (m_predicted > 0) {
            setNumber(found, "loss_before", m_lossA / static_cast<double>(m_predicted));
            setNumber(found, "loss_after", m_lossB / static_cast<double>(m_predicted));
        }
        found["greedy_agreement"] = static_cast<double>(m_agreeing) / count;
        return found;
    }

private:
    bool m_isDecoderOnly;
    double m_largest = 0, m_largestLogit = 0, m_divergence = 0, m_lossA = 0, m_lossB = 0;
    std::int64_t m_agreeing = 0, m_tokens = 0, m_predicted = 0, m_probes = 0;
};

}  // namespace

double weightDifference(const at::Tensor& wanted, const at::Tensor& found) {
    if (wanted.numel() == 0) return 0;
    const double largest = wanted.to(at::kFloat).abs().max().item<double>();
    const double difference = furthest(wanted.to(at::kFloat), found.to(at::kFloat));
    return difference == 0 ? 0
           : largest > 0   ? difference / largest
                           : std::numeric_limits<double>::infinity();
}

Json compareModels(const Compared& trained, const Compared& readBack,
                   const std::vector<Probe>& probes) {
    Comparison comparison(trained.model);
    eachOutput(probes, {trained, readBack},
               [&](const Probe& probe, const std::vector<at::Tensor>& outputs) {
                   comparison.add(probe, outputs[0], outputs[1]);
               });
    return comparison.found();
}

Json certify(const ExportSteps& steps, const std::vector<Probe>& probes) {
    std::vector<Compared> models{steps.trained, steps.readBack};
    std::size_t exact = 0, rounded = 1;
    if (steps.exact != nullptr) {
        exact = models.size();
        models.push_back(*steps.exact);
    }
    if (steps.rounded != nullptr) {
        rounded = models.size();
        models.push_back(*steps.rounded);
    }
    Comparison comparison(steps.trained.model);
    double rounding = 0, merging = 0;
    eachOutput(probes, models, [&](const Probe& probe, const std::vector<at::Tensor>& outputs) {
        comparison.add(probe, outputs[0], outputs[1]);
        if (steps.isRounded)
            rounding = std::max(rounding, furthest(outputs[exact], outputs[rounded]));
        if (steps.exact != nullptr)
            merging = std::max(merging, furthest(outputs[0], outputs[exact]));
    });
    Json certificate = comparison.found();
    const double noise =
        std::min(steps.mostNoise, kSumNoise * std::max(1.0, comparison.largestLogit()));
    setNumber(certificate, "rounding", rounding);
    setNumber(certificate, "noise", noise);
    setNumber(certificate, "tolerance", rounding + noise);
    std::string rule = "max_abs_difference <= tolerance = rounding + noise";
    if (steps.exact != nullptr) {
        setNumber(certificate, "merge_difference", merging);
        rule += ", merge_difference <= noise";
    }
    setNumber(certificate, "max_weight_difference", steps.weightDifference);
    setNumber(certificate, "weight_tolerance", kWeightTolerance);
    certificate["rule"] = rule + ", max_weight_difference <= weight_tolerance";
    certificate["passed"] = std::isfinite(rounding) && comparison.largest() <= rounding + noise &&
                            merging <= noise && steps.weightDifference <= kWeightTolerance;
    return certificate;
}

Result<void> writeCertificate(const std::filesystem::path& folder, Json& certificate) {
    Json files = Json::array();
    for (const ExportedFile& file : filesIn(folder)) {
        Result<std::string> hash = sha256OfFile(folder / file.name);
        if (!hash) return hash.problems();
        files.push_back({{"name", file.name}, {"bytes", file.bytes}, {"sha256", *hash}});
    }
    certificate["files"] = std::move(files);
    return writeJsonAtomically(folder / "luthier-export.json", certificate);
}

std::vector<Probe> drawnProbes(const ModelDescription& description, std::size_t count,
                               std::size_t length) {
    std::vector<Probe> probes(count);
    for (std::size_t i = 0; i < count; ++i)
        for (std::size_t j = 0; j < length; ++j)
            probes[i].ids.push_back(
                static_cast<std::int64_t>(tensorSeed(i, "probe " + std::to_string(j)) %
                                          static_cast<std::uint64_t>(description.vocabulary)));
    if (description.endId >= 0 && description.endId < description.vocabulary)
        for (Probe& probe : probes) probe.ids.back() = description.endId;
    return probes;
}

Result<ModelTask> taskOf(const ExportRequest& request) {
    return request.adapter.empty() ? ModelTask{} : taskOfAdapter(request.adapter);
}

Result<std::unique_ptr<Model>> openBase(const ExportRequest& request) {
    Result<ModelTask> task = taskOf(request);
    if (!task) return task.problems();
    ModelRequest model{request.model, "float32", "cpu"};
    model.task = *task;
    model.mayDrawHead = !request.adapter.empty();  // an adapter brings its own
    return openModel(model);
}

std::vector<ExportedFile> filesIn(const std::filesystem::path& folder) {
    std::vector<ExportedFile> files;
    std::error_code code;
    for (const auto& entry : std::filesystem::directory_iterator(folder, code))
        if (entry.is_regular_file(code))
            files.push_back({entry.path().filename().string(),
                             static_cast<std::int64_t>(entry.file_size(code))});
    std::sort(files.begin(), files.end(),
              [](const ExportedFile& a, const ExportedFile& b) { return a.name < b.name; });
    return files;
}

}  // namespace luthier
