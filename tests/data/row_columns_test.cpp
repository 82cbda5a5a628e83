// SPDX-License-Identifier: Apache-2.0
// No column is dropped in silence: what a mapping does not read is counted and named, what it reads
// changes the tokens, and masks are honoured.
#include "data/dataset.h"
#include "letters.h"

#include <doctest/doctest.h>

using namespace luthier;

namespace {

Dataset built(const Json& row, const Json& data = Json::object(), bool isChat = true,
              const std::string& task = "causal_lm") {
    const DataFile file("columns.jsonl", dumpLine(row) + "\n" + dumpLine(row) + "\n");
    RunConfig config;
    Json section = withDefaults(Json::object(), dataSchema());
    setDotted(section, "train.path", file.path.string());
    setDotted(section, "eval.split", 0.0);
    for (const auto& [key, value] : data.items()) setDotted(section, key, value);
    config.document = Json{{"model", {{"task", task}}},
                           {"method", {{"type", "lora"}}},
                           {"data", section},
                           {"train", {{"seed", 42}}}};
    Letters letters;
    letters.isChat = isChat;
    auto dataset = Dataset::build(config, letters);
    REQUIRE_MESSAGE(dataset.ok(), describe(dataset.ok() ? Problems{} : dataset.problems()));
    return std::move(*dataset);
}

std::string textOf(const DataRow& row) {
    std::string text;
    for (const std::int32_t id : row.ids)
        text += id < 256 ? std::string(1, static_cast<char>(id)) : id == 256 ? "<b>" : "<e>";
    return text;
}

/// The learned tokens as text, '$' for the end token.
std::string learned(const DataRow& row) {
    std::string text;
    for (const std::int32_t label : row.labels)
        if (label != kIgnoredLabel) text += label == 257 ? '$' : static_cast<char>(label);
    return text;
}

std::vector<std::string> unusedOf(const Dataset& dataset) {
    std::vector<std::string> names;
    for (const auto& [name, count] : dataset.facts.unusedColumns) names.push_back(name);
    return names;
}

const DataProblem* unusedProblem(const Dataset& dataset) {
    for (const DataProblem& problem : dataset.problems)
        if (problem.code == "unused_columns") return &problem;
    return nullptr;
}

Json user(const std::string& text) { return {{"role", "user"}, {"content", text}}; }
Json assistant(const std::string& text, const Json& more = Json::object()) {
    Json message{{"role", "assistant"}, {"content", text}};
    for (const auto& [key, value] : more.items()) message[key] = value;
    return message;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("of every format a key is either read or named") {
    struct Sample {
        Json row;
        std::string task = "causal_lm";
    };
    const std::vector<Sample> samples{
        {{{"text", "a"}}},
        {{{"prompt", "a"}, {"completion", "b"}}},
        {{{"question", "a"}, {"answer", "b"}, {"system", "s"}}},
        {{{"instruction", "a"},
          {"input", "b"},
          {"output", "c"},
          {"system_prompt", "s"},
          {"history", Json::array({Json::array({"q", "w"})})}}},
        {{{"messages", {user("a"), assistant("b")}},
          {"system", "s"},
          {"tools", {{{"type", "function"}}}}}},
        {{{"text", "a"}, {"label", "x"}}, "sequence_classification"},
        {{{"premise", "a"}, {"hypothesis", "b"}, {"label", "x"}}},
        {{{"question", "a"}, {"choices", {"x", "y"}}, {"answer", 1}, {"context", "c"}}},
        {{{"input_ids", {1, 2, 3}}, {"labels", {1, 2, 3}}, {"attention_mask", {1, 1, 1}}}},
    };
    for (const Sample& sample : samples) {
        CAPTURE(dumpLine(sample.row));
        CHECK(unusedOf(built(sample.row, Json::object(), true, sample.task)).empty());
        Json more = sample.row;
        more["remark"] = "said";
        more["nothing"] = nullptr;
        more["blank"] = "";
        const Dataset dataset = built(more, Json::object(), true, sample.task);
        CHECK(unusedOf(dataset) == Names{"remark"});
        CHECK(dataset.facts.unusedColumns.at("remark") == 2);
        const DataProblem* problem = unusedProblem(dataset);
        REQUIRE(problem != nullptr);
        CHECK(problem->level == DataLevel::Warning);
        CHECK(problem->message.find("remark (2 rows)") != std::string::npos);
    }
}

TEST_CASE("a system prompt, earlier turns and tools beside a row are read") {
    CHECK(textOf(
              built({{"messages", {user("1"), assistant("3")}}, {"system", "be kind"}}).train[0]) ==
          "U:be kind|U:1|A:3<e>");
    CHECK(textOf(built({{"prompt", "a"}, {"completion", "b"}, {"system", "be kind"}}).train[0]) ==
          "<b>be kind\n\nab<e>");
    CHECK(textOf(
              built({{"question", "a"}, {"answer", "b"}, {"system_prompt", "be kind"}}).train[0]) ==
          "<b>be kind\n\nQuestion: a\nAnswer: b<e>");
    const Dataset turns = built(
        {{"question", "a"}, {"answer", "b"}, {"history", Json::array({Json::array({"q", "w"})})}});
    CHECK(textOf(turns.train[0]) == "<b>Question: q\nAnswer: w\n\nQuestion: a\nAnswer: b<e>");
    CHECK(learned(turns.train[0]) == " b$");
    const Dataset chat = built({{"prompt", "a"},
                                {"completion", "b"},
                                {"history", Json::array({Json::array({"q", "w"})})},
                                {"system", "s"}},
                               {{"template", "model"}});
    CHECK(textOf(chat.train[0]) == "U:s|U:q|A:w<e>U:a|A:b<e>");
    CHECK(learned(chat.train[0]) == "b$");
    // A conversation with a system message of its own keeps it.
    CHECK(unusedOf(built(
              {{"messages", {{{"role", "system"}, {"content", "own"}}, user("1"), assistant("3")}},
               {"system", "be kind"}})) == Names{"system"});
}

TEST_CASE("a message that asks for no loss gets none") {
    for (const auto& [off, on] : {std::pair<Json, Json>{{{"weight", 0}}, {{"weight", 1}}},
                                  {{{"weight", 0.0}}, {{"weight", 1.0}}},
                                  {{{"train", false}}, {{"train", true}}}})
        for (const char* form : {"auto", "chatml", "plain"}) {
            const Json row{
                {"messages", {user("a"), assistant("one", off), user("b"), assistant("two", on)}}};
            const Dataset dataset = built(row, {{"loss_on", "assistant"}, {"template", form}});
            CAPTURE(form);
            CHECK(learned(dataset.train[0]).find("one") == std::string::npos);
            CHECK(learned(dataset.train[0]).find("two") != std::string::npos);
            CHECK(unusedOf(dataset).empty());
            CHECK(learned(built(row, {{"loss_on", "all"}, {"template", form}}).train[0])
                      .find("one") == std::string::npos);
        }
    // A weight between them is not followed, and says so.
    CHECK(unusedOf(built({{"messages", {user("a"), assistant("one", {{"weight", 0.5}})}}})) ==
          Names{"messages[].weight"});
    // The last answer is not replaced by an earlier one.
    const DataFile file(
        "muted.jsonl",
        dumpLine({{"messages",
                   {user("a"), assistant("one"), user("b"), assistant("two", {{"weight", 0}})}}}) +
            "\n");
}

TEST_CASE("lists that a table holds as text are read, other text is refused as text") {
    const Json messages{user("a"), assistant("b")};
    const Dataset plain = built({{"messages", messages}});
    CHECK(built({{"messages", dumpLine(messages)}}).train[0].ids == plain.train[0].ids);
    CHECK(built({{"input_ids", "[5, 6, 7]"}, {"attention_mask", "[0, 1, 1]"}}).train[0].ids ==
          std::vector<std::int32_t>{6, 7});
    const DataFile python(
        "python.jsonl",
        R"({"messages": "[{'role': 'user', 'content': 'a'}, {'role': 'assistant', 'content': 'b'}]"})");
    RunConfig config;
    Json section = withDefaults(Json::object(), dataSchema());
    setDotted(section, "train.path", python.path.string());
    config.document = Json{{"model", {{"task", "causal_lm"}}},
                           {"method", {{"type", "lora"}}},
                           {"data", section},
                           {"train", {{"seed", 42}}}};
    const auto refused = Dataset::build(config, Letters());
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.problem().message.find("is text that should be a list") != std::string::npos);
    CHECK(refused.problem().message.find("single quote") != std::string::npos);
}

TEST_CASE("positions that the mask leaves out leave the row") {
    const Json whole{{"input_ids", {5, 6, 7, 33}}, {"labels", {-100, 6, 7, 33}}};
    const Dataset plain = built(whole);
    for (const auto& [left, right] : {std::pair{0, 2}, {3, 0}, {2, 1}}) {
        Json row{{"input_ids", Json::array()},
                 {"labels", Json::array()},
                 {"attention_mask", Json::array()}};
        const auto pad = [&row](int count) {
            for (int i = 0; i < count; ++i) {
                row["input_ids"].push_back(0);
                row["labels"].push_back(-100);
                row["attention_mask"].push_back(0);
            }
        };
        pad(left);
        for (std::size_t i = 0; i < 4; ++i) {
            row["input_ids"].push_back(whole["input_ids"][i]);
            row["labels"].push_back(whole["labels"][i]);
            row["attention_mask"].push_back(1);
        }
        pad(right);
        const Dataset masked = built(row);
        CHECK(masked.train[0].ids == plain.train[0].ids);
        CHECK(masked.train[0].labels == plain.train[0].labels);
        row.erase("labels");
        CHECK(built(row).train[0].ids == plain.train[0].ids);
    }
    const DataFile odd("odd.jsonl",
                       "{\"input_ids\": [1,2,3]}\n{\"input_ids\": [1,2], \"attention_mask\": "
                       "[1]}\n{\"input_ids\": [1,2], \"attention_mask\": [1,2]}\n{\"input_ids\": "
                       "[1,2], \"attention_mask\": [[1,1],[1,1]]}\n");
    RunConfig config;
    Json section = withDefaults(Json::object(), dataSchema());
    setDotted(section, "train.path", odd.path.string());
    setDotted(section, "eval.split", 0.0);
    config.document = Json{{"model", {{"task", "causal_lm"}}},
                           {"method", {{"type", "lora"}}},
                           {"data", section},
                           {"train", {{"seed", 42}}}};
    const auto dataset = Dataset::build(config, Letters());
    REQUIRE(dataset.ok());
    CHECK(dataset->train.size() == 1);
    CHECK(dataset->facts.unusableRows == 3);
}
