// SPDX-License-Identifier: Apache-2.0
// models [DIR…]: models in the given folders, the workspace and the Hugging Face cache.
#include "command.h"
#include "survey.h"

#include "contract/run_store.h"

namespace luthier::cli {

void addModels(CLI::App& app, Context& context) {
    auto folders = std::make_shared<std::vector<std::string>>();
    CLI::App* command = app.add_subcommand("models", "Models on this machine");
    command->add_option("folders", *folders);
    command->callback([folders, &context] {
        context.run = [folders, &context] {
            const Json document = listModels(*folders, Workspace::choose().root);
            std::string table;
            for (const Json& model : document.at("models"))
                table += model.at("name").get<std::string>() + "  " + model.value("architecture", "?") + "  " + withThousands(model.value("parameters", std::int64_t{0})) +
                         (model.at("can_train") == true ? "" : "  " + model.at("reason").get<std::string>()) + "\n";
            report(context, document, table);
            return ExitCode::Done;
        };
    });
}

}  // namespace luthier::cli
