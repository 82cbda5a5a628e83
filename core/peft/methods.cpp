// SPDX-License-Identifier: Apache-2.0
#include "peft/method.h"

#include "peft/help.h"
#include "peft/saved_modules.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>

namespace luthier {

namespace {

/// The settings that PEFT's methods have in common beside their own: modules_to_save, and bias
/// where `bias` gives its third choice.
Method withCommonSettings(Method method) {
    if (method.peftType.empty()) return method;
    std::vector<Setting>& settings = method.schema.settings;
    if (!method.ownBias.empty()) {
        Setting bias{
            "bias", SettingType::Choice, "none", "Biases",
            "Biases of the model that are trained too: none, all, or those of the adapted layers."};
        bias.choices = {"none", "all", method.ownBias};
        bias.isUsual = false;
        settings.push_back(std::move(bias));
    }
    Setting saved{"modules_to_save", SettingType::Texts, nullptr, "Trained whole",
                  "Modules of the model that are trained whole beside the adapter and saved with "
                  "it, by the end of their path: embed_tokens, lm_head, norm."};
    saved.isUsual = false;
    saved.isNullable = true;
    settings.push_back(std::move(saved));
    return method;
}

}  // namespace

const std::vector<Method>& methods() {
    static const std::vector<Method> list = [] {
        std::vector<Method> all = listOfMethods();
        for (Method& method : all) method = withCommonSettings(std::move(method));
        return all;
    }();
    return list;
}

const Method* findMethod(const std::string& type) {
    for (const Method& method : methods())
        if (method.type == type) return &method;
    return nullptr;
}

const Method* methodOfConfig(const Json& config) {
    for (const Method& method : methods())
        if (method.owns != nullptr && method.owns(config)) return &method;
    const Json type = config.value("peft_type", Json());
    for (const Method& method : methods())
        if (!method.peftType.empty() && type == method.peftType) return &method;
    return nullptr;
}

const Method* methodOfGguf(const std::string& ggufType) {
    for (const Method& method : methods())
        if (!method.ggufType.empty() && method.ggufType == ggufType) return &method;
    return nullptr;
}

const Method& defaultMethod() {
    for (const Method& method : methods())
        if (method.isDefault) return method;
    return methods().front();
}

const Method& wholeMethod() {
    for (const Method& method : methods())
        if (method.trainsAll) return method;
    return methods().front();
}

Result<std::shared_ptr<Adapter>> createAdapter(const Method& method, const MethodContext& context) {
    Result<std::shared_ptr<Adapter>> adapter = method.create(context);
    if (!adapter) return adapter;
    const ModelSites& sites = context.model.sites();
    if (!(*adapter)->trainsBase())
        adapter = withSavedModules(*adapter, context.settings, context.model);
    if (!adapter) return adapter;
    (*adapter)->setTaskType(sites.peftTask);
    return adapter;
}

MethodSchemas methodSchemas() {
    MethodSchemas schemas;
    schemas.find = [](const std::string& type) -> const Schema* {
        const Method* method = findMethod(type);
        return method == nullptr ? nullptr : &method->schema;
    };
    for (const Method& method : methods()) schemas.names.push_back(method.type);
    schemas.byDefault = defaultMethod().type;
    schemas.whole = wholeMethod().type;
    return schemas;
}

Json describeMethods() {
    Json list = Json::array();
    for (const Method& method : methods()) {
        Json words = Json::array();
        for (const SettingWord& word : method.words) words.push_back({word.key, word.text});
        list.push_back({{"name", method.type},
                        {"title", method.title},
                        {"group", method.group},
                        {"summary", method.summary},
                        {"peft_type", method.peftType.empty() ? Json() : Json(method.peftType)},
                        {"mergeable", method.isMergeable},
                        {"usual_learning_rate", method.usualRate.rate},
                        {"rate_source", method.usualRate.source},
                        {"leaves_model", method.leavesModel},
                        {"in_gguf", !method.ggufType.empty()},
                        {"trained_blocks_key", method.trainedBlocksKey},
                        {"library", method.library},
                        {"tensor_file", method.tensorFile},
                        {"glyph", method.glyph},
                        {"marks", method.marks},
                        {"words", std::move(words)},
                        {"help", methodHelp(method.type)},
                        {"schema", toJson(method.schema)}});
    }
    return Json{{"methods", std::move(list)},
                {"default", defaultMethod().type},
                {"sections",
                 {{"model", toJson(modelSchema())},
                  {"data", toJson(dataSchema())},
                  {"train", toJson(trainSchema())}}}};
}

std::uint64_t tensorSeed(std::uint64_t seed, const std::string& name) {
    // FNV-1a over the name, then a splitmix64 round: near names give far seeds.
    std::uint64_t hash = 14695981039346656037ull;
    for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ull;
    std::uint64_t z = hash + seed * 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

at::Tensor uniformTensor(at::IntArrayRef shape, double bound, std::uint64_t seed,
                         const at::Device& device) {
    at::Tensor value = at::empty(shape, at::kFloat);
    return value.uniform_(-bound, bound, at::detail::createCPUGenerator(seed)).to(device);
}

at::Tensor normalTensor(at::IntArrayRef shape, double deviation, std::uint64_t seed,
                        const at::Device& device) {
    at::Tensor value = at::empty(shape, at::kFloat);
    return value.normal_(0, deviation, at::detail::createCPUGenerator(seed)).to(device);
}

at::Tensor leaf(const at::Tensor& value) {
    // Contiguous whatever the value's layout: the fused optimiser walks value, gradient and moments
    // side by side. A column-major start (linalg_svd returns one) would pair each value with
    // another one's gradient.
    return value.to(at::kFloat)
        .detach()
        .clone(at::MemoryFormat::Contiguous)
        .set_requires_grad(true);
}

}  // namespace luthier
