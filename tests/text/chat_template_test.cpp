// SPDX-License-Identifier: Apache-2.0
#include "fixtures.h"
#include "text/tokenizer.h"

#include <doctest/doctest.h>

#include <chrono>

using namespace luthier;

namespace {

const Json kChat = Json::parse(R"([{"role": "user", "content": "hello"}])");

Result<std::string> rendered(const std::string& source, const Json& messages = kChat,
                             int times = 1) {
    Folder folder;
    writeModel(folder);
    folder.write("chat_template.jinja", source);
    const auto tokenizer = Tokenizer::open(folder.path()).orThrow();
    for (int i = 1; i < times; ++i) (void)tokenizer->renderChat(messages, false);
    return tokenizer->renderChat(messages, false);
}

std::string codeOf(const std::string& source) {
    const auto result = rendered(source);
    return result ? "" : result.problem().code;
}

}  // namespace

TEST_CASE("aTemplateSeesMessagesAndNamedTokens") {
    CHECK(rendered("{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m['content'] }}{% "
                   "endfor %}{{ eos_token }}")
              .value() == "<s>user: hello</s>");
}

TEST_CASE("blocksAreTrimmedAsInTransformers") {
    CHECK(rendered("{% if true %}\n  {% set x = 1 %}\n{{ x }}\n{% endif %}\nend\n").value() ==
          "1\nend");
}

TEST_CASE("pythonSpellingsAreUsed") {
    CHECK(
        rendered("{{ true }} {{ none }} {{ [1.0, 'a', false] }} {{ {'a': 1} | tojson }}").value() ==
        "True None [1.0, 'a', False] {\"a\": 1}");
}

TEST_CASE("aTemplateThatRaisesFailsWithItsOwnWords") {
    const auto result = rendered("{{ raise_exception('Only user roles, please') }}");
    REQUIRE(!result);
    CHECK(result.problem().code == "template_raised");
    CHECK(result.problem().message == "Only user roles, please");
}

TEST_CASE("aRaisedTemplateCanBeUsedAgain") {
    Folder folder;
    writeModel(folder);
    folder.write(
        "chat_template.jinja",
        std::string(
            "{% if messages|length > 1 %}{{ raise_exception('one only') }}{% endif %}fine"));
    const auto tokenizer = Tokenizer::open(folder.path()).orThrow();
    CHECK(!tokenizer->renderChat(Json::array({kChat[0], kChat[0]}), false));
    CHECK(tokenizer->renderChat(kChat, false).value() == "fine");
}

TEST_CASE("generationBlocksAreTransparent") {
    CHECK(rendered("a {%- generation -%} b {%- endgeneration %} c").value() == "ab c");
}

TEST_CASE("aTemplateListInTheConfigIsChosenByName") {
    Folder folder;
    writeModel(folder);
    folder.write(
        "tokenizer_config.json",
        Json::parse(
            R"({"chat_template": [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools"}]})"));
    const auto tokenizer = Tokenizer::open(folder.path()).orThrow();
    CHECK(tokenizer->renderChat(kChat, false).value() == "plain");
    CHECK(tokenizer->renderChat(kChat, false, Json::array({Json::object()})).value() == "tools");
}

TEST_CASE("aModelWithoutTemplateSaysSo") {
    Folder folder;
    writeModel(folder);
    const auto result = Tokenizer::open(folder.path()).orThrow()->renderChat(kChat, false);
    REQUIRE(!result);
    CHECK(result.problem().code == "chat_template_missing");
}

TEST_CASE("aTemplateThatDoesNotParseIsInvalid") {
    CHECK(codeOf("{% for %}") == "template_invalid");
}

TEST_CASE("messagesOfTheWrongShapeAreRefused") {
    CHECK(rendered("x", Json::parse(R"(["hello"])")).problem().code == "wrong_type");
    CHECK(rendered("x", Json::parse(R"({"role": "user"})")).problem().code == "wrong_type");
}

