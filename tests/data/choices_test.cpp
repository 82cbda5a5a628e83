// SPDX-License-Identifier: Apache-2.0
#include "data/dataset.h"
#include "letters.h"

#include <doctest/doctest.h>

using namespace luthier;

namespace {

Result<Dataset> tried(const std::string& text, const Json& data = Json::object(),
                      const std::string& task = "causal_lm") {
    const DataFile file("choices.jsonl", text);
    RunConfig config;
    Json section = withDefaults(Json::object(), dataSchema());
    setDotted(section, "train.path", file.path.string());
    setDotted(section, "eval.split", 0.0);
    for (const auto& [key, value] : data.items()) setDotted(section, key, value);
    config.document = Json{{"model", {{"task", task}}},
                           {"method", {{"type", "ia3"}}},
                           {"data", section},
                           {"train", {{"seed", 42}}}};
    return Dataset::build(config, Letters{});
}

DataRow rowOf(const std::string& text, const Json& data = Json::object(),
              const std::string& task = "causal_lm") {
    Result<Dataset> dataset = tried(text, data, task);
    REQUIRE_MESSAGE(dataset.ok(), describe(dataset.ok() ? Problems{} : dataset.problems()));
    CHECK(dataset->facts.format == "choices");
    return dataset->train[0];
}

std::string shown(const std::vector<std::int32_t>& ids) {
    std::string text;
    for (const std::int32_t id : ids)
        text += id == kIgnoredLabel ? '.'
                : id == 256         ? '^'
                : id == 257         ? '$'
                                    : static_cast<char>(id);
    return text;
}

}  // namespace

TEST_CASE("every choice has its end token, and the right one stands in the row") {
    const DataRow row = rowOf(R"({"prompt":"Is it?","choices":["yes","no"],"answer":1})");
    CHECK(shown(row.ids) == "^Is it? no$");
    CHECK(shown(row.labels) == "....... no$");
    REQUIRE(row.choices.size() == 2);
    CHECK(shown(row.choices[0]) == " yes$");
    CHECK(shown(row.choices[1]) == " no$");
    CHECK(row.answer == 1);
}

TEST_CASE("an encoder reads the input and the decoder writes the choice") {
    const DataRow row =
        rowOf(R"({"input":"Is it?","choices":["yes","no"],"answer":0})", {}, "seq2seq_lm");
    CHECK(shown(row.labels) == "^yes");  // as this tokenizer ends a text: not at all
    CHECK(shown(row.choices[1]) == "^no");
    CHECK(shown(row.ids).find("yes") == std::string::npos);
}

TEST_CASE("the answer may be an index, a text, a letter or a label of its choice") {
    for (const char* answer : {"2", "\"c c\"", "\"C\"", "\"(c)\"", "\"2\""})
        CHECK(rowOf(std::string(R"({"question":"q","choices":["a","b","c c"],"answer":)") + answer +
                    "}")
                  .answer == 2);
    CHECK(
        rowOf(
            R"({"question_stem":"q","choices":{"text":["x","y"],"label":["1","2"]},"answerKey":"2"})")
            .answer == 1);
    CHECK(rowOf(R"({"ctx":"a story","endings":["x","y","z"],"label":"2"})").answer == 2);
    CHECK(rowOf(R"({"context":"a story","question":"and?","answer_choices":["x","y"],"label":1})")
              .answer == 1);
}

TEST_CASE("rows of ids are taken as they are") {
    const DataRow row = rowOf(R"({"input_ids":[5,6],"choices":[[7],[8,9]],"answer":1})");
    CHECK(row.ids == std::vector<std::int32_t>{5, 6, 8, 9});
    CHECK(row.labels == std::vector<std::int32_t>{-100, -100, 8, 9});
    CHECK(row.choices == std::vector<std::vector<std::int32_t>>{{7}, {8, 9}});
}

TEST_CASE("choices are learned alone whatever loss_on says") {
    CHECK(shown(rowOf(R"({"prompt":"ab","choices":["c","d"],"answer":0})", Json{{"loss_on", "all"}})
                    .labels) == "... c$");
}

TEST_CASE("columns may be named by hand") {
    const DataRow row = rowOf(
        R"({"q":"ab","opts":["c","d"],"gold_one":1})",
        Json{{"columns.prompt", "q"}, {"columns.choices", "opts"}, {"columns.answer", "gold_one"}});
    CHECK(shown(row.ids) == "^ab d$");
}

TEST_CASE("a row of which a choice does not fit is skipped and counted, not cut") {
    const Result<Dataset> dataset = tried(
        "{\"prompt\":\"ab\",\"choices\":[\"c\",\"ddddd\"],\"answer\":0}\n{\"prompt\":\"ab\","
        "\"choices\":[\"c\",\"d\"],\"answer\":0}\n",
        Json{{"max_length", 8}});
    REQUIRE(dataset.ok());
    CHECK(dataset->train.size() == 1);
    CHECK(dataset->facts.skippedRows == 1);
    bool isNamed = false;
    for (const DataProblem& problem : dataset->problems)
        isNamed = isNamed ||
                  (problem.code == "choices_cut" && problem.rows == std::vector<std::int64_t>{1});
    CHECK(isNamed);
}

TEST_CASE("an answer that names no choice is a problem with its row") {
    for (const char* answer : {"3", "-1", "\"maybe\"", "\"z\"", "1.5", "null", "[0]"}) {
        const Result<Dataset> dataset =
            tried(std::string(R"({"question":"q","choices":["a","b"],"answer":)") + answer + "}",
                  Json{{"train.format", "choices"}});
        REQUIRE_FALSE_MESSAGE(dataset.ok(), answer);
        CHECK(dataset.problem().message.find(answer) != std::string::npos);
        CHECK(dataset.problem().field.find(":1") != std::string::npos);
    }
}

TEST_CASE("an empty choice, one choice alone or none is a problem") {
    for (const char* row : {R"({"question":"q","choices":["a"," "],"answer":0})",
                            R"({"question":"q","choices":["a"],"answer":0})",
                            R"({"question":"q","answer":0})", R"({"choices":["a","b"],"answer":0})",
                            R"({"question":4,"choices":["a","b"],"answer":0})"}) {
        const Result<Dataset> dataset = tried(row, Json{{"train.format", "choices"}});
        REQUIRE_FALSE_MESSAGE(dataset.ok(), row);
        CHECK(dataset.problem().code ==
              (std::string(row).find("4") == std::string::npos ? "bad_row" : "row_wrong_type"));
    }
}
