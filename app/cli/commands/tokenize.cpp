// SPDX-License-Identifier: Apache-2.0
// tokenize MODEL [--text S | --file F] [--chat MESSAGES.json]: ids as the trainer makes them.
#include "command.h"

#include "model/open.h"

#include <fstream>
#include <iterator>

namespace luthier::cli {

namespace {

struct TokenizeOptions {
    std::string model, text, file, chat;
    bool generationPrompt = false;
    bool noSpecial = false;
    bool hasText = false;  ///< also of the empty text
};

std::string readText(const std::string& path) {
    std::ifstream stream(path, std::ios::binary);
    if (!stream)
        throw Failure({"file_missing", path + " could not be opened.", "Check the path.", path});
    return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

ExitCode runTokenize(const TokenizeOptions& options, const Context& context) {
    if (options.chat.empty() && options.file.empty() && !options.hasText)
        throw Failure({"bad_usage", "tokenize has no text.",
                       "Give --text TEXT, --file FILE or --chat MESSAGES.json.", "--text",
                       ExitCode::BadUsage});
    const std::unique_ptr<Tokenizer> tokenizer = openTokenizer(options.model).orThrow();
    Json document = Json::object();
    std::vector<int> ids;
    if (!options.chat.empty()) {
        const std::string rendered =
            tokenizer->renderChat(readJsonFile(options.chat).orThrow(), options.generationPrompt)
                .orThrow();
        ids = tokenizer->encode(rendered, SpecialTokens::Omit, TextKind::Template);
        document["text"] = rendered;
    } else {
        const std::string text = options.file.empty() ? options.text : readText(options.file);
        ids = tokenizer->encode(text, options.noSpecial ? SpecialTokens::Omit : SpecialTokens::Add,
                                TextKind::Template);
    }
    tokenizer
        ->checkIds(ids, options.chat.empty() ? "The text" : "The chat",
                   options.chat.empty() ? options.file : options.chat)
        .orThrow();
    Json tokens = Json::array();
    std::string table;
    for (const int id : ids) {
        tokens.push_back(tokenizer->tokenText(id));
        table += std::to_string(id) + "\t" + tokenizer->tokenText(id) + "\n";
    }
    Json result{{"ids", ids}, {"tokens", tokens}};
    if (document.contains("text")) result["text"] = document["text"];
    report(context, result, table);
    return ExitCode::Done;
}

}  // namespace

Command tokenizeCommand() {
    return {[](CLI::App& app, Context& context) {
        auto options = std::make_shared<TokenizeOptions>();
        CLI::App* command = app.add_subcommand("tokenize", "Token ids of a text or a chat");
        command->add_option("model", options->model, "Model folder")->required();
        auto* text = command->add_option("--text", options->text);
        auto* file = command->add_option("--file", options->file)->excludes(text);
        command->add_option("--chat", options->chat, "JSON file with a list of messages")
            ->excludes(text)
            ->excludes(file);
        command->add_flag("--generation-prompt", options->generationPrompt);
        command->add_flag("--no-special", options->noSpecial, "Leave out begin and end tokens");
        command->callback([options, text, &context] {
            options->hasText = text->count() > 0;
            context.run = [options, &context] { return runTokenize(*options, context); };
        });
    }};
}

}  // namespace luthier::cli
