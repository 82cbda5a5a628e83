// SPDX-License-Identifier: Apache-2.0
#include "model/open.h"

#include "io/gguf.h"
#include "io/weight_folder.h"
#include "model/functions.h"

#include <algorithm>
#include <cstdlib>

#ifdef LUTHIER_CUDA
#include <c10/cuda/CUDAFunctions.h>

#include <charconv>
#endif

namespace luthier {

Result<at::Device> chooseDevice(const std::string& name) {
    if (const char* chosen = std::getenv("LUTHIER_DEVICE");
        name == "auto" && chosen != nullptr && *chosen != '\0' && std::string(chosen) != "auto") {
        Result<at::Device> device = chooseDevice(chosen);
        if (device) return device;
        Problem problem = device.problem();
        problem.hint += " The name comes from the environment variable LUTHIER_DEVICE.";
        return problem;
    }
    if (name == "cpu") return at::Device(at::kCPU);
#ifdef LUTHIER_CUDA
    const int devices = static_cast<int>(c10::cuda::device_count());
    if (name == "auto") return devices > 0 ? at::Device(at::kCUDA, 0) : at::Device(at::kCPU);
    if (name == "cuda" || name.rfind("cuda:", 0) == 0) {
        int index = 0;
        const std::string number = name.size() > 5 ? name.substr(5) : "0";
        const auto [end, code] =
            std::from_chars(number.data(), number.data() + number.size(), index);
        const bool isNumber = code == std::errc() && end == number.data() + number.size();
        if (!isNumber || index < 0 || index >= devices)
            return Problem{
                "no_cuda",
                name + " is not one of the " + std::to_string(devices) +
                    " NVIDIA devices that the driver shows.",
                "Set device to \"auto\" or \"cpu\", or check the driver with nvidia-smi.", "device",
                ExitCode::BadUsage};
        return at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(index));
    }
#else
    if (name == "auto") return at::Device(at::kCPU);
    if (name == "cuda" || name.rfind("cuda:", 0) == 0)
        return Problem{"no_cuda", "This build of Luthier computes on the CPU only.",
                       "Set device to \"auto\" or \"cpu\".", "device", ExitCode::BadUsage};
#endif
    return Problem{"unknown_device", "\"" + name + "\" is not a device.",
                   "auto, cpu, cuda or cuda:N.", "device", ExitCode::BadUsage};
}

at::ScalarType chooseDtype(const std::string& name, const at::Device& device) {
    if (name == "float32" || name == "float16") return at::kFloat;
    if (name == "bfloat16") return at::kBFloat16;
    return nn::hasFastBfloat16(device) ? at::kBFloat16 : at::kFloat;
}

Result<Json> readConfig(const std::filesystem::path& folder) {
    std::error_code code;
    if (isGguf(folder))
        return Problem{
            "folder_missing", folder.string() + " is a GGUF file, not a folder.",
            "Make a folder of it: luthier-cli import " + folder.string() + " --out FOLDER.",
            folder.string()};
    // A RUN.json's path comes with its folder in front.
    if (const std::string whole = folder.string(); !std::filesystem::exists(folder, code))
        if (const std::size_t at = std::min(whole.find("ollama:"), whole.find("lmstudio:"));
            at != std::string::npos) {
            const std::string source = whole.substr(at);
            return Problem{"folder_missing",
                           source + " is the name of a GGUF model that another program keeps.",
                           "Make a folder of it: luthier-cli import " + source + " --out FOLDER.",
                           whole};
        }
    if (!std::filesystem::is_directory(folder, code))
        return Problem{"folder_missing", folder.string() + " is not a folder.",
                       "Give the folder that holds config.json and *.safetensors.",
                       folder.string()};
    const std::filesystem::path file = folder / "config.json";
    if (!std::filesystem::exists(file, code))
        return Problem{"config_missing", folder.string() + " has no config.json.",
                       "Give the folder of a model in Hugging Face format.", file.string()};
    return readJsonFile(file, 4u << 20);
}

