// SPDX-License-Identifier: Apache-2.0
#include "model/weights.h"

#include "io/weight_folder.h"
#include "model/tensors.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <set>

namespace luthier {

namespace {

std::string shapeText(const std::vector<std::int64_t>& shape) {
    std::string text = "[";
    for (const std::int64_t size : shape)
        text += (text.size() > 1 ? ", " : "") + std::to_string(size);
    return text + "]";
}

/// The tensor under its name, or under the name that older files give it.
const TensorView* findTensor(const WeightFolder& folder, const ModelDescription& description,
                             const std::string& name) {
    const auto find = [&](const std::string& wanted) -> const TensorView* {
        if (const TensorView* view = folder.find(wanted)) return view;
        for (const std::string& prefix : description.prefixes) {
            const TensorView* view = wanted.rfind(prefix, 0) == 0
                                         ? folder.find(wanted.substr(prefix.size()))
                                         : folder.find(prefix + wanted);
            if (view != nullptr) return view;
        }
        return nullptr;
    };
    if (const TensorView* view = find(name)) return view;
    // A file keeps a matrix that several modules share under one of their names: embedding, tied
    // head, or a stack's own embedding.
    if (name == description.names.embedding + ".weight") {
        if (description.isTied)
            if (const TensorView* view = find(description.names.head + ".weight")) return view;
        for (const char* shared :
             {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight",
              "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight"})
            if (const TensorView* view = description.encoder ? find(shared) : nullptr) return view;
    }
    // Files converted from TensorFlow call a norm's weight and bias gamma and beta.
    for (const auto& [modern, old] :
         {std::pair{"LayerNorm.weight", "gamma"}, std::pair{"LayerNorm.bias", "beta"}})
        if (name.ends_with(modern))
            return findTensor(folder, description, name.substr(0, name.rfind('.') + 1) + old);
    return nullptr;
}

/// The two modules that a classifier adds to its model.
bool isOfHead(const ModelDescription& description, const std::string& name) {
    const ClassifierSpec& classifier = description.classifier;
    const std::string module = name.substr(0, name.rfind('.'));
    return description.isClassifier() &&
           (module == classifier.head || (!classifier.dense.empty() && module == classifier.dense));
}

/// What a new head replaces: the last projection, and a layer before it that belongs to the task
/// and not to the encoder (BERT's pooler).
bool isOfNewHead(const ModelDescription& description, const std::string& name) {
    return name.substr(0, name.rfind('.')) == description.names.head ||
           (isOfHead(description, name) && !description.classifier.isDenseOfModel);
}

/// Whether the folder has no tensor of the module that `name` belongs to.
bool isWhollyMissing(const WeightFolder& folder, const ModelDescription& description,
                     const std::string& name) {
    const std::string module = name.substr(0, name.rfind('.'));
    return findTensor(folder, description, module + ".weight") == nullptr &&
           findTensor(folder, description, module + ".bias") == nullptr;
}

/// Normal with the family's deviation, biases zero: as transformers starts a new head.
at::Tensor drawnTensor(const ParameterShape& parameter, double deviation, std::uint64_t seed) {
    if (parameter.name.ends_with(".bias")) return at::zeros(parameter.shape, at::kFloat);
    for (const char letter : parameter.name)
        seed = (seed ^ static_cast<unsigned char>(letter)) * 1099511628211ull;  // FNV-1a
    at::Generator generator = at::detail::createCPUGenerator(seed);
    return at::empty(parameter.shape, at::kFloat).normal_(0, deviation, generator);
}

/// Whether a value among `count` at `data` is NaN or infinite: all bits of its exponent are set.
bool hasNotFinite(const std::byte* data, std::size_t count, DType dtype) {
    for (std::size_t i = 0; i < count; ++i) {
        std::uint32_t bits = 0;
        std::memcpy(&bits, data + i * (dtype == DType::F32 ? 4 : 2), dtype == DType::F32 ? 4 : 2);
        const std::uint32_t exponent = dtype == DType::F32    ? 0x7F800000u
                                       : dtype == DType::BF16 ? 0x7F80u
                                                              : 0x7C00u;
        if ((bits & exponent) == exponent) return true;
    }
    return false;
}

/// Norms and biases whole, of every other tensor the first and the last 4 KiB: reading all would
/// take as long as loading. What hides in between is found and named when a loss is not finite
/// (train/trainer.cpp).
bool showsNotFinite(const TensorView& view) {
    constexpr std::size_t kBytes = 4096;
    const std::size_t element = view.dtype == DType::F32 ? 4 : 2;
    if (view.shape.size() <= 1 || view.bytes <= 2 * kBytes)
        return hasNotFinite(view.data, view.bytes / element, view.dtype);
    return hasNotFinite(view.data, kBytes / element, view.dtype) ||
           hasNotFinite(view.data + view.bytes - kBytes, kBytes / element, view.dtype);
}

/// By which method config.json says that the weights are quantised, where the tensors are of the
/// kinds that such a file holds; empty for a file of plain numbers: a leftover of the key says
/// nothing, the weights decide.
std::string quantisedBy(const WeightFolder& folder) {
    const auto isPacked = [](const TensorView* view) {
        const bool isPlain = view->dtype == DType::F32 || view->dtype == DType::F16 ||
                             view->dtype == DType::BF16 || view->dtype == DType::F64;
        return (!isPlain && view->shape.size() > 1) || view->name.ends_with(".qweight") ||
               view->name.ends_with(".absmax");
    };
    const std::vector<const TensorView*> tensors = folder.tensors();
    if (folder.files().empty() || std::none_of(tensors.begin(), tensors.end(), isPacked)) return "";
    const Result<Json> config = readJsonFile(folder.files().front().parent_path() / "config.json");
    if (!config || !config->is_object()) return "";
    for (const char* key : {"quantization_config", "compression_config"})
        if (const auto found = config->find(key); found != config->end() && found->is_object()) {
            const auto method = found->find("quant_method");
            return method != found->end() && method->is_string() ? method->get<std::string>()
                                                                 : "a method that it does not name";
        }
    return "";
}

Problem quantised(const std::string& where, const std::string& method) {
    return {
        "quantized_checkpoint",
        where + " holds weights quantised by " + method +
            ", as quantization_config in its config.json says; Luthier opens float32, bfloat16 and "
            "float16 weights.",
        "Take the model's original repository in 16-bit floats, or dequantise this one with "
        "transformers: "
        "AutoModelForCausalLM.from_pretrained(FOLDER).dequantize().save_pretrained(NEW_FOLDER).",
        "quantization_config"};
}

bool isAllZero(const TensorView& view) {
    return std::all_of(view.data, view.data + view.bytes,
                       [](auto byte) { return byte == decltype(byte){}; });
}

bool isExpectedExtra(const ModelDescription& description, const std::string& name) {
    if (description.isTied && name == description.names.head + ".weight") return true;
    if (std::any_of(description.ignoredPrefixes.begin(), description.ignoredPrefixes.end(),
                    [&](const std::string& prefix) { return name.starts_with(prefix); }))
        return true;
    if (std::find(description.zeroTensors.begin(), description.zeroTensors.end(), name) !=
        description.zeroTensors.end())
        return true;
    return std::any_of(description.ignoredSuffixes.begin(), description.ignoredSuffixes.end(),
                       [&](const std::string& suffix) { return name.ends_with(suffix); });
}

}  // namespace

Problems Weights::check(const WeightFolder& folder, const ModelDescription& description,
                        const std::string& where, std::optional<HeadDraw::When> draw) {
    Problems problems;
    std::set<std::string> used;
    for (const ParameterShape& parameter : parameterShapes(description)) {
        const TensorView* view = findTensor(folder, description, parameter.name);
        if (draw == HeadDraw::When::Always && isOfNewHead(description, parameter.name)) {
            if (view != nullptr) used.insert(view->name);
            continue;
        }
        if (view == nullptr && draw && isOfHead(description, parameter.name) &&
            isWhollyMissing(folder, description, parameter.name))
            continue;
        if (view == nullptr) {
            problems.push_back(
                {"tensor_missing", where + " has no tensor " + parameter.name + ".",
                 "The download is incomplete, or config.json belongs to another model.",
                 parameter.name});
            continue;
        }
        used.insert(view->name);
        if (view->shape != parameter.shape)
            problems.push_back(
                {"tensor_shape",
                 where + ": " + parameter.name + " has the shape " + shapeText(view->shape) +
                     "; config.json asks for " + shapeText(parameter.shape) + ".",
                 "The config.json and the weights do not belong together.", parameter.name});
        if (view->dtype != DType::F32 && view->dtype != DType::BF16 && view->dtype != DType::F16)
            problems.push_back(
                {"tensor_dtype",
                 where + ": " + parameter.name + " is stored as " + name(view->dtype) + ".",
                 "Luthier opens float32, bfloat16 and float16 weights.", parameter.name});
        else if (showsNotFinite(*view))
            problems.push_back({"tensor_not_finite",
                                where + ": " + parameter.name +
                                    " holds NaN or infinity; every weight must be a finite number.",
                                "The training that wrote it diverged, or the file is damaged: use "
                                "another checkpoint.",
                                parameter.name});
    }
    for (const TensorView* view : folder.tensors())
        if (!used.contains(view->name) && !isExpectedExtra(description, view->name))
            problems.push_back({"tensor_unexpected",
                                where + " holds " + view->name + ", which a " + description.family +
                                    " model does not have.",
                                "The config.json and the weights do not belong together.",
                                view->name});
    for (const std::string& name : description.zeroTensors)
        if (const TensorView* view = folder.find(name); view != nullptr && !isAllZero(*view))
            problems.push_back(
                {"tensor_unexpected",
                 where + ": " + name + " is not zero, which Luthier does not compute.",
                 "Use a checkpoint whose " + name + " is zero.", name});
    // Names and shapes of a packed file are symptoms; the cause stands in its config.json.
    if (const std::string method = problems.empty() ? "" : quantisedBy(folder); !method.empty())
        return {quantised(where, method)};
    return problems;
}

bool Weights::hasOwnHead(const WeightFolder& folder, const ModelDescription& description) {
    const TensorView* head = folder.find(description.names.head + ".weight");
    const TensorView* embedding =
        findTensor(folder, description, description.names.embedding + ".weight");
    if (!description.isTied || head == nullptr || embedding == nullptr ||
        head->shape != embedding->shape)
        return false;
    if (head->dtype != embedding->dtype) return true;
    // Two tensors that agree in 64 places spread over them are copies; reading both whole would
    // take as long as loading them.
    constexpr std::size_t kPlaces = 64;
    constexpr std::size_t kBytes = 4096;
    for (std::size_t i = 0; i < kPlaces; ++i) {
        const std::size_t at =
            head->bytes <= kBytes ? 0 : (head->bytes - kBytes) / (kPlaces - 1) * i;
        if (std::memcmp(head->data + at, embedding->data + at, std::min(kBytes, head->bytes)) != 0)
            return true;
    }
    return false;
}

Result<Weights> Weights::open(const std::filesystem::path& folder,
                              const ModelDescription& description, at::ScalarType dtype,
                              const at::Device& device, std::optional<HeadDraw> draw) {
    Result<std::shared_ptr<const WeightFolder>> opened = WeightFolder::open(folder);
    if (!opened) return opened.problems();
    const std::shared_ptr<const WeightFolder> files = *opened;
    Problems problems = check(*files, description, folder.string(),
                              draw ? std::optional(draw->when) : std::nullopt);
    if (!problems.empty()) return problems;
    const at::NoGradGuard guard;
    Weights weights;
    for (const ParameterShape& parameter : parameterShapes(description)) {
        const bool isNew = draw && draw->when == HeadDraw::When::Always &&
                           isOfNewHead(description, parameter.name);
        const TensorView* view = isNew ? nullptr : findTensor(*files, description, parameter.name);
        const at::Tensor value =
            view != nullptr ? mappedTensor(*view, files)
                            : drawnTensor(parameter, description.initializerRange, draw->seed);
        weights.m_tensors[parameter.name] = value.to(device, dtype);
    }
    return weights;
}

std::map<std::string, at::ScalarType> Weights::typesIn(const WeightFolder& folder,
                                                       const ModelDescription& description) {
    std::map<std::string, at::ScalarType> types;
    for (const ParameterShape& parameter : parameterShapes(description))
        if (const TensorView* view = findTensor(folder, description, parameter.name);
            view != nullptr && scalarType(view->dtype))
            types[parameter.name] = *scalarType(view->dtype);
    return types;
}

Weights Weights::random(const ModelDescription& description, std::uint64_t seed,
                        at::ScalarType dtype, const at::Device& device) {
    const at::NoGradGuard guard;
    Weights weights;
    at::Generator generator = at::detail::createCPUGenerator(seed);
    for (const ParameterShape& parameter : parameterShapes(description)) {
        at::Tensor value;
        if (parameter.shape.size() == 1) {
            const bool isBias = parameter.name.ends_with(".bias");
            const bool isUnit = !isBias && description.normOffset == 0;
            value = isUnit ? at::ones(parameter.shape, at::kFloat)
                           : at::zeros(parameter.shape, at::kFloat);
        } else {
            value = at::empty(parameter.shape, at::kFloat)
                        .normal_(0, description.initializerRange, generator);
        }
        weights.m_tensors[parameter.name] = value.to(device, dtype);
    }
    return weights;
}

Weights Weights::shapesOnly(const ModelDescription& description, at::ScalarType dtype) {
    Weights weights;
    for (const ParameterShape& parameter : parameterShapes(description))
        weights.m_tensors[parameter.name] =
            at::empty(parameter.shape, at::TensorOptions(dtype).device(at::kMeta));
    return weights;
}

const at::Tensor& Weights::at(const std::string& name) const { return m_tensors.at(name); }

const at::Tensor* Weights::find(const std::string& name) const {
    const auto found = m_tensors.find(name);
    return found == m_tensors.end() ? nullptr : &found->second;
}

std::vector<std::string> Weights::names() const {
    std::vector<std::string> list;
    for (const auto& [name, tensor] : m_tensors) list.push_back(name);
    return list;
}

void Weights::makeTrainable(const std::string& name) {
    at::Tensor& entry = m_tensors.at(name);
    if (entry.requires_grad()) return;
    entry = entry.to(at::kFloat, false, true).set_requires_grad(true);
}

void Weights::assign(const std::string& name, const at::Tensor& value) {
    at::Tensor& entry = m_tensors.at(name);
    entry = value.detach().to(entry.device(), entry.scalar_type()).contiguous();
}

void Weights::restore(const std::map<std::string, at::Tensor>& snapshot) {
    std::erase_if(m_tensors, [&](const auto& entry) { return !snapshot.contains(entry.first); });
    for (auto& [name, tensor] : m_tensors) tensor = snapshot.at(name);
}

std::int64_t Weights::parameterCount() const {
    std::int64_t count = 0;
    for (const auto& [name, tensor] : m_tensors) count += tensor.numel();
    return count;
}

std::int64_t Weights::bytes() const {
    std::int64_t total = 0;
    for (const auto& [name, tensor] : m_tensors)
        total += static_cast<std::int64_t>(tensor.nbytes());
    return total;
}

}  // namespace luthier
