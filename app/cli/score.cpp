// SPDX-License-Identifier: Apache-2.0
// score MODEL --data ROWS.jsonl --out OUT.safetensors: logits, log-probabilities or the loss of each row (interface.md), or the
// loss over all rows with the gradient of every parameter: `loss` [] and one tensor a parameter, under its file's name.
#include "command.h"
#include "loaded.h"

#include "io/atomic.h"
#include "io/safetensors.h"
#include "model/tensors.h"
#include "train/collate.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/log_softmax.h>

#include <fstream>

namespace luthier::cli {

namespace {

struct Options {
    std::string model, data, out, what = "logits", dtype = "float32", device = "auto";
    std::vector<std::string> adapters;
};

struct Row {
    std::vector<std::int32_t> ids;
    std::vector<std::int32_t> labels;
};

/// {"input_ids", "labels"?} or {"text"}; labels default to the ids.
Row readRow(const Json& json, const Loaded& loaded, const std::string& where) {
    Row row;
    try {
        if (json.contains("input_ids")) {
            row.ids = json.at("input_ids").get<std::vector<std::int32_t>>();
            row.labels = json.contains("labels") ? json.at("labels").get<std::vector<std::int32_t>>() : row.ids;
        } else if (json.contains("text")) {
            for (const int id : loaded.needTokenizer().encode(json.at("text").get<std::string>())) row.ids.push_back(id);
            row.labels = row.ids;
        }
    } catch (const Json::exception&) {
        row.ids.clear();
    }
    const auto vocabulary = static_cast<std::int32_t>(loaded.model->description().vocabulary);
    bool isValid = !row.ids.empty() && row.ids.size() == row.labels.size();
    for (const std::int32_t id : row.ids) isValid = isValid && id >= 0 && id < vocabulary;
    for (const std::int32_t label : row.labels) isValid = isValid && label < vocabulary && (label >= 0 || label == kNoLabel);
    if (!isValid)
        throw Failure({"bad_row", where + " is not a row of token ids below " + std::to_string(vocabulary) + " (input_ids, labels of the same length) or of text.", "Correct or remove that line.", where});
    return row;
}

at::Tensor scored(const Loaded& loaded, AdapterStack& stack, const Row& row, const std::string& what) {
    const Example example{row.ids, row.labels};
    const Collated batch = collate(std::span(&example, 1), loaded.model->device());
    stack.beginPass({});
    if (what == "loss") {
        const double count = static_cast<double>(std::max<std::int64_t>(1, batch.supervised));
        return loaded.model->loss(batch.input, batch.rows, batch.labels, 1.0 / count, stack.hooks()).to(at::kFloat);
    }
    const at::Tensor logits = loaded.model->logits(loaded.model->hidden(batch.input, {}, stack.hooks()), stack.hooks());
    if (what == "logits") return logits;
    const std::int64_t T = logits.size(0);
    const at::Tensor next = batch.input.ids.narrow(0, 1, T - 1).unsqueeze(1);
    return at::log_softmax(logits, -1).narrow(0, 0, T - 1).gather(1, next).squeeze(1);
}

/// Loss per label over all rows, and its gradients: of the adapter's parameters, or of all of the model's without one.
void writeGradients(const Loaded& loaded, AdapterStack& stack, const std::vector<Row>& rows, const std::string& out) {
    std::vector<Example> examples;
    for (const Row& row : rows) examples.push_back({row.ids, row.labels});
    std::vector<std::pair<std::string, at::Tensor>> parameters;
    for (const std::shared_ptr<Adapter>& adapter : stack.adapters())
        for (const TrainedParameter& parameter : adapter->parameters()) parameters.emplace_back(parameter.name, parameter.tensor);
    if (parameters.empty()) {
        for (const std::string& name : loaded.model->weights().names()) {
            loaded.model->weights().makeTrainable(name);
            parameters.emplace_back(name, loaded.model->weights().at(name));
        }
    }
    const Collated batch = collate(std::span(examples), loaded.model->device());
    stack.beginPass({});
    const double count = static_cast<double>(std::max<std::int64_t>(1, batch.supervised));
    const at::Tensor loss = loaded.model->loss(batch.input, batch.rows, batch.labels, 1.0 / count, stack.hooks());
    loss.backward();
    std::vector<at::Tensor> storage;
    std::vector<TensorView> views{viewOf("loss", loss.detach().to(at::kFloat), storage)};
    for (const auto& [name, tensor] : parameters)
        if (tensor.grad().defined()) views.push_back(viewOf(name, tensor.grad().to(at::kFloat), storage));
    writeSafetensors(out, views, {{"format", "pt"}}).orThrow();
}

ExitCode run(const Options& options, const Context& context) {
    const bool wantsGradients = options.what == "gradients";
    const at::AutoGradMode mode(wantsGradients);
    const Loaded loaded = loadModel(options.model, options.dtype, options.device);
    AdapterStack stack = loaded.stack(options.adapters);
    std::ifstream file(options.data);
    if (!file) throw Failure({"file_missing", options.data + " could not be opened.", "Check the path.", options.data});
    std::vector<at::Tensor> storage;
    std::vector<TensorView> views;
    std::vector<Row> rows;
    std::string line;
    std::int64_t number = 0;
    std::int64_t index = 0;
    while (std::getline(file, line)) {
        ++number;
        if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
        const std::string where = options.data + ":" + std::to_string(number);
        const Json json = parseJson(line, where).orThrow();
        const Row row = readRow(json, loaded, where);
        if (wantsGradients) {
            rows.push_back(row);
            ++index;
            continue;
        }
        views.push_back(viewOf(options.what + "." + std::to_string(index++), scored(loaded, stack, row, options.what), storage));
    }
    if (wantsGradients) {
        if (rows.empty()) throw Failure({"no_rows", options.data + " has no rows.", "Give at least one row.", options.data});
        writeGradients(loaded, stack, rows, options.out);
        report(context, Json{{"rows", index}, {"out", options.out}}, "The gradients over " + withThousands(index) + " rows written to " + options.out + "\n");
        return ExitCode::Done;
    }
    const std::uint64_t bytes = writeSafetensors(options.out, views, {{"format", "pt"}}).orThrow();
    report(context, Json{{"rows", index}, {"out", options.out}, {"bytes", bytes}}, withThousands(index) + " rows written to " + options.out + "\n");
    return ExitCode::Done;
}

}  // namespace

void addScore(CLI::App& app, Context& context) {
    auto options = std::make_shared<Options>();
    CLI::App* command = app.add_subcommand("score", "Logits, log-probabilities or losses of rows");
    command->add_option("model", options->model, "Model folder")->required();
    command->add_option("--data", options->data, "Rows, one JSON object a line")->required();
    command->add_option("--out", options->out, "File to write")->required();
    command->add_option("--adapter", options->adapters, "Adapter folder, optionally :WEIGHT; may be repeated");
    command->add_option("--what", options->what)->check(CLI::IsMember({"logits", "logprobs", "loss", "gradients"}));
    command->add_option("--dtype", options->dtype)->check(CLI::IsMember({"auto", "float32", "bfloat16"}));
    command->add_option("--device", options->device);
    command->callback([options, &context] { context.run = [options, &context] { return run(*options, context); }; });
}

}  // namespace luthier::cli
