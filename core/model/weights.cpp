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
#include <set>

namespace luthier {

namespace {

std::string shapeText(const std::vector<std::int64_t>& shape) {
    std::string text = "[";
    for (const std::int64_t size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
    return text + "]";
}

/// The tensor under its name, or under the name that older files give it.
const TensorView* findTensor(const WeightFolder& folder, const ModelDescription& description, const std::string& name) {
    if (const TensorView* view = folder.find(name)) return view;
    for (const std::string& prefix : description.prefixes)
        if (name.rfind(prefix, 0) == 0)
            if (const TensorView* view = folder.find(name.substr(prefix.size()))) return view;
    return nullptr;
}

bool isExpectedExtra(const ModelDescription& description, const std::string& name) {
    if (description.isTied && name == description.names.head + ".weight") return true;
    return std::any_of(description.ignoredSuffixes.begin(), description.ignoredSuffixes.end(),
                       [&](const std::string& suffix) { return name.ends_with(suffix); });
}

}  // namespace

Problems Weights::check(const WeightFolder& folder, const ModelDescription& description, const std::string& where) {
    Problems problems;
    std::set<std::string> used;
    for (const ParameterShape& parameter : parameterShapes(description)) {
        const TensorView* view = findTensor(folder, description, parameter.name);
        if (view == nullptr) {
            problems.push_back({"tensor_missing", where + " has no tensor " + parameter.name + ".",
                                "The download is incomplete, or config.json belongs to another model.", parameter.name});
            continue;
        }
        used.insert(view->name);
        if (view->shape != parameter.shape)
            problems.push_back({"tensor_shape", where + ": " + parameter.name + " has the shape " + shapeText(view->shape) +
                                                    "; config.json asks for " + shapeText(parameter.shape) + ".",
                                "The config.json and the weights do not belong together.", parameter.name});
        if (view->dtype != DType::F32 && view->dtype != DType::BF16 && view->dtype != DType::F16)
            problems.push_back({"tensor_dtype", where + ": " + parameter.name + " is stored as " + name(view->dtype) + ".",
                                "Luthier opens float32, bfloat16 and float16 weights.", parameter.name});
    }
    for (const TensorView* view : folder.tensors())
        if (!used.contains(view->name) && !isExpectedExtra(description, view->name))
            problems.push_back({"tensor_unexpected", where + " holds " + view->name + ", which a " + description.family + " model does not have.",
                                "The config.json and the weights do not belong together.", view->name});
    return problems;
}

Result<Weights> Weights::open(const std::filesystem::path& folder, const ModelDescription& description, at::ScalarType dtype,
                              const at::Device& device) {
    Result<std::shared_ptr<const WeightFolder>> opened = WeightFolder::open(folder);
    if (!opened) return opened.problems();
    const std::shared_ptr<const WeightFolder> files = *opened;
    Problems problems = check(*files, description, folder.string());
    if (!problems.empty()) return problems;
    const at::NoGradGuard guard;
    Weights weights;
    for (const ParameterShape& parameter : parameterShapes(description)) {
        const at::Tensor mapped = mappedTensor(*findTensor(*files, description, parameter.name), files);
        weights.m_tensors[parameter.name] = mapped.to(device, dtype);
    }
    return weights;
}

Weights Weights::random(const ModelDescription& description, std::uint64_t seed, at::ScalarType dtype, const at::Device& device) {
    const at::NoGradGuard guard;
    Weights weights;
    at::Generator generator = at::detail::createCPUGenerator(seed);
    for (const ParameterShape& parameter : parameterShapes(description)) {
        at::Tensor value;
        if (parameter.shape.size() == 1) {
            const bool isBias = parameter.name.ends_with(".bias");
            const bool isUnit = !isBias && description.normOffset == 0;
            value = isUnit ? at::ones(parameter.shape, at::kFloat) : at::zeros(parameter.shape, at::kFloat);
        } else {
            value = at::empty(parameter.shape, at::kFloat).normal_(0, description.initializerRange, generator);
        }
        weights.m_tensors[parameter.name] = value.to(device, dtype);
    }
    return weights;
}

Weights Weights::shapesOnly(const ModelDescription& description, at::ScalarType dtype) {
    Weights weights;
    for (const ParameterShape& parameter : parameterShapes(description))
        weights.m_tensors[parameter.name] = at::empty(parameter.shape, at::TensorOptions(dtype).device(at::kMeta));
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

std::int64_t Weights::parameterCount() const {
    std::int64_t count = 0;
    for (const auto& [name, tensor] : m_tensors) count += tensor.numel();
    return count;
}

std::int64_t Weights::bytes() const {
    std::int64_t total = 0;
    for (const auto& [name, tensor] : m_tensors) total += static_cast<std::int64_t>(tensor.nbytes());
    return total;
}

}  // namespace luthier
