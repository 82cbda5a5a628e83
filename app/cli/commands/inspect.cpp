// SPDX-License-Identifier: Apache-2.0
// inspect PATH: what a model, adapter, dataset, run folder or file is.
#include "command.h"
#include "survey.h"

#include "contract/fields.h"

#include <algorithm>

namespace luthier::cli {

namespace {

bool isError(const Json& problem) { return problem.value("level", "error") == "error"; }

ExitCode runInspect(const std::string& path, const Context& context) {
    const Json document = inspectPath(path);
    std::string table;
    for (const auto& [key, value] : document.items()) {
        if (value.is_structured() && key != "dtypes" && key != "values" && key != "columns")
            continue;
        table += key + std::string(key.size() < 18 ? 18 - key.size() : 1, ' ') +
                 (value.is_string()           ? value.get<std::string>()
                  : value.is_number_integer() ? withThousands(value.get<std::int64_t>())
                                              : dumpLine(value)) +
                 "\n";
    }
    for (const Json& part : document.value("parts", Json::array()))
        table += "  " + part["name"].get<std::string>() + "  " +
                 withThousands(part["parameters"].get<std::int64_t>()) + "\n";
    for (const Json& problem : document.value("problems", Json::array()))
        table += (isError(problem) ? "problem: " : "warning: ") +
                 problem["message"].get<std::string>() + " " + problem["hint"].get<std::string>() +
                 "\n";
    report(context, document, table);
    // What was found stands on standard output; that it cannot be used is a failure as any other.
    const Json& problems = document.at("problems");
    if (const auto error = std::find_if(problems.begin(), problems.end(), isError);
        error != problems.end())
        throw Failure({textOr(*error, "code"), textOr(*error, "message"), textOr(*error, "hint"),
                       path, ExitCode::BadInput});
    return ExitCode::Done;
}

}  // namespace

Command inspectCommand() {
    return {[](CLI::App& app, Context& context) {
        auto path = std::make_shared<std::string>();
        CLI::App* command =
            app.add_subcommand("inspect", "What a folder or file is, and problems found");
        command->add_option("path", *path)->required();
        command->callback([path, &context] {
            context.run = [path, &context] { return runInspect(*path, context); };
        });
    }};
}

}  // namespace luthier::cli
