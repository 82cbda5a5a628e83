// SPDX-License-Identifier: Apache-2.0
#include "data/source.h"
#include "data/sources/folder.h"
#include "letters.h"

#include <doctest/doctest.h>

#include <set>

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

struct Outcome {
    std::vector<SourceRow> rows;
    std::vector<std::string> problems;
    std::int64_t lost = 0;
};

/// Everything a file gives, problems and rows.
Outcome outcomeOf(const std::filesystem::path& path) {
    Outcome outcome;
    auto source = openSource(path);
    if (!source) {
        outcome.problems.push_back(source.problem().message);
        return outcome;
    }
    while (true) {
        auto row = source->rows->next();
        if (!row) {
            outcome.problems.push_back(row.problem().message);
            outcome.lost += source->rows->rowsLost();
        } else if (!row->has_value())
            return outcome;
        else
            outcome.rows.push_back(**row);
    }
}

/// Two rows written by pyarrow: text "one", "zwei ü"; label 0, 1; tags ["a", "b"], [].
std::string smallParquet() {
    const std::string_view hex =
        "504152311500153015342c15041500150615061c000000185c020000000401030000006f6e65070000007a7765"
        "6920c3bc1500152c15302c15041500"
        "150615061c0000001654020000000401000000000000000001000000000000001500152e15302c150615001506"
        "15061c000000171802000000030203"
        "01062c1f00010000006101000000621504196c35001806736368656d61150600150c250218047465787425004c"
        "1c0000001504250218056c6162656c"
        "003502180474616773150215064c3c000000350418046c697374150200150c25021807656c656d656e7425004c"
        "1c0000001604191c193c26001c150c"
        "1925060019180474657874150216041656165a2608491c150015001502003c161419061926000400000026001c"
        "1504192506001918056c6162656c15"
        "021604165216562662491c150015001502003c29061926000400000026001c150c192506001938047461677304"
        "6c69737407656c656d656e74150216"
        "061654165626b801491c150015001502003c16041926040219460002000400000016fc01160426081686020028"
        "20706172717565742d6370702d6172"
        "726f772076657273696f6e2032362e302e31193c1c00001c00001c0000003b01000050415231";
    std::string bytes;
    for (std::size_t i = 0; i < hex.size(); i += 2)
        bytes += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
    return bytes;
}

const std::filesystem::path kArrow =
    std::filesystem::path(LUTHIER_DATA_TESTS) / "arrow";  ///< written by make.py there

std::string bytesOf(const std::filesystem::path& path) {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
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
    const DataFile other("h.xyz", "some words");
    CHECK(firstProblem(other.path).code == "data_kind");
}

TEST_CASE("reading goes on behind a row that cannot be read") {
    const DataFile file("i.jsonl", std::string("{\"text\":\"a\"}\n{\"text\":\"\xFF\"}\n{\"text\":"
                                               "\"b\0\"}\n[1]\nnonsense\n{\"text\":\"c\"}",
                                               65));
    const Outcome outcome = outcomeOf(file.path);
    REQUIRE(outcome.rows.size() == 2);
    CHECK(outcome.rows[1].value["text"] == "c");
    CHECK(outcome.rows[1].row == 6);
    REQUIRE(outcome.problems.size() == 4);
    CHECK(has(outcome.problems[0], "row 2 (byte 13) is not UTF-8 text"));
    CHECK(has(outcome.problems[1], "row 3 (byte 26) holds a NUL byte"));
    CHECK(has(outcome.problems[2], "row 4 (byte 40) is a list, not a JSON object"));
    CHECK(has(outcome.problems[3], "row 5 (byte 44) is not valid JSON"));
}

TEST_CASE("a line of 64 MB is named and does not cost the rest") {
    const DataFile file("j.jsonl", "{\"text\":\"a\"}\n{\"text\":\"" + std::string(64'000'000, 'x') +
                                       "\"}\n{\"text\":\"b\"}\n");
    const Outcome outcome = outcomeOf(file.path);
    CHECK(outcome.rows.size() == 2);
    REQUIRE(outcome.problems.size() == 1);
    CHECK(has(outcome.problems[0], "row 2 (byte 13) has more than 32 MiB"));
}

