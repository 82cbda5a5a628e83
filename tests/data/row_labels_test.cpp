// SPDX-License-Identifier: Apache-2.0
// Labels as tables have them.
#include "data/dataset.h"
#include "letters.h"

#include <doctest/doctest.h>

using namespace luthier;

namespace {

Result<Dataset> build(const std::string& name, const std::string& content,
                      const Json& outputs = nullptr,
                      const std::string& task = "sequence_classification") {
    const DataFile file(name, content);
    RunConfig config;
    Json section = withDefaults(Json::object(), dataSchema());
    setDotted(section, "train.path", file.path.string());
    setDotted(section, "eval.split", 0.0);
    config.document = Json{{"model", {{"task", task}, {"num_labels", outputs}}},
                           {"method", {{"type", "lora"}}},
                           {"data", section},
                           {"train", {{"seed", 42}}}};
    return Dataset::build(config, Letters());
}

std::string rowsOf(const std::vector<std::string>& labels, const std::string& key = "label") {
    std::string text;
    for (std::size_t i = 0; i < labels.size(); ++i)
        text +=
            "{\"text\": \"row " + std::to_string(i) + "\", \"" + key + "\": " + labels[i] + "}\n";
    return text;
}

std::vector<std::int32_t> classesOf(const Dataset& dataset) {
    std::vector<std::int32_t> classes;
    for (const DataRow& row : dataset.train) classes.push_back(row.classIndex);
    return classes;
}

const DataProblem* found(const Dataset& dataset, const std::string& code) {
    for (const DataProblem& problem : dataset.problems)
        if (problem.code == code) return &problem;
    return nullptr;
}

using Classes = std::vector<std::int32_t>;

}  // namespace

TEST_CASE("whole decimals are classes, in JSON and in tables") {
    for (const Json& outputs : {Json(), Json(2)}) {
        const auto json = build("w.jsonl", rowsOf({"0.0", "1.0", "1.0", "0.0"}), outputs);
        REQUIRE(json.ok());
        CHECK(classesOf(*json) == Classes{0, 1, 1, 0});
        CHECK(json->classNames == std::vector<std::string>{"0", "1"});
        const auto table = build("w.csv", "text,label\na,0.0\nb,1.0\nc,1\nd,0.0\n", outputs);
        REQUIRE(table.ok());
        CHECK(classesOf(*table) == Classes{0, 1, 1, 0});
    }
}

TEST_CASE("one output makes values of them, and fractions do") {
    for (const char* labels : {"0.5", "2"}) {
        const auto values =
            build("v.jsonl", rowsOf({"1.0", std::string(labels), "3.75", "-1.0"}), 1);
        REQUIRE(values.ok());
        REQUIRE(values->train.size() == 4);
        for (const DataRow& row : values->train) CHECK(row.targets.size() == 1);
        CHECK(values->train[3].targets[0] == -1.0f);
    }
    const auto table = build("v.csv", "text,label\na,0.5\nb,2\n", 1);
    REQUIRE(table.ok());
    CHECK(table->train[0].targets == std::vector<float>{0.5f});
    const auto unsaid = build("u.jsonl", rowsOf({"1.0", "0.5", "-1.0"}));
    REQUIRE(unsaid.ok());
    CHECK(unsaid->classNames.empty());
    CHECK(unsaid->train[2].targets == std::vector<float>{-1.0f});
}

TEST_CASE("-1 stands for no label, however it is spelt") {
    for (const char* spelling : {"-1", "-1.0", "\"-1\""}) {
        const auto dataset = build("m.jsonl", rowsOf({spelling, "0", "1", "0", spelling, "1"}));
        REQUIRE(dataset.ok());
        CHECK(classesOf(*dataset) == Classes{0, 1, 0, 1});
        CHECK(dataset->classNames == std::vector<std::string>{"0", "1"});
        const DataProblem* left = found(*dataset, "unlabelled_rows");
        REQUIRE(left != nullptr);
        CHECK(left->rows == std::vector<std::int64_t>{1, 5});
        CHECK(left->message.find("-1") != std::string::npos);
        CHECK(dataset->facts.leftOut.at("unlabelled_rows") == 2);
        CHECK(dataset->facts.rows ==
              static_cast<std::int64_t>(dataset->train.size()) + dataset->facts.skippedRows);
    }
    const auto signs = build("s.jsonl", rowsOf({"-1", "1", "-1"}));
    REQUIRE_FALSE(signs.ok());
    CHECK(signs.problem().code == "label_minus_one");
    const auto written = build("t.jsonl", rowsOf({"-1", "0"}), nullptr, "seq2seq_lm");
    REQUIRE(written.ok());
    CHECK(written->train.size() == 1);
}

TEST_CASE("spellings of one class are pointed out, and named where they are too many") {
    const auto more = build("p.jsonl", rowsOf({"\"Pos\"", "\"pos\"", "\"pos \"", "\"neg\""}));
    REQUIRE(more.ok());
    REQUIRE(found(*more, "class_spellings") != nullptr);
    CHECK(found(*more, "class_spellings")->message.find("\"Pos\", \"pos\" and \"pos \"") !=
          std::string::npos);
    const auto refused = build("q.jsonl", rowsOf({"\"Pos\"", "\"pos\"", "\"neg\""}), 2);
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.problem().code == "class_spellings");
    const auto plain = build("r.jsonl", rowsOf({"\"a\"", "\"b\"", "\"c\""}), 2);
    REQUIRE_FALSE(plain.ok());
    CHECK(plain.problem().code == "too_many_classes");
    CHECK(plain.problem().hint.find("data.columns") != std::string::npos);
}

TEST_CASE("labels under other names are used, or their columns named") {
    for (const char* key : {"labels", "target", "targets", "class", "category"}) {
        const auto dataset = build("k.jsonl", rowsOf({"0", "1", "0"}, key));
        CAPTURE(key);
        REQUIRE(dataset.ok());
        CHECK(classesOf(*dataset) == Classes{0, 1, 0});
    }
    const auto other = build("o.jsonl", rowsOf({"0", "1"}, "sentiment"));
    REQUIRE_FALSE(other.ok());
    CHECK(other.problem().message.find("sentiment") != std::string::npos);
    CHECK(other.problem().hint.find("data.columns") != std::string::npos);
}

TEST_CASE("a label that is NaN costs its row") {
    const auto dataset = build("n.jsonl", rowsOf({"0", "NaN", "1", "null"}));
    REQUIRE(dataset.ok());
    CHECK(dataset->train.size() == 2);
    CHECK(dataset->facts.unusableRows == 2);
}
