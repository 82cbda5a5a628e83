// SPDX-License-Identifier: Apache-2.0
// models [DIR…]: models in the given folders, the workspace, Hugging Face's cache, LM Studio's and
// Ollama's folders.
#include "command.h"
#include "model_list.h"

#include "contract/run_store.h"

namespace luthier::cli {

namespace {

std::string mixOf(const Json& values) {
    std::string text;
    for (const auto& [type, count] : values.items()) text += (text.empty() ? "" : "+") + type;
    return text;
}

std::string lineOf(const Json& model) {
    const std::string training = model["training"].get<std::string>();
    std::string line = training + std::string(training.size() < 9 ? 9 - training.size() : 1, ' ') +
                       model["name"].get<std::string>();
    if (const std::string architecture = model.value("architecture", ""); !architecture.empty())
        line += "  " + architecture;
    if (const auto parameters = model.find("parameters"); parameters != model.end())
        line += "  " + withThousands(parameters->get<std::int64_t>()) + " parameters";
    if (model.contains("values")) line += "  " + mixOf(model["values"]);
    if (training == "no") return line + "\n         " + model.value("reason", "") + "\n";
    return line + "\n         " +
           (training == "import"
                ? "luthier-cli import " + model["import"].get<std::string>() + " --out FOLDER"
                : model["path"].get<std::string>()) +
           "\n";
}

}  // namespace

Command modelsCommand() {
    return {[](CLI::App& app, Context& context) {
        auto folders = std::make_shared<std::vector<std::string>>();
        CLI::App* command =
            app.add_subcommand("models",
                               "Models on this machine, and whether each trains: trains, import (a "
                               "GGUF file: import it first), adapter, no");
        command->add_option("folders", *folders,
                            "Folders or files to look into besides the workspace, Hugging Face's "
                            "cache, LM Studio and Ollama");
        command->callback([folders, &context] {
            context.run = [folders, &context] {
                for (const std::string& folder : *folders)
                    if (std::error_code code; !std::filesystem::exists(folder, code))
                        throw Failure({"folder_missing", folder + " does not exist.",
                                       "Check the path.", folder});
                const Json document = listModels(*folders, Workspace::choose().root);
                std::string table;
                for (const Json& model : document.at("models")) table += lineOf(model);
                if (table.empty())
                    table = "No models found. Give a folder: luthier-cli models FOLDER.\n";
                report(context, document, table);
                return ExitCode::Done;
            };
        });
    }};
}

}  // namespace luthier::cli
