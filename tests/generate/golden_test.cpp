// SPDX-License-Identifier: Apache-2.0
// Texts token by token, with the cache, against transformers without one: tests/golden's models
// write the same 24 tokens, alone and beside each other.
#include "generate/generator.h"
#include "golden/golden.h"

#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>

#include <cmath>
#include <deque>

using namespace luthier;

namespace {

using Ids = std::vector<std::int64_t>;

/// The golden models that write, each with its prompt and its text.
struct Writer {
    explicit Writer(const std::string& name) : golden(name), stack(*golden.model) {
        if (golden.json.contains("prompt")) prompt = golden.json.at("prompt").get<Ids>();
        if (!prompt.empty()) text = golden.json.at("generated").get<Ids>();
    }
    SamplingSettings settings() const {
        SamplingSettings settings;
        settings.maxNewTokens = static_cast<std::int64_t>(text.size());
        return settings;
    }

    golden::Golden golden;
    AdapterStack stack;
    Ids prompt, text;
};

template <class Check>
void forEachWriter(const Check& check) {
    for (const std::string& name : golden::modelNames()) {
        Writer writer(name);
        if (writer.prompt.empty()) continue;
        CAPTURE(name);
        check(writer);
    }
}

}  // namespace

TEST_CASE("greedy texts are transformers'") {
    int writers = 0;
    forEachWriter([&](Writer& writer) {
        const Generated generated =
            generate(*writer.golden.model, writer.stack, writer.prompt, {}, writer.settings());
        CHECK(generated.ids == writer.text);
        CHECK(generated.finishReason == "length");
        ++writers;
    });
    CHECK(writers >= 20);
}

TEST_CASE("texts that go on together are those that go on alone") {
    forEachWriter([](Writer& writer) {
        const Ids shorter(writer.prompt.begin(), writer.prompt.begin() + 3);
        const Ids alone =
            generate(*writer.golden.model, writer.stack, shorter, {}, writer.settings()).ids;
        std::deque<Continuation> texts;
        std::vector<Continuation*> all;
        for (const Ids& prompt : {writer.prompt, shorter, writer.prompt}) {
            texts.emplace_back(*writer.golden.model, writer.stack, prompt, Ids{},
                               writer.settings());
            all.push_back(&texts.back());
        }
        for (std::size_t step = 0; step < writer.text.size(); ++step)
            nextOfEach(*writer.golden.model, all);
        CHECK(texts[0].result().ids == writer.text);
        CHECK(texts[1].result().ids == alone);
        CHECK(texts[2].result().ids == writer.text);
    });
}

TEST_CASE("an end token ends a text and is left out") {
    Writer writer("llama");
    const std::int64_t end = writer.text[4];
    const auto first = std::find(writer.text.begin(), writer.text.end(), end);
    const Generated generated =
        generate(*writer.golden.model, writer.stack, writer.prompt, {end}, writer.settings());
    CHECK(generated.ids == Ids(writer.text.begin(), first));
    CHECK(generated.finishReason == "stop");
}

TEST_CASE("tokens are scored by the logits of the place before") {
    forEachWriter([](Writer& writer) {
        const golden::Golden& golden = writer.golden;
        if (golden.model->description().encoder) return;
        const Example row = golden.rows[0];
        const Ids ids(row.ids.begin(), row.ids.end());
        const TokenScores scores = scoreTokens(*golden.model, writer.stack, &writer.stack, ids);
        const at::Tensor logP = at::log_softmax(golden.tensors.at("logits.0"), -1);
        REQUIRE(scores.logProbability.size() == ids.size());
        CHECK(std::isnan(scores.logProbability[0]));
        for (std::size_t i = 1; i < ids.size(); ++i) {
            CHECK(scores.logProbability[i] ==
                  doctest::Approx(logP[static_cast<std::int64_t>(i) - 1][ids[i]].item<double>())
                      .epsilon(1e-4));
            CHECK(scores.divergence[i] == 0);
        }
    });
}

TEST_CASE("the probability told is that of the logits") {
    Writer writer("llama");
    SamplingSettings settings = writer.settings();
    settings.alternatives = 3;
    settings.maxNewTokens = 1;
    const std::vector<std::int64_t> ids = writer.prompt;
    Continuation text(*writer.golden.model, writer.stack, ids, {}, settings);
    const std::optional<GeneratedToken> token = text.next();
    REQUIRE(token.has_value());
    REQUIRE(token->alternatives.size() == 3);
    CHECK(token->alternatives[0].id == token->id);
    CHECK(token->alternatives[0].probability == doctest::Approx(token->probability));
    CHECK(token->alternatives[0].probability > token->alternatives[1].probability);
    CHECK(token->alternatives[1].probability > token->alternatives[2].probability);
    Ids longer = ids;
    longer.push_back(token->id);
    const TokenScores scores = scoreTokens(*writer.golden.model, writer.stack, nullptr, longer);
    CHECK(std::exp(scores.logProbability.back()) == doctest::Approx(token->probability));
}

TEST_CASE("draws keep to the most probable tokens and to the seed") {
    const at::Tensor logits = at::tensor({0.0f, 3.0f, 1.0f, 2.0f, -1.0f});
    SamplingSettings settings;
    CHECK(chooseToken(logits, settings, 0) == 1);
    settings.temperature = 1;
    settings.topK = 2;
    std::set<std::int64_t> drawn;
    for (std::int64_t place = 0; place < 60; ++place)
        drawn.insert(chooseToken(logits, settings, place));
    CHECK(drawn == std::set<std::int64_t>{1, 3});
    settings.topK = 0;
    settings.topP = 0.5;  // the best has 0.64
    for (std::int64_t place = 0; place < 20; ++place)
        CHECK(chooseToken(logits, settings, place) == 1);
    settings.topP = 1;
    std::vector<int> counts(5, 0);
    for (std::int64_t place = 0; place < 2000; ++place)
        ++counts[static_cast<std::size_t>(chooseToken(logits, settings, place))];
    const std::vector<double> shares{0.0317, 0.6364, 0.0861, 0.2341, 0.0117};
    for (std::size_t id = 0; id < shares.size(); ++id)
        CHECK(std::abs(counts[id] / 2000.0 - shares[id]) < 0.04);
    settings.seed = 43;
    int moved = 0;
    for (std::int64_t place = 0; place < 100; ++place) {
        SamplingSettings other = settings;
        other.seed = 44;
        moved += chooseToken(logits, settings, place) != chooseToken(logits, other, place);
        CHECK(chooseToken(logits, settings, place) == chooseToken(logits, settings, place));
    }
    CHECK(moved > 10);
}

TEST_CASE("a repetition penalty makes what was seen less likely") {
    Writer writer("gpt2");
    SamplingSettings settings = writer.settings();
    settings.repetitionPenalty = 50;
    const Generated generated =
        generate(*writer.golden.model, writer.stack, writer.prompt, {}, settings);
    std::set<std::int64_t> seen(writer.prompt.begin(), writer.prompt.end());
    int repeated = 0;
    for (const std::int64_t id : generated.ids) repeated += !seen.insert(id).second;
    CHECK(repeated == 0);
}
