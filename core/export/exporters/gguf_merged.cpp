// SPDX-License-Identifier: Apache-2.0
// A whole model for llama.cpp: the base, with the adapter folded in when there is one, tokenizer
// and chat template included. Norms, biases, positions and routers stay F32, everything else has
// the file's type.
#include "export/gguf_file.h"
#include "io/weight_folder.h"
#include "model/gguf_layout.h"
#include "model/gguf_values.h"
#include "model/open.h"
#include "peft/adapter_file.h"
#include "text/vocabulary.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <limits>
#include <set>

namespace luthier {

namespace {

at::Tensor valueOf(const GgufEntry& entry, const Model& model) {
    std::vector<at::Tensor> parts;
    for (const std::string& source : entry.sources) {
        const at::Tensor stored = model.weights().at(source).to(at::kFloat);
        const at::Tensor rows = inFileOrder(entry, entry.isTransposed ? stored.t() : stored);
        parts.push_back(entry.offset != 0 ? rows + entry.offset : rows);
    }
    return (parts.size() == 1 ? parts.front() : at::stack(parts)).contiguous();
}

std::vector<GgufSource> tensorsFor(const GgufLayout& layout, const Model& model, GgufType wanted) {
    std::vector<GgufSource> tensors;
    for (const auto& [name, value] : layout.extra)
        tensors.push_back({name, GgufType::F32, value.sizes().vec(),
                           [value = value] { return ggufBytes(GgufType::F32, value); }});
    for (const GgufEntry& entry : layout.entries) {
        const at::Tensor& first = model.weights().at(entry.sources.front());
        std::vector<std::int64_t> shape = first.sizes().vec();
        if (entry.isTransposed) std::swap(shape[0], shape[1]);
        const GgufType type = entry.isAlwaysFloat || shape.size() < 2
                                  ? GgufType::F32
                                  : fitting(wanted, entry.isTransposed ? first.t() : first);
        if (entry.sources.size() > 1)
            shape.insert(shape.begin(), static_cast<std::int64_t>(entry.sources.size()));
        tensors.push_back({entry.name, type, std::move(shape), [&entry, &model, type] {
                               return ggufBytes(type, valueOf(entry, model));
                           }});
    }
    return tensors;
}

void addTokenizer(GgufKeys& keys, const Vocabulary& vocabulary) {
    keys.emplace_back("tokenizer.ggml.model", vocabulary.model);
    keys.emplace_back("tokenizer.ggml.pre", vocabulary.preTokenizer);
    keys.emplace_back("tokenizer.ggml.tokens", vocabulary.tokens);
    if (!vocabulary.scores.empty()) keys.emplace_back("tokenizer.ggml.scores", vocabulary.scores);
    std::vector<std::int32_t> kinds;
    for (const TokenKind kind : vocabulary.kinds) kinds.push_back(static_cast<std::int32_t>(kind));
    keys.emplace_back("tokenizer.ggml.token_type", std::move(kinds));
    if (!vocabulary.merges.empty()) keys.emplace_back("tokenizer.ggml.merges", vocabulary.merges);
    for (const auto& [name, id] : vocabulary.special)
        keys.emplace_back("tokenizer.ggml." + name + "_token_id", static_cast<std::uint32_t>(id));
    keys.emplace_back("tokenizer.ggml.add_bos_token", vocabulary.addsBegin);
    keys.emplace_back("tokenizer.ggml.add_eos_token", vocabulary.addsEnd);
    if (vocabulary.addsSpacePrefix)
        keys.emplace_back("tokenizer.ggml.add_space_prefix", *vocabulary.addsSpacePrefix);
    if (!vocabulary.chatTemplate.empty())
        keys.emplace_back("tokenizer.chat_template", vocabulary.chatTemplate);
}

GgufKeys keysFor(const ExportRequest& request, const GgufLayout& layout,
                 const std::optional<Vocabulary>& vocabulary, GgufType type) {
    const std::uint32_t fileType = type == GgufType::F32    ? 0
                                   : type == GgufType::F16  ? 1
                                   : type == GgufType::Q8_0 ? 7
                                                            : 32;  // llama.cpp's LLAMA_FTYPE
    const std::string name =
        folderName(request.model) +
        (request.adapter.empty() ? "" : " with " + folderName(request.adapter));
    GgufKeys keys{{"general.architecture", layout.architecture},
                  {"general.type", std::string("model")},
                  {"general.name", name}};
    keys.insert(keys.end(), layout.keys.begin(), layout.keys.end());
    keys.emplace_back("general.file_type", fileType);
    keys.emplace_back("general.quantization_version", std::uint32_t{2});
    if (vocabulary)
        addTokenizer(keys, *vocabulary);
    else
        keys.emplace_back("tokenizer.ggml.model", std::string("none"));
    return keys;
}

/// Puts the values of the file into the weights of `model`; every weight must be there.
Result<void> fill(Model& model, const GgufFile& file, const GgufLayout& layout) {
    std::set<std::string> filled;
    for (const GgufEntry& entry : layout.entries) {
        const GgufTensor* tensor = file.find(entry.name);
        if (tensor == nullptr)
            return Problem{"gguf_damaged", "The GGUF file has no " + entry.name + ".", "",
                           entry.name};
        const at::Tensor value = ggufTensor(*tensor);
        for (std::size_t i = 0; i < entry.sources.size(); ++i) {
            const at::Tensor rows =
                inModelOrder(entry, entry.sources.size() == 1
                                        ? value
                                        : value.select(0, static_cast<std::int64_t>(i))) -
                entry.offset;
            model.weights().assign(entry.sources[i],
                                   entry.isTransposed ? rows.t().contiguous() : rows);
            filled.insert(entry.sources[i]);
        }
    }
    for (const std::string& name : model.weights().names())
        if (!filled.contains(name))
            return Problem{"gguf_damaged", "The GGUF file has no place for " + name + ".", "",
                           name};
    return {};
}

/// `value` as a file of this type gives it back.
at::Tensor roundedTo(GgufType type, const at::Tensor& value) {
    const std::vector<std::byte> bytes = ggufBytes(type, value.contiguous());
    return ggufTensor({"", type, value.sizes().vec(), bytes});
}

/// Of all weights that were read back the worst, against those of `model` rounded in memory to the
/// types that a file of `wanted` has for them, by each weight's own place in it. Logits alone let a
/// wrong tensor of small effect pass.
double worstWeight(const Model& model, const Model& found, const GgufLayout& layout,
                   GgufType wanted) {
    double worst = 0;
    for (const std::string& name : model.weights().names()) {
        const GgufEntry* entry = layout.find(name);
        at::Tensor right = model.weights().at(name).to(at::kFloat);
        if (right.dim() >= 2 && (entry == nullptr || !entry->isAlwaysFloat)) {
            const bool isTurned = entry != nullptr && entry->isTransposed;
            const at::Tensor rows = isTurned ? right.t().contiguous() : right;
            const at::Tensor rounded = roundedTo(fitting(wanted, rows), rows);
            right = isTurned ? rounded.t() : rounded;
        }
        // Gemma's norms stand in the file with 1 added, and are exact to that size.
        const double offset = right.dim() == 1 ? model.description().normOffset : 0.0;
        worst = std::max(worst, weightDifference(right + offset,
                                                 found.weights().at(name).to(at::kFloat) + offset));
    }
    return worst;
}

/// The trained model: base and adapter.
struct Trained {
    std::unique_ptr<Model> base;
    std::shared_ptr<Adapter> adapter;  // null: the base alone
    std::unique_ptr<Model> merged;
};

Result<Trained> openTrained(const ExportRequest& request) {
    Trained trained;
    Result<std::unique_ptr<Model>> base = openBase(request);
    if (!base) return base.problems();
    Result<std::unique_ptr<Model>> merged = openBase(request);
    if (!merged) return merged.problems();
    trained.base = std::move(*base);
    trained.merged = std::move(*merged);
    if (request.adapter.empty()) return trained;
    Result<std::shared_ptr<Adapter>> adapter = openAdapter(request.adapter, *trained.base);
    if (!adapter) return adapter.problems();
    trained.adapter = *adapter;
    Result<void> done = trained.adapter->merge(*trained.merged);
    if (!done) return done.problems();
    return trained;
}

Result<ExportResult> writeGgufModel(const ExportRequest& request) {
    const at::NoGradGuard guard;
    const auto progress = [&](const std::string& phase, std::int64_t done) {
        if (request.progress) request.progress(phase, done, 4);
    };
    progress("opening", 0);
    Result<GgufType> type = ggufTypeOf(request, GgufType::F16);
    if (!type) return type.problems();
    Result<ModelTask> task = taskOf(request);
    if (!task) return task.problems();
    Result<ModelDescription> description = readDescription(request.model, *task);
    if (!description) return description.problems();
    if (Result<GgufLayout> possible = ggufLayout(*description); !possible)
        return possible.problems();  // before the work of merging
    // The rows that config.json tells of are held against the weights before a vocabulary of as
    // many is made.
    Result<std::shared_ptr<const WeightFolder>> weights = WeightFolder::open(request.model);
    if (!weights) return weights.problems();
    if (const Problems wrong = Weights::check(**weights, *description, request.model.string(),
                                              HeadDraw::When::Missing);
        !wrong.empty())
        return wrong;
    Result<std::optional<Vocabulary>> vocabulary =
        readVocabulary(request.model, description->vocabulary);
    if (!vocabulary) return vocabulary.problems();
    progress("merging", 1);
    Result<Trained> trained = openTrained(request);
    if (!trained) return trained.problems();
    // A head that came apart from the embedding while it was tuned has a tensor of its own.
    Result<GgufLayout> layout = ggufLayout(trained->merged->description());
    if (!layout) return layout.problems();
    return publishGguf(
        request, "model.gguf", [&](const std::filesystem::path& path) -> Result<Json> {
            progress("writing", 2);
            Result<std::uint64_t> bytes =
                writeGguf(path, keysFor(request, *layout, *vocabulary, *type),
                          tensorsFor(*layout, *trained->merged, *type));
            if (!bytes) return bytes.problems();
            progress("comparing", 3);
            Result<std::shared_ptr<const GgufFile>> file = GgufFile::open(path);
            if (!file) return file.problems();
            Result<std::unique_ptr<Model>> again = openBase(request);
            if (!again) return again.problems();
            if (!trained->merged->description().isTied) (*again)->untieHead();
            Result<void> done = fill(**again, **file, *layout);
            if (!done) return done.problems();
            AdapterStack trainedStack(*trained->base);
            if (trained->adapter) trainedStack.add(trained->adapter);
            AdapterStack none(**again);
            AdapterStack plain(*trained->merged);
            const Compared exact{*trained->merged, plain};
            const auto probes =
                request.probes.empty() ? drawnProbes(*description, 5, 24) : request.probes;
            Json certificate =
                certify({.trained = {*trained->base, trainedStack},
                         .exact = &exact,
                         .readBack = {**again, none},
                         .isRounded = *type != GgufType::F32,
                         .weightDifference = worstWeight(*trained->merged, **again, *layout, *type),
                         .mostNoise = std::numeric_limits<double>::infinity()},
                        probes);
            certificate["format"] = "gguf-merged";
            certificate["type"] = name(*type);
            certificate.update(request.provenance);
            return certificate;
        });
}

}  // namespace

Exporter ggufMergedExporter() {
    Exporter exporter{"gguf-merged", "GGUF model",
                      "A whole model for llama.cpp and what is built on it", &writeGgufModel};
    exporter.takesModels = true;
    exporter.folds = true;
    exporter.exampleOut = "MODEL.gguf";
    exporter.holds = "gguf-model";
    return exporter;
}

}  // namespace luthier
