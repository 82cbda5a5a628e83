// SPDX-License-Identifier: Apache-2.0
#include "contract/run_snapshot.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include <unistd.h>

using namespace luthier;
namespace fs = std::filesystem;

namespace {

struct TemporaryFolder {
    fs::path path = fs::temp_directory_path() / ("luthier-snapshot-" + std::to_string(::getpid()));
    TemporaryFolder() { fs::remove_all(path), fs::create_directories(path); }
    ~TemporaryFolder() { fs::remove_all(path); }
};

std::string stepLine(std::int64_t step, double loss, double time) {
    StepFacts facts;
    facts.step = step;
    facts.loss = loss;
    facts.tokens = 100;
    facts.tokensPerSecond = 50;
    facts.memory.hostBytes = 1000 + step;
    return eventLine(event::step(facts), "r", time);
}

void append(const fs::path& path, const std::string& text) {
    std::ofstream(path, std::ios::app | std::ios::binary) << text;
}

}  // namespace

TEST_CASE("a snapshot folds a whole run") {
    RunSnapshot run;
    run.applyLine(
        R"({"type":"run_started","time":10,"run":"r","config":{"name":"poems","method":{"type":"lora"},"train":{"max_steps":3}}})");
    run.applyLine(R"({"type":"phase","time":10.5,"name":"tokenising","done":3,"total":9})");
    CHECK(run.phase.name == "tokenising");
    run.applyLine(
        R"({"type":"parameters","time":11,"trainable":10,"frozen":90,"by_part":{"q_proj":6,"v_proj":4}})");
    for (int step = 1; step <= 3; ++step) run.applyLine(stepLine(step, 3.0 / step, 11 + step));
    run.applyLine(eventLine(event::eval(3, 0.9, Json{{"accuracy", 0.5}}, 4, 9), "r", 15));
    run.applyLine(R"({"type":"finished","time":16,"run":"r","summary":{"steps":3}})");
    CHECK(run.status == RunStatus::Finished);
    CHECK(run.name == "poems");
    CHECK(run.method == "lora");
    CHECK(run.maxSteps == 3);
    CHECK(run.phase.name.empty());
    CHECK(run.trainablePercent == doctest::Approx(10));
    REQUIRE(run.byPart.size() == 2);
    CHECK(run.byPart[1].parameters == 4);
    CHECK(run.steps.tokens == std::vector<std::int64_t>{100, 200, 300});
    CHECK(run.steps.seconds.back() == doctest::Approx(4));
    CHECK(run.evals[0].tokens == 300);
    CHECK(run.recentTokensPerSecond() == doctest::Approx(50));
    CHECK(run.peakBytes() == 1003);
    CHECK(run.elapsedSeconds() == doctest::Approx(6));
}

TEST_CASE("a resumed run forgets what came after the step it resumes at") {
    RunSnapshot run;
    for (int step = 1; step <= 5; ++step) run.applyLine(stepLine(step, step, step));
    run.applyLine(eventLine(event::eval(5, 1, {}, 4, 4), "r", 6));
    run.applyLine(R"({"type":"resumed","time":9,"step":3})");
    CHECK(run.steps.size() == 3);
    CHECK(run.evals.empty());
    run.applyLine(stepLine(4, 40, 10));
    CHECK(run.steps.loss.back() == 40);
    CHECK(run.steps.tokens.back() == 400);
    CHECK(run.status == RunStatus::Running);
}

TEST_CASE("a loss that is not a number stays one") {
    RunSnapshot run;
    run.applyLine(stepLine(1, std::nan(""), 1));
    run.applyLine(stepLine(2, -INFINITY, 2));
    CHECK(std::isnan(run.steps.loss[0]));
    CHECK(run.steps.loss[1] == -INFINITY);
}

TEST_CASE("the terms of a loss are series of their own, empty where a step has none") {
    StepFacts facts;
    facts.step = 1;
    facts.losses = {{"lm", 2.5}, {"unlikelihood", std::nan("")}, {"length_normalized", 0.25}};
    const std::string line = eventLine(event::step(facts), "r", 1);
    CHECK(Json::parse(line)["losses"]["lm"] == 2.5);
    CHECK(Json::parse(line)["losses"]["unlikelihood_state"] == "nan");
    RunSnapshot run;
    run.applyLine(line);
    run.applyLine(stepLine(2, 1, 2));
    CHECK(run.steps.lmLoss[0] == 2.5);
    CHECK(std::isnan(run.steps.unlikelihoodLoss[0]));
    CHECK(run.steps.lengthNormalizedLoss[0] == 0.25);
    CHECK(std::isnan(run.steps.lmLoss[1]));
    run.applyLine(R"({"type":"resumed","time":9,"step":0})");
    CHECK(run.steps.lmLoss.empty());
}

