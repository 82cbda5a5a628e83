// SPDX-License-Identifier: Apache-2.0
// merge MODEL --adapter DIR… --out DIR: a full model with the adapters folded in, one after
// another, in float32; then rounded once to the types of the base's files, or to the one asked for.
#include "command.h"
#include "adapter_weight.h"
#include "loaded.h"

#include "export/exporter.h"
#include "io/atomic.h"
#include "model/open.h"
#include "peft/adapter_file.h"

#include <map>
#include <optional>

namespace luthier::cli {

namespace {

struct MergeOptions {
    std::string model, out, type = "auto";
    std::vector<std::string> adapters;
};

/// Of --out-type: f32, or float32 as --dtype of other commands spells it; none: the base's.
std::optional<at::ScalarType> typeNamed(const std::string& name) {
    if (name == "f32" || name == "float32") return at::kFloat;
    if (name == "bf16" || name == "bfloat16") return at::kBFloat16;
    if (name == "f16" || name == "float16") return at::kHalf;
    return {};
}

/// The merged weights against base and adapters side by side in float32, on drawn token ids.
Json differenceToUnmerged(const MergeOptions& options, const ModelRequest& request,
                          const Model& merged) {
    const std::unique_ptr<Model> base = openModel(request).orThrow();
    AdapterStack unmerged(*base);
    for (const std::string& text : options.adapters) {
        const WeightedPath chosen = weightedPath(text);
        std::shared_ptr<Adapter> adapter = openAdapter(chosen.path, *base).orThrow();
        weigh(*adapter, chosen.weight);
        unmerged.add(std::move(adapter));
    }
    AdapterStack none(merged);
    return compareModels({*base, unmerged}, {merged, none},
                         drawnProbes(base->description(), 5, 24));
}

ExitCode runMerge(const MergeOptions& options, const Context& context) {
    ModelRequest request;
    request.folder = options.model;
    request.dtype = "float32";
    request.device = "cpu";
    request.task = taskOfAdapter(weightedPath(options.adapters.front()).path).orThrow();
    request.mayDrawHead = true;
    context.progress->phase("loading", 0, 0);
    const std::unique_ptr<Model> model = openModel(request).orThrow();
    // All adapters are read against the base before the first one changes it.
    std::vector<std::shared_ptr<Adapter>> adapters;
    for (const std::string& text : options.adapters) {
        const WeightedPath chosen = weightedPath(text);
        adapters.push_back(openAdapter(chosen.path, *model).orThrow());
        weigh(*adapters.back(), chosen.weight);
    }
    for (std::size_t i = 0; i < adapters.size(); ++i) {
        context.progress->phase("merging", static_cast<std::int64_t>(i),
                                static_cast<std::int64_t>(adapters.size()));
        adapters[i]->merge(*model).orThrow();
    }
    const std::map<std::string, at::ScalarType> types =
        writtenTypes(*model, options.model, typeNamed(options.type)).orThrow();
    roundWeights(*model, types);
    context.progress->phase("comparing with the unmerged model", 0, 0);
    const Json difference = differenceToUnmerged(options, request, *model);
    context.progress->phase("writing", 0, 0);
    AtomicDir target = AtomicDir::begin(options.out).orThrow();
    const std::int64_t bytes = writeModel(*model, options.model, target.path(), types).orThrow();
    target.commit(Existing::Refuse).orThrow();
    report(context,
           Json{{"path", options.out},
                {"bytes", bytes},
                {"max_abs_difference", difference["max_abs_difference"]},
                {"mean_kl", difference["mean_kl"]},
                {"greedy_agreement", difference["greedy_agreement"]}},
           options.out + "  " + bytesText(bytes) +
               "\nlargest logit difference to the unmerged model: " +
               dumpLine(difference["max_abs_difference"]) + "\n");
    return ExitCode::Done;
}

}  // namespace

Command mergeCommand() {
    return {[](CLI::App& app, Context& context) {
        auto options = std::make_shared<MergeOptions>();
        CLI::App* command = app.add_subcommand("merge", "Fold adapters into a full model");
        command->add_option("model", options->model, "Model folder")->required();
        command
            ->add_option("--adapter", options->adapters,
                         "Adapter folder, optionally :WEIGHT; may be repeated")
            ->required();
        command->add_option("--out", options->out, "Folder to make")->required();
        command
            ->add_option("--out-type,--dtype", options->type,
                         "f32, f16 or bf16; else as the base is stored")
            ->check(
                CLI::IsMember({"auto", "f32", "f16", "bf16", "float32", "float16", "bfloat16"}));
        command->callback([options, &context] {
            context.run = [options, &context] { return runMerge(*options, context); };
        });
    }};
}

}  // namespace luthier::cli
