// SPDX-License-Identifier: Apache-2.0
#include "fixtures.h"
#include "text/tokenizer.h"

#include <doctest/doctest.h>

#include <atomic>
#include <thread>

using namespace luthier;

namespace {

std::unique_ptr<Tokenizer> opened(const Folder& folder) {
    return Tokenizer::open(folder.path()).orThrow();
}
std::string codeOf(const Folder& folder) {
    const auto result = Tokenizer::open(folder.path());
    return result ? "" : result.problem().code;
}
using Ids = std::vector<int>;

}  // namespace

TEST_CASE("controlTokensInPlainTextStayText") {
    Folder folder;
    writeModel(folder);
    const auto tokenizer = opened(folder);
    CHECK(tokenizer->encode("hello </s>", SpecialTokens::Add, TextKind::Template) == Ids{3, 1});
    const Ids plain = tokenizer->encode("hello </s>");
    CHECK(std::find(plain.begin(), plain.end(), 1) == plain.end());
}

TEST_CASE("truncationInTheFileIsIgnored") {
    Folder folder;
    writeModel(folder);
    CHECK(opened(folder)->encode("hello hello world hello") == Ids{3, 3, 4, 3});
}

TEST_CASE("configuredEndsAreAddedOnRequestOnly") {
    Folder folder;
    writeModel(folder);
    folder.write("tokenizer_config.json", Json{{"bos_token", "<s>"},
                                               {"eos_token", "</s>"},
                                               {"add_bos_token", true},
                                               {"add_eos_token", true}});
    const auto tokenizer = opened(folder);
    CHECK(tokenizer->encode("hello") == Ids{0, 3, 1});
    CHECK(tokenizer->encode("hello", SpecialTokens::Omit) == Ids{3});
}

TEST_CASE("offsetsAreBytesOfTheText") {
    Folder folder;
    writeModel(folder);
    const auto tokens = opened(folder)->encodeWithOffsets("hello  world");
    REQUIRE(tokens.size() == 2);
    CHECK(tokens[1].begin == 7);
    CHECK(tokens[1].end == 12);
}

TEST_CASE("endIdsComeFromTheGenerationConfig") {
    Folder folder;
    writeModel(folder);
    CHECK(opened(folder)->endIds() == Ids{1});
    folder.write("config.json", Json{{"eos_token_id", 4}});
    CHECK(opened(folder)->endIds() == Ids{4});
    folder.write("generation_config.json", Json{{"eos_token_id", {1, 3}}});
    CHECK(opened(folder)->endIds() == Ids{1, 3});
}

TEST_CASE("aDeclaredTokenBecomesAControlToken") {
    Folder folder;
    writeModel(folder);
    folder.write("tokenizer_config.json", Json{{"additional_special_tokens", {"<call>"}}});
    const auto tokenizer = opened(folder);
    CHECK(tokenizer->idOf("<call>") == 9);
    CHECK(tokenizer->isSpecial(9));
    CHECK(tokenizer->vocabularySize() == 10);
    CHECK(tokenizer->encode("hello<call>", SpecialTokens::Omit, TextKind::Template) == Ids{3, 9});
}

TEST_CASE("aStreamNeverEndsInsideACharacter") {
    Folder folder;
    writeModel(folder);
    const auto tokenizer = opened(folder);
    StreamDecoder stream(*tokenizer);
    CHECK(stream.push(3) == "hello");
    for (const int id : {5, 6, 7}) CHECK(stream.push(id) == "");
    CHECK(stream.push(8) == "🙂");
    CHECK(stream.push(1) == "");
    CHECK(stream.push(4) == "world");
    CHECK(stream.push(5) == "");
    CHECK(stream.finish() == "\xEF\xBF\xBD");
}

TEST_CASE("bytesThatAreNotUtf8AreReplaced") {
    Folder folder;
    writeModel(folder);
    CHECK(opened(folder)->encode("hello \xFF\xC3 world").size() >= 3);
}

TEST_CASE("unknownIdsAreHarmless") {
    Folder folder;
    writeModel(folder);
    const auto tokenizer = opened(folder);
    CHECK(tokenizer->tokenText(-1) == "");
    CHECK(tokenizer->tokenText(123456) == "");
    CHECK(tokenizer->decode(Ids{3, 123456, -5}) == "hello");
}

TEST_CASE("aFolderWithoutTokenizerSaysSo") {
    Folder folder;
    CHECK(codeOf(folder) == "tokenizer_missing");
}

TEST_CASE("aBrokenTokenizerFileIsNamed") {
    Folder folder;
    for (const std::string text : {"", "{", "[]", "{\"model\":{}}", "\xFF\xFE"}) {
        folder.write("tokenizer.json", text);
        CHECK(codeOf(folder) == (text.empty() ? "file_empty" : "tokenizer_invalid"));
    }
    const auto result = Tokenizer::open(folder.path());
    CHECK(result.problem().message.find("tokenizer.json") != std::string::npos);
}

TEST_CASE("everyPrefixOfATokenizerFileIsRefused") {
    Folder folder;
    const std::string whole = wordTokenizer().dump();
    for (std::size_t size = 0; size < whole.size(); size += 7) {
        folder.write("tokenizer.json", whole.substr(0, size));
        CHECK(codeOf(folder) == (size == 0 ? "file_empty" : "tokenizer_invalid"));
    }
}

TEST_CASE("aBrokenSentencePieceModelIsNamed") {
    Folder folder;
    folder.write("tokenizer.model", std::string("\x0a\xff\xff\xff\xff\x0f garbage"));
    CHECK(codeOf(folder) == "tokenizer_invalid");
}

TEST_CASE("aRegexThatExplodesIsAProblemNotACrash") {
    Folder folder;
    Json hostile = wordTokenizer();
    hostile["pre_tokenizer"] = {{"type", "Split"},
                                {"pattern", {{"Regex", "(a+)+$"}}},
                                {"behavior", "Isolated"},
                                {"invert", false}};
    folder.write("tokenizer.json", hostile);
    const auto tokenizer = opened(folder);
    try {
        tokenizer->encode(std::string(40, 'a') + "b");
    } catch (const Failure& failure) {
        CHECK(failure.problem().code == "tokenizer_failed");
    }
}

TEST_CASE("threadsMayShareATokenizer") {
    Folder folder;
    writeModel(folder);
    const auto tokenizer = opened(folder);
    std::vector<std::thread> threads;
    std::atomic<int> wrong = 0;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            for (int round = 0; round < 200; ++round)
                wrong += tokenizer->encode("hello world") != Ids{3, 4};
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK(wrong == 0);
}
