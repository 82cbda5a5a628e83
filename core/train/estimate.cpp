// SPDX-License-Identifier: Apache-2.0
#include "train/estimate.h"

#include "data/dataset.h"
#include "io/safetensors.h"
#include "model/open.h"
#include "peft/method.h"
#include "train/devices.h"
#include "train/memory_probe.h"
#include "train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace luthier {

namespace {

/// Resident size of a worker that has opened nothing, measured with LibTorch 2.11 on the CPU.
constexpr std::int64_t kRuntimeBytes = 190'000'000;
constexpr std::int64_t kChunkRows = 256;

/// Bytes of a safetensors file with these tensors as float32: header (padded to 8) and data.
std::int64_t fileBytes(const Adapter& adapter) {
    Json header{{"__metadata__", {{"format", "pt"}}}};
    std::int64_t end = 0;
    std::vector<NamedTensor> tensors = adapter.fileTensors();
    std::sort(tensors.begin(), tensors.end(),
              [](const NamedTensor& a, const NamedTensor& b) { return a.name < b.name; });
    for (const NamedTensor& tensor : tensors) {
        const std::int64_t bytes = tensor.tensor.numel() * 4;
        header[tensor.name] = Json{{"dtype", "F32"},
                                   {"shape", tensor.tensor.sizes().vec()},
                                   {"data_offsets", {end, end + bytes}}};
        end += bytes;
    }
    const auto text = static_cast<std::int64_t>(header.dump().size());
    return 8 + (text + 7) / 8 * 8 + end;
}

/// Values kept per token for the backward pass of one block (model/functions.cpp): what each node
/// saves.
std::int64_t keptPerToken(const ModelDescription& d, bool keepsInputs) {
    const std::int64_t query = d.heads * d.headSize;
    const std::int64_t key = d.keyValueHeads * d.headSize;
    std::int64_t values =
        2 * d.hidden + 2 * query + 2 * key + d.heads;  // both norms; q, k, v, output, log-sums
    values += (d.feedForward == FeedForwardKind::Gated ? 2 : 1) *
              d.intermediate;  // gate and up, or the activation's input
    if (keepsInputs) values += 2 * d.hidden + query + d.intermediate;  // inputs of the projections
    return values;
}

/// The step's memory by part, bytes.
Json memoryByPart(const RunConfig& config, const Model& model, const Adapter& adapter,
                  Activations activations) {
    const ModelDescription& d = model.description();
    std::int64_t trainable = 0;
    std::int64_t optimizer = 0;
    for (const TrainedParameter& parameter : adapter.parameters()) {
        trainable += parameter.tensor.numel();
        optimizer += optimizerBytes(config.get<std::string>("train.optimizer"),
                                    parameter.tensor.sizes().vec(), optimizerSettings(config));
    }
    const auto element = static_cast<std::int64_t>(at::elementSize(model.dtype()));
    const std::int64_t tokens =
        config.get<std::int64_t>("data.max_length") * config.get<std::int64_t>("train.batch_size");
    std::int64_t blocks = d.layers + (d.encoder ? d.encoder->layers : 0);
    const Method* method = findMethod(config.methodType());
    if (const Json layers = method->trainedBlocksKey.empty()
                                ? Json()
                                : config.method().value(method->trainedBlocksKey, Json());
        layers.is_number_integer() && config.method().value("parts", Json::array()).empty())
        blocks = std::min(d.layers, layers.get<std::int64_t>());
    const std::int64_t perBlock = keptPerToken(d, method->keepsInputs);
    // Recomputing keeps each block's two inputs, and the activations of the block whose turn it is.
    const std::int64_t perToken =
        activations == Activations::Keep ? blocks * perBlock : blocks * 2 * d.hidden + perBlock;
    return {
        {"weights", model.weights().bytes()},
        {"adapter", trainable * 4},
        {"gradients", trainable * 4},
        {"optimizer", optimizer},
        {"activations", tokens * perToken * element},
        {"logits", std::min(tokens, kChunkRows) * d.outputs() * 4 + tokens * d.hidden * element},
        {"runtime", kRuntimeBytes}};
}

/// Steps, rows and what evaluating takes, as far as the beginning of the data tells: rows of all
/// files are taken to be of one length.
void addCourse(Json& result, const RunConfig& config, Activations activations) {
    const std::optional<ExpectedRows> rows = expectedRows(config);
    std::optional<std::int64_t> steps = config.optional<std::int64_t>("train.max_steps");
    const double perStep = config.get<double>("train.batch_size") *
                           config.get<double>("train.gradient_accumulation_steps");
    if (!steps && rows && !config.get<bool>("data.packing"))
        steps = static_cast<std::int64_t>(
            std::ceil(static_cast<double>(rows->train) / perStep *
                      config.optional<double>("train.epochs").value_or(1)));
    result["steps"] = steps ? Json(*steps) : Json();
    result["rows"] = rows ? Json(rows->train + rows->eval) : Json();
    result["evaluation"] = nullptr;
    result["warnings"] = Json::array();
    if (!rows || !steps) return;
    const std::int64_t most =
        config.optional<std::int64_t>("data.eval.max_rows").value_or(rows->eval);
    const std::int64_t measured = std::min(most, rows->eval);
    const EvaluationShare share =
        evaluationShare(config, *steps, activations, measured, rows->eval,
                        perStep * static_cast<double>(*steps), static_cast<double>(measured));
    result["evaluation"] = share.toJson();
    if (const std::optional<Problem> heavy = heavyEvaluation(share))
        result["warnings"].push_back({{"code", heavy->code},
                                      {"message", heavy->message},
                                      {"hint", heavy->hint},
                                      {"field", heavy->field}});
}

}  // namespace

