// SPDX-License-Identifier: Apache-2.0
#include "contract/fields.h"

#include <doctest/doctest.h>

using namespace luthier;

namespace {

template <class F>
Problem problemOf(F call) {
    try {
        call();
    } catch (const Failure& failure) {
        return failure.problem();
    }
    return {"none", "", "", ""};
}

}  // namespace

TEST_CASE("a number beyond a double is a problem of the text, not an exception") {
    for (const char* text : {"1e400", "{\"a\": [1, -1e999]}", "[1e99999999999]"}) {
        const Result<Json> parsed = parseJson(text, "test");
        REQUIRE_FALSE(parsed);
        CHECK(parsed.problem().code == "json_number");
    }
    CHECK(parseJson("1e308", "test"));
    CHECK(parseJson("123456789012345678901234567890", "test"));
}

TEST_CASE("a key of another type, or none at all, is a problem that names it") {
    const Json object{{"command", nullptr}, {"number", 5},    {"text", "x"},
                      {"list", {1, "a"}},   {"negative", -1}, {"large", 18446744073709551615ull}};
    const Fields fields(object, "request");
    CHECK(problemOf([&] { (void)fields.need<std::string>("command"); }).field == "command");
    CHECK(problemOf([&] {
              (void)fields.need<std::string>("number");
          }).message.find("must be text, not 5") != std::string::npos);
    CHECK(problemOf([&] { (void)fields.need<std::string>("absent"); }).code == "bad_request");
    CHECK(problemOf([&] { (void)fields.need<std::vector<std::string>>("list"); }).code ==
          "bad_request");
    CHECK(problemOf([&] { (void)fields.need<std::vector<std::int64_t>>("list"); }).code ==
          "bad_request");
    CHECK(problemOf([&] { (void)fields.need<std::uint64_t>("negative"); }).code == "bad_request");
    CHECK(problemOf([&] { (void)fields.need<std::int64_t>("large"); }).code == "bad_request");
    CHECK(problemOf([&] { (void)fields.object("text"); }).code == "bad_request");
    CHECK(fields.need<std::uint64_t>("large") == 18446744073709551615ull);
    CHECK(fields.get("command", "fallback") == "fallback");
    CHECK(fields.list("absent").empty());
    for (const Json& other : {Json(), Json(5), Json("x"), Json::array()})
        CHECK(problemOf([&] { Fields(other, "request"); }).code == "bad_request");
    CHECK(textOr(Json(5), "command").empty());
    CHECK(textOr(object, "number").empty());
}
