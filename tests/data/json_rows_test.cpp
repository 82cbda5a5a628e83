// SPDX-License-Identifier: Apache-2.0
// Rows in JSON as people's programs write them: the content decides how a file is read, a bad row
// costs itself, and every file comes to its end.
#include "data/source.h"
#include "letters.h"

#include <doctest/doctest.h>

#include <chrono>
#include <cmath>

using namespace luthier;

namespace {

struct Outcome {
    std::vector<SourceRow> rows;
    std::vector<Problem> problems;
    bool isEndless = false;
};

/// Everything a file gives. A reader that does not advance is stopped: no file of n bytes has more
/// than n rows.
Outcome outcomeOf(const DataFile& file) {
    Outcome outcome;
    auto source = openSource(file.path);
    if (!source) {
        outcome.problems = source.problems();
        return outcome;
    }
    for (std::int64_t calls = 0; calls < source->bytes + 8; ++calls) {
        auto row = source->rows->next();
        if (!row)
            outcome.problems.push_back(row.problem());
        else if (!row->has_value())
            return outcome;
        else
            outcome.rows.push_back(**row);
    }
    outcome.isEndless = true;
    return outcome;
}

const std::string kA = R"({"prompt": "a", "completion": " x"})",
                  kB = R"({"prompt": "b", "completion": " y"})";

bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("the content decides about list or lines, whatever the file is called") {
    const std::string spread =
        "{\n  \"prompt\": \"a\",\n  \"completion\": {\n    \"deep\": [1,\n{\"x\": 2}]\n  }\n}\n{\n "
        " \"prompt\": \"b\"\n}\n";
    const std::pair<const char*, std::string> shapes[] = {
        {"lines", kA + "\n" + kB + "\n"},
        {"lines without an end", kA + "\n" + kB},
        {"CR LF", kA + "\r\n" + kB + "\r\n"},
        {"CR alone", kA + "\r" + kB},
        {"a mark", "\xEF\xBB\xBF" + kA + "\n" + kB},
        {"blank lines", "\n\n  \n" + kA + "\n\n" + kB + "\n\n"},
        {"a list on a line", "[" + kA + ", " + kB + "]"},
        {"a list over lines", "[\n" + kA + ",\n" + kB + "\n]\n"},
        {"a list with a mark", "\xEF\xBB\xBF[" + kA + "," + kB + "]"},
        {"a list in an object", "{\"version\": 1, \"data\": [" + kA + "," + kB + "], \"more\": 2}"},
        {"over several lines", spread},
    };
    for (const auto& [name, content] : shapes)
        for (const char* ending : {"jsonl", "json", "ndjson"}) {
            const DataFile file(std::string("shape.") + ending, content);
            const Outcome outcome = outcomeOf(file);
            CAPTURE(name);
            CAPTURE(ending);
            for (const Problem& problem : outcome.problems) MESSAGE(problem.message);
            CHECK(outcome.problems.empty());
            REQUIRE(outcome.rows.size() == 2);
            CHECK(outcome.rows[0].value["prompt"] == "a");
            CHECK(outcome.rows[1].value["prompt"] == "b");
            CHECK(outcome.rows[1].row == 2);
        }
}

TEST_CASE("what Python's json module reads is read") {
    const DataFile file(
        "python.jsonl",
        R"({"a": NaN, "b": [Infinity, -Infinity], "c": 1e400, "d": -1e400, "e": 1e-400, "text": "NaN, Infinity"})"
        "\n"
        R"({"text": "half \ud83d pair", "whole": "\ud83d\ude00", "text": "last \udc00"})"
        "\n");
    const Outcome outcome = outcomeOf(file);
    REQUIRE(outcome.rows.size() == 2);
    const Json& first = outcome.rows[0].value;
    CHECK(std::isnan(first["a"].get<double>()));
    CHECK(std::isinf(first["b"][0].get<double>()));
    CHECK(first["b"][1].get<double>() < 0);
    CHECK(std::isinf(first["c"].get<double>()));
    CHECK(first["d"].get<double>() < 0);
    CHECK(first["e"].get<double>() == 0);
    CHECK(first["text"] == "NaN, Infinity");
    CHECK(outcome.rows[1].value["text"] == "last \xEF\xBF\xBD");
    CHECK(outcome.rows[1].value["whole"] == "\xF0\x9F\x98\x80");
}

TEST_CASE("a row that is no JSON costs itself, and its reason and column are named") {
    const std::pair<std::string, std::string> faults[] = {
        {"{'prompt': 'a'}", "column 2: a single quote"},
        {R"({"prompt": "a",})", "column 16: a comma before the closing brace"},
        {R"({"prompt": ["a",]})", "a comma before the closing bracket"},
        {R"({"prompt": "a" "completion": "b"})", "column 16: a comma is missing"},
        {R"({"prompt" "a"})", "a colon is missing"},
        {R"({prompt: "a"})", "the key \"prompt\" has no double quotes"},
        {R"({"prompt": "a)", "ends inside a string"},
        {R"({"prompt": {"a": 1})", "ends early"},
        {R"({"prompt": None})", "Python's None"},
        {R"({"prompt": True})", "Python's True"},
        {R"({"prompt": undefined})", "\"undefined\""},
        {R"({"prompt": "a\q"})", "a backslash begins no escape"},
        {"{\"prompt\": \"a\tb\"}", "a control character inside a string"},
        {R"({"prompt": "a"} # note)", "more follows behind its end"},
        {"{“prompt”: \"a\"}", "a curly quote"},
        {R"({"prompt": "ä", x})", "column 17"},  // characters, not bytes
    };
    for (const auto& [bad, reason] : faults) {
        const DataFile file("fault.jsonl", kA + "\n" + bad + "\n" + kB + "\n");
        const Outcome outcome = outcomeOf(file);
        CAPTURE(bad);
        CHECK(outcome.rows.size() == 2);
        REQUIRE(outcome.problems.size() == 1);
        MESSAGE(outcome.problems[0].message);
        CHECK(has(outcome.problems[0].message, "row 2 (byte 36) is not valid JSON at column"));
        CHECK(has(outcome.problems[0].message, reason));
    }
}

TEST_CASE("in a list, too, only the broken row is lost") {
    for (const char* bad : {R"({"prompt": "open})", R"({"prompt": {"a": 1})", R"({'prompt': 1})",
                            R"({"a": 1}})", R"("x": 1)", R"(:)", R"(])"}) {
        const DataFile file("list.json",
                            "[\n  " + kA + ",\n  " + std::string(bad) + ",\n  " + kB + "\n]\n");
        const Outcome outcome = outcomeOf(file);
        CAPTURE(bad);
        CHECK_FALSE(outcome.problems.empty());
        REQUIRE_FALSE(outcome.rows.empty());
        CHECK(outcome.rows.front().value["prompt"] == "a");
        if (std::string(bad) != "]") CHECK(outcome.rows.back().value["prompt"] == "b");
    }
}

