// SPDX-License-Identifier: Apache-2.0
#include "data/row_pipeline.h"
#include "data/token_cache.h"
#include "letters.h"

#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <thread>

using namespace luthier;
namespace fs = std::filesystem;

namespace {

/// Letters that count how often they are asked, and say what they depend on.
class Counted final : public TextEncoder {
public:
    std::string print = "letters";
    mutable std::atomic<int> calls = 0;

    std::string fingerprint() const override { return print; }
    std::vector<std::int32_t> encode(std::string_view text, TextOrigin origin) const override {
        ++calls;
        return m_letters.encode(text, origin);
    }
    FramedText frame(std::string_view first,
                     std::optional<std::string_view> second) const override {
        return m_letters.frame(first, second);
    }
    std::optional<std::int32_t> begin() const override { return 256; }
    std::optional<std::int32_t> end() const override { return 257; }
    std::optional<std::int32_t> padding() const override { return 0; }
    std::int64_t vocabularySize() const override { return 258; }
    std::string tokenText(std::int32_t id) const override { return m_letters.tokenText(id); }
    bool isSpecial(std::int32_t id) const override { return id > 255; }
    bool hasChatTemplate() const override { return false; }
    Result<std::string> renderChat(const Json&, bool) const override { return std::string(); }

private:
    Letters m_letters;
};

/// A cache folder that goes with the value; $XDG_CACHE_HOME stands there.
struct CacheFolder {
    fs::path root = fs::temp_directory_path() / ("luthier-tokens-" + std::to_string(::getpid()));
    fs::path tokens = root / "luthier/tokens";
    CacheFolder() { ::setenv("XDG_CACHE_HOME", root.c_str(), 1); }
    ~CacheFolder() {
        ::unsetenv("XDG_CACHE_HOME");
        fs::remove_all(root);
    }
    std::size_t count() const {
        std::error_code code;
        return static_cast<std::size_t>(
            std::distance(fs::directory_iterator(tokens, code), fs::directory_iterator()));
    }
};

RunConfig configFor(const fs::path& path, std::int64_t maxLength = 512) {
    RunConfig config;
    Json section = withDefaults(Json::object(), dataSchema());
    setDotted(section, "train.path", path.string());
    setDotted(section, "max_length", maxLength);
    setDotted(section, "eval.split", 0.1);
    config.document = Json{{"model", {{"task", "causal_lm"}}},
                           {"method", {{"type", "lora"}}},
                           {"data", section},
                           {"train", {{"seed", 42}}}};
    return config;
}

std::string manyRows(const std::string& word) {
    std::string text;
    for (int i = 0; i < 9000; ++i) {
        text += "{\"prompt\":\"" + word + std::to_string(i) + " " + std::string(60, 'p') +
                "\",\"completion\":\"" + std::string(40, 'c') + std::to_string(i) + "\"}\n";
        if (i % 1000 == 7) text += "nonsense\n";
    }
    return text;
}

Dataset smallDataset() {
    Dataset dataset;
    DataRow row;
    row.ids = {1, 2, 3};
    row.labels = {-100, 2, 3};
    row.types = {0, 0, 1};
    row.cut = {9};
    row.classIndex = 1;
    row.targets = {0.5f};
    row.choices = {{4}, {5, 6}};
    row.answer = 1;
    row.sourceRow = 17;
    row.cutTokens = 2;
    row.isTruncated = true;
    DataRow other = row, decoded = row;
    other.labels = {-100, 7, -100};  // not the ids
    decoded.labels = {4};
    dataset.train = {row, other, decoded};
    dataset.eval = {DataRow{}};
    dataset.classNames = {"bad", "good"};
    dataset.facts = {1, 2, 3, 4, 5, 6, "text", "text + end"};
    dataset.problems = {{DataLevel::Warning, "code", "message \xC3\xBC", "hint", {1, 2}}};
    dataset.lengths = {5, 1};
    dataset.maxLength = 3;
    dataset.task = RowTask::Seq2SeqLm;
    return dataset;
}

fs::path onlyFile(const fs::path& folder) { return fs::directory_iterator(folder)->path(); }

std::string bytesOf(const fs::path& path) {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

}  // namespace

TEST_CASE("a stored data set comes back with everything in it") {
    const CacheFolder folder;
    const TokenCache cache(folder.tokens);
    const Dataset one = smallDataset();
    CHECK(!cache.find("key"));
    cache.store("key", one);
    const std::optional<Dataset> other = cache.find("key");
    REQUIRE(other.has_value());
    REQUIRE(other->train.size() == 3);
    CHECK(other->train[1].labels == one.train[1].labels);
    CHECK(other->train[2].labels == one.train[2].labels);
    const DataRow a = one.train[0], b = other->train[0];
    CHECK(std::tie(a.ids, a.labels, a.types, a.cut, a.classIndex, a.targets, a.choices, a.answer,
                   a.sourceRow, a.cutTokens, a.isTruncated) ==
          std::tie(b.ids, b.labels, b.types, b.cut, b.classIndex, b.targets, b.choices, b.answer,
                   b.sourceRow, b.cutTokens, b.isTruncated));
    CHECK(other->eval.size() == 1);
    CHECK(other->lengths == one.lengths);
    CHECK(other->task == one.task);
    CHECK(other->toJson(Letters(), 0, 5) == one.toJson(Letters(), 0, 5));
    CHECK(fs::status(folder.tokens).permissions() == fs::perms::owner_all);
}

TEST_CASE(
    "a cached file with one wrong byte, a missing end or another name is not believed and goes") {
    const CacheFolder folder;
    const TokenCache cache(folder.tokens);
    cache.store("key", smallDataset());
    const fs::path file = onlyFile(folder.tokens);
    const std::string whole = bytesOf(file);
    for (std::size_t at = 0; at < whole.size(); at += 11) {
        std::string damaged = whole;
        damaged[at] = static_cast<char>(damaged[at] ^ 1);
        std::ofstream(file, std::ios::binary) << damaged;
        CHECK(!cache.find("key"));
        CHECK(!fs::exists(file));
    }
    std::ofstream(file, std::ios::binary) << whole.substr(0, whole.size() - 1);
    CHECK(!cache.find("key"));
    std::ofstream(folder.tokens / "other.tokens", std::ios::binary) << whole;
    CHECK(!cache.find("other"));
    std::ofstream(file, std::ios::binary) << whole;
    CHECK(cache.find("key"));
}

TEST_CASE("what was not used for longest makes room") {
    const CacheFolder folder;
    const TokenCache large(folder.tokens);
    large.store("first", smallDataset());
    const auto bytes = static_cast<std::int64_t>(fs::file_size(onlyFile(folder.tokens)));
    large.store("second", smallDataset());
    const auto now = fs::file_time_type::clock::now();
    fs::last_write_time(folder.tokens / "first.tokens", now - std::chrono::hours(2));
    fs::last_write_time(folder.tokens / "second.tokens", now - std::chrono::hours(1));
    CHECK(large.find("first"));  // used now
    TokenCache(folder.tokens, 2 * bytes + bytes / 2).store("third", smallDataset());
    CHECK(large.find("first"));
    CHECK(!large.find("second"));
    CHECK(large.find("third"));
}

TEST_CASE("the same rows are tokenised once; other rows, settings and tokenizers anew") {
    const CacheFolder folder;
    const DataFile file("cached.jsonl", manyRows("a"));
    Counted encoder;
    const Dataset first = *Dataset::build(configFor(file.path), encoder);
    CHECK(encoder.calls > 9000);
    CHECK(folder.count() == 1);
    const auto callsOf = [&](const RunConfig& config) {
        encoder.calls = 0;
        REQUIRE(Dataset::build(config, encoder).ok());
        return encoder.calls.load();
    };
    CHECK(callsOf(configFor(file.path)) == 0);
    CHECK(Dataset::build(configFor(file.path), encoder)->toJson(encoder, 3, 20) ==
          first.toJson(encoder, 3, 20));
    CHECK(callsOf(configFor(file.path, 100)) > 9000);
    encoder.print = "others";
    CHECK(callsOf(configFor(file.path)) > 9000);
    std::ofstream(file.path, std::ios::binary) << manyRows("b");
    CHECK(callsOf(configFor(file.path)) > 9000);
    encoder.print = "";
    const std::size_t before = folder.count();
    CHECK(callsOf(configFor(file.path)) > 9000);
    CHECK(callsOf(configFor(file.path)) > 9000);
    CHECK(folder.count() == before);
}

TEST_CASE("LUTHIER_TOKEN_CACHE=off keeps nothing") {
    const CacheFolder folder;
    ::setenv("LUTHIER_TOKEN_CACHE", "off", 1);
    CHECK(!TokenCache::ofUser());
    ::setenv("LUTHIER_TOKEN_CACHE", "on", 1);
    CHECK(TokenCache::ofUser());
    ::unsetenv("LUTHIER_TOKEN_CACHE");
    CHECK(TokenCache::ofUser());
}

TEST_CASE("a damaged cache is mended by the next run") {
    const CacheFolder folder;
    const DataFile file("mended.jsonl", manyRows("c"));
    Counted encoder;
    const Json wanted = Dataset::build(configFor(file.path), encoder)->toJson(encoder, 0, 3);
    std::ofstream(onlyFile(folder.tokens), std::ios::binary | std::ios::app) << "x";
    encoder.calls = 0;
    CHECK(Dataset::build(configFor(file.path), encoder)->toJson(encoder, 0, 3) == wanted);
    CHECK(encoder.calls > 9000);
    encoder.calls = 0;
    CHECK(Dataset::build(configFor(file.path), encoder)->toJson(encoder, 0, 3) == wanted);
    CHECK(encoder.calls == 0);
}

TEST_CASE("two that store and read the same name at once never see a half") {
    const CacheFolder folder;
    const Json wanted = smallDataset().toJson(Letters(), 0, 5);
    std::atomic<int> wrong = 0;
    const auto work = [&] {
        const TokenCache cache(folder.tokens);
        for (int i = 0; i < 40; ++i) {
            cache.store("key", smallDataset());
            const std::optional<Dataset> found = cache.find("key");
            if (!found || found->toJson(Letters(), 0, 5) != wanted) ++wrong;
        }
    };
    std::thread one(work), other(work);
    one.join();
    other.join();
    CHECK(wrong == 0);
    CHECK(folder.count() == 1);
}

TEST_CASE(
    "rows mapped by several threads come in the order of the file, bad ones in their places") {
    std::string text;
    for (int i = 0; i < 1500; ++i)
        text += i % 100 == 99 ? "oops\n" : "{\"text\":\"" + std::to_string(i) + "\"}\n";
    const DataFile file("order.jsonl", text);
    OpenSource source = openSource(file.path).orThrow();
    const Letters letters;
    RowPipeline pipeline(
        *source.rows, [](SourceRow&) { return Result<void>{}; },
        [&](const SourceRow& row) {
            return mapRow(row.value, RowFormat::Text, {LossOn::All}, letters, "row");
        });
    for (int i = 0; i < 1500; ++i) {
        const auto next = pipeline.next();
        REQUIRE(next.ok());
        REQUIRE(next->has_value());
        const PipelineRow& row = **next;
        REQUIRE(row.row.ok() == (i % 100 != 99));
        if (!row.row) continue;
        CHECK((*row.row)->value["text"] == std::to_string(i));
        CHECK((*row.mapped)->ids.size() == std::to_string(i).size() + 2);
    }
    CHECK(!pipeline.next()->has_value());
}

TEST_CASE("what mapping throws arrives at the caller") {
    const DataFile file("thrown.jsonl", "{\"text\":\"a\"}\n{\"text\":\"b\"}\n");
    OpenSource source = openSource(file.path).orThrow();
    RowPipeline pipeline(
        *source.rows, [](SourceRow&) { return Result<void>{}; },
        [](const SourceRow&) -> Result<MappedRow> {
            throw Failure({"tokenizer_failed", "It gave up.", ""});
        });
    CHECK_THROWS_AS(static_cast<void>(pipeline.next()), Failure);
}
