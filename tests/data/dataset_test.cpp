// SPDX-License-Identifier: Apache-2.0
#include "data/dataset.h"
#include "letters.h"

#include <doctest/doctest.h>

using namespace luthier;

namespace {

RunConfig configFor(const std::filesystem::path& path, const Json& data = Json::object(),
                    const std::string& task = "causal_lm") {
    RunConfig config;
    Json section = withDefaults(Json::object(), dataSchema());
    setDotted(section, "train.path", path.string());
    setDotted(section, "eval.split", 0.0);
    for (const auto& [key, value] : data.items()) setDotted(section, key, value);
    config.document = Json{{"model", {{"task", task}}},
                           {"method", {{"type", "lora"}}},
                           {"data", section},
                           {"train", {{"seed", 42}}}};
    return config;
}

Dataset built(const std::filesystem::path& path, const Json& data = Json::object(),
              const Letters& letters = {}) {
    auto dataset = Dataset::build(configFor(path, data), letters);
    REQUIRE_MESSAGE(dataset.ok(), describe(dataset.ok() ? Problems{} : dataset.problems()));
    return std::move(*dataset);
}

/// Labels as text: '.' where no loss is taken, '$' for the end token.
std::string learned(const DataRow& row) {
    std::string text;
    for (const std::int32_t label : row.labels)
        text += label == kIgnoredLabel ? '.' : label == 257 ? '$' : static_cast<char>(label);
    return text;
}

const DataProblem* findProblem(const Dataset& dataset, const std::string& code) {
    for (const DataProblem& problem : dataset.problems)
        if (problem.code == code) return &problem;
    return nullptr;
}

}  // namespace

TEST_CASE("a completion is learned up to its end token") {
    const DataFile file("p.jsonl", R"({"prompt":"ab","completion":"cd"})");
    const Dataset dataset = built(file.path);
    CHECK(learned(dataset.train[0]) == "...cd$");
    CHECK(dataset.train[0].ids.front() == 256);
    CHECK(dataset.facts.format == "prompt_completion");
    CHECK(dataset.facts.supervisedTokens == 3);
    CHECK(learned(built(file.path, Json{{"loss_on", "all"}}).train[0]) == ".abcd$");
}

TEST_CASE("questions get their words around them") {
    const DataFile file("q.jsonl", R"({"question":"Why","answer":"so"})");
    const Dataset dataset = built(file.path);
    CHECK(learned(dataset.train[0]) ==
          std::string(1 + std::string("Question: Why\nAnswer:").size(), '.') + " so$");
}

TEST_CASE("texts are learned whole") {
    const DataFile file("t.jsonl", R"({"text":"abc"})");
    CHECK(learned(built(file.path).train[0]) == ".abc$");
}

TEST_CASE("control tokens in data stay text") {
    const DataFile file("c.jsonl", R"({"text":"a<e>"})");
    CHECK(learned(built(file.path).train[0]) == ".a<e>$");
}

TEST_CASE("a chat learns its last answer, or all of them") {
    const DataFile file(
        "m.jsonl",
        R"({"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"yy"},{"role":"user","content":"z"},{"role":"assistant","content":"w"}]})");
    Letters letters;
    letters.isChat = true;
    CHECK(learned(built(file.path, {}, letters).train[0]) ==
          std::string(15, '.') + "w$");  // U:x|A:yy<e>U:z|A: before it
    CHECK(learned(built(file.path, Json{{"loss_on", "assistant"}}, letters).train[0]) ==
          "......yy$......w$");
}

TEST_CASE("ShareGPT conversations are chats") {
    const DataFile file(
        "s.jsonl",
        R"({"conversations":[{"from":"human","value":"x"},{"from":"gpt","value":"y"}]})");
    Letters letters;
    letters.isChat = true;
    CHECK(learned(built(file.path, {}, letters).train[0]) == "......y$");
}

TEST_CASE("tokenized rows are taken as they are but for the first label") {
    const DataFile file("k.jsonl", R"({"input_ids":[5,6,7],"labels":[5,-100,7]})");
    const Dataset dataset = built(file.path);
    CHECK(dataset.train[0].ids == std::vector<std::int32_t>{5, 6, 7});
    CHECK(dataset.train[0].labels == std::vector<std::int32_t>{-100, -100, 7});
}

