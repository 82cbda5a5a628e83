// SPDX-License-Identifier: Apache-2.0
// combine --adapter DIR:WEIGHT… --method M --out DIR: several LoRA or IA3 adapters made into one.
#include "command.h"

#include "peft/combine.h"

#include <algorithm>

namespace luthier::cli {

namespace {

struct CombineOptions {
    std::vector<std::string> adapters;
    std::string method, sign = "total", out;
    CombineRequest request;
};

ExitCode runCombine(const CombineOptions& options, const Context& context) {
    CombineRequest request = options.request;
    for (const std::string& text : options.adapters) {
        const WeightedPath chosen = weightedPath(text);
        request.parts.push_back({chosen.path, chosen.weight});
    }
    const std::vector<std::string>& names = combinationNames();
    if (!options.method.empty())
        request.how = static_cast<Combination>(
            std::find(names.begin(), names.end(), options.method) - names.begin());
    request.votesByCount = options.sign == "frequency";
    context.progress->phase("combining", 0, 0);
    const Json result = combineAdapters(request, options.out).orThrow();
    if (result.value("use_rslora", false))
        context.progress->say(
            "As in PEFT the result keeps rsLoRA of the first adapter, which makes it sqrt(rank) "
            "times the weighted sum; --method cat is that sum.");
    report(context, result,
           options.out + "  " + (result.contains("r") ? "rank " + result["r"].dump() + ", " : "") +
               result["modules"].dump() + " modules, " +
               bytesText(result["bytes"].get<std::int64_t>()) + "\n");
    return ExitCode::Done;
}

}  // namespace

Command combineCommand() {
    return {[](CLI::App& app, Context& context) {
        auto options = std::make_shared<CombineOptions>();
        CLI::App* command =
            app.add_subcommand("combine", "Make one LoRA or IA3 adapter out of several");
        command
            ->add_option("--adapter", options->adapters,
                         "Adapter folder, optionally :WEIGHT; may be repeated")
            ->required();
        command
            ->add_option(
                "--method", options->method,
                "cat (the default) is exactly the weighted sum; svd its best approximation of "
                "one rank; …_svd does the same after pruning; IA3 knows linear alone. All but "
                "cat keep use_rslora of the first adapter, as PEFT does")
            ->check(CLI::IsMember(combinationNames()));
        command->add_option("--density", options->request.density,
                            "Share of values that ties, dare_* and magnitude_prune keep");
        command
            ->add_option("--rank", options->request.rank,
                         "Rank of svd and …_svd; else the adapters' largest")
            ->check(CLI::PositiveNumber);
        command->add_option("--sign", options->sign, "How ties elects a sign: by size or by count")
            ->check(CLI::IsMember({"total", "frequency"}));
        command->add_option("--seed", options->request.seed, "Of what dare_* drops");
        command->add_option("--out", options->out, "Folder to make")->required();
        command->callback([options, &context] {
            context.run = [options, &context] { return runCombine(*options, context); };
        });
    }};
}

}  // namespace luthier::cli
