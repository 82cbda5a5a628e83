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

namespace luthier {

const std::vector<Exporter>& exporters() {
    static const std::vector<Exporter> list{peftExporter(), mergedExporter(), ggufExporter(), ggufMergedExporter()};
    return list;
}

const Exporter* findExporter(const std::string& format) {
    for (const Exporter& exporter : exporters())
        if (exporter.format == format) return &exporter;
    return nullptr;
}

Json compareModels(const Model& trained, AdapterStack& trainedStack, const Model& readBack, AdapterStack& readBackStack,
                   const std::vector<Probe>& probes, double tolerance) {
    const at::NoGradGuard guard;
    double largest = 0;
    double largestLogit = 0;
    double divergence = 0;
    std::int64_t agreeing = 0;
    std::int64_t tokens = 0;
    double lossA = 0;
    double lossB = 0;
    std::int64_t predicted = 0;
    const std::unique_ptr<Task> task = makeTask(trained);
    const bool isDecoderOnly = !trained.description().encoder && !trained.description().isClassifier();
    for (const Probe& probe : probes) {
        const std::vector<std::int32_t> ids(probe.ids.begin(), probe.ids.end());
        std::vector<std::int32_t> labels(probe.labels.begin(), probe.labels.end());
        if (labels.empty()) labels = ids;
        const Example example{ids, labels};
        const auto outputs = [&](const Model& model, AdapterStack& stack) {  // [T, V], or [1, classes]
            stack.beginPass({});
            const at::Tensor logits = task->logits(model, example, stack.hooks());
            return logits.dim() == 1 ? logits.unsqueeze(0) : logits;
        };
        const at::Tensor a = outputs(trained, trainedStack);
        const at::Tensor b = outputs(readBack, readBackStack);
        largest = std::max(largest, (a - b).abs().max().item<double>());
        largestLogit = std::max(largestLogit, a.abs().max().item<double>());
        const at::Tensor logA = at::log_softmax(a, -1);
        const at::Tensor logB = at::log_softmax(b, -1);
        divergence += (logA.exp() * (logA - logB)).sum().item<double>();
        for (std::size_t i = 1; isDecoderOnly && i < probe.labels.size(); ++i) {
            if (probe.labels[i] < 0) continue;
            const auto row = static_cast<std::int64_t>(i) - 1;  // position i - 1 predicts label i
            lossA -= logA[row][probe.labels[i]].item<double>();
            lossB -= logB[row][probe.labels[i]].item<double>();
            ++predicted;
        }
        agreeing += (a.argmax(-1) == b.argmax(-1)).sum().item<std::int64_t>();
        tokens += a.size(0);
    }
    const double count = static_cast<double>(std::max<std::int64_t>(1, tokens));
    Json certificate{{"probes", probes.size()}, {"tokens", tokens}};
    setNumber(certificate, "max_abs_difference", largest);
    setNumber(certificate, "largest_logit", largestLogit);
    setNumber(certificate, "mean_kl", std::max(0.0, divergence / count));
    if (predicted > 0) {
        setNumber(certificate, "loss_before", lossA / static_cast<double>(predicted));
        setNumber(certificate, "loss_after", lossB / static_cast<double>(predicted));
    }
    certificate["greedy_agreement"] = static_cast<double>(agreeing) / count;
    certificate["tolerance"] = tolerance;
    certificate["passed"] = largest <= tolerance;
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

std::vector<Probe> drawnProbes(const ModelDescription& description, std::size_t count, std::size_t length) {
    std::vector<Probe> probes(count);
    for (std::size_t i = 0; i < count; ++i)
        for (std::size_t j = 0; j < length; ++j)
            probes[i].ids.push_back(static_cast<std::int64_t>(tensorSeed(i, "probe " + std::to_string(j)) % static_cast<std::uint64_t>(description.vocabulary)));
    if (description.endId >= 0 && description.endId < description.vocabulary)
        for (Probe& probe : probes) probe.ids.back() = description.endId;
    return probes;
}

Result<ModelTask> taskOf(const ExportRequest& request) { return request.adapter.empty() ? ModelTask{} : taskOfAdapter(request.adapter); }

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
        if (entry.is_regular_file(code)) files.push_back({entry.path().filename().string(), static_cast<std::int64_t>(entry.file_size(code))});
    std::sort(files.begin(), files.end(), [](const ExportedFile& a, const ExportedFile& b) { return a.name < b.name; });
    return files;
}

}  // namespace luthier
