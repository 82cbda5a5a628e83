// SPDX-License-Identifier: Apache-2.0
// eval MODEL --data FILE [--adapter DIR]…: what a task measures over a file's rows (core/task), and
// how well the model writes their answers: greedily from each prompt, by exact match and ROUGE-L
// (task/texts.h).
#include "command.h"
#include "loaded.h"

#include "data/dataset.h"
#include "data/tokenizer_encoder.h"
#include "generate/generator.h"
#include "peft/method.h"
#include "task/rows.h"
#include "task/texts.h"
#include "train/estimate.h"

#include <algorithm>

namespace luthier::cli {

namespace {

const std::vector<std::string> kMeasured{"loss", "perplexity", "accuracy",       "rank_accuracy",
                                         "f1",   "f1_macro",   "label_accuracy", "matthews",
                                         "mse",  "pearson",    "spearman"};
const std::vector<std::string> kWritten{"exact_match", "rouge"};

struct EvalOptions {
    std::string model, data, format = "auto", dtype = "auto", device = "auto";
    std::vector<std::string> adapters, metrics;
    std::int64_t maxLength = 512;
    std::int64_t maxNewTokens = 256;
    std::int64_t limit = 0;
    std::size_t batch = 8;
};

bool isIn(const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

std::string namesIn(const Json& object) {
    std::string names;
    for (const auto& [name, value] : object.items()) names += (names.empty() ? "" : ", ") + name;
    return names;
}

/// @param hasPrompt virtual tokens stand before each text
Dataset readRows(const EvalOptions& options, const ModelDescription& description, bool hasPrompt,
                 const TextEncoder& encoder, Progress& progress) {
    const char* task = description.isClassifier() ? "sequence_classification"
                       : description.encoder      ? "seq2seq_lm"
                                                  : "causal_lm";
    const Json document{{"model", {{"path", options.model}, {"task", task}}},
                        {"method", {{"type", wholeMethod().type}}},
                        {"data",
                         {{"train", {{"path", options.data}, {"format", options.format}}},
                          {"eval", {{"split", 0}}},
                          {"max_length", options.maxLength}}}};
    const RunConfig asked =
        resolveRunConfig(document, std::filesystem::current_path(), methodSchemas()).orThrow();
    if (const std::optional<Problem> warning = lengthWarning(asked))
        progress.say("warning: " + warning->message);
    RunConfig config = withTask(asked).orThrow();
    config.learnsFirstToken = hasPrompt;
    Dataset data = Dataset::build(config, encoder, progress.callback()).orThrow();
    if (options.limit > 0 && static_cast<std::size_t>(options.limit) < data.train.size())
        data.train.truncate(static_cast<std::size_t>(options.limit));
    return data;
}

/// What is read before the answer of a row, and the answer.
struct Asked {
    std::vector<std::int64_t> prompt;
    std::vector<int> answer;
};

Asked askedOf(const DataRow& row, const ModelDescription& description) {
    Asked asked;
    const auto first = std::find_if(row.labels.begin(), row.labels.end(),
                                    [](std::int32_t label) { return label != kIgnoredLabel; });
    for (auto label = first; label != row.labels.end(); ++label)
        if (*label != kIgnoredLabel) asked.answer.push_back(*label);
    const auto end =
        description.encoder ? row.ids.end() : row.ids.begin() + (first - row.labels.begin());
    asked.prompt.assign(row.ids.begin(), end);
    return asked;
}

/// exact_match and rouge over the rows that were not cut.
Json writtenMetrics(const EvalOptions& options, const Loaded& loaded, AdapterStack& stack,
                    const Dataset& data, Progress& progress) {
    const ModelDescription& description = loaded.model->description();
    if (description.isClassifier() || data.facts.format == "text")
        throw Failure({"metric_unsupported",
                       "exact_match and rouge compare written answers; these rows have none.",
                       "Give rows with a prompt and an answer.", "--metric", ExitCode::BadUsage});
    const Tokenizer& tokenizer = loaded.needTokenizer();
    const SmallModelThreads threads(weightBytesIn(loaded.folder));
    SamplingSettings sampling;
    sampling.maxNewTokens = options.maxNewTokens;
    std::int64_t written = 0;
    std::int64_t matching = 0;
    std::int64_t cut = 0;
    double rouge = 0;
    std::int64_t done = 0;
    for (const DataRow& row : data.train) {
        progress.show({"writing answers", done++, static_cast<std::int64_t>(data.train.size()),
                       written > 0 ? withThousands(matching) + " match" : ""});
        const Asked asked = askedOf(row, description);
        if (row.isTruncated || asked.prompt.empty()) {
            ++cut;
            continue;
        }
        const Generated generated =
            generate(*loaded.model, stack, asked.prompt, loaded.endIds(), sampling);
        const std::string text =
            tokenizer.decode(std::vector<int>(generated.ids.begin(), generated.ids.end()));
        const std::string right = tokenizer.decode(asked.answer);
        matching += isExactMatch(text, right) ? 1 : 0;
        rouge += rougeL(text, right);
        ++written;
    }
    if (cut > 0)
        progress.say(withThousands(cut) +
                     " rows have no prompt or are longer than --max-length and were left out of "
                     "exact_match and rouge.");
    if (written == 0)
        throw Failure({"no_rows",
                       "No row has a prompt and a whole answer within " +
                           std::to_string(options.maxLength) + " tokens.",
                       "Raise --max-length.", "--max-length"});
    return {{"exact_match", static_cast<double>(matching) / static_cast<double>(written)},
            {"rouge", rouge / static_cast<double>(written)},
            {"written_rows", written}};
}

std::unique_ptr<TextEncoder> encoderOf(const Loaded& loaded) {
    if (loaded.tokenizer) return std::make_unique<TokenizerEncoder>(*loaded.tokenizer);
    return std::make_unique<MissingTokenizer>(loaded.tokenizerProblems.front(),
                                              loaded.model->description().vocabulary);
}

ExitCode runEval(const EvalOptions& options, const Context& context) {
    context.progress->phase("loading", 0, 0);
    const Loaded loaded = loadModel(
        options.model, options.dtype == "auto" ? dtypeToMeasure(options.model) : options.dtype,
        options.device, options.adapters);
    AdapterStack stack = loaded.stack(options.adapters);
    const std::unique_ptr<TextEncoder> encoder = encoderOf(loaded);
    const ModelDescription& description = loaded.model->description();
    Dataset data = readRows(options, description, stack.hooks().promptLength() > 0, *encoder,
                            *context.progress);
    fitLabels(data, description).orThrow();
    const std::vector<DataRow> unpacked(data.train.begin(),
                                        data.train.end());  // examples are views
    std::vector<Example> rows;
    for (const DataRow& row : unpacked) rows.push_back(exampleOf(row));
    const bool isAnyMeasured =
        options.metrics.empty() ||
        std::any_of(options.metrics.begin(), options.metrics.end(),
                    [](const std::string& name) { return isIn(kMeasured, name); });
    const bool isAnyWritten =
        std::any_of(options.metrics.begin(), options.metrics.end(),
                    [](const std::string& name) { return isIn(kWritten, name); });
    Json found = Json::object();
    Json document{{"rows", rows.size()}};
    if (isAnyMeasured) {
        TaskOptions task;
        task.hasChoices = haveChoices(data);
        task.hasPrompt = stack.hooks().promptLength() > 0;
        const Measured measured =
            makeTask(*loaded.model, task)
                ->measure(*loaded.model, stack, rows,
                          {options.batch, [&](std::int64_t done, std::int64_t total) {
                               context.progress->phase("evaluating", done, total);
                               return true;
                           }});
        found = measured.metrics;
        setNumber(found, "loss", measured.loss());
        document["labels"] = measured.labels;
    }
    if (isAnyWritten) {
        const Json written = writtenMetrics(options, loaded, stack, data, *context.progress);
        for (const std::string& name : kWritten) found[name] = written[name];
        document["written_rows"] = written["written_rows"];
    }
    Json metrics = options.metrics.empty() ? found : Json::object();
    for (const std::string& metric : options.metrics) {
        if (!found.contains(metric))
            throw Failure(
                {"metric_unsupported",
                 "A " + description.architecture + " has no " + metric + " on these rows.",
                 "It has: " + namesIn(found) + ".", "--metric", ExitCode::BadUsage});
        metrics[metric] = found[metric];
        if (found.contains(metric + "_state"))
            metrics[metric + "_state"] = found[metric + "_state"];
    }
    document["metrics"] = metrics;
    std::string table;
    for (const auto& [name, value] : metrics.items()) table += name + "  " + dumpLine(value) + "\n";
    report(context, document, table);
    return ExitCode::Done;
}

}  // namespace

Command evalCommand() {
    return {[](CLI::App& app, Context& context) {
        auto options = std::make_shared<EvalOptions>();
        std::vector<std::string> metrics = kMeasured;
        metrics.insert(metrics.end(), kWritten.begin(), kWritten.end());
        CLI::App* command = app.add_subcommand("eval", "Measure a model on a file");
        command->add_option("model", options->model, "Model folder")->required();
        command->add_option("--data", options->data, "Rows to measure")->required();
        command->add_option("--format", options->format, "Shape of the rows");
        command->add_option("--adapter", options->adapters,
                            "Adapter folder, optionally :WEIGHT; may be repeated");
        command
            ->add_option("--metric", options->metrics,
                         "exact_match and rouge write each row's answer first")
            ->check(CLI::IsMember(metrics));
        command->add_option("--max-length", options->maxLength)->check(CLI::Range(2, 1 << 20));
        command
            ->add_option("--max-new-tokens", options->maxNewTokens,
                         "Longest answer for exact_match and rouge")
            ->check(CLI::Range(1, 1 << 20));
        command->add_option("--limit", options->limit, "Only the first rows; 0: all")
            ->check(CLI::NonNegativeNumber);
        command->add_option("--dtype", options->dtype, "auto: the model's own")
            ->check(CLI::IsMember({"auto", "float32", "bfloat16", "float16"}));
        command->add_option("--device", options->device);
        command->callback([options, &context] {
            context.run = [options, &context] { return runEval(*options, context); };
        });
    }};
}

}  // namespace luthier::cli
