// SPDX-License-Identifier: Apache-2.0
// methods [NAME]: every method with its settings; the window builds its forms from this.
#include "command.h"
#include "survey.h"

#include "peft/help.h"
#include "peft/method.h"

namespace luthier::cli {

namespace {

std::string table(const Method& method) {
    std::string text = method.type + "  " + method.summary + "\n";
    for (const Setting& setting : method.schema.settings)
        text += "    " + setting.key + " = " + dumpLine(setting.defaultValue) +
                (setting.unit.empty() ? "" : " " + setting.unit) + "  " + setting.help + "\n";
    return text;
}

ExitCode runMethods(const std::string& name, const Context& context) {
    if (name.empty()) {
        std::string text;
        for (const Method& method : methods()) text += table(method);
        report(context, listMethods(), text);
        return ExitCode::Done;
    }
    const Method* method = findMethod(name);
    if (method == nullptr) {
        const std::string near = nearestName(name, methodSchemas().names);
        throw Failure(
            {"unknown_method", "\"" + name + "\" is not a method.",
             near.empty() ? "luthier-cli methods lists them." : "Did you mean \"" + near + "\"?",
             "", ExitCode::BadUsage});
    }
    const Json all = listMethods();
    for (const Json& entry : all.at("methods"))
        if (entry.at("name") == name)
            report(context, entry, methodHelp(name) + "\n" + table(*method));
    return ExitCode::Done;
}

}  // namespace

Command methodsCommand() {
    return {[](CLI::App& app, Context& context) {
        auto name = std::make_shared<std::string>();
        CLI::App* command = app.add_subcommand("methods", "Fine-tuning methods and their settings");
        command->add_option("name", *name, "One method");
        command->callback([name, &context] {
            context.run = [name, &context] { return runMethods(*name, context); };
        });
    }};
}

}  // namespace luthier::cli
