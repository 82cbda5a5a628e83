// SPDX-License-Identifier: Apache-2.0
// T-Few's losses of given logits against the golden values of shared/peft-golden (tfew.json);
// tests/interop/tfew.py has models and gradients.
#include "task/choices.h"
#include "golden.h"

#include <ATen/ops/log_softmax.h>
#include <ATen/ops/nll_loss.h>
#include <ATen/ops/tensor.h>
#include <doctest/doctest.h>

using namespace luthier;

namespace {

struct Sample {
    at::Tensor losses;  // -ll of every token [sum of lengths]
    ChoiceLayout layout;
};

/// The golden choices are padded with 0; ours are not padded.
Sample sampleOf(const Json& golden) {
    const std::vector<float> data = golden["logits[bs,choices,len,V]"]["data"];
    const at::Tensor logits =
        at::tensor(data).view({24, 7});  // [2 rows, 3 choices, 4 places, V] in one
    const std::vector<std::int64_t> ids = golden["choices_pad0"]["data"];
    std::vector<std::int64_t> places, labels;
    Sample sample;
    for (std::int64_t choice = 0; choice < 6; ++choice) {
        sample.layout.lengths.push_back(0);
        for (std::int64_t place = choice * 4; place < choice * 4 + 4; ++place) {
            if (ids[static_cast<std::size_t>(place)] == 0) continue;
            places.push_back(place);
            labels.push_back(ids[static_cast<std::size_t>(place)]);
            ++sample.layout.lengths.back();
        }
    }
    sample.layout.counts = {3, 3};
    sample.layout.answers = golden["labels"].get<std::vector<std::int64_t>>();
    sample.losses = at::nll_loss(at::log_softmax(logits.index_select(0, at::tensor(places)), 1),
                                 at::tensor(labels), {}, at::Reduction::None);
    return sample;
}

std::int64_t tokensOf(const ChoiceLayout& layout, bool isRight) {
    std::int64_t count = 0;
    for (std::int64_t row = 0; row < 2; ++row)
        for (std::int64_t n = 0; n < 3; ++n)
            if ((n == layout.answers[static_cast<std::size_t>(row)]) == isRight)
                count += layout.lengths[static_cast<std::size_t>(row * 3 + n)];
    return count;
}

}  // namespace

TEST_CASE("T-Few's losses equal the golden values in both forms") {
    const Json golden = luthier::golden("tfew.json");
    const Sample sample = sampleOf(golden);
    const ChoiceSums paper = choiceSums(sample.losses, sample.layout, UnlikelihoodForm::Paper);
    const ChoiceSums code = choiceSums(sample.losses, sample.layout, UnlikelihoodForm::Code);
    const auto near = [](double value) { return doctest::Approx(value).epsilon(1e-5); };
    CHECK(paper.lm.item<double>() / static_cast<double>(tokensOf(sample.layout, true)) ==
          near(golden["L_LM"]));
    CHECK(paper.lengthNormalized.item<double>() / 2 == near(golden["L_LN"]));
    CHECK(paper.unlikelihood.item<double>() / static_cast<double>(tokensOf(sample.layout, false)) ==
          near(golden["L_UL_paper_form"]));
    CHECK(code.unlikelihood.item<double>() / static_cast<double>(tokensOf(sample.layout, false)) ==
          near(golden["L_UL_code"]));
}

TEST_CASE("rank classification takes the lowest length-normalised loss") {
    const Json golden = luthier::golden("tfew.json");
    const Sample sample = sampleOf(golden);
    const ChoiceSums sums = choiceSums(sample.losses, sample.layout, UnlikelihoodForm::Paper);
    const std::vector<double> scores = golden["length_normalised_scores"]["data"];
    for (std::int64_t i = 0; i < 6; ++i)
        CHECK(sums.scores[i].item<double>() ==
              doctest::Approx(scores[static_cast<std::size_t>(i)]).epsilon(1e-5));
    CHECK(rankedFirst(sums.scores, sample.layout) ==
          golden["prediction"]["data"].get<std::vector<std::int64_t>>());
}

TEST_CASE("of equal scores the first wins") {
    CHECK(rankedFirst(at::tensor(std::vector<float>{2, 1, 1, 3, 3}), {{}, {3, 2}, {}}) ==
          std::vector<std::int64_t>{1, 0});
}

TEST_CASE("a wrong token that is certain costs the smallest step below 1, not infinity") {
    const ChoiceSums sums = choiceSums(at::tensor(std::vector<float>{1, 0}), {{1, 1}, {2}, {0}},
                                       UnlikelihoodForm::Paper);
    CHECK(sums.unlikelihood.item<double>() == doctest::Approx(24 * std::log(2.0)).epsilon(1e-6));
}