TEST_CASE("UTF-16 is named, with and without its mark") {
    const DataFile marked("k.jsonl", std::string("\xFF\xFE{\0\"\0", 6));
    CHECK(firstProblem(marked.path).code == "data_encoding");
    std::string wide;
    for (const char c : std::string("text\nhello there\n")) (wide += c) += '\0';
    const DataFile bare("k.csv", wide);
    CHECK(firstProblem(bare.path).code == "data_encoding");
}

TEST_CASE("a ragged table loses only its ragged rows") {
    const DataFile file("l.csv", "prompt,completion\na,b\nc\nd,e,f\n\"open,g\nh,i\n");
    const Outcome outcome = outcomeOf(file.path);
    REQUIRE(outcome.rows.size() == 2);
    CHECK(outcome.rows[1].value["completion"] == "i");
    REQUIRE(outcome.problems.size() == 3);
    CHECK(has(outcome.problems[0], "row 2 (byte 22) has 1 fields"));
    CHECK(has(outcome.problems[2], "row 4 (byte 30) opens a double quote"));
}

TEST_CASE("semicolons part a table whose header has no commas") {
    const DataFile file("m.csv", "prompt;completion\na,b;c\n");
    CHECK(readAll(file.path)[0].value["prompt"] == "a,b");
}

TEST_CASE("columns without a name or with the same one are a problem") {
    const DataFile twice("n.csv", "a,a\n1,2\n");
    CHECK(firstProblem(twice.path).code == "data_header");
    const DataFile nameless("o.csv", "a,\n1,2\n");
    CHECK(firstProblem(nameless.path).code == "data_header");
}

TEST_CASE("a json list that breaks off gives its whole rows and says where it ends") {
    const DataFile file("p.json",
                        "[{\"text\":\"a, ]\"}, {\"text\": oops}, {\"text\":\"b\"}, {\"text\":\"c");
    const Outcome outcome = outcomeOf(file.path);
    REQUIRE(outcome.rows.size() == 2);
    CHECK(outcome.rows[0].value["text"] == "a, ]");
    CHECK(outcome.rows[1].byte == 34);
    REQUIRE(outcome.problems.size() == 2);
    CHECK(has(outcome.problems[0], "row 2 (byte 18) is not valid JSON"));
    CHECK(has(outcome.problems[1], "row 4 (byte 48) is cut off"));
}

TEST_CASE("a json file with an object a line is read line by line") {
    const DataFile file("q.json", "{\"text\":\"a\"}\n{\"text\":\"b\"}\n");
    CHECK(readAll(file.path).size() == 2);
}

TEST_CASE("parquet rows keep their types") {
    const DataFile file("r.parquet", smallParquet());
    const auto rows = readAll(file.path);
    REQUIRE(rows.size() == 2);
    CHECK(rows[1].value["text"] == "zwei ü");
    CHECK(rows[1].value["label"] == 1);
    CHECK(rows[0].value["tags"] == Json{"a", "b"});
    CHECK(openSource(file.path)->count == 2);
}

TEST_CASE("half a parquet file is named, and costs its folder no other file") {
    const DataFile file("s.parquet", smallParquet().substr(0, 230));
    const Problem problem = firstProblem(file.path);
    CHECK(problem.code == "data_damaged");
    CHECK(
        has(problem.message,
            file.path.string() +
                " cannot be read as a Parquet file: it is cut off at byte 230, before its footer"));
    const DataFile text("s2.parquet", "{\"text\": \"json by another name\"}");
    CHECK(has(firstProblem(text.path).message, "it does not begin with PAR1"));
    const DataFile whole("s3.parquet", smallParquet());
    auto both = openSource(std::vector<std::filesystem::path>{file.path, whole.path});
    REQUIRE(both.ok());
    CHECK(!both->rows->next().ok());
    CHECK((*both->rows->next())->value["text"] == "one");
}

