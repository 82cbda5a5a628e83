// SPDX-License-Identifier: Apache-2.0
// score MODEL --data ROWS.jsonl --out OUT.safetensors: logits, log-probabilities or the loss of
// each row, or the loss over all rows with the gradient of every parameter: `loss`
// [] and one tensor a parameter, under its file's name. Rows that name an adapter (`"adapter":
// NAME`, with --adapter NAME=DIR; null: the base) see that one alone, and pass together with rows
// of others. Rows with "choices" (id lists) and "answer" may be trained on with T-Few's losses
// (`terms.<name>` [] beside `loss`) and scored
// (`choices.<row>` [choices]: the length-normalised losses that rank classification compares).
#include "command.h"
#include "loaded.h"

#include "data/source.h"
#include "io/atomic.h"
#include "io/safetensors.h"
#include "model/tensors.h"
#include "peft/mixed_stack.h"
#include "task/choices.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <span>

namespace luthier::cli {

namespace {

struct ScoreOptions {
    std::string model, data, out, what = "logits", dtype = "float32", device = "auto";
    std::vector<std::string> adapters;
    double unlikelihood = 0, lengthNormalized = 0, labelSmoothing = 0;
    std::string unlikelihoodForm = "paper";
};

struct Row {
    std::vector<std::int32_t> ids, labels, types;
    std::int32_t classIndex = -1;
    std::vector<float> targets;
    std::optional<std::string> adapter;  // its name, empty for the base; none: all that were given
    std::vector<std::vector<std::int32_t>> choices;
    std::int32_t answer = -1;

