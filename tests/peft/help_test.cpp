// SPDX-License-Identifier: Apache-2.0
// The help pages: every method has one with all its parts, the settings that it names exist, and
// its usual learning rate has a source.
#include "contract/run_config.h"
#include "peft/help.h"
#include "peft/method.h"

#include <doctest/doctest.h>

#include <set>
#include <string>

using namespace luthier;

namespace {

std::string partOf(const std::string& page, const std::string& title) {
    const std::size_t begin = page.find("**" + title);
    if (begin == std::string::npos) return "";
    const std::size_t end = page.find("\n\n**", begin);
    return page.substr(begin, end == std::string::npos ? end : end - begin);
}

std::set<std::string> codeIn(const std::string& text) {
    std::set<std::string> words;
    for (std::size_t begin = text.find('`'); begin != std::string::npos;
         begin = text.find('`', begin + 1)) {
        const std::size_t end = text.find('`', begin + 1);
        if (end == std::string::npos) break;
        words.insert(text.substr(begin + 1, end - begin - 1));
        begin = end;
    }
    return words;
}

/// `word`: a key, "key: value", a choice, or one of the words that stand for modules.
bool isKnown(const Schema& schema, const std::string& word) {
    const std::string key = word.substr(0, word.find(':'));
    if (schema.find(key) != nullptr) return true;
    static const std::set<std::string> modules{"lm_head", "embed_tokens", "all-linear"};
    if (modules.contains(key)) return true;
    if (key.rfind("model.", 0) == 0) return modelSchema().find(key.substr(6)) != nullptr;
    for (const Setting& setting : schema.settings)
        for (const std::string& choice : setting.choices)
            if (choice == word) return true;
    return false;
}

}  // namespace

TEST_CASE("every method has a help page with all its parts") {
    REQUIRE(methods().size() >= 16);
    for (const Method& method : methods()) {
        CAPTURE(method.type);
        const std::string& page = methodHelp(method.type);
        CHECK(page.starts_with("# "));
        for (const char* title : {"Idea", "Formula", "When to use", "Knobs", "Result", "Paper"}) {
            CAPTURE(title);
            CHECK(partOf(page, title).size() > 20);
        }
    }
    CHECK(methodHelp("nothing").empty());
}

TEST_CASE("the knobs of a help page are settings of its method") {
    for (const Method& method : methods()) {
        const std::set<std::string> named = codeIn(partOf(methodHelp(method.type), "Knobs"));
        for (const std::string& word : named) {
            CAPTURE(method.type);
            CAPTURE(word);
            CHECK(isKnown(method.schema, word));
        }
    }
}

TEST_CASE("every method says where it usually starts and after whom") {
    const Json described = describeMethods();
    REQUIRE(described["methods"].size() == methods().size());
    for (const Json& method : described["methods"]) {
        CAPTURE(method["name"]);
        CHECK(method["usual_learning_rate"].get<double>() > 0);
        CHECK(method["rate_source"].get<std::string>().size() > 5);
    }
}
