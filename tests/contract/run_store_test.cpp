// SPDX-License-Identifier: Apache-2.0
#include "contract/run_store.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include <unistd.h>

using namespace luthier;
namespace fs = std::filesystem;

namespace {

struct TemporaryWorkspace {
    Workspace workspace{fs::temp_directory_path() /
                        ("luthier-store-" + std::to_string(::getpid()))};
    TemporaryWorkspace() { fs::remove_all(workspace.root); }
    ~TemporaryWorkspace() { fs::remove_all(workspace.root); }
};

RunFolder makeRun(RunStore& store, const std::string& id, double time, double loss,
                  bool isFinished = true) {
    const RunFolder folder = *store.create("poems", id);
    std::ofstream(folder.config()) << Json{{"name", id},
                                           {"method", {{"type", "lora"}, {"r", loss}}},
                                           {"model", {{"path", "/m/story-2m"}}}};
    std::ofstream log(folder.events());
    StepFacts facts;
    facts.step = 1;
    facts.loss = loss;
    log << eventLine(event::step(facts), id, time) << "\n"
        << eventLine(event::eval(1, loss, {}, 4, 4), id, time + 1) << "\n";
    if (isFinished)
        log << eventLine(Json{{"type", "finished"}, {"summary", Json::object()}}, id, time + 2)
            << "\n";
    return folder;
}

}  // namespace

TEST_CASE("run ids sort by time and stay readable") {
    const std::string id = makeRunId("Poems: LoRA r=8", 1764000000);
    CHECK(id.rfind("20251124-160000-poems-lora-r-8-", 0) == 0);
    CHECK(makeRunId("", 0).rfind("19700101-000000-run-", 0) == 0);
    CHECK(makeRunId("a", 1) < makeRunId("a", 2));
}

TEST_CASE("runs are listed newest first") {
    TemporaryWorkspace temporary;
    RunStore store(temporary.workspace);
    CHECK(store.list()->empty());
    makeRun(store, "older", 100, 2);
    makeRun(store, "newer", 200, 1);
    const auto runs = *store.list();
    REQUIRE(runs.size() == 2);
    CHECK(runs[0].id == "newer");
    CHECK(runs[0].model == "story-2m");
    CHECK(runs[0].status == RunStatus::Finished);
    CHECK(runs[1].bestEvalLoss == 2);
    CHECK(toJson(runs[0])["status"] == "finished");
}

TEST_CASE("a name that the user gave wins over the configuration's and can be taken back") {
    TemporaryWorkspace temporary;
    RunStore store(temporary.workspace);
    makeRun(store, "plain", 100, 2);
    REQUIRE(store.setName("plain", "My poems").ok());
    CHECK((*store.list())[0].name == "My poems");
    REQUIRE(store.setNote("plain", "try again").ok());
    CHECK((*store.list())[0].name == "My poems");
    REQUIRE(store.setName("plain", "").ok());
    CHECK((*store.list())[0].name == "plain");
    CHECK((*store.list())[0].note == "try again");
}

TEST_CASE("the index keeps a small loss curve and why a run failed") {
    TemporaryWorkspace temporary;
    RunStore store(temporary.workspace);
    const RunFolder folder = makeRun(store, "failing", 100, 2, false);
    std::ofstream log(folder.events(), std::ios::app);
    for (int step = 2; step <= 1000; ++step) {
        StepFacts facts;
        facts.step = step;
        facts.loss = step == 500 ? std::nan("") : 1000 - step;
        log << eventLine(event::step(facts), "failing", 100 + step) << "\n";
    }
    log << eventLine(event::failed(
                         Problem{"nan_loss", "The loss is not a number.", "Lower the rate.", ""}),
                     "failing", 2000)
        << "\n";
    log.close();
    for (int pass = 0; pass < 2; ++pass) {  // folded, then from the index
        RunStore reader(temporary.workspace);
        const RunInfo info = (*reader.list())[0];
        CHECK(info.failure == "The loss is not a number.");
        REQUIRE(info.lossCurve.size() == 80);
        CHECK(info.lossCurve.front() > info.lossCurve.back());
        CHECK(std::all_of(info.lossCurve.begin(), info.lossCurve.end(),
                          [](float value) { return std::isfinite(value); }));
    }
}

