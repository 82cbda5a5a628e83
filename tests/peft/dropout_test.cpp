// SPDX-License-Identifier: Apache-2.0
// Dropout of every method that has one. A layer's change to unit vectors shows each dropped value
// by itself: what stays is the change without dropout times PEFT's factor, what goes is zero, as
// many as the share says. It acts in training alone and depends on the pass's key alone.
#include "model/arch/families.h"
#include "peft/method.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/zeros.h>
#include <doctest/doctest.h>

#include <cmath>
#include <memory>
#include <string>

using namespace luthier;

namespace {

const Json kLlama{{"model_type", "llama"},
                  {"architectures", {"LlamaForCausalLM"}},
                  {"vocab_size", 50},
                  {"hidden_size", 64},
                  {"intermediate_size", 96},
                  {"num_hidden_layers", 1},
                  {"num_attention_heads", 4},
                  {"num_key_value_heads", 4},
                  {"max_position_embeddings", 64},
                  {"rms_norm_eps", 1e-6},
                  {"initializer_range", 0.2},
                  {"hidden_act", "silu"}};
constexpr std::int64_t kWidth = 64;
constexpr double kShare = 0.25;

/// A layer that adds nothing of its own, or one that hands its input on.
class Base final : public Projection {
public:
    explicit Base(bool isIdentity) : m_isIdentity(isIdentity) {}
    at::Tensor operator()(const at::Tensor& x) const override {
        return m_isIdentity ? x : at::zeros_like(x);
    }

private:
    bool m_isIdentity;
};

/// An adapter at q_proj (64 to 64) none of whose tensors is zero.
struct Fixture {
    Fixture(const std::string& type, Json changes)
        : description(describeModel(kLlama, "config.json").orThrow()),
          model(description, Weights::random(description, 5, at::kFloat, at::kCPU), at::kFloat,
                at::kCPU),
          hooks(model.sites()) {
        const Method& method = *findMethod(type);
        if (type != "p_tuning") changes["target_modules"] = {"q_proj"};
        settings = withDefaults(changes, method.schema);
        adapter = createAdapter(method, {model, settings, 3, {}}).orThrow();
        const at::NoGradGuard guard;
        for (const TrainedParameter& parameter : adapter->parameters())
            at::Tensor(parameter.tensor)
                .add_(normalTensor(parameter.tensor.sizes(), 0.3, tensorSeed(1, parameter.name),
                                   at::kCPU));
        adapter->install(hooks);
    }

    /// What the layer makes of the unit vectors, [64, 64]; row i is that of vector i.
    at::Tensor change(const RandomKey& key, bool isIdentity = false) {
        const at::NoGradGuard guard;
        adapter->beginPass(key);
        for (std::size_t site = 0; site < model.sites().linears.size(); ++site)
            if (!hooks.linear(site).empty())
                return hooks.linear(site).front()->forward(at::eye(kWidth, at::kFloat),
                                                           Base(isIdentity));
        return {};
    }

    ModelDescription description;
    Model model;
    SiteHooks hooks;
    Json settings;
    std::shared_ptr<Adapter> adapter;
};

/// How many of the rows of `values` are zero; the others must be `plain` times `factor`.
std::int64_t droppedRows(const at::Tensor& values, const at::Tensor& plain, double factor) {
    std::int64_t dropped = 0;
    for (std::int64_t row = 0; row < values.size(0); ++row) {
        if (values[row].abs().max().item<float>() == 0)
            ++dropped;
        else
            CHECK(at::allclose(values[row], plain[row] * factor, 1e-5, 1e-6));
    }
    return dropped;
}

/// Whether `dropped` of `all` is what the share says, within five standard deviations.
void checkShare(std::int64_t dropped, std::int64_t all) {
    const auto n = static_cast<double>(all);
    CHECK(std::abs(static_cast<double>(dropped) - kShare * n) <
          5 * std::sqrt(kShare * (1 - kShare) * n));
}

void checkKeys(Fixture& fixture) {
    const at::Tensor plain = fixture.change({7, false});
    CHECK(at::equal(plain, fixture.change({8, false})));
    CHECK(at::equal(fixture.change({7, true}), fixture.change({7, true})));
    CHECK(!at::equal(fixture.change({7, true}), fixture.change({8, true})));
}

}  // namespace