TEST_CASE("a token id outside the vocabulary is a problem with its row") {
    const DataFile file("v.jsonl", "{\"input_ids\":[5]}\n{\"input_ids\":[5,999]}\n");
    const auto dataset = Dataset::build(configFor(file.path), Letters{});
    REQUIRE_FALSE(dataset.ok());
    CHECK(dataset.problem().message.find("999") != std::string::npos);
    CHECK(dataset.problem().field == file.path.string() + ":2");
}

TEST_CASE("cuts are counted and rows without loss skipped") {
    const DataFile file("l.jsonl",
                        "{\"prompt\":\"abcdef\",\"completion\":\"x\"}\n{\"prompt\":\"a\","
                        "\"completion\":\"xyzxyz\"}\n");
    const Dataset dataset = built(file.path, Json{{"max_length", 5}});
    CHECK(dataset.train.size() == 1);
    CHECK(dataset.facts.truncatedRows == 2);
    CHECK(dataset.facts.skippedRows == 1);
    CHECK(learned(dataset.train[0]) == "..xyz");
    CHECK(findProblem(dataset, "answers_cut_away")->rows == std::vector<std::int64_t>{1});
}

TEST_CASE("data without anything to learn is refused") {
    const DataFile file("n.jsonl", "{\"prompt\":\"abcdef\",\"completion\":\"x\"}\n");
    const auto dataset = Dataset::build(configFor(file.path, Json{{"max_length", 4}}), Letters{});
    REQUIRE_FALSE(dataset.ok());
    CHECK(dataset.problem().code == "data_no_rows");
}

TEST_CASE("rows of an unknown shape name their keys") {
    const DataFile file("u.jsonl", "{\"foo\":1,\"bar\":2}\n");
    const auto dataset = Dataset::build(configFor(file.path), Letters{});
    REQUIRE_FALSE(dataset.ok());
    CHECK(dataset.problem().message.find("foo, bar") != std::string::npos);
}

TEST_CASE("a long paragraph of plain text goes on in the next row") {
    const DataFile file("b.txt", "abcdefghij");
    const Dataset dataset = built(file.path, Json{{"max_length", 4}});
    CHECK(dataset.train.size() == 3);
    CHECK(dataset.facts.truncatedRows == 0);
    CHECK(findProblem(dataset, "no_end_token") == nullptr);
}

TEST_CASE("the split is a share of the rows and always the same") {
    std::string text;
    for (int i = 0; i < 100; ++i) text += "{\"text\":\"row " + std::to_string(i) + "\"}\n";
    const DataFile file("x.jsonl", text);
    const Dataset first = built(file.path, Json{{"eval.split", 0.1}});
    const Dataset second = built(file.path, Json{{"eval.split", 0.1}});
    CHECK(first.train.size() == 90);
    REQUIRE(first.eval.size() == 10);
    for (std::size_t i = 0; i < 10; ++i) CHECK(first.eval[i].sourceRow == second.eval[i].sourceRow);
}

TEST_CASE("an evaluation row that is trained on is reported") {
    const DataFile train("et.jsonl", "{\"text\":\"a\"}\n{\"text\":\"b\"}\n{\"text\":\"b\"}\n");
    const DataFile eval("ee.jsonl", "{\"text\":\"b\"}\n");
    const Dataset dataset = built(train.path, Json{{"eval.path", eval.path.string()}});
    CHECK(findProblem(dataset, "eval_in_train") != nullptr);
    CHECK(findProblem(dataset, "duplicates") != nullptr);
}

TEST_CASE("classes are numbered by name") {
    const DataFile file(
        "r.jsonl",
        "{\"text\":\"a\",\"label\":\"positive\"}\n{\"text\":\"b\",\"label\":\"negative\"}\n");
    const auto dataset =
        Dataset::build(configFor(file.path, {}, "sequence_classification"), Letters{});
    REQUIRE(dataset.ok());
    CHECK(dataset->classNames == std::vector<std::string>{"negative", "positive"});
    CHECK(dataset->train[0].classIndex == 1);
    CHECK(dataset->train[0].ids == std::vector<std::int32_t>{256, 'a'});
}

TEST_CASE("the preview says what each token is for") {
    const DataFile file("w.jsonl", R"({"prompt":"ab","completion":"cdef"})");
    const Json json = built(file.path, Json{{"max_length", 5}}).toJson(Letters{}, 0, 10);
    const Json& tokens = json["preview"][0]["tokens"];
    REQUIRE(tokens.size() == 8);
    CHECK(tokens[0]["state"] == "special");
    CHECK(tokens[1]["state"] == "prompt");
    CHECK(tokens[3]["state"] == "loss");
    CHECK(tokens[5]["state"] == "cut");
    CHECK(json["lengths"]["longest"] == 8);
}

