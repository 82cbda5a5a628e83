// SPDX-License-Identifier: Apache-2.0
#include "task/rows.h"

#include <doctest/doctest.h>

using namespace luthier;

namespace {

Dataset labelled(const std::vector<std::string>& names) {
    Dataset data;
    data.classNames = names;
    for (std::size_t i = 0; i < names.size(); ++i) {
        DataRow row;
        row.classIndex = static_cast<std::int32_t>(i);
        data.train.push_back(row);
    }
    return data;
}

ModelDescription classifier(const std::vector<std::string>& names) {
    ModelDescription description;
    description.classifier.classes = static_cast<std::int64_t>(names.size());
    description.classifier.classNames = names;
    return description;
}

}  // namespace

TEST_CASE("classes that the model names keep its order") {
    Dataset data = labelled({"negative", "positive"});
    REQUIRE(fitLabels(data, classifier({"positive", "neutral", "negative"})).ok());
    CHECK(data.classNames == std::vector<std::string>{"positive", "neutral", "negative"});
    CHECK(data.train[0].classIndex == 2);
    CHECK(data.train[1].classIndex == 0);
}

TEST_CASE("classes that the model does not name keep their own order") {
    Dataset data = labelled({"bad", "good"});
    REQUIRE(fitLabels(data, classifier({"good", "LABEL_1"})).ok());
    CHECK(data.classNames == std::vector<std::string>{"bad", "good"});
    CHECK(data.train[1].classIndex == 1);
}
