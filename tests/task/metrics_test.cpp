// SPDX-License-Identifier: Apache-2.0
// Against scikit-learn, SciPy, rouge-score, SQuAD's and GSM8K's grading: golden.json holds what
// they say (make_golden.py).
#include "task/metrics.h"
#include "golden.h"
#include "task/texts.h"

#include <doctest/doctest.h>

#include <cmath>

using namespace luthier;

TEST_CASE("accuracy, F1 and Matthews equal scikit-learn's") {
    const Json samples = golden("golden.json")["classes"];
    REQUIRE(samples.size() > 2);
    for (const Json& sample : samples) {
        Confusion confusion(sample["classes"]);
        for (std::size_t i = 0; i < sample["truth"].size(); ++i)
            confusion.add(sample["truth"][i], sample["predicted"][i]);
        CAPTURE(sample.dump());
        CHECK(confusion.accuracy() ==
              doctest::Approx(sample["accuracy"].get<double>()).epsilon(1e-12));
        CHECK(confusion.macroF1() ==
              doctest::Approx(sample["f1_macro"].get<double>()).epsilon(1e-12));
        CHECK(confusion.matthews() ==
              doctest::Approx(sample["matthews"].get<double>()).epsilon(1e-12));
        if (sample.contains("f1"))
            CHECK(confusion.f1(1) == doctest::Approx(sample["f1"].get<double>()).epsilon(1e-12));
    }
}

TEST_CASE("correlations equal SciPy's, with ties") {
    const Json samples = golden("golden.json")["values"];
    REQUIRE(samples.size() > 2);
    for (const Json& sample : samples) {
        const std::vector<double> a = sample["a"], b = sample["b"];
        CHECK(pearson(a, b) == doctest::Approx(sample["pearson"].get<double>()).epsilon(1e-12));
        CHECK(spearman(a, b) == doctest::Approx(sample["spearman"].get<double>()).epsilon(1e-12));
    }
}

TEST_CASE("a correlation with a constant has no value") {
    const std::vector<double> a{1, 2, 3}, b{4, 4, 4};
    CHECK(std::isnan(pearson(a, b)));
    CHECK(std::isnan(spearman(b, a)));
}

TEST_CASE("exact matches are SQuAD's and, behind ####, GSM8K's; ROUGE-L is rouge-score's") {
    const Json samples = golden("golden.json")["texts"];
    REQUIRE(samples.size() > 2);
    for (const Json& sample : samples) {
        CAPTURE(sample.dump());
        CHECK(isExactMatch(sample["written"], sample["right"]) ==
              sample["exact_match"].get<bool>());
        CHECK(rougeL(sample["written"], sample["right"]) ==
              doctest::Approx(sample["rouge"].get<double>()).epsilon(1e-12));
    }
}

TEST_CASE(
    "answers are compared in small letters of every alphabet, and bytes that are no text stay") {
    CHECK(normalisedAnswer("The \xC3\x89T\xC3\x89 \xF0\x90\x90\x80!") ==
          "\xC3\xA9t\xC3\xA9 \xF0\x90\x90\xA8");
    CHECK(normalisedAnswer("A\xFF\xC3 B") == "a\xFF\xC3 b");
}
