// SPDX-License-Identifier: Apache-2.0
#include "contract/run_config.h"

#include <algorithm>
#include <array>

namespace luthier {

namespace {

Setting integer(std::string key, Json value, std::string label, std::string help,
                std::optional<double> low = {}, std::optional<double> high = {},
                std::string unit = "") {
    Setting setting{std::move(key), SettingType::Integer, std::move(value), std::move(label),
                    std::move(help)};
    setting.minimum = low;
    setting.maximum = high;
    setting.unit = std::move(unit);
    return setting;
}

Setting real(std::string key, Json value, std::string label, std::string help,
             std::optional<double> low = {}, std::optional<double> high = {}) {
    Setting setting{std::move(key), SettingType::Real, std::move(value), std::move(label),
                    std::move(help)};
    setting.minimum = low;
    setting.maximum = high;
    return setting;
}

Setting choice(std::string key, Json value, std::string label, std::string help,
               std::vector<std::string> choices) {
    Setting setting{std::move(key), SettingType::Choice, std::move(value), std::move(label),
                    std::move(help)};
    setting.choices = std::move(choices);
    return setting;
}

Setting simple(std::string key, SettingType type, Json value, std::string label, std::string help) {
    return Setting{std::move(key), type, std::move(value), std::move(label), std::move(help)};
}

Setting nullable(Setting setting) {
    setting.isNullable = true;
    return setting;
}

Setting when(std::string key, std::vector<Json> values, Setting setting) {
    setting.appliesWhen = {std::move(key), std::move(values)};
    return setting;
}

Setting rare(Setting setting) {
    setting.isUsual = false;
    return setting;
}

constexpr std::array<const char*, 7> kTopLevel{"name", "group", "model", "method",
                                               "data", "train", "device"};

const std::vector<std::string> kFormats{
    "auto",   "tokenized", "text",           "prompt_completion",
    "alpaca", "chat",      "classification", "choices"};

void checkTopLevel(const Json& document, Problems& problems) {
    const std::vector<std::string> known(kTopLevel.begin(), kTopLevel.end());
    for (const auto& [key, value] : document.items()) {
        if (std::find(known.begin(), known.end(), key) != known.end()) continue;
        // Facts that the run folder's copy carries beside the configuration.
        if (key == "versions" || key == "hardware" || key == "inputs") continue;
        const std::string near = nearestName(key, known);
        problems.push_back({"unknown_key", key + " is not a known key.",
                            near.empty()
                                ? "Known keys: name, group, model, method, data, train, device."
                                : "Did you mean \"" + near + "\"?",
                            key, ExitCode::BadUsage});
    }
}

const Json& sectionOf(const Json& document, const char* key, Problems& problems, bool isRequired) {
    static const Json empty = Json::object();
    const auto found = document.find(key);
    if (found != document.end() && found->is_object()) return *found;
    if (found != document.end())
        problems.push_back(
            {"wrong_type", std::string(key) + " must be an object.", "", key, ExitCode::BadUsage});
    else if (isRequired)
        problems.push_back({"missing_key", std::string(key) + " is missing.",
                            "Add the section \"" + std::string(key) + "\".", key,
                            ExitCode::BadUsage});
    return empty;
}

void requireText(const Json& section, const std::string& dottedKey, const std::string& field,
                 const std::string& hint, Problems& problems) {
    const Json* value = findDotted(section, dottedKey);
    if (value != nullptr && value->is_string() && !value->get_ref<const std::string&>().empty())
        return;
    if (value != nullptr && !value->is_null() && !value->is_string())
        return;  // reported as wrong_type already
    problems.push_back({"missing_key", field + " is missing.", hint, field, ExitCode::BadUsage});
}

void makeAbsolute(Json& section, const std::string& dottedKey,
                  const std::filesystem::path& directory) {
    const Json* value = findDotted(section, dottedKey);
    if (value == nullptr || !value->is_string() || value->get_ref<const std::string&>().empty())
        return;
    const std::filesystem::path path = value->get<std::string>();
    if (path.is_relative())
        setDotted(section, dottedKey, (directory / path).lexically_normal().string());
}

Json resolvedMethod(const Json& method, const MethodSchemas& methods, Problems& problems) {
    if (!method.contains("type")) {
        problems.push_back({"missing_key", "method.type is missing.",
                            "Name a method, for example \"" + methods.byDefault + "\".",
                            "method.type", ExitCode::BadUsage});
        return method;
    }
    const std::string type = method["type"].is_string() ? method["type"].get<std::string>() : "";
    const Schema* schema = methods.find(type);
    if (schema == nullptr) {
        const std::string near = nearestName(type, methods.names);
        std::string all;
        for (const std::string& name : methods.names) all += (all.empty() ? "" : ", ") + name;
        problems.push_back(
            {"unknown_method", "method.type " + dumpLine(method["type"]) + " is not a method.",
             near.empty() ? "Methods: " + all + "." : "Did you mean \"" + near + "\"?",
             "method.type", ExitCode::BadUsage});
        return method;
    }
    for (Problem& problem : check(method, *schema, "method", {"type"}))
        problems.push_back(std::move(problem));
    if (!problems.empty()) return method;
    Json resolved = withDefaults(method, *schema);
    if (schema->settle) schema->settle(method, resolved);
    return resolved;
}

/// model.quantization, which is part of the contract but has one value so far: taken out before the
/// schema is asked.
Json withoutQuantization(Json model, Problems& problems) {
    const auto found = model.find("quantization");
    if (found == model.end()) return model;
    if (!found->is_null() && *found != "none")
        problems.push_back({"not_supported",
                            "model.quantization " + dumpLine(*found) +
                                " is not supported yet, neither on the CPU nor on a GPU: weights "
                                "are kept as float32, bfloat16 or float16.",
                            "Set model.quantization to \"none\".", "model.quantization",
                            ExitCode::BadUsage});
    model.erase("quantization");
    return model;
}

/// Settings that do not go with each other.
void checkTogether(const Json& resolved, Problems& problems) {
    const Json& train = resolved["train"];
    const auto isOn = [](const Json& value) {
        return value.is_boolean() ? value.get<bool>()
                                  : value.is_number() && value.get<double>() > 0;
    };
    const bool hasChoiceLoss = isOn(*findDotted(train, "loss.unlikelihood")) ||
                               isOn(*findDotted(train, "loss.length_normalized"));
    if (isOn(train["label_smoothing_factor"]) && hasChoiceLoss)
        problems.push_back(
            {"settings_exclude",
             "train.label_smoothing_factor and train.loss's weights do not go together.",
             "Set one of them to 0.", "train.label_smoothing_factor", ExitCode::BadUsage});
    if (isOn(train["group_by_length"]) && isOn(resolved["data"]["packing"]))
        problems.push_back({"settings_exclude",
                            "train.group_by_length and data.packing do not go together: packed "
                            "sequences are of like length already.",
                            "Set one of them to false.", "train.group_by_length",
                            ExitCode::BadUsage});
}

Result<Json> overridden(Json document, const std::vector<std::string>& overrides) {
    for (const std::string& text : overrides) {
        const std::size_t equals = text.find('=');
        if (equals == std::string::npos || equals == 0)
            return Problem{"bad_override", "--set " + text + " is not of the form dotted.key=JSON.",
                           "For example --set train.max_steps=50.", text, ExitCode::BadUsage};
        const std::string value = text.substr(equals + 1);
        Result<Json> parsed = parseJson(value, "--set " + text);
        // A bare word is what people type for a string; accept it when it is not JSON.
        setDotted(document, text.substr(0, equals), parsed ? *parsed : Json(value));
    }
    return document;
}

}  // namespace

const Schema& modelSchema() {
    static const Schema schema{
        "model",
        {
            simple("path", SettingType::Path, nullptr, "Model",
                   "Folder with config.json, *.safetensors and a tokenizer."),
            choice(
                "task", "auto", "Task",
                "What the model is trained to do; auto: what its config.json says it is made for.",
                {"auto", "causal_lm", "seq2seq_lm", "sequence_classification"}),
            rare(nullable(
                integer("num_labels", nullptr, "Classes",
                        "Classes of a sequence classifier; empty: as the model's config.json says.",
                        1, 1 << 20))),
            choice(
                "dtype", "auto", "Precision",
                "Type of frozen weights and of the computation; trained parameters stay float32. "
                "auto: bfloat16 where the "
                "device is fast at it. float16: weights rounded to float16, computed in float32.",
                {"auto", "float32", "bfloat16", "float16"}),
            choice("init", "pretrained", "Start from",
                   "pretrained: the weights in the folder; random: new weights from its config.",
                   {"pretrained", "random"}),
        }};
    return schema;
}

/// data.columns.KEY: the column that a user means by a key of the rows' formats (data/columns.h).
Schema withColumns(Schema schema) {
    for (const char* key : {"text", "text_pair", "prompt", "completion", "instruction", "input",
                            "output", "messages", "question", "answer", "label", "choices"})
        schema.settings.push_back(rare(nullable(simple(
            std::string("columns.") + key, SettingType::Text, nullptr,
            std::string("Column for ") + key,
            "Name of the file's column. When one is named, only the named ones are read."))));
    return schema;
}

const Schema& dataSchema() {
    static const Schema schema = withColumns(
        {"data",
         {
             simple("train.path", SettingType::Path, nullptr, "Training data",
                    "File of rows (JSON lines, JSON, CSV, TSV, Parquet, Arrow, text) or folder "
                    "with the rows to train on."),
             choice("train.format", "auto", "Format",
                    "Shape of the rows; auto looks at the first ones.", kFormats),
             rare(nullable(simple("eval.path", SettingType::Path, nullptr, "Evaluation data",
                                  "Rows that are only measured."))),
             rare(choice("eval.format", "auto", "Evaluation format",
                         "Shape of the evaluation rows.", kFormats)),
             nullable(integer("eval.max_rows", 500, "Evaluation rows",
                              "Most rows of one evaluation, drawn once by the seed and the same "
                              "throughout the run; empty: all.",
                              1, 1e9, "rows")),
             real("eval.split", 0.05, "Evaluation share",
                  "Share of the training rows held back when there is no evaluation file.", 0, 0.9),
             integer("max_length", 512, "Max. length",
                     "Rows are cut to this many tokens; cuts are counted.", 2, 1 << 20, "tokens"),
             simple("packing", SettingType::Boolean, false, "Pack rows",
                    "Put several short rows in one sequence, without attention between them."),
             rare(simple("shuffle", SettingType::Boolean, true, "Shuffle",
                         "New row order each epoch, fixed by the seed.")),
             choice("loss_on", "completion", "Loss on", "Which tokens are learned.",
                    {"completion", "all", "assistant"}),
             rare(choice("template", "auto", "Template",
                         "How rows become text; auto: the model's chat template for chats, plain "
                         "otherwise.",
                         {"auto", "model", "plain", "alpaca", "chatml", "custom"})),
             rare(when(
                 "template", {"custom"},
                 simple("template_text", SettingType::Text, "", "Template text",
                        "A Jinja template over the keys of a row. What stands between {% "
                        "generation %} and {% endgeneration %} is learned; control tokens count "
                        "where the template itself spells them, or as {{ eos_token }}."))),
         }});
    return schema;
}

const Schema& trainSchema() {
    static const Schema schema{
        "train",
        {
            nullable(integer("max_steps", nullptr, "Steps", "Optimiser steps; wins over epochs.", 1,
                             1e9, "steps")),
            nullable(real("epochs", nullptr, "Epochs",
                          "Passes over the training rows when steps are not given.", 0, 1e6)),
            integer("batch_size", 4, "Batch size", "Rows per device per micro-step.", 1, 65536,
                    "rows"),
            integer("gradient_accumulation_steps", 1, "Accumulation",
                    "Micro-steps per optimiser step.", 1, 65536),
            rare(choice("optimizer", "adamw", "Optimiser",
                        "The rule that turns gradients into updates. adamw_8bit keeps its moments "
                        "in 8 bits, adafactor as row and column sums.",
                        {"adamw", "adamw_8bit", "adafactor", "lion", "sgd"})),
            real("learning_rate", 2e-4, "Learning rate", "Step size at the top of the schedule.", 0,
                 100),
            rare(real("weight_decay", 0.0, "Weight decay",
                      "Decoupled decay (sgd: added to the gradient); biases and norms have none, "
                      "as in transformers.",
                      0, 1e6)),
            rare(simple("no_decay", SettingType::Texts, Json::array(), "No decay on",
                        "Regular expressions; parameters whose name one of them is found in have "
                        "no decay either.")),
            rare(real("adam_beta1", 0.9, "Beta 1", "Decay of the first moment.", 0, 0.999999)),
            rare(real("adam_beta2", 0.999, "Beta 2",
                      "Decay of the second moment; Lion's authors use 0.99.", 0, 0.9999999)),
            rare(real("adam_epsilon", 1e-8, "Epsilon", "Added to the root of the second moment.", 0,
                      1)),
            rare(when("optimizer", {"sgd"},
                      real("momentum", 0.0, "Momentum", "Share of the last update that is kept.", 0,
                           0.999999))),
            rare(when("optimizer", {"sgd"},
                      simple("nesterov", SettingType::Boolean, false, "Nesterov",
                             "Look ahead along the momentum."))),
            rare(
                when("optimizer", {"adafactor"},
                     simple("adafactor.scale_parameter", SettingType::Boolean, false,
                            "Scale by parameter",
                            "Steps in proportion to each tensor's root mean square (T-Few: on)."))),
            rare(
                when("optimizer", {"adafactor"},
                     simple("adafactor.relative_step", SettingType::Boolean, false, "Relative step",
                            "Adafactor's own step size, 1/sqrt(steps); learning rate and schedule "
                            "do not count."))),
            rare(when("optimizer", {"adafactor"},
                      simple("adafactor.warmup_init", SettingType::Boolean, false, "Slow start",
                             "With the relative step: begin at 1e-6 a step."))),
            rare(when("optimizer", {"adafactor"},
                      nullable(real("adafactor.beta1", nullptr, "First moment",
                                    "Decay of a first moment; empty: none.", 0, 0.999999)))),
            rare(when("optimizer", {"adafactor"},
                      real("adafactor.clip_threshold", 1.0, "Update clip",
                           "Largest root mean square of an update.", 1e-6, 1e6))),
            rare(when("optimizer", {"adafactor"},
                      real("adafactor.decay_rate", -0.8, "Decay rate",
                           "Exponent of the second moment's decay.", -1, 0))),
            rare(real("loss.unlikelihood", 0.0, "Unlikelihood",
                      "Weight of T-Few's L_UL beside the usual loss, for rows with choices: wrong "
                      "choices are made improbable. T-Few: 1.",
                      0, 1e3)),
            rare(real("loss.length_normalized", 0.0, "Length-normalised",
                      "Weight of T-Few's L_LN, for rows with choices: the right choice's mean "
                      "log-probability above the others'. T-Few: 1.",
                      0, 1e3)),
            rare(choice("loss.unlikelihood_form", "paper", "Unlikelihood form",
                        "paper: log(1 - p) over the wrong choices' tokens; code: as T-Few's "
                        "program has it, log(1 - p + 0.01) with padding counted.",
                        {"paper", "code"})),
            rare(real("label_smoothing_factor", 0.0, "Label smoothing",
                      "Share of the loss taken over all tokens or classes alike, as transformers' "
                      "LabelSmoother. Evaluations are measured without it.",
                      0, 0.999999)),
            rare(nullable(real("neftune_noise_alpha", nullptr, "Embedding noise",
                               "NEFTune: uniform noise of alpha / sqrt(tokens x width) on the "
                               "input embeddings while training; 5 to 15 are usual. Empty: none.",
                               0, 1e6))),
            rare(simple("group_by_length", SettingType::Boolean, false, "Group by length",
                        "Rows of like length share a step; the order stays random otherwise.")),
            choice("lr_scheduler_type", "linear", "Schedule",
                   "How the learning rate moves after warm-up.",
                   {"linear", "cosine", "cosine_with_restarts", "cosine_with_min_lr", "polynomial",
                    "inverse_sqrt", "constant", "constant_with_warmup", "warmup_stable_decay"}),
            rare(when(
                "lr_scheduler_type",
                {"cosine", "cosine_with_restarts", "cosine_with_min_lr", "warmup_stable_decay"},
                nullable(real("lr_scheduler_kwargs.num_cycles", nullptr, "Waves",
                              "Waves of the cosine; empty: half a wave, or one with restarts.", 0,
                              1e6)))),
            rare(when("lr_scheduler_type", {"polynomial"},
                      real("lr_scheduler_kwargs.power", 1.0, "Power", "Power of the polynomial.", 0,
                           100))),
            rare(when("lr_scheduler_type", {"polynomial"},
                      real("lr_scheduler_kwargs.lr_end", 1e-7, "Last rate",
                           "Learning rate at the end.", 0, 100))),
            rare(when("lr_scheduler_type", {"inverse_sqrt"},
                      nullable(real("lr_scheduler_kwargs.timescale", nullptr, "Time scale",
                                    "Steps; empty: the warm-up, or 10000.", 1, 1e9)))),
            rare(when(
                "lr_scheduler_type", {"cosine_with_min_lr"},
                nullable(real("lr_scheduler_kwargs.min_lr", nullptr, "Lowest rate",
                              "Learning rate at the bottom; wins over the share below.", 0, 100)))),
            rare(when("lr_scheduler_type", {"cosine_with_min_lr", "warmup_stable_decay"},
                      real("lr_scheduler_kwargs.min_lr_rate", 0.0, "Lowest share",
                           "Share of the learning rate at the bottom.", 0, 1))),
            rare(
                when("lr_scheduler_type", {"warmup_stable_decay"},
                     nullable(integer("lr_scheduler_kwargs.num_decay_steps", nullptr, "Decay steps",
                                      "Steps of the fall at the end; empty: a tenth of all.", 0,
                                      1e9, "steps")))),
            rare(when("lr_scheduler_type", {"warmup_stable_decay"},
                      choice("lr_scheduler_kwargs.warmup_type", "linear", "Rise",
                             "Shape of the warm-up.", {"linear", "cosine", "1-sqrt"}))),
            rare(when("lr_scheduler_type", {"warmup_stable_decay"},
                      choice("lr_scheduler_kwargs.decay_type", "cosine", "Fall",
                             "Shape of the decay.", {"linear", "cosine", "1-sqrt"}))),
            integer("warmup_steps", 0, "Warm-up",
                    "Steps over which the learning rate rises from 0.", 0, 1e9, "steps"),
            nullable(real("max_grad_norm", 1.0, "Clip norm at",
                          "Gradients are scaled down to this total norm; 0 = never.", 0, 1e9)),
            integer("seed", 42, "Seed", "Fixes initial values, order and dropout.", 0,
                    4294967295.0),
            rare(choice("gradient_checkpointing", "auto", "Checkpointing",
                        "Recompute activations in the backward pass: less memory, a third more "
                        "time. auto: when they would not fit.",
                        {"auto", "on", "off"})),
            integer("eval_every", 50, "Evaluate every",
                    "Steps between evaluations; 0 = only at the end.", 0, 1e9, "steps"),
            rare(simple(
                "eval_at_start", SettingType::Boolean, true, "Evaluate at start",
                "Measure before the first step too, where evaluations are made during the run.")),
            integer("save_every", 100, "Checkpoint every",
                    "Steps between checkpoints; 0 = only at the end.", 0, 1e9, "steps"),
            nullable(
                integer("early_stopping_patience", nullptr, "Patience",
                        "Evaluations without a lower loss before the run ends early; empty: never.",
                        1, 1e6)),
            rare(real("early_stopping_threshold", 0.0, "Smallest gain",
                      "How much lower the evaluation loss must be to count for the patience.", 0,
                      1e6)),
            rare(simple(
                "load_best_model_at_end", SettingType::Boolean, false, "Result from best",
                "Keep a checkpoint of the lowest evaluation loss and make the result from it.")),
            rare(integer("keep_checkpoints", 3, "Keep checkpoints",
                         "Newest checkpoints kept, and the best one; older ones are deleted.", 1,
                         100000)),
            rare(simple("sample_prompts", SettingType::Texts, Json::array(), "Sample prompts",
                        "Continued after each evaluation.")),
            rare(integer("sample_max_new_tokens", 64, "Sample length",
                         "Tokens generated for a sample.", 1, 4096, "tokens")),
        }};
    return schema;
}

Result<RunConfig> resolveRunConfig(const Json& document, const std::filesystem::path& directory,
                                   const MethodSchemas& methods) {
    Problems problems;
    if (!document.is_object())
        return Problem{"wrong_type", "The run configuration must be a JSON object.", "", "",
                       ExitCode::BadUsage};
    checkTopLevel(document, problems);
    const Json model = withoutQuantization(sectionOf(document, "model", problems, true), problems);
    const Json& method = sectionOf(document, "method", problems, true);
    const Json& data = sectionOf(document, "data", problems, true);
    const Json& train = sectionOf(document, "train", problems, false);
    for (const auto& [section, schema, name] :
         {std::tuple{&model, &modelSchema(), "model"}, std::tuple{&data, &dataSchema(), "data"},
          std::tuple{&train, &trainSchema(), "train"}})
        for (Problem& problem : check(*section, *schema, name))
            problems.push_back(std::move(problem));
    requireText(model, "path", "model.path", "Give the folder of a model.", problems);
    requireText(data, "train.path", "data.train.path", "Give a file with training rows.", problems);

    RunConfig config;
    config.directory = directory;
    Json resolved;
    for (const char* key : {"name", "group"}) {
        const auto found = document.find(key);
        if (found != document.end() && !found->is_string() && !found->is_null())
            problems.push_back({"wrong_type", std::string(key) + " must be a string.", "", key,
                                ExitCode::BadUsage});
        else
            resolved[key] = found == document.end() || found->is_null() ? Json("") : *found;
    }
    resolved["model"] = withDefaults(model, modelSchema());
    resolved["model"]["quantization"] = "none";
    resolved["method"] = resolvedMethod(method, methods, problems);
    resolved["data"] = withDefaults(data, dataSchema());
    resolved["train"] = withDefaults(train, trainSchema());
    const auto device = document.find("device");
    resolved["device"] = device == document.end() ? Json("auto") : *device;
    if (!resolved["device"].is_string())
        problems.push_back({"wrong_type", "device must be a string.", "auto, cpu, cuda or cuda:N.",
                            "device", ExitCode::BadUsage});
    if (problems.empty()) checkTogether(resolved, problems);
    if (!problems.empty()) return problems;

    if (resolved["name"] == "") resolved["name"] = resolved["method"]["type"];
    if (resolved["train"]["max_steps"].is_null() && resolved["train"]["epochs"].is_null())
        resolved["train"]["epochs"] = 3;
    makeAbsolute(resolved["model"], "path", directory);
    makeAbsolute(resolved["data"], "train.path", directory);
    makeAbsolute(resolved["data"], "eval.path", directory);
    makeAbsolute(resolved["method"], "init_from", directory);
    config.learnsFirstToken =
        methods.find(resolved["method"]["type"].get<std::string>())->putsTokensBeforeText;
    config.document = std::move(resolved);
    return config;
}

Result<RunConfig> loadRunConfig(const std::filesystem::path& path,
                                const std::vector<std::string>& overrides,
                                const MethodSchemas& methods) {
    Result<Json> document = readJsonFile(path, 4u << 20, JsonComments::Allowed);
    if (!document) {
        Problems problems = document.problems();
        for (Problem& problem : problems) problem.exit = ExitCode::BadUsage;
        return problems;
    }
    Result<Json> changed = overridden(std::move(*document), overrides);
    if (!changed) return changed.problems();
    return resolveRunConfig(*changed, std::filesystem::absolute(path).parent_path(), methods);
}

}  // namespace luthier
