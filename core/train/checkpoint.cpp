// SPDX-License-Identifier: Apache-2.0
#include "train/checkpoint.h"

#include "io/atomic.h"
#include "io/manifest.h"
#include "io/safetensors.h"
#include "model/tensors.h"
#include "peft/adapter_file.h"
#include "peft/training_hooks.h"

#include <ATen/core/grad_mode.h>

namespace luthier {

namespace {

std::vector<NamedTensor> everything(const Adapter& adapter, const Optimizer& optimizer) {
    std::vector<NamedTensor> tensors = optimizer.state();
    for (const TrainedParameter& parameter : adapter.parameters())
        tensors.push_back({"parameter." + parameter.name, parameter.tensor});
    if (const auto* hooks = dynamic_cast<const TrainingHooks*>(&adapter))
        for (const NamedTensor& tensor : hooks->trainingState())
            tensors.push_back({"method." + tensor.name, tensor.tensor});
    return tensors;
}

}  // namespace

Result<std::int64_t> writeCheckpoint(const std::filesystem::path& folder, const Adapter& adapter,
                                     const Optimizer& optimizer, const TrainState& state) {
    Result<AtomicDir> target = AtomicDir::begin(folder);
    if (!target) return target.problems();
    std::vector<at::Tensor> storage;
    std::vector<TensorView> views;
    for (const NamedTensor& tensor : everything(adapter, optimizer))
        views.push_back(viewOf(tensor.name, tensor.tensor, storage));
    Result<std::uint64_t> bytes =
        writeSafetensors(target->path() / "state.safetensors", views, {{"format", "pt"}});
    if (!bytes) return bytes.problems();
    Json json{{"step", state.step},
              {"learning_rate", state.learningRate},
              {"tokens", state.tokens},
              {"supervised_tokens", state.supervisedTokens},
              {"seconds", state.seconds},
              {"best_eval_loss", state.bestEvalLoss},
              {"best_eval_step", state.bestEvalStep},
              {"evals_without_gain", state.evalsWithoutGain},
              {"evaluation_due", state.isEvaluationDue},
              {"threads", state.threads}};
    for (const auto& [key, value] : {std::pair{"first_loss", state.firstLoss},
                                     {"loss", state.lastLoss},
                                     {"eval_loss", state.lastEvalLoss}})
        if (value) setNumber(json, key, *value);
    Result<void> done = writeJsonAtomically(target->path() / "state.json", json);
    if (done) done = writeManifest(target->path());
    if (done) done = target->commit(Existing::Replace);
    if (!done) return done.problems();
    return static_cast<std::int64_t>(*bytes);
}

Result<TrainState> readCheckpoint(const std::filesystem::path& folder, const Adapter& adapter,
                                  Optimizer& optimizer) {
    const at::NoGradGuard guard;
    Result<Json> json = readJsonFile(folder / "state.json");
    if (!json) return json.problems();
    Result<TensorMap> tensors = readTensors(folder / "state.safetensors");
    if (!tensors) return tensors.problems();
    for (const NamedTensor& slot : everything(adapter, optimizer)) {
        const auto found = tensors->find(slot.name);
        if (found == tensors->end() || found->second.sizes() != slot.tensor.sizes())
            return Problem{
                "checkpoint_mismatch",
                folder.string() + " does not hold " + slot.name + " as this run needs it.",
                "It was written by a run with another model or method.", folder.string()};
        at::Tensor target = slot.tensor;
        target.copy_(found->second);
    }
    TrainState state;
    try {
        state.step = json->at("step");
        state.learningRate = json->at("learning_rate");
        state.tokens = json->at("tokens");
        state.supervisedTokens = json->at("supervised_tokens");
        state.seconds = json->at("seconds");
        state.bestEvalLoss = json->at("best_eval_loss");
        state.bestEvalStep = json->at("best_eval_step");
        state.evalsWithoutGain = json->value("evals_without_gain", std::int64_t{0});
        for (const auto& [key, value] : {std::pair{"first_loss", &state.firstLoss},
                                         {"loss", &state.lastLoss},
                                         {"eval_loss", &state.lastEvalLoss}})
            if (json->contains(key) && json->at(key).is_number())
                *value = json->at(key).get<double>();
        state.isEvaluationDue = json->value("evaluation_due", false);
        state.threads = json->at("threads");
    } catch (const Json::exception&) {
        return Problem{"checkpoint_mismatch", (folder / "state.json").string() + " lacks a key.",
                       "Resume from an earlier checkpoint.", folder.string()};
    }
    return state;
}

}  // namespace luthier
