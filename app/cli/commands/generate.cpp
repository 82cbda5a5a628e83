// SPDX-License-Identifier: Apache-2.0
// generate MODEL [--adapter DIR[:WEIGHT]]… --prompt S | --chat FILE: text from the model.
#include "command.h"
#include "loaded.h"

#include "generate/generator.h"

#include <optional>

namespace luthier::cli {

namespace {

struct GenerateOptions {
    std::string model, prompt, chat, dtype = "auto", device = "auto";
    std::vector<std::int64_t> ids;
    bool ignoresEnd = false;
    std::vector<std::string> adapters;
    SamplingSettings sampling;
};

std::vector<std::int64_t> promptIds(const Loaded& loaded, const GenerateOptions& options) {
    if (!options.ids.empty()) {
        const std::int64_t vocabulary = loaded.model->description().vocabulary;
        for (const std::int64_t id : options.ids)
            if (id < 0 || id >= vocabulary)
                throw Failure({"bad_ids",
                               "The id " + std::to_string(id) + " is not below the vocabulary of " +
                                   std::to_string(vocabulary) + ".",
                               "Give ids of this model's tokenizer.", "--ids", ExitCode::BadUsage});
        return options.ids;
    }
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
    tokenizer.checkIds(ids, "The prompt", options.chat.empty() ? "--prompt" : "--chat").orThrow();
    if (ids.empty())
        throw Failure({"empty_prompt", "The prompt has no token.", "Give some text with --prompt.",
                       "--prompt", ExitCode::BadUsage});
    return {ids.begin(), ids.end()};
}

ExitCode runGenerate(const GenerateOptions& options, const Context& context) {
    context.progress->phase("loading", 0, 0);
    const Loaded loaded = loadModel(options.model, options.dtype, options.device, options.adapters);
    AdapterStack stack = loaded.stack(options.adapters);
    const std::vector<std::int64_t> prompt = promptIds(loaded, options);
    // Ids in, ids out: a model without a tokenizer can continue ids all the same.
    std::optional<StreamDecoder> stream;
    if (options.ids.empty() || loaded.tokenizer) stream.emplace(loaded.needTokenizer());
    context.progress->phase("reading the prompt", 0, 0);
    std::string text;
    const auto emit = [&](const std::string& piece) {
        text += piece;
        if (!context.isJson) print(context, piece);
    };
    const std::vector<std::int64_t> endIds =
        options.ignoresEnd ? std::vector<std::int64_t>{} : loaded.endIds();
    const Generated generated = generate(*loaded.model, stack, prompt, endIds, options.sampling,
                                         [&](const GeneratedToken& token) {
                                             if (stream)
                                                 emit(stream->push(static_cast<int>(token.id)));
                                             return true;
                                         });
    if (stream) emit(stream->finish());
    if (!stream && !context.isJson)
        for (const std::int64_t id : generated.ids) print(context, std::to_string(id) + " ");
    report(context,
           Json{{"text", text},
                {"ids", generated.ids},
                {"finish_reason", generated.finishReason},
                {"seconds", generated.seconds}},
           "\n");
    return ExitCode::Done;
}

}  // namespace

Command generateCommand() {
    return {[](CLI::App& app, Context& context) {
        auto options = std::make_shared<GenerateOptions>();
        CLI::App* command = app.add_subcommand("generate", "Continue a text");
        command->add_option("model", options->model, "Model folder")->required();
        auto* prompt = command->add_option("--prompt", options->prompt, "Text to continue");
        command->add_option("--chat", options->chat, "JSON file with a list of messages")
            ->excludes(prompt);
        command->add_option("--ids", options->ids, "Token ids to continue, with commas between")
            ->delimiter(',')
            ->excludes(prompt);
        command->add_flag("--ignore-eos", options->ignoresEnd,
                          "Go on after the end of text, up to --max-new-tokens");
        command->add_option("--adapter", options->adapters,
                            "Adapter folder, optionally :WEIGHT; may be repeated");
        command->add_option("--max-new-tokens", options->sampling.maxNewTokens)
            ->check(CLI::Range(1, 1 << 20));
        command
            ->add_option("--temperature", options->sampling.temperature,
                         "0: the most probable token each time")
            ->check(CLI::Range(0.0, 100.0));
        command->add_option("--top-p", options->sampling.topP)->check(CLI::Range(0.0, 1.0));
        command->add_option("--top-k", options->sampling.topK)->check(CLI::Range(0, 1 << 24));
        command
            ->add_option("--repetition-penalty", options->sampling.repetitionPenalty,
                         "Above 1: tokens already seen become less likely")
            ->check(CLI::PositiveNumber);
        command->add_option("--seed", options->sampling.seed);
        command->add_option("--dtype", options->dtype)
            ->check(CLI::IsMember({"auto", "float32", "bfloat16", "float16"}));
        command->add_option("--device", options->device);
        command->callback([options, &context] {
            context.run = [options, &context] { return runGenerate(*options, context); };
        });
    }};
}

}  // namespace luthier::cli
