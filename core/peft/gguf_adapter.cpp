// SPDX-License-Identifier: Apache-2.0
#include "peft/gguf_adapter.h"

#include "model/gguf_layout.h"
#include "model/gguf_values.h"
#include "peft/method.h"

#include <algorithm>
#include <set>

namespace luthier {

namespace {

/// Whether the file is a LoRA for a base of the layout's architecture.
Result<void> checkKeys(const GgufFile& file, const std::string& name, const GgufLayout& layout) {
    const auto text = [&](const char* key) {
        const std::string* value = file.value<std::string>(key);
        return value != nullptr ? *value : std::string();
    };
    if (text("general.type") != "adapter" || methodOfGguf(text("adapter.type")) == nullptr)
        return Problem{"adapter_method",
                       name + " is no LoRA adapter: general.type is \"" + text("general.type") +
                           "\", adapter.type \"" + text("adapter.type") + "\".",
                       "Give a GGUF file that convert_lora_to_gguf.py or Luthier wrote.", name};
    if (text("general.architecture") != layout.architecture)
        return Problem{"adapter_base",
                       name + " was made for a base of the architecture \"" +
                           text("general.architecture") + "\"; this model is \"" +
                           layout.architecture + "\" in llama.cpp.",
                       "Use the base that belongs to the adapter.", name};
    if (file.value<float>("adapter.lora.alpha") == nullptr)
        return Problem{"gguf_damaged", name + " has no adapter.lora.alpha.",
                       "The file is damaged; convert it again.", name};
    return {};
}

/// Of the matrix `name`; a tied head is none of the parameters and has the embedding's shape.
std::vector<std::int64_t> shapeOf(const std::vector<ParameterShape>& shapes,
                                  const std::string& name, const ModelDescription& description) {
    const auto found = std::find_if(shapes.begin(), shapes.end(), [&](const ParameterShape& each) {
        return each.name == name && each.shape.size() == 2;
    });
    return found != shapes.end()
               ? found->shape
               : std::vector<std::int64_t>{description.vocabulary, description.hidden};
}

}  // namespace

bool isGgufAdapter(const std::filesystem::path& path) {
    return path.extension() == ".gguf" || isGguf(path);
}

Result<GgufAdapter> readGgufAdapter(const std::filesystem::path& path,
                                    const ModelDescription& description) {
    const std::string name = path.string();
    Result<std::shared_ptr<const GgufFile>> opened = GgufFile::open(path);
    if (!opened) return opened.problems();
    const GgufFile& file = **opened;
    Result<GgufLayout> layout = ggufLayout(description);
    if (!layout) return layout.problems();
    if (Result<void> checked = checkKeys(file, name, *layout); !checked) return checked.problems();

    const std::vector<ParameterShape> shapes = parameterShapes(description);
    GgufAdapter adapter;
    std::set<std::string> read;
    std::vector<std::pair<std::string, std::int64_t>> ranks;
    for (const GgufEntry& entry : layout->entries) {
        const GgufTensor* A = file.find(entry.name + ".lora_a");
        const GgufTensor* B = file.find(entry.name + ".lora_b");
        if (A == nullptr && B == nullptr) continue;
        if (A == nullptr || B == nullptr)
            return Problem{
                "adapter_tensor_missing",
                name + " has no " + entry.name + (A == nullptr ? ".lora_a" : ".lora_b") + ".",
                "The file is damaged; convert it again.", name};
        const std::string& source = entry.sources.front();
        const bool fits = entry.sources.size() == 1 && source.ends_with(".weight") &&
                          entry.name != "token_embd.weight" && A->shape.size() == 2 &&
                          B->shape.size() == 2;
        if (!fits)
            return Problem{"adapter_feature",
                           name + " adapts " + entry.name + ", which Luthier does not compute yet.",
                           "Leave that tensor out of the adapter.", name};
        const std::vector<std::int64_t> whole = shapeOf(shapes, source, description);
        const std::int64_t out = whole[entry.isTransposed ? 1 : 0],
                           in = whole[entry.isTransposed ? 0 : 1];
        if (A->shape[0] < 1 || A->shape[1] != in || B->shape[0] != out ||
            B->shape[1] != A->shape[0])
            return Problem{
                "adapter_tensor_shape",
                name + ": the pair of " + entry.name + " does not fit the model's " + source + ".",
                "Use the base that belongs to the adapter.", name};
        const std::string module = source.substr(0, source.rfind('.'));
        adapter.tensors["base_model.model." + module + ".lora_A.weight"] = ggufTensor(*A);
        adapter.tensors["base_model.model." + module + ".lora_B.weight"] =
            inModelOrder(entry, ggufTensor(*B));
        ranks.emplace_back(module, A->shape.front());
        read.insert({A->name, B->name});
    }
    for (const GgufTensor& tensor : file.tensors())
        if (!read.contains(tensor.name))
            return Problem{"adapter_tensor_unexpected",
                           name + " holds " + tensor.name + ", which this model has no place for.",
                           "Use the base that belongs to the adapter.", name};
    if (ranks.empty())
        return Problem{"adapter_tensor_missing", name + " holds no tensors.",
                       "The file is damaged; convert it again.", name};

    const std::int64_t rank = ranks.front().second;
    const double alpha = *file.value<float>("adapter.lora.alpha");
    // As llama.cpp reads it: no alpha leaves every matrix as it is.
    Json settings{{"r", rank},
                  {"lora_alpha", alpha != 0 ? Json(alpha) : Json(rank)},
                  {"target_modules", Json::array()},
                  {"rank_pattern", Json::object()},
                  {"alpha_pattern", Json::object()}};
    for (const auto& [module, own] : ranks) {
        settings["target_modules"].push_back(module);
        if (own == rank) continue;
        settings["rank_pattern"][module] = own;
        if (alpha == 0) settings["alpha_pattern"][module] = own;
    }
    adapter.method = methodOfGguf(*file.value<std::string>("adapter.type"));
    adapter.settings = withDefaults(settings, adapter.method->schema);
    return adapter;
}

}  // namespace luthier