TEST_CASE("a beginning holds the first rows as the whole has them") {
    std::string text;
    for (int i = 0; i < 1000; ++i)
        text += "{\"prompt\":\"p" + std::to_string(i) + "\",\"completion\":\"c" +
                std::to_string(i) + "\"}\n";
    const DataFile file("beginning.jsonl", text);
    const Result<Dataset> start = Dataset::beginning(configFor(file.path), Letters{}, 20);
    REQUIRE(start.ok());
    const Dataset whole = built(file.path);
    REQUIRE(start->train.size() == 20);
    for (std::size_t i = 0; i < 20; ++i) CHECK(start->train[i].ids == whole.train[i].ids);
    CHECK(start->facts.format == whole.facts.format);
    CHECK(start->problems.empty());
}

TEST_CASE("rows that cannot be used are named and left out") {
    const DataFile file("bad.jsonl",
                        "{\"prompt\":\"ab\",\"completion\":\"cd\"}\n{\"prompt\": "
                        "oops}\n{\"prompt\":\"x\"}\n{\"prompt\":\"ab\",\"completion\":[1]}\n{"
                        "\"prompt\":\"e\",\"completion\":\"f\"}\n");
    const Dataset dataset = built(file.path);
    CHECK(dataset.train.size() == 2);
    const DataProblem* problem = findProblem(dataset, "unusable_rows");
    REQUIRE(problem != nullptr);
    CHECK(problem->rows == std::vector<std::int64_t>{2, 3});
    CHECK(problem->level == DataLevel::Error);
    const DataProblem* type = findProblem(dataset, "row_wrong_type");
    REQUIRE(type != nullptr);
    CHECK(type->rows == std::vector<std::int64_t>{4});
}

TEST_CASE("rows left out for a reason with a name are told apart, each with its first place") {
    std::string text = "{\"text\":\"a\"}\n{\"text\":\"\xFF\"}\n{\"text\":\"b" +
                       std::string(1, '\0') + "\"}\n[1]\n{\"text\":[1]}\n{\"text\":\"" +
                       std::string(33 << 20, 'x') +
                       "\"}\n{\"text\":\"\xC3\x28\"}\n{\"text\":\"z\"}\n";
    const DataFile file("named.jsonl", text);
    const Dataset dataset = built(file.path);
    CHECK(dataset.train.size() == 2);
    for (const auto& [code, rows, byte] :
         {std::tuple{"row_not_utf8", std::vector<std::int64_t>{2, 7}, "(byte 13)"},
          {"row_nul", {3}, "(byte 26)"},
          {"row_wrong_type", {4, 5}, "(byte 40)"},
          {"row_too_long", {6}, "(byte 57)"}}) {
        const DataProblem* problem = findProblem(dataset, code);
        REQUIRE_MESSAGE(problem != nullptr, code);
        CHECK(problem->rows == rows);
        CHECK_MESSAGE(problem->message.find(byte) != std::string::npos, problem->message);
        CHECK(problem->level == DataLevel::Error);
    }
    CHECK(findProblem(dataset, "unusable_rows") == nullptr);
}

TEST_CASE("a file without one usable row says what is wrong with the first") {
    const DataFile file("worse.jsonl", "{\"prompt\": oops}\n{\"prompt\": oops}\n");
    const auto dataset = Dataset::build(configFor(file.path), Letters());
    REQUIRE_FALSE(dataset.ok());
    CHECK(dataset.problem().code == "bad_row");
}

TEST_CASE("columns that a user names are the ones that are read") {
    const DataFile file("columns.csv", "text,frage,antwort\nnot this,ab,cd\n");
    const Dataset dataset =
        built(file.path, Json{{"columns.prompt", "frage"}, {"columns.completion", "antwort"}});
    CHECK(learned(dataset.train[0]) == "...cd$");
}