TEST_CASE("dropoutOfInputsScalesWhatStays") {
    for (const auto& [type, key] :
         {std::pair{"lora", "lora_dropout"}, std::pair{"adalora", "lora_dropout"},
          std::pair{"vera", "vera_dropout"}}) {
        CAPTURE(type);
        Fixture fixture(type, {{key, kShare}});
        checkKeys(fixture);
        const at::Tensor plain = fixture.change({});
        std::int64_t dropped = 0;
        for (std::uint64_t pass = 0; pass < 20; ++pass)
            dropped += droppedRows(fixture.change({pass, true}), plain, 1 / (1 - kShare));
        checkShare(dropped, 20 * kWidth);
    }
}

TEST_CASE("dropoutOfOutputsLeavesWholeRowsOut") {
    for (const auto& [type, rescales] :
         {std::pair{"loha", true}, std::pair{"lokr", false}, std::pair{"lokr", true}}) {
        CAPTURE(type);
        CAPTURE(rescales);
        Json changes{{"rank_dropout", kShare}};
        if (std::string(type) == "lokr") changes["rank_dropout_scale"] = rescales;
        Fixture fixture(type, changes);
        checkKeys(fixture);
        const at::Tensor plain = fixture.change({}).t();  // outputs are rows now
        std::int64_t dropped = 0;
        for (std::uint64_t pass = 0; pass < 20; ++pass) {
            const at::Tensor outputs = fixture.change({pass, true}).t();
            const std::int64_t zeros = outputs.abs().amax(1).eq(0).sum().item<std::int64_t>();
            dropped += droppedRows(
                outputs, plain,
                rescales ? static_cast<double>(kWidth) / static_cast<double>(kWidth - zeros) : 1);
        }
        checkShare(dropped, 20 * kWidth);
    }
}

TEST_CASE("dropoutOfLayersLeavesThemAsTheyAre") {
    for (const char* type : {"loha", "lokr"}) {
        CAPTURE(type);
        Fixture fixture(type, {{"module_dropout", kShare}});
        const at::Tensor plain = fixture.change({});
        std::int64_t dropped = 0;
        for (std::uint64_t pass = 0; pass < 200; ++pass) {
            const at::Tensor now = fixture.change({pass, true});
            if (now.abs().max().item<float>() == 0)
                ++dropped;
            else
                CHECK(at::equal(now, plain));
        }
        checkShare(dropped, 200);
        CHECK(at::equal(fixture.change({3, false}), plain));
    }
}

TEST_CASE("dropoutOfBlocksKeepsThemFromTurning") {
    constexpr std::int64_t kBlock = 8;
    Fixture fixture("oft", {{"oft_block_size", kBlock}, {"module_dropout", 0.3}});
    const auto identity = [&](const RandomKey& key) { return fixture.change(key, true); };
    const at::Tensor plain = identity({});
    const at::Tensor I = at::eye(kWidth, at::kFloat);
    bool differs = false;
    for (std::uint64_t pass = 0; pass < 10; ++pass) {
        const at::Tensor now = identity({pass, true});
        std::int64_t still = 0;
        for (std::int64_t first = 0; first < kWidth; first += kBlock) {
            const at::Tensor block = now.narrow(0, first, kBlock);
            if (at::equal(block, I.narrow(0, first, kBlock)))
                ++still;
            else
                CHECK(at::allclose(block, plain.narrow(0, first, kBlock), 1e-6, 1e-7));
        }
        CHECK(still == 2);  // of 8 blocks, 0.3 rounded down
        CHECK(at::equal(now, identity({pass, true})));
        differs = differs || !at::equal(now, identity({pass + 1, true}));
    }
    CHECK(differs);
    CHECK(at::equal(identity({4, false}), plain));
}

TEST_CASE("dropoutBetweenLstmLayersActsInTrainingAlone") {
    const auto promptOf = [](Fixture& fixture, const RandomKey& key) {
        const at::NoGradGuard guard;
        fixture.adapter->beginPass(key);
        return fixture.hooks.input().front()->prompt();
    };
    const Json lstm{{"encoder_reparameterization_type", "LSTM"},
                    {"num_virtual_tokens", 6},
                    {"encoder_hidden_size", 24}};
    Json dropping = lstm;
    dropping["encoder_dropout"] = kShare;
    Fixture without("p_tuning", lstm), with("p_tuning", dropping);
    const at::Tensor plain = promptOf(without, {1, true});
    CHECK(at::equal(promptOf(with, {1, false}), plain));
    CHECK(at::equal(promptOf(with, {1, true}), promptOf(with, {1, true})));
    CHECK(!at::equal(promptOf(with, {1, true}), promptOf(with, {2, true})));
    CHECK(!at::allclose(promptOf(with, {1, true}), plain, 1e-3, 1e-3));
    CHECK(at::equal(with.adapter->fileTensors().front().tensor, plain));
}
