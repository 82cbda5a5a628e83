// SPDX-License-Identifier: Apache-2.0
#include "text/pattern.h"

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

using namespace luthier;

namespace {

bool matches(const std::string& pattern, const std::string& text) {
    const Result<Pattern> compiled = Pattern::create(pattern, "method.target_modules");
    REQUIRE_MESSAGE(compiled.ok(),
                    pattern << ": " << (compiled.ok() ? "" : compiled.problem().message));
    return compiled->matchesWhole(text);
}

}  // namespace

TEST_CASE("aPatternMatchesAsPythonsFullmatch") {
    // What Python 3.11's re.fullmatch says.
    const struct {
        std::string pattern, text;
        bool is;
    } table[] = {
        {".*q_proj", "model.layers.0.self_attn.q_proj", true},
        {"q_proj", "model.layers.0.self_attn.q_proj", false},
        {R"(.*\.(q|v)_proj)", "a.v_proj", true},
        {R"(model\.layers\.[0-3]\.mlp\..*)", "model.layers.4.mlp.up", false},
        {R"(layers\.\d+\.x)", "layers.12.x", true},
        {"a|ab", "ab", true},
        {"(?:a|b){2}", "ab", true},
        {"a{,2}", "aa", true},
        {"a{", "a{", true},
        {"a{x}", "a{x}", true},
        {"[[]x", "[x", true},
        {"[]a]+", "]a", true},
        {"[^]]", "a", true},
        {"[a&&b]+", "a&b", true},
        {"(?P<n>a)b", "ab", true},
        {R"(\Aab\Z)", "ab", true},
        {"^ab$", "ab", true},
        {R"(\<a\>)", "<a>", true},
        {"(?i)AB", "ab", true},
        {"a+?b??", "aa", true},
        {"ä.", "äö", true},
        {"", "", true},
        {"", "a", false},
    };
    for (const auto& row : table) {
        CAPTURE(row.pattern);
        CAPTURE(row.text);
        CHECK(matches(row.pattern, row.text) == row.is);
    }
}

TEST_CASE("aPatternThatNeedsMoreThanLinearTimeIsRefusedByName") {
    for (const auto& [pattern, words] :
         std::vector<std::pair<std::string, std::string>>{{R"((a)\1)", "back-reference"},
                                                          {"(?=a)b", "look-ahead"},
                                                          {"(?!a)b", "look-ahead"},
                                                          {"(?<=a)b", "look-behind"},
                                                          {"(?<!a)b", "look-behind"},
                                                          {"(?P<n>a)(?P=n)", "back-reference"},
                                                          {"(?>a+)", "atomic"},
                                                          {"a++", "possessive"},
                                                          {"(?(1)a|b)", "condition"}}) {
        const Result<Pattern> compiled =
            Pattern::create(pattern, "adapter_config.json: target_modules");
        CAPTURE(pattern);
        REQUIRE_FALSE(compiled.ok());
        CHECK(compiled.problem().code == "bad_pattern");
        CHECK(compiled.problem().message.find(words) != std::string::npos);
        CHECK(compiled.problem().message.find("adapter_config.json") != std::string::npos);
    }
    for (const char* wrong : {"(", ")", "[", "*a", "a)(b", "\\", "a**"}) {
        CAPTURE(wrong);
        CHECK_FALSE(Pattern::create(wrong, "x").ok());
    }
}

TEST_CASE("aPatternMadeToNeverEndEnds") {
    const auto begin = std::chrono::steady_clock::now();
    const std::string text(20'000, 'a');
    for (const char* pattern : {"(a+)+$", "(a|a)*b", "(.*.*.*.*)*z", "(a*)*b", "(x+x+)+y"})
        CHECK_FALSE(matches(pattern, text + "!"));
    static_cast<void>(
        Pattern::create("((((a{1,100}){1,100}){1,100}){1,100})", "x"));  // too large, or compiled
    static_cast<void>(Pattern::create(std::string(10'000, '('), "x"));
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(20));
}