TEST_CASE("a pair is framed by the tokenizer and the longer text is cut first") {
    const DataFile file("pair.jsonl",
                        "{\"premise\":\"abcdef\",\"hypothesis\":\"xy\",\"label\":1}\n{\"premise\":"
                        "\"abcdef\",\"hypothesis\":\"uvwxyz\",\"label\":0}\n");
    Letters letters;
    letters.isPairs = true;
    const auto dataset = Dataset::build(
        configFor(file.path, Json{{"max_length", 8}}, "sequence_classification"), letters);
    REQUIRE(dataset.ok());
    CHECK(dataset->train[0].ids ==
          std::vector<std::int32_t>{256, 'a', 'b', 'c', 257, 'x', 'y', 257});
    CHECK(dataset->train[0].types == std::vector<std::int32_t>{0, 0, 0, 0, 0, 1, 1, 1});
    CHECK(dataset->train[1].ids ==
          std::vector<std::int32_t>{256, 'a', 'b', 257, 'u', 'v', 'w', 257});
    CHECK(dataset->train[0].cut == std::vector<std::int32_t>{'d', 'e', 'f'});
    CHECK(dataset->train[0].classIndex == 1);
}

TEST_CASE("a tokenizer that puts nothing between two texts reads two lines") {
    const DataFile file("lines.jsonl", R"({"sentence1":"a","sentence2":"b","label":0})");
    const auto dataset =
        Dataset::build(configFor(file.path, {}, "sequence_classification"), Letters{});
    REQUIRE(dataset.ok());
    CHECK(dataset->train[0].ids == std::vector<std::int32_t>{256, 'a', '\n', 'b'});
    CHECK(dataset->facts.mapping == "sentence1 and sentence2 as two lines of one text, label");
}

TEST_CASE("a language model writes the label of a pair") {
    const DataFile file("write.jsonl", R"({"sentence1":"a","sentence2":"b","label":"no"})");
    const Dataset dataset = built(file.path);
    CHECK(dataset.facts.format == "classification");
    CHECK(learned(dataset.train[0]) ==
          std::string(1 + std::string("sentence1: a\nsentence2: b\nlabel:").size(), '.') + " no$");
}

namespace {

Json custom(const std::string& text) { return {{"template", "custom"}, {"template_text", text}}; }

Problem customProblem(const std::string& text, const std::string& rows) {
    const DataFile file("customp.jsonl", rows);
    const auto dataset = Dataset::build(configFor(file.path, custom(text)), Letters{});
    REQUIRE_FALSE(dataset.ok());
    return dataset.problem();
}

}  // namespace

TEST_CASE("a user's template learns its generation blocks and an end token") {
    const DataFile file("custom.jsonl", R"({"english":"dog","german":"Hund"})");
    const Dataset dataset = built(
        file.path, custom("EN {{ english }}\nDE{% generation %} {{ german }}{% endgeneration %}"));
    CHECK(learned(dataset.train[0]) == std::string(10, '.') + " Hund$");
    CHECK(dataset.train[0].ids.front() == 256);
    CHECK(dataset.facts.format == "custom");
    CHECK(learned(built(file.path, Json{{"template", "custom"},
                                        {"template_text", "{{ english }}={{ german }}"},
                                        {"loss_on", "all"}})
                      .train[0]) == ".dog=Hund$");
}

TEST_CASE("control tokens of a user's template count once and those of a row never") {
    const DataFile file("control.jsonl", R"({"q":"a<e>b","r":"<e>","tail":"e>","more":["<e>"]})");
    const auto ids = [&](const std::string& text) {
        std::vector<std::int32_t> found = built(file.path, custom(text)).train[0].ids;
        return std::count(found.begin(), found.end(), 257);
    };
    CHECK(ids("{{ q }}{% generation %}{{ r }}{% endgeneration %}") ==
          1);  // the end token that is added
    CHECK(ids("{{ q }}<e>{% generation %}{{ r }}<e>{% endgeneration %}") ==
          2);  // the template's own two
    CHECK(ids("{{ q }}{% generation %}{{ r }}{{ eos_token }}{% endgeneration %}") == 1);
    CHECK(ids("<{{ tail }}{% generation %}x{% endgeneration %}") == 1);  // put together from both
    CHECK(ids("{% set x %}{{ r }}{% endset %}{{ x }}{% macro m(v) %}{{ v }}{% endmacro %}{{ m(r) "
              "}}{{ r ~ '' }}{{ r | trim }}{{ more | join }}"
              "{% generation %}{% for v in more %}{{ v }}{% endfor %}{% endgeneration %}") == 1);
}