TEST_CASE("hostileTemplatesAreStopped") {
    const auto begin = std::chrono::steady_clock::now();
    CHECK(
        codeOf("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}") ==
        "template_limit");
    CHECK(codeOf("{% for i in range(9999) %}{{ 'x' * 4096 }}{% endfor %}") == "template_limit");
    CHECK(codeOf("{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(60) %}{% set ns.s = ns.s "
                 "~ ns.s %}{% endfor %}{{ ns.s }}") == "template_limit");
    CHECK(codeOf("{{ [0] * 4294967296 }}") != "");
    CHECK(codeOf("{{ '%99999999999d' | format(1) }}") != "");
    CHECK(codeOf("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}") != "");
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(15));
}

TEST_CASE("aTemplateThatDiedStaysRefused") {
    const auto result = rendered(
        "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s "
        "%}{% endfor %}",
        kChat, 3);
    REQUIRE(!result);
    CHECK(result.problem().code == "template_limit");
}

TEST_CASE("anOversizedTemplateIsRefused") {
    Folder folder;
    writeModel(folder);
    folder.write("chat_template.jinja", std::string(300 << 10, 'x'));
    CHECK(Tokenizer::open(folder.path()).problem().code == "file_too_large");
}

TEST_CASE("argumentsAsJsonTextAreDecodedWhereTheTemplateNeedsTheObject") {
    const auto call = [](const Json& arguments) {
        return Json::array(
            {kChat[0], Json{{"role", "assistant"},
                            {"content", nullptr},
                            {"tool_calls",
                             {{{"type", "function"},
                               {"function", {{"name", "add"}, {"arguments", arguments}}}}}}}});
    };
    const std::string walks =
        "{% for m in messages %}{% for c in m.tool_calls %}{% for k, v in c.function.arguments | "
        "items %}{{ k }}={{ v }};{% endfor %}{% endfor %}{% endfor %}";
    CHECK(rendered(walks, call({{"a", 1}})).value() == "a=1;");
    CHECK(rendered(walks, call("{\"a\": 1}")).value() == "a=1;");
    // A template that takes text gets the text, as apply_chat_template gives it.
    const std::string prints =
        "{% for m in messages %}{% for c in m.tool_calls %}{{ c.function.arguments }}{% endfor "
        "%}{% endfor %}";
    CHECK(rendered(prints, call("{\"a\": 1}")).value() == "{\"a\": 1}");
    for (const Json& odd : {Json(7), Json("words"), Json("[1]")}) {
        const auto result = rendered(walks, call(odd));
        REQUIRE(!result);
        CHECK(result.problem().code == "template_failed");
        CHECK(result.problem().message.find("The arguments of a tool call are " + odd.dump()) !=
              std::string::npos);
    }
}

TEST_CASE("oneConversationThatIsTooMuchDoesNotCostTheNext") {
    Folder folder;
    writeModel(folder);
    folder.write(
        "chat_template.jinja",
        std::string("{% for m in messages %}{% if m.content == 'huge' %}{% set ns = "
                    "namespace(s='xxxxxxxx') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s "
                    "%}{% endfor %}{{ ns.s }}{% else %}{{ m.content }}{% endif %}{% endfor %}"));
    const auto tokenizer = Tokenizer::open(folder.path());
    REQUIRE(tokenizer.ok());
    const auto say = [&](const char* text) {
        return (*tokenizer)
            ->renderChat(Json::array({Json{{"role", "user"}, {"content", text}}}), false);
    };
    CHECK(say("a").value() == "a");
    CHECK(say("huge").problem().code == "template_limit");
    CHECK(say("b").value() == "b");
    CHECK(say("huge").problem().code == "template_limit");
    CHECK(say("huge").problem().code == "template_limit");
    CHECK(say("c").problem().code ==
          "template_stopped");  // every further one would cost two seconds
}

TEST_CASE("foreignContentInATokenizersFilesIsCalledByItsName") {
    for (const char* name : {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}) {
        Folder folder;
        writeModel(folder);
        folder.write(
            name,
            std::string("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"));
        const auto tokenizer = Tokenizer::open(folder.path());
        CAPTURE(name);
        REQUIRE(!tokenizer);
        CHECK(tokenizer.problem().code == "git_lfs_pointer");
    }
}