TEST_CASE("the best evaluation may be the one before the first step") {
    RunSnapshot run;
    run.applyLine(eventLine(event::eval(0, 1.0, {}, 4, 4), "r", 1));
    run.applyLine(eventLine(event::eval(5, 1.5, {}, 4, 4), "r", 2));
    REQUIRE(run.bestEval());
    CHECK(run.evals[*run.bestEval()].step == 0);
}

TEST_CASE("a scanned step folds into the same as a parsed one") {
    StepFacts facts;
    facts.step = 7;
    facts.loss = 1.0 / 3;
    facts.learningRate = 2e-4;
    facts.stepSeconds = 0.25;
    facts.memory.deviceTotalBytes = 1ll << 40;
    std::vector<std::string> lines{eventLine(event::step(facts), "r", 1764000000.125)};
    facts.loss = std::nan("");
    facts.gradNorm = -INFINITY;
    lines.push_back(eventLine(event::step(facts), "r", 2));
    facts.losses = {{"lm", 1.25}, {"unlikelihood", INFINITY}, {"length_normalized", 1e-9}};
    lines.push_back(eventLine(event::step(facts), "r", 3));
    for (const char* body : {R"("step": 3, "loss": 1.5, "memory": {"host_bytes": 12})",
                             R"("loss":null)",
                             R"("loss":null,"loss_state":"inf")",
                             R"("loss":"x","loss_state":"-inf")",
                             R"("loss_state":"nan")",
                             R"("step":2.9,"tokens":1e2,"loss":-0.0)",
                             R"("step":"2","tokens":"5","step_seconds":0)",
                             R"("loss":1,"loss":2)",
                             R"("run":"other")",
                             R"("run":"a\"b")",
                             R"("memory":{"device_bytes":1,"x":[1]})",
                             R"("memory":{},"memory":{"host_bytes":3})",
                             R"("memory":3)",
                             R"("x":true)",
                             R"("losses":{"lm":1,"lm_state":"nan"},"memory":{"lm":3})",
                             R"("losses":{"lm":null,"lm_state":"inf"})",
                             R"("losses":{},"losses":{"lm":3})",
                             R"("losses":{"memory":{"host_bytes":3}})",
                             R"("losses":[1])",
                             R"("lm":5)",
                             R"("x":{"y":1})",
                             R"("loss":01)",
                             R"("loss":1.)",
                             R"("loss":.5)",
                             R"("loss":+1)",
                             R"("loss":1e999)",
                             R"("loss":Infinity)",
                             R"("loss":1,)",
                             R"("loss":nul)",
                             R"("type":"eval","step":4)",
                             R"("tokens":123456789012345678901234567890)",
                             R"("loss":1)"
                             "\t",
                             R"("note":"Grüße")"})
        for (const char* head : {"{\"type\":\"step\",", "{\"type\": \"step\", "})
            lines.push_back(head + std::string(body) + "}");
    for (std::size_t cut = 1; cut < lines[0].size(); ++cut)
        lines.push_back(lines[0].substr(0, cut));
    int steps = 0;
    for (const std::string& line : lines) {
        CAPTURE(line);
        RunSnapshot scanned, parsed;
        scanned.applyLine(line);
        if (const Json json = Json::parse(line, nullptr, false); json.is_object())
            parsed.apply(json);
        else
            ++parsed.ignoredLines;
        steps += static_cast<int>(scanned.steps.size());
        CHECK(scanned.ignoredLines == parsed.ignoredLines);
        CHECK(scanned.eventCount == parsed.eventCount);
        CHECK(scanned.id == parsed.id);
        CHECK(scanned.updated == parsed.updated);
        CHECK(scanned.evals.size() == parsed.evals.size());
        CHECK(scanned.deviceTotalBytes == parsed.deviceTotalBytes);
        CHECK(scanned.steps.step == parsed.steps.step);
        CHECK(scanned.steps.tokens == parsed.steps.tokens);
        CHECK(scanned.steps.hostBytes == parsed.steps.hostBytes);
        CHECK(scanned.steps.trainSeconds == parsed.steps.trainSeconds);
        const auto same = [](const std::vector<double>& a, const std::vector<double>& b) {
            return a.size() == b.size() &&
                   std::equal(a.begin(), a.end(), b.begin(), [](double x, double y) {
                       return x == y || (std::isnan(x) && std::isnan(y));
                   });
        };
        CHECK(same(scanned.steps.loss, parsed.steps.loss));
        CHECK(same(scanned.steps.lmLoss, parsed.steps.lmLoss));
        CHECK(same(scanned.steps.unlikelihoodLoss, parsed.steps.unlikelihoodLoss));
        CHECK(same(scanned.steps.lengthNormalizedLoss, parsed.steps.lengthNormalizedLoss));
        CHECK(same(scanned.steps.gradNorm, parsed.steps.gradNorm));
        CHECK(same(scanned.steps.learningRate, parsed.steps.learningRate));
        CHECK(same(scanned.steps.stepSeconds, parsed.steps.stepSeconds));
    }
    CHECK(steps > 30);
}

