// SPDX-License-Identifier: Apache-2.0
// data RUN.json: rows as the trainer will see them.
#include "command.h"
#include "survey.h"

#include "peft/method.h"

namespace luthier::cli {

namespace {

struct Options {
    std::string config;
    std::vector<std::string> overrides;
    std::int64_t first = 0;
    std::int64_t count = 20;
};

ExitCode run(const Options& options, const Context& context) {
    const RunConfig config = loadRunConfig(options.config, options.overrides, methodSchemas()).orThrow();
    const Json document = previewData(config, options.first, options.count);
    std::string table;
    for (const char* key : {"rows", "train_rows", "eval_rows", "tokens", "supervised_tokens", "truncated_rows", "skipped_rows"})
        table += std::string(key) + "  " + withThousands(document.at(key).get<std::int64_t>()) + "\n";
    table += "format  " + document.at("format").get<std::string>() + "\n";
    for (const Json& problem : document.at("problems")) table += problem["level"].get<std::string>() + ": " + problem["message"].get<std::string>() + " " + problem["hint"].get<std::string>() + "\n";
    for (const Json& row : document.at("preview")) {
        table += "\nrow " + std::to_string(row["row"].get<std::int64_t>()) + " (" + row["split"].get<std::string>() + ")\n";
        for (const Json& token : row["tokens"]) {
            const bool isLearned = token["state"] == "loss";
            table += (isLearned ? "[" : "") + token["text"].get<std::string>() + (isLearned ? "]" : "") + " ";
        }
        table += "\n";
    }
    report(context, document, table);
    return ExitCode::Done;
}

}  // namespace

void addData(CLI::App& app, Context& context) {
    auto options = std::make_shared<Options>();
    CLI::App* command = app.add_subcommand("data", "Rows as the trainer will see them");
    command->add_option("config", options->config, "RUN.json")->required();
    command->add_option("--set", options->overrides, "dotted.key=JSON; may be repeated")->allow_extra_args(false);
    command->add_option("--first", options->first, "First row to show");
    command->add_option("--count", options->count, "Rows to show");
    command->callback([options, &context] { context.run = [options, &context] { return run(*options, context); }; });
}

}  // namespace luthier::cli
