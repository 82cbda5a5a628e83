// SPDX-License-Identifier: Apache-2.0
// data RUN.json: rows as the trainer will see them. data FILE: the first rows of any source, as
// they stand and as they are understood.
#include "command.h"
#include "survey.h"

#include "data/row_format.h"
#include "data/source.h"
#include "peft/method.h"

namespace luthier::cli {

namespace {

struct DataOptions {
    std::string config;
    std::vector<std::string> overrides;
    std::int64_t first = 0;
    std::int64_t count = 20;
};

bool isRunConfig(const std::string& path) {
    std::error_code code;
    if (std::filesystem::is_directory(path, code)) return false;
    if (std::filesystem::path(path).extension() != ".json" ||
        std::filesystem::file_size(path, code) > (4u << 20))
        return false;
    const Result<Json> document = readJsonFile(path, 4u << 20, JsonComments::Allowed);
    return !document ||
           (document->is_object() && (document->contains("model") || document->contains("method")));
}

/// Reads only the rows it shows, so that a file of any size answers at once.
ExitCode showFile(const DataOptions& options, const Context& context) {
    OpenSource source = openSource(options.config).orThrow();
    const std::int64_t passed = options.first > 0 ? source.rows->skip(options.first).orThrow() : 0;
    Json preview = Json::array();
    Json problems = Json::array();
    Json format, mapping;
    std::string table;
    const std::int64_t before = source.rows->bytesRead();
    std::int64_t read = 0;
    for (; read < options.count; ++read) {
        Result<std::optional<SourceRow>> row = source.rows->next();
        if (row && !row->has_value()) break;
        if (!row) {
            problems.push_back({{"level", "error"},
                                {"code", row.problem().code},
                                {"message", row.problem().message},
                                {"hint", row.problem().hint}});
            continue;
        }
        const SourceRow& shown = **row;
        if (const std::optional<RowFormat> known = recognise(shown.value);
            known && format.is_null()) {
            format = rowFormatName(*known);
            mapping = mappingDescription(*known, shown.value, RowTask::Classification, true);
        }
        preview.push_back({{"row", shown.row}, {"byte", shown.byte}, {"value", shown.value}});
        table += "row " + std::to_string(shown.row) + "  " + dumpLine(shown.value) + "\n";
    }
    const std::int64_t bytes = source.rows->bytesRead() - before;
    const bool isWhole = read < options.count;
    Json document{{"path", options.config},
                  {"bytes", source.bytes},
                  {"rows", source.count ? Json(*source.count)
                           : isWhole    ? Json(passed + read)
                                        : Json()},
                  {"estimated_rows", bytes > 0 && read > 0
                                         ? Json(passed + (source.bytes - before) * read / bytes)
                                         : Json(passed + read)},
                  {"format", format},
                  {"mapping", mapping},
                  {"first", options.first},
                  {"preview", preview},
                  {"problems", problems}};
    for (const Json& problem : problems)
        table +=
            problem["message"].get<std::string>() + " " + problem["hint"].get<std::string>() + "\n";
    table +=
        "format  " +
        (format.is_null() ? std::string("not recognised")
                          : format.get<std::string>() + " (" + mapping.get<std::string>() + ")") +
        "\n";
    report(context, document, table);
    return ExitCode::Done;
}

ExitCode runData(const DataOptions& options, const Context& context) {
    if (!isRunConfig(options.config)) return showFile(options, context);
    const RunConfig config =
        loadRunConfig(options.config, options.overrides, methodSchemas()).orThrow();
    const Json document =
        previewData(config, options.first, options.count, context.progress->callback());
    std::string table;
    for (const char* key : {"rows", "train_rows", "eval_rows", "tokens", "supervised_tokens",
                            "truncated_rows", "skipped_rows", "unusable_rows"})
        table +=
            std::string(key) + "  " + withThousands(document.at(key).get<std::int64_t>()) + "\n";
    table += "format  " + document.at("format").get<std::string>() + "\n";
    for (const Json& problem : document.at("problems"))
        table += problem["level"].get<std::string>() + ": " +
                 problem["message"].get<std::string>() + " " + problem["hint"].get<std::string>() +
                 "\n";
    for (const Json& row : document.at("preview")) {
        table += "\nrow " + std::to_string(row["row"].get<std::int64_t>()) + " (" +
                 row["split"].get<std::string>() + ")\n";
        for (const Json& token : row["tokens"]) {
            const bool isLearned = token["state"] == "loss";
            table += (isLearned ? "[" : "") + token["text"].get<std::string>() +
                     (isLearned ? "]" : "") + " ";
        }
        table += "\n";
    }
    report(context, document, table);
    return ExitCode::Done;
}

}  // namespace

Command dataCommand() {
    return {[](CLI::App& app, Context& context) {
        auto options = std::make_shared<DataOptions>();
        CLI::App* command = app.add_subcommand("data", "Rows as the trainer will see them");
        command->add_option("config", options->config, "RUN.json, or a file or folder of rows")
            ->required();
        command->add_option("--set", options->overrides, "dotted.key=JSON; may be repeated")
            ->allow_extra_args(false);
        command->add_option("--first", options->first, "First row to show");
        command->add_option("--count", options->count, "Rows to show");
        command->callback([options, &context] {
            context.run = [options, &context] { return runData(*options, context); };
        });
    }};
}

}  // namespace luthier::cli
