// SPDX-License-Identifier: Apache-2.0
// estimate RUN.json: parameters, adapter bytes and memory by part, before anything is loaded.
#include "command.h"

#include "contract/run_config.h"
#include "peft/method.h"
#include "train/estimate.h"

namespace luthier::cli {

namespace {

ExitCode runEstimate(const std::string& path, const std::vector<std::string>& overrides,
                     const Context& context) {
    const RunConfig config = loadRunConfig(path, overrides, methodSchemas()).orThrow();
    const Json document = estimateRun(config).orThrow();
    std::string table = "trainable  " + withThousands(document["trainable"].get<std::int64_t>()) +
                        " of " + withThousands(document["total"].get<std::int64_t>()) + "\n";
    table += "file       " + bytesText(document["adapter_bytes"].get<std::int64_t>()) + "\n";
    for (const auto& [part, bytes] : document["memory"].items())
        table += "memory     " + part + "  " + bytesText(bytes.get<std::int64_t>()) + "\n";
    if (const Json& evaluation = document["evaluation"];
        evaluation.is_object() && evaluation["times"].get<std::int64_t>() > 0) {
        const std::int64_t percent =
            static_cast<std::int64_t>(evaluation["share"].get<double>() * 100 + 0.5);
        table += "evaluating  about " + std::to_string(percent) +
                 " % of the run: " + withThousands(evaluation["rows"]) + " of " +
                 withThousands(evaluation["of_rows"]) + " rows, " +
                 withThousands(evaluation["times"]) + " times\n";
    }
    for (const Json& warning : document["warnings"])
        table += "warning: " + warning["message"].get<std::string>() + " " +
                 warning["hint"].get<std::string>() + "\n";
    report(context, document, table);
    return ExitCode::Done;
}

}  // namespace

Command estimateCommand() {
    return {[](CLI::App& app, Context& context) {
        auto path = std::make_shared<std::string>();
        auto overrides = std::make_shared<std::vector<std::string>>();
        CLI::App* command =
            app.add_subcommand("estimate", "Parameters and memory of a run, before it starts");
        command->add_option("config", *path, "RUN.json")->required();
        command->add_option("--set", *overrides, "dotted.key=JSON; may be repeated")
            ->allow_extra_args(false);
        command->callback([path, overrides, &context] {
            context.run = [path, overrides, &context] {
                return runEstimate(*path, *overrides, context);
            };
        });
    }};
}

}  // namespace luthier::cli