TEST_CASE("nesting beyond the limit is a row's fault, in lines and in lists") {
    const std::string deep(2000, '[');
    for (const char* ending : {"jsonl", "json"}) {
        const DataFile lines(
            std::string("deep.") + ending,
            kA + "\n{\"prompt\": " + deep + std::string(2000, ']') + "}\n" + kB + "\n");
        CHECK(outcomeOf(lines).rows.size() == 2);
        const DataFile open(std::string("open.") + ending, std::string(200'000, '['));
        CHECK_FALSE(outcomeOf(open).isEndless);
    }
}

TEST_CASE("every byte at every place of a small file comes to an end") {
    const auto begin = std::chrono::steady_clock::now();
    for (const char* whole :
         {"[{\"a\":\"b\"},{\"c\":[1]}]", "{\"data\":[{\"a\":1}]}", "{\"a\":\n1}\n{\"b\":2}\n"}) {
        const std::string text(whole);
        for (std::size_t at = 0; at <= text.size(); ++at)
            for (int byte = 0; byte < 256; byte += at % 3 == 0 ? 1 : 3) {
                std::string changed = text;
                if (at < text.size())
                    changed[at] = static_cast<char>(byte);
                else
                    changed += static_cast<char>(byte);
                const DataFile file("fuzz.json", changed);
                const Outcome outcome = outcomeOf(file);
                if (outcome.isEndless) FAIL("endless: " << changed);
            }
    }
    // A second for each thousand files is generous; a reader that stands still never ends.
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(60));
}

TEST_CASE("many lines that open an object and never close it cost no more than twice the file") {
    std::string text;
    for (int i = 0; i < 20'000; ++i) text += "{,\n";
    const auto begin = std::chrono::steady_clock::now();
    const DataFile file("open_lines.jsonl", text);
    CHECK(outcomeOf(file).problems.size() == 20'000);
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(20));
}

TEST_CASE("rows are skipped as they are read") {
    const DataFile file("skip.jsonl", kA + "\n{\n \"prompt\": \"s\"\n}\n\n" + kB + "\n");
    auto source = openSource(file.path);
    REQUIRE(source.ok());
    CHECK(*source->rows->skip(2) == 2);
    const auto row = source->rows->next();
    REQUIRE(row.ok());
    CHECK((*row)->value["prompt"] == "b");
    CHECK((*row)->row == 3);
}