TEST_CASE("the index is rebuilt when it is deleted or damaged") {
    TemporaryWorkspace temporary;
    {
        RunStore store(temporary.workspace);
        makeRun(store, "a", 100, 2);
        CHECK(store.list()->size() == 1);
    }
    CHECK(fs::exists(temporary.workspace.index()));
    std::ofstream(temporary.workspace.index(), std::ios::trunc)
        << "this is no database, but it is long enough to look like one";
    for (const char* suffix : {"-wal", "-shm"})
        fs::remove(temporary.workspace.index().string() + suffix);
    RunStore damaged(temporary.workspace);
    CHECK(damaged.list()->front().loss == 2);
    fs::remove(temporary.workspace.index());
    RunStore deleted(temporary.workspace);
    CHECK(deleted.list()->front().loss == 2);
}

TEST_CASE("the list follows a log that grows") {
    TemporaryWorkspace temporary;
    RunStore store(temporary.workspace);
    const RunFolder folder = makeRun(store, "a", 100, 2, false);
    CHECK(store.list()->front().steps == 1);
    StepFacts facts;
    facts.step = 2;
    facts.loss = 1.5;
    std::ofstream(folder.events(), std::ios::app)
        << eventLine(event::step(facts), "a", 103) << "\n";
    CHECK(store.list()->front().steps == 2);
    CHECK(RunStore(temporary.workspace).list()->front().loss == 1.5);
}

TEST_CASE("a run whose worker is gone was interrupted") {
    TemporaryWorkspace temporary;
    RunStore store(temporary.workspace);
    const RunFolder folder = makeRun(store, "a", 100, 2, false);
    {
        const auto lock = RunLock::acquire(folder);
        REQUIRE(lock.ok());
        CHECK(store.list()->front().status == RunStatus::Running);
        CHECK(store.remove("a").problem().code == "run_active");
        CHECK(RunLock::acquire(folder).problem().code == "run_locked");
    }
    CHECK(store.list()->front().status == RunStatus::Interrupted);
}

TEST_CASE("runs are found by id, prefix, name and latest") {
    TemporaryWorkspace temporary;
    RunStore store(temporary.workspace);
    makeRun(store, "20260101-a", 100, 2);
    makeRun(store, "20260102-b", 200, 2);
    CHECK(store.find("20260101-a")->id() == "20260101-a");
    CHECK(store.find("20260102")->id() == "20260102-b");
    CHECK(store.find("latest")->id() == "20260102-b");
    CHECK(store.find("2026").problem().code == "run_ambiguous");
    CHECK(store.find("none").problem().code == "run_not_found");
    CHECK_FALSE(store.find("../runs").ok());
    CHECK_FALSE(store.find("").ok());
}

TEST_CASE("notes and tags live in the run folder") {
    TemporaryWorkspace temporary;
    RunStore store(temporary.workspace);
    makeRun(store, "a", 100, 2);
    REQUIRE(store.setNote("a", "worth keeping").ok());
    REQUIRE(store.setTags("a", {"best", "rank 8"}).ok());
    const auto run = store.list()->front();
    CHECK(run.note == "worth keeping");
    CHECK(run.tags == std::vector<std::string>{"best", "rank 8"});
}

TEST_CASE("a removed run is gone") {
    TemporaryWorkspace temporary;
    RunStore store(temporary.workspace);
    makeRun(store, "a", 100, 2);
    makeRun(store, "b", 100, 2);
    REQUIRE(store.list().ok());
    REQUIRE(store.remove("a").ok());
    CHECK(store.list()->size() == 1);
}

TEST_CASE("comparison shows differing keys only") {
    const auto differences =
        compareConfigs({Json{{"name", "a"}, {"method", {{"r", 8}, {"x", 1}}}},
                        Json{{"name", "b"}, {"method", {{"r", 16}, {"x", 1}, {"new", true}}}}});
    REQUIRE(differences.size() == 2);
    CHECK(differences[0].key == "method.r");
    CHECK(differences[0].values[1] == 16);
    CHECK(differences[1].values[0].is_null());
}
