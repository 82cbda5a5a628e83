// SPDX-License-Identifier: Apache-2.0
// Tokenizers of strangers as GGUF files are told of them: what is wrong is a problem in words
// (found by reading and by tests/fuzz).
#include "fixtures.h"
#include "text/vocabulary.h"

#include <doctest/doctest.h>

using namespace luthier;

namespace {

Json spelled(const Json& changes) {
    Json document{
        {"model",
         {{"type", "BPE"},
          {"byte_fallback", true},
          {"unk_token", "<unk>"},
          {"vocab", {{"<unk>", 0}, {"a", 1}, {"b", 2}, {"ab", 3}}},
          {"merges", {"a b"}}}},
        {"added_tokens", Json::array({{{"id", 4}, {"content", "<s>"}, {"special", true}}})}};
    document.merge_patch(changes);
    return document;
}

Result<std::optional<Vocabulary>> vocabularyOf(const std::string& text) {
    const Folder folder;
    folder.write("tokenizer.json", text);
    return readVocabulary(folder.path(), 5);
}

}  // namespace

TEST_CASE("aTokenizerWithBrokenMergesOrTokensIsRefused") {
    REQUIRE(vocabularyOf(spelled(Json::object()).dump()));
    for (const Json& changes :
         {Json{{"model", {{"merges", {"ab"}}}}}, Json{{"model", {{"merges", {{1, 2}}}}}},
          Json{{"model", {{"merges", {{"a"}}}}}}, Json{{"added_tokens", {5}}},
          Json{{"added_tokens", {{{"id", "x"}, {"content", "a"}}}}},
          Json{{"added_tokens", {{{"id", 4}}}}},
          Json{{"added_tokens", {{{"id", 4}, {"content", 7}}}}}}) {
        CAPTURE(changes.dump());
        const Result<std::optional<Vocabulary>> vocabulary = vocabularyOf(spelled(changes).dump());
        REQUIRE_FALSE(vocabulary);
        CHECK(vocabulary.problem().code == "tokenizer_invalid");
    }
}

TEST_CASE("aTokenizerThatNestsWithoutEndIsReadWithoutIt") {
    std::string deep = R"({"type":"Sequence","processors":[)";
    std::string text = spelled(Json::object()).dump();
    text.pop_back();
    text += ",\"post_processor\":";
    constexpr int kDepth = 200'000;
    for (int i = 0; i < kDepth; ++i) text += deep;
    for (int i = 0; i < kDepth; ++i) text += "]}";
    CHECK(vocabularyOf(text + "}"));
}