Result<ModelDescription> readDescription(const std::filesystem::path& folder,
                                         const ModelTask& task) {
    Result<Json> config = readConfig(folder);
    if (!config) return config.problems();
    Result<ModelDescription> description =
        describeModel(*config, (folder / "config.json").string(), task);
    if (!description || !description->isTied) return description;
    if (Result<std::shared_ptr<const WeightFolder>> files = WeightFolder::open(folder);
        files && Weights::hasOwnHead(**files, *description))
        description->isTied = false;
    return description;
}

namespace {

/// "float16": the numbers that a float16 file would hold, computed in float32.
void roundToHalf(Weights& weights) {
    for (const std::string& name : weights.names())
        weights.assign(name, weights.at(name).to(at::kHalf).to(at::kFloat));
}

}  // namespace

Result<std::unique_ptr<Model>> openModel(const ModelRequest& request) {
    Result<at::Device> device = chooseDevice(request.device);
    if (!device) return device.problems();
    Result<ModelDescription> description = readDescription(request.folder, request.task);
    if (!description) return description.problems();
    if (request.hasNewHead) description->isTied = false;
    const at::ScalarType dtype = chooseDtype(request.dtype, *device);
    if (request.init == "random")
        return std::make_unique<Model>(*description,
                                       Weights::random(*description, request.seed, dtype, *device),
                                       dtype, *device);
    std::optional<HeadDraw> draw;
    if (request.mayDrawHead || request.hasNewHead)
        draw = HeadDraw{request.seed,
                        request.hasNewHead ? HeadDraw::When::Always : HeadDraw::When::Missing};
    Result<Weights> weights = Weights::open(request.folder, *description, dtype, *device, draw);
    if (!weights) return weights.problems();
    if (request.dtype == "float16") roundToHalf(*weights);
    return std::make_unique<Model>(*description, std::move(*weights), dtype, *device);
}

Result<std::unique_ptr<Model>> openShapes(const ModelRequest& request) {
    Result<at::Device> device = chooseDevice(request.device);
    if (!device) return device.problems();
    Result<ModelDescription> description = readDescription(request.folder, request.task);
    if (!description) return description.problems();
    if (request.hasNewHead) description->isTied = false;
    const at::ScalarType dtype = chooseDtype(request.dtype, *device);
    return std::make_unique<Model>(*description, Weights::shapesOnly(*description, dtype), dtype,
                                   at::Device(at::kMeta));
}

Result<std::unique_ptr<Tokenizer>> openTokenizer(const std::filesystem::path& folder,
                                                 const ModelDescription& description) {
    Result<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::open(folder);
    if (tokenizer) (*tokenizer)->limitTo(description.vocabulary);
    return tokenizer;
}

Result<std::unique_ptr<Tokenizer>> openTokenizer(const std::filesystem::path& folder) {
    const Result<ModelDescription> description = readDescription(folder);
    return description ? openTokenizer(folder, *description) : Tokenizer::open(folder);
}

std::optional<Problem> warningOf(const Tokenizer& tokenizer) {
    const int rows = tokenizer.usableIds(), tokens = tokenizer.vocabularySize();
    if (tokens <= rows) return {};
    const std::string first = tokenizer.tokenText(rows);
    return Problem{
        "tokenizer_larger",
        "The tokenizer has " + std::to_string(tokens) + " tokens, the model's embedding " +
            std::to_string(rows) + " rows: " +
            (tokens - rows == 1
                 ? "the token " + first + " (id " + std::to_string(rows) + ") has"
                 : "the tokens from " + first + " (id " + std::to_string(rows) + ") on have") +
            " none.",
        "Nothing is wrong as long as no text holds " +
            std::string(tokens - rows == 1 ? "it" : "them") + "; a row that does cannot be used.",
        ""};
}

}  // namespace luthier
