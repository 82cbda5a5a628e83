// SPDX-License-Identifier: Apache-2.0
#include "peft/adapter.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <set>
#include <sstream>

namespace luthier {

namespace {

std::string shapeText(at::IntArrayRef shape) {
    std::ostringstream stream;
    stream << shape;
    return stream.str();
}

}  // namespace

Result<void> Adapter::load(const TensorMap& tensors) { return loadSlots(fileSlots(), tensors); }

Result<void> Adapter::loadSlots(const std::vector<NamedTensor>& slots, const TensorMap& tensors) {
    const at::NoGradGuard guard;
    Problems problems;
    std::set<std::string> expected;
    for (const NamedTensor& slot : slots) {
        expected.insert(slot.name);
        const auto found = tensors.find(slot.name);
        if (found == tensors.end()) {
            problems.push_back(
                {"adapter_tensor_missing", "The adapter file has no tensor " + slot.name + ".",
                 "It was made for another model or other target modules.", slot.name});
        } else if (found->second.sizes() != slot.tensor.sizes()) {
            problems.push_back({"adapter_tensor_shape",
                                "The tensor " + slot.name + " has the shape " +
                                    shapeText(found->second.sizes()) + "; this model needs " +
                                    shapeText(slot.tensor.sizes()) + ".",
                                "It was made for a model of another size.", slot.name});
        }
    }
    for (const auto& [name, tensor] : tensors)
        if (!expected.contains(name))
            problems.push_back(
                {"adapter_tensor_unexpected",
                 "The adapter file holds " + name + ", which this method has no place for.",
                 "Check target_modules in adapter_config.json.", name});
    if (!problems.empty()) return problems;
    for (const NamedTensor& slot : slots) {
        at::Tensor target = slot.tensor;
        target.copy_(tensors.at(slot.name));
    }
    return {};
}

Result<void> Adapter::merge(Model&) {
    return Problem{"cannot_merge",
                   "A " + method() + " adapter cannot be folded into the model's weights.",
                   "Export it as an adapter folder instead.", "method.type", ExitCode::BadUsage};
}

void AdapterStack::add(std::shared_ptr<Adapter> adapter) {
    adapter->install(m_hooks);
    m_adapters.push_back(std::move(adapter));
}

void AdapterStack::beginPass(const RandomKey& key) {
    for (const auto& adapter : m_adapters) adapter->beginPass(key);
}

}  // namespace luthier