Activations chooseActivations(const RunConfig& config, const Model& model, const Adapter& adapter) {
    const auto wish = config.get<std::string>("train.gradient_checkpointing");
    if (wish != "auto") return wish == "on" ? Activations::Recompute : Activations::Keep;
    std::int64_t needed = 0;
    const Json memory = memoryByPart(config, model, adapter, Activations::Keep);
    for (const Json& bytes : memory) needed += bytes.get<std::int64_t>();
    return needed <= availableHostBytes() ? Activations::Keep : Activations::Recompute;
}

Json describeDevice(const std::string& name) {
    DeviceInfo device = describeCpu();
    if (const Result<at::Device> chosen = chooseDevice(name); chosen && chosen->is_cuda())
        for (const DeviceInfo& each : listDevices(DeviceTrial::None))
            if (each.id == "cuda:" + std::to_string(std::max<int>(0, chosen->index())))
                device = each;
    Json json{{"name", device.name}, {"kind", device.kind}, {"total_bytes", device.totalBytes}};
    if (device.cores > 0) json["cores"] = device.cores;
    return json;
}

Json EvaluationShare::toJson() const {
    return {{"times", times}, {"rows", rows}, {"of_rows", ofRows}, {"share", share}};
}

EvaluationShare evaluationShare(const RunConfig& config, std::int64_t steps,
                                Activations activations, std::int64_t rows, std::int64_t ofRows,
                                double trainTokens, double evalTokens) {
    EvaluationShare found{0, rows, ofRows, 0};
    if (rows == 0 || steps == 0) return found;
    const auto every = config.get<std::int64_t>("train.eval_every");
    found.times = 1 + (every > 0 ? (steps - 1) / every : 0) +
                  (every > 0 && config.get<bool>("train.eval_at_start") ? 1 : 0);
    // Forward, gradients of what passes through, gradients of the weights where these are trained,
    // and forward again where blocks are recomputed.
    const bool trainsBase = findMethod(config.methodType())->trainsAll;
    const double passes =
        2.0 + (trainsBase ? 1 : 0) + (activations == Activations::Recompute ? 1 : 0);
    const double measured = static_cast<double>(found.times) * evalTokens;
    found.share = measured / std::max(1.0, measured + passes * trainTokens);
    return found;
}

std::optional<Problem> heavyEvaluation(const EvaluationShare& share) {
    if (share.share <= 0.5) return {};
    const auto percent = static_cast<std::int64_t>(100 * share.share + 0.5);
    return Problem{"evaluation_share",
                   "Evaluating takes about " + std::to_string(percent) +
                       " % of this run: " + std::to_string(share.rows) + " rows, " +
                       std::to_string(share.times) + (share.times == 1 ? " time." : " times."),
                   share.times > 1 ? "Lower data.eval.max_rows, raise train.eval_every, or set "
                                     "train.eval_at_start to false."
                                   : "Lower data.eval.max_rows.",
                   "data.eval.max_rows"};
}

Json countByPart(const Adapter& adapter) {
    Json parts = Json::object();
    for (const TrainedParameter& parameter : adapter.parameters()) {
        Json& count = parts[parameter.part];
        count = (count.is_null() ? 0 : count.get<std::int64_t>()) + parameter.tensor.numel();
    }
    return parts;
}

ModelTask taskOf(const RunConfig& config) {
    return {config.get<std::string>("model.task"),
            config.optional<std::int64_t>("model.num_labels").value_or(0)};
}

