// SPDX-License-Identifier: Apache-2.0
#include "contract/schema.h"

#include <doctest/doctest.h>

#include <limits>
#include <string>
#include <utility>

using namespace luthier;

TEST_CASE("a number that nothing computes with is out of range") {
    Schema schema;
    schema.name = "numbers";
    for (const auto& [key, type] : {std::pair{"whole", SettingType::Integer},
                                    {"real", SettingType::Real},
                                    {"map", SettingType::NumberMap},
                                    {"list", SettingType::Integers}}) {
        Setting setting;
        setting.key = key;
        setting.type = type;
        schema.settings.push_back(setting);
    }
    const auto codeOf = [&](const Json& object) {
        const Problems problems = check(object, schema, "n");
        return problems.empty() ? std::string() : problems.front().code;
    };
    for (const Json& bad : {Json{{"real", 1e300}}, Json{{"real", -1e31}}, Json{{"whole", 1e300}},
                            Json{{"whole", std::uint64_t{1} << 63}}, Json{{"map", {{"a", 1e300}}}},
                            Json{{"list", {1, std::uint64_t{1} << 63}}}}) {
        CAPTURE(bad.dump());
        CHECK(codeOf(bad) == "out_of_range");
    }
    for (const Json& good :
         {Json{{"real", 1e-300}}, Json{{"whole", std::numeric_limits<std::int64_t>::max()}},
          Json{{"whole", 3.0}}, Json{{"map", {{"a", 0.5}}}}, Json{{"list", {1, -2}}}}) {
        CAPTURE(good.dump());
        CHECK(codeOf(good).empty());
    }
}