TEST_CASE("a user's template fails with row, line and reason") {
    const std::string rows = "{\"q\":\"a\",\"r\":\"b\"}\n{\"q\":\"c\"}\n";
    const DataFile file("missing.jsonl", rows);
    const Dataset dataset =
        built(file.path, custom("{{ q }}\n{% generation %}{{ r }}{% endgeneration %}"));
    CHECK(dataset.train.size() == 1);  // the other row is set aside
    const DataProblem* missing = findProblem(dataset, "unusable_rows");
    REQUIRE(missing != nullptr);
    CHECK(missing->message.find("row 2") != std::string::npos);
    CHECK(missing->message.find("template line 2") != std::string::npos);
    CHECK(missing->message.find("the row has no \"r\"") != std::string::npos);

    const Problem endless = customProblem(
        "{% for i in range(90000) %}{% for j in range(90000) %}{% set x = j %}{% endfor %}{% "
        "endfor %}{% generation %}{{ q }}{% endgeneration %}",
        rows);
    CHECK(endless.code == "template_limit");
    CHECK(endless.message.find("row 1") != std::string::npos);
    CHECK(endless.message.find("template line 1") != std::string::npos);
    CHECK(customProblem("{{ raise_exception('no ' ~ q) }}{% generation %}{% endgeneration %}",
                        "{\"q\":\"dogs\"}\n")
              .message.find("no dogs") != std::string::npos);
    CHECK(customProblem("{% generation %}{{ q ", rows).code == "template_answer");
    CHECK(customProblem("{% if %}{% generation %}{{ q }}{% endgeneration %}", rows).code ==
          "template_invalid");
    CHECK(customProblem("{{ q }}", rows).code == "template_answer");
    CHECK(customProblem("", rows).code == "missing_key");
    CHECK(
        customProblem("{% generation %}{{ q }}{% endgeneration %}", "{\"q\":\"\xEF\xB7\x93<e>\"}\n")
            .code == "bad_row");
}

TEST_CASE("classes keep the order that the file names them in") {
    const std::filesystem::path named =
        std::filesystem::path(LUTHIER_DATA_TESTS) / "arrow/groups.parquet";
    const DataFile numbers("numbers.jsonl",
                           "{\"text\":\"x\",\"label\":2}\n{\"text\":\"y\",\"label\":\"low\"}\n");
    auto dataset = Dataset::build(
        configFor(named,
                  Json{{"eval.path", numbers.path.string()}, {"eval.format", "classification"}},
                  "sequence_classification"),
        Letters());
    REQUIRE(dataset.ok());
    CHECK(dataset->classNames == std::vector<std::string>{"low", "middle", "high"});
    CHECK(dataset->train[0].classIndex == 0);
    CHECK(dataset->train[1].classIndex == 1);
    CHECK(dataset->train[2].classIndex == 2);
    CHECK(dataset->eval[0].classIndex == 2);
    CHECK(dataset->eval[1].classIndex == 0);
    const auto renamed =
        Dataset::build(configFor(named, Json{{"columns.text", "text"}, {"columns.label", "label"}},
                                 "sequence_classification"),
                       Letters());
    CHECK(renamed->classNames == dataset->classNames);
}

TEST_CASE("rows without a class, and rows lost in a damaged file, are counted and named") {
    const std::filesystem::path folder = std::filesystem::path(LUTHIER_DATA_TESTS) / "arrow";
    auto unlabelled =
        Dataset::build(configFor(folder / "named.arrow", {}, "sequence_classification"), Letters());
    REQUIRE(unlabelled.ok());
    CHECK(unlabelled->train.size() == 2);
    REQUIRE(findProblem(*unlabelled, "unusable_rows") != nullptr);
    CHECK(findProblem(*unlabelled, "unusable_rows")->rows == std::vector<std::int64_t>{2, 3});

    std::ifstream stream(folder / "groups.parquet", std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(stream), {}};
    bytes.replace(1600, 32, std::string(32, '\0'));  // in the second of three row groups
    const DataFile damaged("groups.parquet", bytes);
    const auto dataset =
        Dataset::build(configFor(damaged.path, {}, "sequence_classification"), Letters());
    REQUIRE(dataset.ok());
    CHECK(dataset->train.size() == 400);
    CHECK(dataset->train[200].sourceRow == 401);
    const DataProblem* problem = findProblem(*dataset, "unusable_rows");
    REQUIRE(problem != nullptr);
    CHECK(problem->message.find("200 rows cannot be used and are left out. The first: In ") == 0);
    CHECK(problem->rows.front() == 201);
}