    Example example() const { return {ids, labels, types, classIndex, targets, choices, answer}; }
};

/// Drops what the row's attention_mask leaves out: padding, on either side.
void dropPadding(const Json& json, Row& row, bool hasOwnLabels) {
    if (!json.contains("attention_mask")) return;
    const auto mask = json.at("attention_mask").get<std::vector<std::int32_t>>();
    if (mask.size() != row.ids.size()) throw Json::other_error::create(0, "attention_mask", &json);
    const auto keep = [&](std::vector<std::int32_t>& values) {
        std::size_t kept = 0;
        for (std::size_t i = 0; i < values.size(); ++i)
            if (mask[i] != 0) values[kept++] = values[i];
        values.resize(kept);
    };
    if (!row.types.empty()) keep(row.types);
    if (!hasOwnLabels && !row.labels.empty()) keep(row.labels);
    keep(row.ids);
}

/// "label" (or "labels"): a class, or a number for every class.
void readLabel(const Json& json, const ModelDescription& description, Row& row) {
    const char* key = json.contains("label") ? "label" : "labels";
    if (!description.isClassifier() || !json.contains(key)) return;
    const Json& label = json.at(key);
    if (label.is_number_integer() && description.classifier.classes > 1) {
        row.classIndex = label.get<std::int32_t>();
        if (row.classIndex < 0 || row.classIndex >= description.classifier.classes)
            throw Json::other_error::create(0, key, &json);
        return;
    }
    row.targets =
        label.is_array() ? label.get<std::vector<float>>() : std::vector<float>{label.get<float>()};
    if (static_cast<std::int64_t>(row.targets.size()) != description.classifier.classes)
        throw Json::other_error::create(0, key, &json);
}

/// "choices" and "answer" of a row of ids: the right choice becomes what is to be written.
void readChoices(const Json& json, bool isApart, Row& row) {
    if (!json.contains("choices")) return;
    row.choices = json.at("choices").get<std::vector<std::vector<std::int32_t>>>();
    row.answer = json.at("answer").get<std::int32_t>();
    if (row.answer < 0 || row.answer >= static_cast<std::int32_t>(row.choices.size()))
        throw Json::other_error::create(0, "answer", &json);
    const std::vector<std::int32_t>& right = row.choices[static_cast<std::size_t>(row.answer)];
    row.labels = right;
    if (isApart) return;
    row.labels.insert(row.labels.begin(), row.ids.size(), kNoLabel);
    row.ids.insert(row.ids.end(), right.begin(), right.end());
}

/// {"input_ids", "labels"?, "attention_mask"?, "token_type_ids"?, "label"?} or {"text", "label"?}.
/// Labels default to the ids; those of an encoder-decoder are what its decoder writes.
Row readRow(const Json& json, const Loaded& loaded, const std::string& where) {
    Row row;
    const ModelDescription& description = loaded.model->description();
    const bool isApart = description.encoder && !description.isClassifier();
    try {
        if (json.contains("input_ids")) {
            row.ids = json.at("input_ids").get<std::vector<std::int32_t>>();
            if (json.contains("token_type_ids"))
                row.types = json.at("token_type_ids").get<std::vector<std::int32_t>>();
            row.labels = json.contains("labels") && !description.isClassifier()
                             ? json.at("labels").get<std::vector<std::int32_t>>()
                             : row.ids;
            dropPadding(json, row, isApart);
            readChoices(json, isApart, row);
        } else if (json.contains("text")) {
            for (const int id : loaded.needTokenizer().encode(json.at("text").get<std::string>()))
                row.ids.push_back(id);
            row.labels = row.ids;
            if (isApart) row.labels = json.at("labels").get<std::vector<std::int32_t>>();
        }
        readLabel(json, description, row);
        if (const auto adapter = json.find("adapter"); adapter != json.end())
            row.adapter = adapter->is_null() ? ""
                          : adapter->is_number_integer()
                              ? std::to_string(adapter->get<std::int64_t>())
                              : adapter->get<std::string>();
    } catch (const Json::exception&) {
        row.ids.clear();
    }
    const auto vocabulary = static_cast<std::int32_t>(description.vocabulary);
    bool isValid =
        !row.ids.empty() && !row.labels.empty() && (isApart || row.ids.size() == row.labels.size());
    for (const std::int32_t id : row.ids) isValid = isValid && id >= 0 && id < vocabulary;
    for (const std::vector<std::int32_t>& choice : row.choices) {
        isValid = isValid && !choice.empty();
        for (const std::int32_t id : choice) isValid = isValid && id >= 0 && id < vocabulary;
    }
    for (const std::int32_t label : row.labels)
        isValid = isValid && label < vocabulary && (label >= 0 || label == kNoLabel);
    if (!isValid)
        throw Failure({"bad_row",
                       where + " is not a row of token ids below " + std::to_string(vocabulary) +
                           " (input_ids, labels of the same length) or of text.",
                       "Correct or remove that row.", where});
    return row;
}

/// `logits` of a row as what was asked for: themselves, or the log-probabilities of its tokens.
at::Tensor asked(const Model& model, const at::Tensor& logits, const Row& row,
                 const std::string& what) {
    if (what == "logits") return logits;
    if (model.description().isClassifier())
        throw Failure({"bad_usage", "A classifier has no next tokens.",
                       "Ask for --what logits or loss.", "--what", ExitCode::BadUsage});
    const at::Tensor logP = at::log_softmax(logits, -1);
    const std::vector<std::int64_t> labels(row.labels.begin(), row.labels.end());
    const std::vector<std::int64_t> ids(row.ids.begin(), row.ids.end());
    if (model.description().encoder)
        return logP
            .gather(1, at::tensor(labels, at::kLong).clamp_min(0).to(logits.device()).unsqueeze(1))
            .squeeze(1);
    const at::Tensor next = at::tensor(ids, at::kLong)
                                .to(logits.device())
                                .narrow(0, 1, logits.size(0) - 1)
                                .unsqueeze(1);
    return logP.narrow(0, 0, logits.size(0) - 1).gather(1, next).squeeze(1);
}

at::Tensor scored(const Loaded& loaded, const Task& task, AdapterStack& stack, const Row& row,
                  const std::string& what) {
    const Example example = row.example();
    const Model& model = *loaded.model;
    stack.beginPass({});
    if (what == "loss") {
        const LossCounts counts = task.counts(example);
        if (counts.labels == 0)
            throw Failure({"no_labels", "A row of the data has no label that carries loss.",
                           "Give labels, or ask for logits.", "--data"});
        return task.loss(model, {&example, 1}, counts, {stack.hooks()}).value.to(at::kFloat);
    }
    if (what == "choices") {
        if (example.choices.empty())
            throw Failure({"no_choices", "A row of the data has no choices.",
                           "Give \"choices\" and \"answer\".", "--data"});
        return choiceScores(model, stack, {&example, 1}).front();
    }
    return asked(model, task.logits(model, example, stack.hooks()), row, what);
}

/// Rows of different adapters, kMixedRows in one pass.
std::vector<at::Tensor> scoredTogether(const Loaded& loaded, const Task& task,
                                       const ScoreOptions& options, const std::vector<Row>& rows,
                                       Progress& progress) {
    constexpr std::size_t kMixedRows = 8;
    if (options.what != "logits" && options.what != "logprobs")
        throw Failure({"bad_usage",
                       "Rows that name their adapters are scored by logits or log-probabilities.",
                       "Ask for --what logits or logprobs.", "--what", ExitCode::BadUsage});
    const std::map<std::string, std::unique_ptr<AdapterStack>> stacks =
        loaded.namedStacks(options.adapters);
    AdapterStack base(*loaded.model);
    AdapterStack all = loaded.stack(options.adapters);
    const auto stackOf = [&](const Row& row) -> AdapterStack* {
        if (!row.adapter || row.adapter->empty()) return row.adapter ? &base : &all;
        const auto found = stacks.find(*row.adapter);
        if (found != stacks.end()) return found->second.get();
        throw Failure({"unknown_adapter",
                       "A row asks for the adapter \"" + *row.adapter + "\", which was not given.",
                       "Give it as --adapter " + *row.adapter + "=DIR.", "adapter",
                       ExitCode::BadInput});
    };
    std::vector<at::Tensor> results;
    for (std::size_t first = 0; first < rows.size(); first += kMixedRows) {
        progress.phase("scoring", static_cast<std::int64_t>(first),
                       static_cast<std::int64_t>(rows.size()));
        const std::span<const Row> part(rows.data() + first,
                                        std::min(kMixedRows, rows.size() - first));
        std::vector<Example> examples;
        std::vector<AdapterStack*> chosen;
        for (const Row& row : part) {
            examples.push_back(row.example());
            chosen.push_back(stackOf(row));
        }
        const std::unique_ptr<MixedStack> mixed =
            MixedStack::create(*loaded.model, chosen).orThrow();
        mixed->beginPass();
        const std::vector<at::Tensor> logits =
            task.logitsOfEach(*loaded.model, examples, mixed->hooks());
        for (std::size_t i = 0; i < part.size(); ++i)
            results.push_back(asked(*loaded.model, logits[i], part[i], options.what));
    }
    return results;
}

/// Loss per label over all rows, and its gradients: of the adapter's parameters, or of all of the
/// model's without one.
void writeGradients(const Loaded& loaded, const Task& task, AdapterStack& stack,
                    const std::vector<Row>& rows, const std::string& out) {
    std::vector<Example> examples;
    for (const Row& row : rows) examples.push_back(row.example());
    std::vector<std::pair<std::string, at::Tensor>> parameters;
    for (const std::shared_ptr<Adapter>& adapter : stack.adapters())
        for (const TrainedParameter& parameter : adapter->parameters())
            parameters.emplace_back(parameter.name, parameter.tensor);
    if (parameters.empty()) {
        for (const std::string& name : loaded.model->weights().names()) {
            loaded.model->weights().makeTrainable(name);
            parameters.emplace_back(name, loaded.model->weights().at(name));
        }
    }
    LossCounts counts;
    for (const Example& example : examples) counts += task.counts(example);
    if (counts.labels == 0)
        throw Failure(
            {"no_labels", "The rows have no label that carries loss.", "Give labels.", "--data"});
    // No dropout acts; the key says training for label smoothing alone.
    stack.beginPass({});
    const Loss loss =
        task.loss(*loaded.model, examples, counts, {stack.hooks(), Activations::Keep, {0, true}});
    loss.value.backward();
    std::vector<at::Tensor> storage;
    std::vector<TensorView> views{viewOf("loss", loss.value.detach().to(at::kFloat), storage)};
    for (const auto& [name, value] : loss.terms)
        views.push_back(viewOf("terms." + name, at::tensor(value, at::kFloat), storage));
    for (const auto& [name, tensor] : parameters)
        if (tensor.grad().defined())
            views.push_back(viewOf(name, tensor.grad().to(at::kFloat), storage));
    writeSafetensors(out, views, {{"format", "pt"}}).orThrow();
}

ExitCode runScore(const ScoreOptions& options, const Context& context) {
    const bool wantsGradients = options.what == "gradients";
    const at::AutoGradMode mode(wantsGradients);
    context.progress->phase("loading", 0, 0);
    const Loaded loaded = loadModel(options.model, options.dtype, options.device, options.adapters);
    TaskOptions wanted;
    wanted.unlikelihood = options.unlikelihood;
    wanted.lengthNormalized = options.lengthNormalized;
    wanted.unlikelihoodForm =
        options.unlikelihoodForm == "code" ? UnlikelihoodForm::Code : UnlikelihoodForm::Paper;
    wanted.hasChoices = wanted.unlikelihood > 0 || wanted.lengthNormalized > 0;
    wanted.labelSmoothing = options.labelSmoothing;
    const OpenSource source = openJsonSource(options.data).orThrow();
    std::vector<at::Tensor> storage;
    std::vector<TensorView> views;
    std::vector<Row> rows;
    while (const std::optional<SourceRow> row = source.rows->next().orThrow()) {
        const std::string where = placeOf(options.data, *row);
        rows.push_back(readRow(row->value, loaded, where));
        if (wanted.hasChoices && rows.back().choices.empty())
            throw Failure({"no_choices",
                           where + " has no choices, which the losses asked for compare.",
                           "Give \"choices\" and \"answer\", or leave these losses out.", where});
    }
    const auto index = static_cast<std::int64_t>(rows.size());
    const bool isMixed = std::any_of(rows.begin(), rows.end(),
                                     [](const Row& row) { return row.adapter.has_value(); });
    AdapterStack stack = isMixed ? AdapterStack(*loaded.model) : loaded.stack(options.adapters);
    wanted.hasPrompt = stack.hooks().promptLength() > 0;
    const std::unique_ptr<Task> task = makeTask(*loaded.model, wanted);
    const std::vector<at::Tensor> together =
        isMixed ? scoredTogether(loaded, *task, options, rows, *context.progress)
                : std::vector<at::Tensor>{};
    for (std::size_t i = 0; i < rows.size() && !wantsGradients; ++i) {
        context.progress->phase("scoring", static_cast<std::int64_t>(i), index);
        views.push_back(viewOf(
            options.what + "." + std::to_string(i),
            isMixed ? together[i] : scored(loaded, *task, stack, rows[i], options.what), storage));
    }
    if (wantsGradients) {
        if (rows.empty())
            throw Failure({"no_rows", options.data + " has no rows.", "Give at least one row.",
                           options.data});
        writeGradients(loaded, *task, stack, rows, options.out);
        report(context, Json{{"rows", index}, {"out", options.out}},
               "The gradients over " + withThousands(index) + " rows written to " + options.out +
                   "\n");
        return ExitCode::Done;
    }
    const std::uint64_t bytes = writeSafetensors(options.out, views, {{"format", "pt"}}).orThrow();
    report(context, Json{{"rows", index}, {"out", options.out}, {"bytes", bytes}},
           withThousands(index) + " rows written to " + options.out + "\n");
    return ExitCode::Done;
}

}  // namespace

Command scoreCommand() {
    return {[](CLI::App& app, Context& context) {
        auto options = std::make_shared<ScoreOptions>();
        CLI::App* command =
            app.add_subcommand("score", "Logits, log-probabilities or losses of rows");
        command->add_option("model", options->model, "Model folder")->required();
        command->add_option("--data", options->data, "Rows: JSON objects, one a line or in a list")
            ->required();
        command->add_option("--out", options->out, "File to write")->required();
        command->add_option("--adapter", options->adapters,
                            "Adapter folder, optionally :WEIGHT or NAME=FOLDER for rows that name "
                            "it; may be repeated");
        command->add_option("--what", options->what)
            ->check(CLI::IsMember({"logits", "logprobs", "loss", "choices", "gradients"}));
        command->add_option("--dtype", options->dtype)
            ->check(CLI::IsMember({"auto", "float32", "bfloat16", "float16"}));
        command->add_option("--device", options->device);
        command
            ->add_option("--unlikelihood", options->unlikelihood,
                         "Weight of T-Few's L_UL in losses and gradients")
            ->check(CLI::Range(0.0, 1e3));
        command
            ->add_option("--length-normalized", options->lengthNormalized, "Weight of T-Few's L_LN")
            ->check(CLI::Range(0.0, 1e3));
        command->add_option("--unlikelihood-form", options->unlikelihoodForm)
            ->check(CLI::IsMember({"paper", "code"}));
        command
            ->add_option("--label-smoothing", options->labelSmoothing,
                         "Label smoothing in gradients")
            ->check(CLI::Range(0.0, 0.999));
        command->callback([options, &context] {
            context.run = [options, &context] { return runScore(*options, context); };
        });
    }};
}

}  // namespace luthier::cli
