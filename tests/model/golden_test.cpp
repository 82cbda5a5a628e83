// SPDX-License-Identifier: Apache-2.0
// Every switch of a model's description against transformers, on tests/golden's models: logits, the
// loss over rows that pass together, and the gradient of every parameter.
#include "golden/golden.h"

#include "model/cache.h"

#include <ATen/ops/zeros_like.h>

#include <cmath>
#include <set>

using namespace luthier;

namespace {

at::Tensor logitsOf(const golden::Golden& golden, const Example& row) {
    const at::NoGradGuard guard;
    const AdapterStack none(*golden.model);
    return golden.task->logits(*golden.model, row, none.hooks());
}

/// Loss and gradients of all rows at once.
at::Tensor backward(golden::Golden& golden, Activations activations) {
    for (const std::string& name : golden.model->weights().names())
        golden.model->weights().makeTrainable(name);
    const AdapterStack none(*golden.model);
    const std::vector<Example> rows = golden.rows.all();
    LossCounts counts;
    for (const Example& row : rows) counts += golden.task->counts(row);
    at::Tensor loss =
        golden.task->loss(*golden.model, rows, counts, {none.hooks(), activations, {}}).value;
    loss.backward();
    return loss.detach();
}

void checkGradients(const golden::Golden& golden) {
    const TensorMap wanted = golden::under(golden.tensors, "gradient.");
    // Some gradients vanish (a bias on keys shifts a whole row of scores): those are measured
    // against the others.
    double floor = 0;
    for (const auto& [name, gradient] : wanted)
        floor = std::max(floor, 1e-3 * gradient.norm().item<double>());
    const std::vector<std::string> names = golden.model->weights().names();
    for (const std::string& name : names) {
        CAPTURE(name);
        REQUIRE(wanted.contains(name));
        const at::Tensor& parameter = golden.model->weights().at(name);
        const at::Tensor found =
            parameter.grad().defined() ? parameter.grad() : at::zeros_like(parameter);
        CHECK(golden::distance(found, wanted.at(name), floor) < 1e-4);
    }
    CHECK(wanted.size() == names.size());
}

}  // namespace

TEST_CASE("logits are transformers', of each row alone") {
    for (const std::string& name : golden::modelNames()) {
        CAPTURE(name);
        const golden::Golden golden(name);
        for (std::size_t i = 0; i < golden.rows.size(); ++i)
            CHECK(golden::difference(logitsOf(golden, golden.rows[i]),
                                     golden.tensors.at("logits." + std::to_string(i))) < 1e-4);
    }
}

TEST_CASE("logits are transformers', of rows that pass together") {
    for (const std::string& name : golden::modelNames()) {
        CAPTURE(name);
        const golden::Golden golden(name);
        const at::NoGradGuard guard;
        const AdapterStack none(*golden.model);
        const std::vector<at::Tensor> logits =
            golden.task->logitsOfEach(*golden.model, golden.rows.all(), none.hooks());
        REQUIRE(logits.size() == golden.rows.size());
        for (std::size_t i = 0; i < logits.size(); ++i)
            CHECK(golden::difference(logits[i], golden.tensors.at("logits." + std::to_string(i))) <
                  1e-4);
    }
}

TEST_CASE("loss and the gradients of all parameters are transformers'") {
    for (const std::string& name : golden::modelNames()) {
        CAPTURE(name);
        golden::Golden golden(name);
        const double loss = backward(golden, Activations::Keep).item<double>();
        CHECK(loss == doctest::Approx(golden.json.at("loss").get<double>()).epsilon(1e-5));
        checkGradients(golden);
    }
}

TEST_CASE("so they are when activations are computed again") {
    for (const std::string& name : golden::modelNames()) {
        CAPTURE(name);
        golden::Golden golden(name);
        backward(golden, Activations::Recompute);
        checkGradients(golden);
    }
}

namespace {

/// What is read of a row token by token: of an encoder-decoder what its decoder reads.
struct Reading {
    Reading(const golden::Golden& golden, std::size_t row)
        : cache(golden.model->description().layers),
          wanted(golden.tensors.at("logits." + std::to_string(row))) {
        const ModelDescription& d = golden.model->description();
        const Example example = golden.rows[row];
        ids.assign(example.ids.begin(), example.ids.end());
        if (!d.encoder) {
            // LongRoPE's factors are those of a whole text longer than its original length.
            first = std::min<std::size_t>(ids.size(),
                                          d.rope.scaling == RopeScaling::LongRope ? 17 : 3 + row);
            return;
        }
        const AdapterStack none(*golden.model);
        golden.model->readSource(ids, cache, none.hooks());
        ids = shiftedRight(example.labels, d);
        first = 1;
    }

    KeyValueCache cache;
    at::Tensor wanted;  // [T, V]
    std::vector<std::int64_t> ids;
    std::size_t first = 0;  // tokens read at once at the start
};

}  // namespace

