// SPDX-License-Identifier: Apache-2.0
// Transfer learning by freezing: the last N blocks, and on request the head, the embeddings and
// single parts, are trained; nothing below the lowest trained layer takes part in the backward
// pass. The final norm belongs to the last block: it is trained when that is. Parts are taken as
// they are named, so that blocks named there, with N = 0, leave the norm out. The result is a model
// folder. `new_head`: the model was opened with a fresh head (ModelRequest::hasNewHead), which is
// then always trained.
#include "peft/method.h"
#include "peft/methods/base_weights.h"
#include "peft/saved_modules.h"

#include <algorithm>

namespace luthier {

namespace {

bool startsWith(const std::string& name, const std::string& path) {
    return name.compare(0, path.size(), path) == 0 &&
           (name.size() == path.size() || name[path.size()] == '.');
}

Result<std::shared_ptr<Adapter>> createFreeze(const MethodContext& context) {
    const Json& settings = context.settings;
    const ModelSites& sites = context.model.sites();
    const ModelDescription& description = context.model.description();
    const auto last = settings.at("trainable_layers").get<std::int64_t>();
    if (last > sites.layers)
        return Problem{"out_of_range",
                       "method.trainable_layers is " + std::to_string(last) + "; this model has " +
                           std::to_string(sites.layers) + " blocks.",
                       "", "method.trainable_layers", ExitCode::BadUsage};
    const bool hasNewHead = settings.at("new_head");
    const bool trainsHead = hasNewHead || settings.at("train_head");
    const bool trainsEmbeddings = settings.at("train_embeddings");
    if (trainsHead && sites.isTied && !trainsEmbeddings)
        return Problem{"tied_head",
                       "The head of this model shares its weights with the embedding and cannot be "
                       "trained alone.",
                       "Set method.train_embeddings to true, or method.train_head to false.",
                       "method.train_head", ExitCode::BadUsage};
    std::vector<std::string> paths;
    if (last > 0) paths.push_back(description.names.finalNorm);
    for (std::int64_t layer = sites.layers - last; layer < sites.layers; ++layer)
        paths.push_back(description.names.layers + std::to_string(layer));
    if (trainsHead) paths.push_back(sites.headPath);
    if (hasNewHead && sites.classes > 0)
        for (const std::size_t index : savedHeadOf(sites).linears)
            paths.push_back(sites.linears[index].path);
    if (trainsEmbeddings) {
        paths.push_back(sites.embeddingPath);
        if (!description.names.positions.empty()) paths.push_back(description.names.positions);
    }
    const std::vector<std::string> names = context.model.weights().names();
    for (const Json& part : settings.at("parts")) {
        const std::string path = part.get<std::string>();
        if (std::none_of(names.begin(), names.end(),
                         [&](const std::string& name) { return startsWith(name, path); }))
            return Problem{"no_target_matches",
                           "method.parts names \"" + path + "\", which this model does not have.",
                           "For example \"" + description.names.layers + "0\".", "method.parts",
                           ExitCode::BadUsage};
        paths.push_back(path);
    }
    std::vector<std::string> trained;
    for (const std::string& name : names)
        if (std::any_of(paths.begin(), paths.end(),
                        [&](const std::string& path) { return startsWith(name, path); }))
            trained.push_back(name);
    if (trained.empty())
        return Problem{"nothing_trained",
                       "method.trainable_layers is 0 and nothing else is to be trained.",
                       "Set method.trainable_layers, method.train_head, method.train_embeddings or "
                       "method.parts.",
                       "method.trainable_layers", ExitCode::BadUsage};
    return std::shared_ptr<Adapter>(
        std::make_shared<BaseWeightsAdapter>("freeze", context.model, trained, settings));
}

}  // namespace

Method freezeMethod() {
    Method method{"freeze",
                  "Freeze layers",
                  "Adjust existing weights",
                  "Trains the last blocks; the rest stays as it is.",
                  "",
                  true,
                  {},
                  &createFreeze};
    Setting layers{"trainable_layers", SettingType::Integer, 2, "Trained blocks",
                   "Number of last blocks that are trained; the final norm belongs to the last "
                   "one. 0: only what the settings below name."};
    layers.minimum = 0;
    layers.maximum = 1024;
    layers.unit = "blocks";
    Setting head{"train_head", SettingType::Boolean, false, "Train the head",
                 "Also train the output head."};
    Setting fresh{"new_head", SettingType::Boolean, false, "New head",
                  "Start with a fresh head drawn from the seed, of the vocabulary's size or of "
                  "model.num_labels, whatever the folder has."};
    fresh.isUsual = false;
    Setting embeddings{"train_embeddings", SettingType::Boolean, false, "Train embeddings",
                       "Also train the token embeddings."};
    embeddings.isUsual = false;
    Setting parts{"parts", SettingType::Texts, Json::array(), "More parts",
                  "Paths of modules to train as well; with 0 trained blocks these alone: "
                  "transformer.h.11 without the final norm, encoder for the whole encoder."};
    parts.isUsual = false;
    method.schema = {"freeze", {layers, head, fresh, embeddings, parts}};
    // Parts that are named stand in for the last blocks: "the encoder alone" is what it says.
    method.schema.settle = [](const Json& given, Json& resolved) {
        if (!resolved.at("parts").empty() && !given.contains("trainable_layers"))
            resolved["trainable_layers"] = 0;
    };
    for (Setting& setting : depthSettings()) method.schema.settings.push_back(std::move(setting));
    method.usualRate = {5e-5, "the upper end of full fine-tuning's (Devlin et al. 2019)"};
    method.leavesModel = true;
    method.keepsInputs = true;
    method.trainedBlocksKey = "trainable_layers";
    method.glyph = "layers 2 26 1";
    method.words = {{"trainable_layers", "last %1 blocks"}};
    return method;
}

}  // namespace luthier