bool wantsNewHead(const RunConfig& config) { return config.method().value("new_head", false); }

namespace {

/// Tokens that a method puts before a row at the model's positions.
std::int64_t virtualTokens(const RunConfig& config) {
    const auto count = config.method().find("num_virtual_tokens");
    return count != config.method().end() && count->is_number_integer() ? count->get<std::int64_t>()
                                                                        : 0;
}

/// Positions with a row in a table, of the shortest table; nullopt for models that compute their
/// positions.
std::optional<std::int64_t> learnedPositions(const ModelDescription& description) {
    std::optional<std::int64_t> positions;
    for (const ModelDescription* stack : {&description, description.encoder.get()})
        if (stack != nullptr && stack->learnsPositions())
            positions = std::min(positions.value_or(stack->maxPositions), stack->maxPositions);
    return positions;
}

}  // namespace

Result<RunConfig> withTask(RunConfig config) {
    Result<ModelDescription> description = readDescription(config.get<std::string>("model.path"));
    if (!description) return description.problems();
    if (config.get<std::string>("model.task") == "auto")
        config.document["model"]["task"] = description->isClassifier() ? "sequence_classification"
                                           : description->encoder      ? "seq2seq_lm"
                                                                       : "causal_lm";
    if (const std::optional<std::int64_t> positions = learnedPositions(*description))
        config.document["data"]["max_length"] =
            std::min(config.get<std::int64_t>("data.max_length"),
                     std::max<std::int64_t>(2, *positions - virtualTokens(config)));
    return config;
}

std::optional<Problem> lengthWarning(const RunConfig& config) {
    const Result<ModelDescription> description =
        readDescription(config.get<std::string>("model.path"));
    if (!description) return {};
    const auto length = config.get<std::int64_t>("data.max_length");
    const auto warning = [&](const char* code, std::int64_t most, const std::string& why) {
        return Problem{code, "data.max_length is " + std::to_string(length) + ", but " + why,
                       "Set data.max_length to at most " + std::to_string(most) + ".",
                       "data.max_length"};
    };
    if (const std::optional<std::int64_t> positions = learnedPositions(*description)) {
        const std::int64_t taken = virtualTokens(config);
        const std::int64_t most = std::max<std::int64_t>(2, *positions - taken);
        if (length <= most) return {};
        return warning(
            "max_length_positions", most,
            "the model has learned " + std::to_string(*positions) + " positions" +
                (taken > 0 ? ", " + std::to_string(taken) + " of which go to virtual tokens" : "") +
                ": rows are cut to " + std::to_string(most) + " tokens.");
    }
    const std::int64_t context = description->maxPositions;
    if (description->position != PositionKind::Rope || context <= 0 || length <= context) return {};
    return warning("max_length_context", context,
                   "the model was made for " + std::to_string(context) +
                       " tokens; what it says of longer rows is not to be relied on.");
}

Result<Json> estimateRun(const RunConfig& config) {
    ModelRequest request{config.get<std::string>("model.path"),
                         config.get<std::string>("model.dtype"), config.device()};
    request.task = taskOf(config);
    request.hasNewHead = wantsNewHead(config);
    Result<std::unique_ptr<Model>> model = openShapes(request);
    if (!model) return model.problems();
    const std::int64_t baseCount = (*model)->weights().parameterCount();
    const Method* method = findMethod(config.methodType());
    // A text start needs a tokenizer and changes no count.
    Json settings = config.method();
    if (settings.contains("prompt_tuning_init")) settings["prompt_tuning_init"] = "RANDOM";
    Result<std::shared_ptr<Adapter>> adapter = createAdapter(*method, {**model, settings, 0, {}});
    if (!adapter) return adapter.problems();

    std::int64_t trainable = 0;
    for (const TrainedParameter& parameter : (*adapter)->parameters())
        trainable += parameter.tensor.numel();
    const bool trainsBase = (*adapter)->trainsBase();
    const std::int64_t total = trainsBase ? baseCount : baseCount + trainable;
    const Activations activations = chooseActivations(config, **model, **adapter);
    Json result{{"trainable", trainable},
                {"total", total},
                {"percent", 100.0 * static_cast<double>(trainable) / static_cast<double>(total)}};
    result["adapter_bytes"] = trainsBase ? baseCount * 4 : fileBytes(**adapter);
    result["by_part"] = countByPart(**adapter);
    result["memory"] = memoryByPart(config, **model, **adapter, activations);
    result["gradient_checkpointing"] = activations == Activations::Recompute;
    addCourse(result, config, activations);
    result["device"] = describeDevice(config.device());
    return result;
}

}  // namespace luthier