TEST_CASE("logits are transformers', token by token with a cache") {
    for (const std::string& name : golden::modelNames()) {
        CAPTURE(name);
        const golden::Golden golden(name);
        if (golden.model->description().isClassifier()) continue;
        const at::NoGradGuard guard;
        const AdapterStack none(*golden.model);
        std::vector<std::unique_ptr<Reading>> readings;
        for (std::size_t row = 0; row < golden.rows.size(); ++row) {
            Reading& own = *readings.emplace_back(std::make_unique<Reading>(golden, row));
            Reading alone(golden, row);
            for (std::size_t place = 0; place < own.ids.size();) {
                const std::size_t count = place == 0 ? own.first : 1;
                const std::vector<std::int64_t> ids(
                    own.ids.begin() + static_cast<std::int64_t>(place),
                    own.ids.begin() + static_cast<std::int64_t>(place + count));
                const at::Tensor logits = golden.model->next(ids, alone.cache, none.hooks());
                if (place == 0) golden.model->next(ids, own.cache, none.hooks());
                place += count;
                CAPTURE(place);
                CHECK(golden::difference(logits, own.wanted[static_cast<std::int64_t>(place) - 1]) <
                      1e-4);
            }
        }
        if (!golden.model->canGoOnTogether()) continue;
        // All three on from there, a token of each at a time, until the shortest ends.
        for (std::size_t step = 0;; ++step) {
            std::vector<std::int64_t> ids;
            std::vector<KeyValueCache*> caches;
            for (const auto& reading : readings)
                if (reading->first + step < reading->ids.size()) {
                    ids.push_back(reading->ids[reading->first + step]);
                    caches.push_back(&reading->cache);
                }
            if (ids.size() < readings.size()) break;
            const at::Tensor logits = golden.model->nextOfEach(ids, caches, none.hooks());
            for (std::size_t row = 0; row < readings.size(); ++row)
                CHECK(golden::difference(logits[static_cast<std::int64_t>(row)],
                                         readings[row]->wanted[static_cast<std::int64_t>(
                                             readings[row]->first + step)]) < 1e-4);
        }
    }
}

TEST_CASE("measured loss is the loss") {
    for (const std::string& name : golden::modelNames()) {
        CAPTURE(name);
        const golden::Golden golden(name);
        AdapterStack none(*golden.model);
        const Measured measured =
            golden.task->measure(*golden.model, none, golden.rows.all(), {.batch = 2});
        CHECK(measured.isWhole);
        CHECK(measured.loss() ==
              doctest::Approx(golden.json.at("loss").get<double>()).epsilon(1e-5));
    }
}

TEST_CASE("a golden model stands for each switch of a description") {
    std::set<std::string> seen;
    const auto see = [&](const std::string& name, bool is) {
        if (is) seen.insert(name);
    };
    for (const std::string& name : golden::modelNames()) {
        const std::unique_ptr<Model> model = golden::open(name);
        const ModelDescription& d = model->description();
        const auto number = [](auto value) { return std::to_string(static_cast<int>(value)); };
        seen.insert("norm " + number(d.norm));
        seen.insert("position " + number(d.position));
        seen.insert("feed forward " + number(d.feedForward));
        seen.insert("flow " + number(d.flow));
        seen.insert("query key norm " + number(d.queryKeyNorm));
        see("layout " + number(d.qkvLayout), !d.names.fusedQkv.empty());
        see("alibi " + number(d.alibi), d.position == PositionKind::Alibi);
        see("rope pairs " + number(d.ropePairs), d.position == PositionKind::Rope);
        see("pooling " + number(d.classifier.pooling), d.isClassifier());
        see("encoder", !d.isCausal);
        see("encoder and decoder", d.isEncoderDecoder());
        see("offset norm", d.normOffset != 0);
        see("token types", d.tokenTypes > 0);
        see("local rope", d.localRope.has_value());
        see("position offset", d.positionOffset != 0);
        see("residual normed", d.isResidualNormed);
        see("attention scale", d.attentionScale > 0);
        see("divides by layer", d.dividesScoresByLayer);
        see("attention cap", d.attentionSoftCap > 0);
        see("logit cap", d.logitSoftCap > 0);
        see("clip", d.clipQkv > 0);
        see("logit scale", d.logitScale != 1);
        see("residual scale", d.residualScale != 1);
        see("normalised mixture", d.mixture.experts > 0 && d.mixture.isNormalised);
        see("plain mixture", d.mixture.experts > 0 && !d.mixture.isNormalised);
        see("shared expert", d.mixture.sharedIntermediate > 0);
        see("conv1d", d.isConv1D);
        see("narrow embedding", d.embeddingWidth > 0 && d.embeddingWidth != d.hidden);
        see("tied", d.isTied);
        see("untied", !d.isTied && !d.isClassifier());
        see("embedding scale", d.embeddingScale != 1);
        see("input scale", d.inputScale != 1);
        see("head bias", d.hasHeadBias);
        see("post norm", !d.names.attentionPostNorm.empty());
        see("gate and up", !d.names.gateUp.empty());
        for (std::int64_t layer = 0; layer < d.layers; ++layer) {
            see("window", d.layer(layer).window > 0);
            see("no rope", !d.layer(layer).isRotated);
        }
    }
    // 2 norms, 5 of 6 positions, 2 feed-forwards, 3 flows, 4 query-key norms, 2 layouts, 3 ALiBis,
    // 2 pairs, 2 of 3 poolings, and the others.
    CHECK(seen.size() == 2 + 5 + 2 + 3 + 4 + 2 + 3 + 2 + 2 + 28);
    for (const std::string& name : seen) CAPTURE(name);
}