TEST_CASE("a damaged row group of a parquet file costs its own rows and names them") {
    std::string damaged = bytesOf(kArrow / "groups.parquet");
    damaged.replace(1600, 32, std::string(32, '\0'));  // group 2 begins at byte 1435 with its texts
    const DataFile file("groups.parquet", damaged);
    const Outcome outcome = outcomeOf(file.path);
    REQUIRE(outcome.problems.size() == 1);
    CHECK(outcome.lost == 200);
    CHECK_MESSAGE(has(outcome.problems[0], "row group 2 (bytes 1435 to 2777)"),
                  outcome.problems[0]);
    CHECK(has(outcome.problems[0],
              " is damaged and its rows 201 to 400 are lost (column \"text\", which begins at byte "
              "1435"));
    REQUIRE(outcome.rows.size() == 400);
    CHECK(outcome.rows[199].row == 200);
    CHECK(outcome.rows[200].row == 401);
    CHECK(has(outcome.rows[200].value["text"].get<std::string>(), "row 400 "));
    auto source = openSource(file.path);
    CHECK(*source->rows->skip(400) == 400);
    CHECK((*source->rows->next())->row == 401);
}

TEST_CASE("no damaged byte of a parquet file ends the program or invents rows") {
    const std::string whole = bytesOf(kArrow / "groups.parquet");
    for (std::size_t at = 0; at < whole.size(); at += 5) {
        std::string damaged = whole;
        damaged[at] = static_cast<char>(~damaged[at]);
        const DataFile file("damaged.parquet", damaged);
        CHECK(outcomeOf(file.path).rows.size() <= 600);
    }
}

TEST_CASE("bytes that are text are text, others are told by their size") {
    const auto parquet = readAll(kArrow / "binary.parquet");
    REQUIRE(parquet.size() == 1);
    CHECK(parquet[0].value ==
          Json{{"text", "text in bytes"}, {"image", {{"bytes", 3}}}, {"weight", 0.1}});
    const auto arrow = readAll(kArrow / "binary.arrow");
    REQUIRE(arrow.size() == 1);
    CHECK(arrow[0].value == Json{{"text", "a"}, {"image", {{"bytes", 3}}}});
}

TEST_CASE(
    "numbers that stand for classes become their names, none is null, and one too large is named") {
    const Outcome outcome = outcomeOf(kArrow / "named.arrow");
    REQUIRE(outcome.rows.size() == 3);
    CHECK(outcome.rows[0].value["label"] == "high");
    CHECK(outcome.rows[1].value["label"].is_null());
    CHECK(outcome.rows[2].value["label"] == "low");
    REQUIRE(outcome.problems.size() == 1);
    CHECK(has(outcome.problems[0],
              "row 3 has the class 7 in \"label\", but the file names 3 classes"));
    CHECK(openSource(kArrow / "groups.parquet")->rows->classNames("label") ==
          std::vector<std::string>{"low", "middle", "high"});
}

