// SPDX-License-Identifier: Apache-2.0
// eval MODEL --data FILE [--adapter DIR]…: loss, perplexity and next-token accuracy over a file's supervised tokens.
#include "command.h"
#include "loaded.h"

#include "data/dataset.h"
#include "data/tokenizer_encoder.h"
#include "peft/method.h"
#include "task/rows.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/argmax.h>

#include <algorithm>
#include <cmath>

namespace luthier::cli {

namespace {

struct Options {
    std::string model, data, format = "auto", dtype = "auto", device = "auto";
    std::vector<std::string> adapters, metrics;
    std::int64_t maxLength = 512;
    std::size_t batch = 8;
};

std::string namesIn(const Json& object) {
    std::string names;
    for (const auto& [name, value] : object.items()) names += (names.empty() ? "" : ", ") + name;
    return names;
}

Dataset readRows(const Options& options, const ModelDescription& description, const TextEncoder& encoder) {
    const char* task = description.isClassifier() ? "sequence_classification" : description.encoder ? "seq2seq_lm" : "causal_lm";
    const Json document{{"model", {{"path", options.model}, {"task", task}}},
                        {"method", {{"type", "full"}}},
                        {"data", {{"train", {{"path", options.data}, {"format", options.format}}}, {"eval", {{"split", 0}}}, {"max_length", options.maxLength}}}};
    const RunConfig config = resolveRunConfig(document, std::filesystem::current_path(), methodSchemas()).orThrow();
    return Dataset::build(config, encoder).orThrow();
}

/// Share of supervised next tokens that are the most probable one.
double tokenAccuracy(const Loaded& loaded, AdapterStack& stack, const std::vector<Example>& rows) {
    const at::NoGradGuard guard;
    const std::unique_ptr<Task> task = makeTask(*loaded.model);
    const std::int64_t shift = loaded.model->description().encoder ? 0 : 1;  // a decoder alone predicts the next place's label
    std::int64_t right = 0;
    std::int64_t all = 0;
    for (const Example& row : rows) {
        stack.beginPass({});
        const at::Tensor best = task->logits(*loaded.model, row, stack.hooks()).argmax(-1).to(at::kCPU).contiguous();
        for (std::size_t i = static_cast<std::size_t>(shift); i < row.labels.size(); ++i) {
            if (row.labels[i] == kNoLabel) continue;
            right += best.const_data_ptr<std::int64_t>()[static_cast<std::int64_t>(i) - shift] == row.labels[i] ? 1 : 0;
            ++all;
        }
    }
    return static_cast<double>(right) / static_cast<double>(std::max<std::int64_t>(1, all));
}

ExitCode run(const Options& options, const Context& context) {
    const Loaded loaded = loadModel(options.model, options.dtype, options.device, options.adapters);
    AdapterStack stack = loaded.stack(options.adapters);
    const TokenizerEncoder encoder(loaded.needTokenizer());
    const ModelDescription& description = loaded.model->description();
    Dataset data = readRows(options, description, encoder);
    fitLabels(data, description).orThrow();
    std::vector<Example> rows;
    for (const DataRow& row : data.train) rows.push_back(exampleOf(row));
    const Measured measured = makeTask(*loaded.model)->measure(*loaded.model, stack, rows, options.batch);
    Json found = measured.metrics;
    setNumber(found, "loss", measured.loss());
    if (!description.isClassifier() && std::find(options.metrics.begin(), options.metrics.end(), "accuracy") != options.metrics.end())
        setNumber(found, "accuracy", tokenAccuracy(loaded, stack, rows));
    Json metrics = options.metrics.empty() ? found : Json::object();
    for (const std::string& metric : options.metrics) {
        if (!found.contains(metric))
            throw Failure({"metric_unsupported", "A " + description.architecture + " has no " + metric + " on these rows.", "It has: " + namesIn(found) + ".", "--metric", ExitCode::BadUsage});
        metrics[metric] = found[metric];
    }
    std::string table;
    for (const auto& [name, value] : metrics.items()) table += name + "  " + dumpLine(value) + "\n";
    report(context, Json{{"metrics", metrics}, {"rows", rows.size()}, {"labels", measured.labels}}, table);
    return ExitCode::Done;
}

}  // namespace

void addEval(CLI::App& app, Context& context) {
    auto options = std::make_shared<Options>();
    CLI::App* command = app.add_subcommand("eval", "Measure a model on a file");
    command->add_option("model", options->model, "Model folder")->required();
    command->add_option("--data", options->data, "Rows to measure")->required();
    command->add_option("--format", options->format, "Shape of the rows");
    command->add_option("--adapter", options->adapters, "Adapter folder, optionally :WEIGHT; may be repeated");
    command->add_option("--metric", options->metrics)->check(CLI::IsMember({"loss", "perplexity", "accuracy"}));
    command->add_option("--max-length", options->maxLength)->check(CLI::Range(2, 1 << 20));
    command->add_option("--dtype", options->dtype)->check(CLI::IsMember({"auto", "float32", "bfloat16"}));
    command->add_option("--device", options->device);
    command->callback([options, &context] { context.run = [options, &context] { return run(*options, context); }; });
}

}  // namespace luthier::cli
