// SPDX-License-Identifier: Apache-2.0
// eval MODEL --data FILE [--adapter DIR]…: loss, perplexity and next-token accuracy over a file's supervised tokens.
#include "command.h"
#include "loaded.h"

#include "data/dataset.h"
#include "data/tokenizer_encoder.h"
#include "peft/method.h"
#include "train/collate.h"
#include "train/trainer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/eq.h>

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

Dataset readRows(const Options& options, const TextEncoder& encoder) {
    const Json document{{"model", {{"path", options.model}}},
                        {"method", {{"type", "full"}}},
                        {"data", {{"train", {{"path", options.data}, {"format", options.format}}}, {"eval", {{"split", 0}}}, {"max_length", options.maxLength}}}};
    const RunConfig config = resolveRunConfig(document, std::filesystem::current_path(), methodSchemas()).orThrow();
    return Dataset::build(config, encoder).orThrow();
}

double accuracyOf(const Loaded& loaded, AdapterStack& stack, const std::vector<Example>& rows, std::size_t batch) {
    const at::NoGradGuard guard;
    std::int64_t right = 0;
    std::int64_t all = 0;
    for (std::size_t first = 0; first < rows.size(); first += batch) {
        const Collated part = collate(std::span(rows).subspan(first, std::min(batch, rows.size() - first)), loaded.model->device());
        if (part.supervised == 0) continue;
        stack.beginPass({});
        const at::Tensor logits = loaded.model->logits(loaded.model->hidden(part.input, part.rows, stack.hooks()), stack.hooks());
        right += logits.argmax(-1).eq(part.labels).sum().item<std::int64_t>();
        all += part.supervised;
    }
    return static_cast<double>(right) / static_cast<double>(std::max<std::int64_t>(1, all));
}

ExitCode run(const Options& options, const Context& context) {
    const Loaded loaded = loadModel(options.model, options.dtype, options.device);
    AdapterStack stack = loaded.stack(options.adapters);
    const TokenizerEncoder encoder(loaded.needTokenizer());
    const Dataset data = readRows(options, encoder);
    std::vector<Example> rows;
    for (const DataRow& row : data.train) rows.push_back({row.ids, row.labels});
    const LossSum sum = evaluateRows(*loaded.model, stack, rows, options.batch);
    const double loss = sum.loss / static_cast<double>(std::max<std::int64_t>(1, sum.tokens));
    Json metrics = Json::object();
    for (const std::string& metric : options.metrics.empty() ? std::vector<std::string>{"loss", "perplexity"} : options.metrics) {
        if (metric == "loss") setNumber(metrics, metric, loss);
        if (metric == "perplexity") setNumber(metrics, metric, std::exp(loss));
        if (metric == "accuracy") setNumber(metrics, metric, accuracyOf(loaded, stack, rows, options.batch));
    }
    std::string table;
    for (const auto& [name, value] : metrics.items()) table += name + "  " + dumpLine(value) + "\n";
    report(context, Json{{"metrics", metrics}, {"rows", rows.size()}, {"tokens", sum.tokens}}, table);
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