TEST_CASE("the names of classes are found in the dataset_info.json beside a file") {
    const std::filesystem::path folder =
        std::filesystem::temp_directory_path() / ("luthier-info-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder);
    std::ofstream(folder / "r.parquet", std::ios::binary) << smallParquet();
    std::ofstream(folder / "dataset_info.json")
        << R"({"features": {"text": {"_type": "Value"}, "label": {"_type": "ClassLabel", "names": ["no", "yes"]}}})";
    CHECK(readAll(folder / "r.parquet")[1].value["label"] == "yes");
    std::filesystem::remove_all(folder);
}

TEST_CASE("compressed Arrow files are read, as pyarrow writes Feather") {
    for (const char* name : {"lz4.feather", "zstd.feather"}) {
        const auto rows = readAll(kArrow / name);
        REQUIRE(rows.size() == 600);
        CHECK(has(rows[599].value["text"].get<std::string>(), "row 599 of many words of"));
        CHECK(rows[598].value["label"] == 1);
    }
}

TEST_CASE("a damaged batch of an Arrow file costs its own rows and names them") {
    std::string damaged = bytesOf(kArrow / "zstd.feather");
    damaged.replace(damaged.size() / 2 - 100, 200, std::string(200, '\0'));
    const DataFile file("zstd.feather", damaged);
    const Outcome outcome = outcomeOf(file.path);
    REQUIRE(outcome.problems.size() == 1);
    CHECK(outcome.lost == 200);
    CHECK_MESSAGE(has(outcome.problems[0], "the rows 201 to 400, which begin at byte "),
                  outcome.problems[0]);
    REQUIRE(outcome.rows.size() == 400);
    CHECK(outcome.rows[200].row == 401);
}

TEST_CASE("a compressed column that claims to be larger than any is not allocated") {
    std::string damaged = bytesOf(kArrow / "lz4.feather");
    const std::size_t at = damaged.find(std::string("\xC0\xE0\0\0\0\0\0\0\x04\x22\x4D\x18",
                                                    12));  // 57,536 bytes of text, then LZ4's magic
    REQUIRE(at != std::string::npos);
    damaged[at + 6] = '\x7F';
    const DataFile file("claim.feather", damaged);
    CHECK(has(outcomeOf(file.path).problems.at(0), "damaged at byte"));
}

TEST_CASE("what the datasets library saved is read by its splits, each row with its types") {
    const auto files = filesOfFolder(kArrow / "saved");
    REQUIRE(files.ok());
    REQUIRE(files->train.size() == 1);
    REQUIRE(files->eval.size() == 1);
    CHECK(files->eval[0].parent_path().filename() == "test");
    const auto rows = readAll(kArrow / "saved");
    REQUIRE(rows.size() == 2);
    CHECK(rows[0].value == Json{{"text", "one"},
                                {"label", "bad"},
                                {"tags", {"a", "b"}},
                                {"weight", 0.1},
                                {"ok", true},
                                {"turn", {{"role", "user"}, {"n", 1}}},
                                {"none", nullptr}});
    CHECK(rows[1].value == Json{{"text", "zwei ü"},
                                {"label", "good"},
                                {"tags", Json::array()},
                                {"weight", nullptr},
                                {"ok", false},
                                {"turn", {{"role", nullptr}, {"n", 2}}},
                                {"none", nullptr}});
    auto source = openSource(files->train[0]);
    CHECK(source->count == 2);
    CHECK(source->rows->classNames("label") == std::vector<std::string>{"bad", "good"});
    CHECK(source->rows->classNames("text").empty());
}

TEST_CASE("the Arrow file format is read, with dictionaries, large lists and dates") {
    const auto rows = readAll(kArrow / "file.arrow");
    REQUIRE(rows.size() == 3);
    CHECK(rows[0].value == Json{{"text", "x"}, {"ids", {1}}, {"day", "1970-01-01T00:00:00"}});
    CHECK(rows[1].value["ids"] == Json{2, 3});
    CHECK(rows[2].value == Json{{"text", "x"}, {"ids", nullptr}, {"day", "1970-01-03T00:00:00"}});
}

TEST_CASE("an Arrow file cut anywhere gives the rows before the cut and names its byte") {
    const std::string whole = bytesOf(kArrow / "file.arrow");
    std::set<std::size_t> counts;
    for (std::size_t size = 1; size < whole.size(); ++size) {
        const DataFile file("cut.arrow", whole.substr(0, size));
        const Outcome outcome = outcomeOf(file.path);
        counts.insert(outcome.rows.size());
        if (outcome.rows.size() == 3) continue;  // only the index at the end is lost
        REQUIRE(outcome.problems.size() == 1);
        CHECK_MESSAGE(has(outcome.problems[0], "byte"), outcome.problems[0]);
        if (!outcome.rows.empty())
            CHECK(has(outcome.problems[0],
                      "row 3 and those behind it cannot be read: the file is cut off or damaged at "
                      "byte "));
    }
    CHECK(counts == std::set<std::size_t>{0, 2, 3});
}

TEST_CASE("no damaged byte of an Arrow file ends the program or invents rows") {
    for (const auto& [name, rows, step] :
         {std::tuple{"file.arrow", 3, 3}, {"lz4.feather", 600, 11}, {"zstd.feather", 600, 11}}) {
        const std::string whole = bytesOf(kArrow / name);
        for (std::size_t at = 0; at < whole.size(); at += static_cast<std::size_t>(step)) {
            std::string damaged = whole;
            damaged[at] = static_cast<char>(~damaged[at]);
            const DataFile file("damaged.arrow", damaged);
            CHECK(outcomeOf(file.path).rows.size() <= static_cast<std::size_t>(rows));
        }
    }
}

TEST_CASE("a column that has no JSON is named with its type") {
    const Problem problem = firstProblem(kArrow / "unreadable.arrow");
    CHECK(problem.code == "data_damaged");
    CHECK(has(problem.message, "its column \"span\" is of the type Interval"));
}

TEST_CASE(
    "of a cache of the datasets library only the splits are read, and of several versions none") {
    const std::filesystem::path root =
        std::filesystem::temp_directory_path() / ("luthier-cache-" + std::to_string(::getpid()));
    const std::filesystem::path first = root / "default/0.0.0/aaaa",
                                second = root / "default/0.0.0/bbbb";
    std::filesystem::create_directories(first);
    std::filesystem::create_directories(second);
    for (const char* name :
         {"json-train.arrow", "json-test.arrow", "cache-12ab.arrow", "indices-0.arrow"})
        std::filesystem::copy_file(kArrow / "file.arrow", first / name);
    std::ofstream(first / "dataset_info.json") << "{}";
    const auto files = filesOfFolder(root);
    REQUIRE(files.ok());
    CHECK(files->train == std::vector<std::filesystem::path>{first / "json-train.arrow"});
    CHECK(files->eval == std::vector<std::filesystem::path>{first / "json-test.arrow"});
    std::filesystem::copy_file(kArrow / "file.arrow", second / "json-train.arrow");
    const auto several = filesOfFolder(root);
    REQUIRE(!several.ok());
    CHECK(several.problem().code == "data_several");
    CHECK(has(several.problem().message, second.string()));
    std::filesystem::remove_all(root);
}

TEST_CASE("skipping passes rows that are not blank") {
    const DataFile file("t.jsonl", "{\"text\":\"a\"}\n\n{\"text\":\"b\"}\n{\"text\":\"c\"}\n");
    auto source = openSource(file.path);
    REQUIRE(source.ok());
    CHECK(*source->rows->skip(2) == 2);
    const auto row = source->rows->next();
    CHECK((**row).value["text"] == "c");
    CHECK((**row).row == 3);
}

TEST_CASE("a folder is its shards in order, split by their names") {
    const std::filesystem::path folder =
        std::filesystem::temp_directory_path() / ("luthier-split-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder / "data");
    for (const auto& [name, text] :
         {std::pair{"data/train-00001-of-00002.jsonl", "{\"text\":\"c\"}"},
          std::pair{"data/train-00000-of-00002.jsonl", "{\"text\":\"a\"}\n{\"text\":\"b\"}"},
          std::pair{"data/test-00000-of-00001.jsonl", "{\"text\":\"t\"}"},
          std::pair{"data/validation.jsonl", "{\"text\":\"v\"}"},
          std::pair{"dataset_info.json", "{}"}, std::pair{"README.txt", "words"}})
        std::ofstream(folder / name) << text;
    const auto files = filesOfFolder(folder);
    REQUIRE(files.ok());
    CHECK(files->train.size() == 2);
    REQUIRE(files->eval.size() == 1);
    CHECK(files->eval[0].filename() == "validation.jsonl");
    const auto rows = readAll(folder);
    REQUIRE(rows.size() == 3);
    CHECK(rows[0].value["text"] == "a");
    CHECK(rows[2].row == 3);
    CHECK(rows[2].fileRow == 1);
    std::filesystem::remove_all(folder);
}
