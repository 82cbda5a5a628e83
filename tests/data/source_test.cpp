// SPDX-License-Identifier: Apache-2.0
#include "data/source.h"
#include "letters.h"

#include <doctest/doctest.h>

using namespace luthier;

namespace {

std::vector<SourceRow> readAll(const std::filesystem::path& path) {
    auto source = openSource(path);
    REQUIRE(source.ok());
    std::vector<SourceRow> rows;
    while (true) {
        auto row = source->rows->next();
        REQUIRE(row.ok());
        if (!row->has_value()) return rows;
        rows.push_back(**row);
    }
}

Problem firstProblem(const std::filesystem::path& path) {
    auto source = openSource(path);
    if (!source) return source.problem();
    while (true) {
        auto row = source->rows->next();
        if (!row) return row.problem();
        if (!row->has_value()) return {};
    }
}

}  // namespace

TEST_CASE("json lines are read with their places") {
    const DataFile file("a.jsonl", "\xEF\xBB\xBF{\"text\":\"a\"}\r\n\n{\"text\":\"b\"}");
    const auto rows = readAll(file.path);
    REQUIRE(rows.size() == 2);
    CHECK(rows[0].value["text"] == "a");
    CHECK(rows[1].row == 2);
    CHECK(rows[1].byte == 18);
}

TEST_CASE("a bad line names row and byte") {
    const DataFile file("b.jsonl", "{\"text\":\"a\"}\n{\"text\": oops}\n");
    const Problem problem = firstProblem(file.path);
    CHECK(problem.code == "bad_row");
    CHECK(problem.message.find("row 2 (byte 13)") != std::string::npos);
    CHECK(problem.field == file.path.string() + ":2");
}

TEST_CASE("tables keep quotes, separators and line breaks in fields") {
    const DataFile file("c.csv", "prompt,completion\n\"a, \"\"b\"\"\",\"two\nlines\"\nx,y\n");
    const auto rows = readAll(file.path);
    REQUIRE(rows.size() == 2);
    CHECK(rows[0].value["prompt"] == "a, \"b\"");
    CHECK(rows[0].value["completion"] == "two\nlines");
    CHECK(rows[1].value["completion"] == "y");
}

TEST_CASE("a table row with a field too many is a problem") {
    const DataFile file("d.tsv", "a\tb\n1\t2\t3\n");
    CHECK(firstProblem(file.path).message.find("3 fields, the header has 2") != std::string::npos);
}

TEST_CASE("plain text is read in paragraphs") {
    const DataFile file("e.txt", "one\ntwo\n\n\nthree\n");
    const auto rows = readAll(file.path);
    REQUIRE(rows.size() == 2);
    CHECK(rows[0].value["text"] == "one\ntwo");
    CHECK(rows[1].byte == 10);
}

TEST_CASE("a json document may hold its list under data") {
    const DataFile file("f.json", "{\"version\":1,\"data\":[{\"text\":\"a\"},{\"text\":\"b\"}]}");
    CHECK(readAll(file.path).size() == 2);
}

TEST_CASE("files that are missing, empty or of another kind are problems") {
    CHECK(firstProblem("/nowhere/x.jsonl").code == "data_missing");
    const DataFile empty("g.jsonl", "");
    CHECK(firstProblem(empty.path).code == "data_empty");
    const DataFile other("h.parquet", "PAR1");
    CHECK(firstProblem(other.path).code == "data_kind");
}
