// SPDX-License-Identifier: Apache-2.0
#include "loaded.h"

#include "adapter_weight.h"

#include "command.h"

#include "io/weight_folder.h"
#include "model/open.h"
#include "peft/adapter_file.h"

#include <ATen/Parallel.h>

#include <algorithm>

namespace luthier::cli {

const Tokenizer& Loaded::needTokenizer() const {
    if (!tokenizer) throw Failure(tokenizerProblems.front());
    return *tokenizer;
}

AdapterStack Loaded::stack(const std::vector<std::string>& adapters) const {
    AdapterStack stack(*model);
    for (const std::string& text : adapters) {
        const WeightedPath chosen = weightedPath(text);
        std::shared_ptr<Adapter> adapter = openAdapter(chosen.path, *model).orThrow();
        weigh(*adapter, chosen.weight);
        stack.add(std::move(adapter));
    }
    return stack;
}

std::map<std::string, std::unique_ptr<AdapterStack>> Loaded::namedStacks(
    const std::vector<std::string>& adapters) const {
    std::map<std::string, std::unique_ptr<AdapterStack>> stacks;
    for (std::size_t i = 0; i < adapters.size(); ++i) {
        const std::string name = weightedPath(adapters[i]).name;
        std::unique_ptr<AdapterStack>& stack = stacks[name.empty() ? std::to_string(i) : name];
        if (stack)
            throw Failure({"bad_usage", "Two adapters are called \"" + name + "\".",
                           "Give each a name of its own: --adapter NAME=DIR.", "--adapter",
                           ExitCode::BadUsage});
        stack = std::make_unique<AdapterStack>(this->stack({adapters[i]}));
    }
    return stacks;
}

std::vector<std::int64_t> Loaded::endIds() const {
    if (!tokenizer) return {};
    const std::vector<int> ids = tokenizer->endIds();
    return {ids.begin(), ids.end()};
}

SmallModelThreads::SmallModelThreads(std::int64_t weightBytes) : m_before(at::get_num_threads()) {
    constexpr std::int64_t kSmallBytes = 256 << 20;
    if (weightBytes > 0 && weightBytes < kSmallBytes) at::set_num_threads(1);
}

SmallModelThreads::~SmallModelThreads() { at::set_num_threads(m_before); }

std::int64_t weightBytesIn(const std::filesystem::path& folder) {
    std::int64_t bytes = 0;
    std::error_code code;
    for (const auto& entry : std::filesystem::directory_iterator(folder, code))
        if (entry.path().extension() == ".safetensors")
            bytes += static_cast<std::int64_t>(entry.file_size(code));
    return bytes;
}

std::string dtypeToMeasure(const std::string& folder) {
    const Result<std::shared_ptr<const WeightFolder>> files = WeightFolder::open(folder);
    if (!files) return "auto";  // opening it says why
    std::map<DType, std::uint64_t> bytes;
    for (const TensorView* view : (*files)->tensors()) bytes[view->dtype] += view->bytes;
    const auto most =
        std::max_element(bytes.begin(), bytes.end(),
                         [](const auto& a, const auto& b) { return a.second < b.second; });
    return most != bytes.end() && most->first == DType::BF16 ? "auto" : "float32";
}

Loaded loadModel(const std::string& folder, const std::string& dtype, const std::string& device,
                 const std::vector<std::string>& adapters) {
    Loaded loaded;
    loaded.folder = folder;
    ModelRequest request;
    request.folder = folder;
    request.dtype = dtype;
    request.device = device;
    if (!adapters.empty()) {
        request.task = taskOfAdapter(weightedPath(adapters.front()).path).orThrow();
        request.mayDrawHead = request.task.name != "auto";
    }
    loaded.model = openModel(request).orThrow();
    Result<std::unique_ptr<Tokenizer>> tokenizer =
        openTokenizer(folder, loaded.model->description());
    if (tokenizer)
        loaded.tokenizer = std::move(*tokenizer);
    else
        loaded.tokenizerProblems = tokenizer.problems();
    return loaded;
}

}  // namespace luthier::cli
