// SPDX-License-Identifier: Apache-2.0
// generate MODEL [--adapter DIR[:WEIGHT]]… --prompt S | --chat FILE: text from the model.
#include "command.h"
#include "loaded.h"

#include "generate/generator.h"

namespace luthier::cli {

namespace {

struct Options {
    std::string model, prompt, chat, dtype = "auto", device = "auto";
    std::vector<std::string> adapters;
    SamplingSettings sampling;
};

std::vector<std::int64_t> promptIds(const Loaded& loaded, const Options& options) {
    const Tokenizer& tokenizer = loaded.needTokenizer();
    std::vector<int> ids;
    if (options.chat.empty()) {
        ids = tokenizer.encode(options.prompt);
        // A tokenizer that closes every text would make the model answer after the end.
        if (ids.size() > 1 && tokenizer.eosId() && ids.back() == *tokenizer.eosId()) ids.pop_back();
    } else {
        const Json messages = readJsonFile(options.chat).orThrow();
        const std::string text = tokenizer.renderChat(messages, true).orThrow();
        ids = tokenizer.encode(text, SpecialTokens::Omit, TextKind::Template);
    }
    if (ids.empty() && tokenizer.bosId()) ids.push_back(*tokenizer.bosId());
    if (ids.empty()) throw Failure({"empty_prompt", "The prompt has no token.", "Give some text with --prompt.", "--prompt", ExitCode::BadUsage});
    return {ids.begin(), ids.end()};
}

ExitCode run(const Options& options, const Context& context) {
    const Loaded loaded = loadModel(options.model, options.dtype, options.device);
    AdapterStack stack = loaded.stack(options.adapters);
    const std::vector<std::int64_t> prompt = promptIds(loaded, options);
    StreamDecoder stream(loaded.needTokenizer());
    std::string text;
    const auto emit = [&](const std::string& piece) {
        text += piece;
        if (!context.isJson) print(context, piece);
    };
    const Generated generated = generate(*loaded.model, stack, prompt, loaded.endIds(), options.sampling, [&](const GeneratedToken& token) {
        emit(stream.push(static_cast<int>(token.id)));
        return true;
    });
    emit(stream.finish());
    report(context, Json{{"text", text}, {"ids", generated.ids}, {"finish_reason", generated.finishReason}}, "\n");
    return ExitCode::Done;
}

}  // namespace

void addGenerate(CLI::App& app, Context& context) {
    auto options = std::make_shared<Options>();
    CLI::App* command = app.add_subcommand("generate", "Continue a text");
    command->add_option("model", options->model, "Model folder")->required();
    auto* prompt = command->add_option("--prompt", options->prompt, "Text to continue");
    command->add_option("--chat", options->chat, "JSON file with a list of messages")->excludes(prompt);
    command->add_option("--adapter", options->adapters, "Adapter folder, optionally :WEIGHT; may be repeated");
    command->add_option("--max-new-tokens", options->sampling.maxNewTokens)->check(CLI::Range(1, 1 << 20));
    command->add_option("--temperature", options->sampling.temperature, "0: the most probable token each time")->check(CLI::Range(0.0, 100.0));
    command->add_option("--top-p", options->sampling.topP)->check(CLI::Range(0.0, 1.0));
    command->add_option("--top-k", options->sampling.topK)->check(CLI::Range(0, 1 << 24));
    command->add_option("--repetition-penalty", options->sampling.repetitionPenalty, "Above 1: tokens already seen become less likely")->check(CLI::PositiveNumber);
    command->add_option("--seed", options->sampling.seed);
    command->add_option("--dtype", options->dtype)->check(CLI::IsMember({"auto", "float32", "bfloat16"}));
    command->add_option("--device", options->device);
    command->callback([options, &context] { context.run = [options, &context] { return run(*options, context); }; });
}

}  // namespace luthier::cli