TEST_CASE("a change of the learning rate is remembered until a resume goes back before it") {
    RunSnapshot run;
    for (int step = 1; step <= 5; ++step) run.applyLine(stepLine(step, step, step));
    run.applyLine(R"({"type":"learning_rate","time":6,"step":5,"learning_rate":0.5})");
    REQUIRE(run.rateChanges.size() == 1);
    CHECK(run.rateChanges[0].step == 5);
    CHECK(run.rateChanges[0].learningRate == 0.5);
    run.applyLine(R"({"type":"resumed","time":9,"step":3})");
    CHECK(run.rateChanges.empty());
}

TEST_CASE("training time counts steps only") {
    RunSnapshot run;
    for (int step = 1; step <= 3; ++step)
        run.applyLine(R"({"type":"step","time":)" + std::to_string(100 * step) +
                      R"(,"step_seconds":0.5})");
    run.applyLine(R"({"type":"eval","step":3,"loss":1,"time":400})");
    CHECK(run.steps.trainSeconds == std::vector<double>{0.5, 1, 1.5});
    CHECK(run.evals[0].trainSeconds == 1.5);
    CHECK(run.evals[0].seconds == 300);
}

TEST_CASE("a snapshot ignores what it does not understand") {
    RunSnapshot run;
    run.applyLine("not json");
    run.applyLine("[1,2]");
    run.applyLine(R"({"type":"from_the_future","time":1,"x":{}})");
    run.applyLine(R"({"type":"step","step":"one","loss":[],"memory":7,"time":"late"})");
    run.applyLine(R"({"type":"parameters","by_part":[{"name":"a","parameters":3}]})");
    CHECK(run.ignoredLines == 2);
    CHECK(run.steps.size() == 1);
    CHECK(run.byPart.size() == 1);
}

TEST_CASE("a follower hands out complete lines only") {
    TemporaryFolder folder;
    const fs::path log = folder.path / "events.jsonl";
    EventFollower follower(log);
    CHECK(follower.read().lines.empty());
    append(log, "one\ntw");
    CHECK(follower.read().lines == std::vector<std::string>{"one"});
    append(log, "o\n");
    CHECK(follower.read().lines == std::vector<std::string>{"two"});
    CHECK(follower.read().lines.empty());
}

TEST_CASE("a follower starts anew when the log was cut or rewritten") {
    TemporaryFolder folder;
    const fs::path log = folder.path / "events.jsonl";
    append(log, "one\ntwo\n");
    EventFollower follower(log);
    follower.read();
    fs::resize_file(log, 4);
    auto batch = follower.read();
    CHECK(batch.restarted);
    CHECK(batch.lines == std::vector<std::string>{"one"});
    fs::remove(log);
    append(log, "new\nother\nthird\n");
    batch = follower.read();
    CHECK(batch.restarted);
    CHECK(batch.lines.size() == 3);
}

TEST_CASE("a follower bounds the work of a call and reaches the end") {
    TemporaryFolder folder;
    const fs::path log = folder.path / "events.jsonl";
    append(log, std::string(500, 'x') + "\n");
    for (int i = 0; i < 1000; ++i) append(log, "line " + std::to_string(i) + "\n");
    EventFollower follower(log);
    std::size_t lines = 0, calls = 0;
    for (auto batch = follower.read(64); !batch.lines.empty(); batch = follower.read(64))
        lines += batch.lines.size(), ++calls;
    CHECK(lines == 1001);
    CHECK(calls > 10);
}
