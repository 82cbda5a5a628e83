// SPDX-License-Identifier: Apache-2.0
// Un-merging puts back what was there instead of subtracting: after a merge and a restore every
// weight is the very tensor that it was, and the model gives the same logits bit for bit; so do a
// tied head and the adapter when it is attached again.
#include "model/arch/families.h"
#include "peft/method.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>
#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

using namespace luthier;

namespace {

const Json kLlama{{"model_type", "llama"},
                  {"architectures", {"LlamaForCausalLM"}},
                  {"vocab_size", 50},
                  {"hidden_size", 32},
                  {"intermediate_size", 40},
                  {"num_hidden_layers", 2},
                  {"num_attention_heads", 4},
                  {"num_key_value_heads", 2},
                  {"max_position_embeddings", 64},
                  {"rms_norm_eps", 1e-6},
                  {"initializer_range", 0.2},
                  {"tie_word_embeddings", true},
                  {"hidden_act", "silu"},
                  {"attention_bias", true}};

at::Tensor logitsOf(const Model& model, AdapterStack& stack) {
    const at::NoGradGuard guard;
    stack.beginPass({});
    return model.logits(
        model.hidden(TokenRows::single({1, 7, 3, 9, 4, 2, 8}, at::kCPU), {}, stack.hooks()),
        stack.hooks());
}

/// An adapter none of whose tensors is zero.
std::shared_ptr<Adapter> shaken(const Method& method, const Json& changes, Model& model) {
    const Json settings = withDefaults(changes, method.schema);
    std::shared_ptr<Adapter> adapter = createAdapter(method, {model, settings, 3, {}}).orThrow();
    const at::NoGradGuard guard;
    for (const TrainedParameter& parameter : adapter->parameters())
        parameter.tensor.add_(
            normalTensor(parameter.tensor.sizes(), 0.05, tensorSeed(1, parameter.name), at::kCPU));
    return adapter;
}

}  // namespace

TEST_CASE("unmergingRestoresEveryWeightBitForBit") {
    const std::vector<std::pair<std::string, Json>> cases{
        {"lora", {{"bias", "all"}}},
        {"lora", {{"target_modules", {"embed_tokens", "q_proj"}}}},
        {"lora", {{"use_dora", true}, {"modules_to_save", {"lm_head", "norm"}}}},
        {"ia3", Json::object()},
        {"loha", Json::object()},
        {"lokr", Json::object()},
        {"vera", Json::object()},
        {"oft", Json::object()},
        {"adalora", Json::object()},
        {"ln_tuning", Json::object()},
        {"bitfit", Json::object()}};
    for (const auto& [type, changes] : cases) {
        CAPTURE(type);
        CAPTURE(changes.dump());
        const ModelDescription description = describeModel(kLlama, "config.json").orThrow();
        Model model(description, Weights::random(description, 5, at::kFloat, at::kCPU), at::kFloat,
                    at::kCPU);
        AdapterStack none(model);
        const at::Tensor before = logitsOf(model, none);
        const std::shared_ptr<Adapter> adapter = shaken(*findMethod(type), changes, model);
        AdapterStack stack(model);
        stack.add(adapter);
        const at::Tensor adapted = logitsOf(model, stack);
        REQUIRE(!at::equal(before, adapted));

        const Model::Snapshot snapshot = model.snapshot();
        adapter->merge(model).orThrow();
        const at::Tensor merged = logitsOf(model, none);
        CHECK((merged - adapted).abs().max().item<double>() < 1e-4);
        model.restore(snapshot);
        CHECK(model.description().isTied);
        CHECK(model.weights().names().size() == snapshot.weights.size());
        for (const auto& [name, weight] : snapshot.weights)
            CHECK(model.weights().at(name).is_same(weight));
        CHECK(at::equal(logitsOf(model, none), before));
        CHECK(at::equal(logitsOf(model, stack), adapted));
    }
}
