// SPDX-License-Identifier: Apache-2.0
// A comparison's configurations, and reports made of run folders.
#include "contract/run_report.h"
#include "contract/shootout.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include <unistd.h>

using namespace luthier;
namespace fs = std::filesystem;

namespace {

struct TemporaryWorkspace {
    Workspace workspace{fs::temp_directory_path() /
                        ("luthier-report-" + std::to_string(::getpid()))};
    TemporaryWorkspace() { fs::remove_all(workspace.root); }
    ~TemporaryWorkspace() { fs::remove_all(workspace.root); }
};

void makeRun(RunStore& store, const std::string& id, const std::string& method, int seed,
             double loss, const char* end = "finished") {
    const RunFolder folder = *store.create(id, id);
    std::ofstream(folder.config()) << Json{{"name", id},
                                           {"method", {{"type", method}}},
                                           {"model", {{"path", "/m/story-2m"}}},
                                           {"train", {{"seed", seed}, {"learning_rate", 1e-3}}}};
    std::ofstream log(folder.events());
    StepFacts facts;
    facts.step = 1;
    facts.loss = loss;
    facts.stepSeconds = 2;
    const bool isWhole = method == "full";
    log << eventLine(Json{{"type", "parameters"}, {"trainable", 10}, {"frozen", isWhole ? 0 : 90}},
                     id, 99)
        << "\n"
        << eventLine(event::step(facts), id, 100) << "\n"
        << eventLine(event::eval(1, loss, {}, 4, 4), id, 101) << "\n";
    const Json last = end == std::string("failed")
                          ? event::failed(Problem{"out_of_memory", "No memory <left>.", "", ""})
                          : Json{{"type", "finished"}, {"summary", Json::object()}};
    log << eventLine(last, id, 102) << "\n";
}

}  // namespace

TEST_CASE("a comparison has one configuration for each method, rate and seed") {
    const Json base{{"name", "x"}, {"train", {{"seed", 7}, {"learning_rate", 1.0}}}};
    const std::vector<Json> configs = shootoutConfigs(
        base, {{Json{{"type", "lora"}}, 2e-4, 50}, {Json{{"type", "prompt_tuning"}}, 0.3, 60}},
        {"g", 2, 3});
    REQUIRE(configs.size() == 12);
    std::set<std::string> names;
    std::set<double> rates;
    for (const Json& config : configs) {
        names.insert(config.at("name"));
        CHECK(config.at("group") == "g");
        if (config.at("method").at("type") == "lora")
            rates.insert(config.at("train").at("learning_rate").get<double>());
    }
    CHECK(names.size() == 12);
    CHECK(names.contains("g-prompt-tuning-lr0.3-seed8"));
    CHECK(rates == std::set<double>{6.7e-5, 2e-4, 6e-4});
    CHECK(configs.back().at("train").at("max_steps") == 60);
}

TEST_CASE("a report puts seeds together, sorts by loss and names what failed") {
    TemporaryWorkspace temporary;
    RunStore store(temporary.workspace);
    makeRun(store, "g-full-seed1", "full", 1, 1.0);
    makeRun(store, "g-full-seed2", "full", 2, 1.2);
    makeRun(store, "g-ia3", "ia3", 1, 2.5);
    makeRun(store, "g-lora", "lora", 1, 9, "failed");
    const Result<RunReport> report =
        makeReport(store, {"g-ia3", "g-full-seed1", "g-full-seed2", "g-lora"}, "T & U");
    REQUIRE(report);
    REQUIRE(report->rows.size() == 2);
    CHECK(report->rows[0].label == "g-full");
    CHECK(report->rows[0].runs.size() == 2);
    CHECK(report->rows[0].evalLoss == doctest::Approx(1.1));
    CHECK(report->rows[0].deviation == doctest::Approx(0.14142136));
    CHECK(report->rows[1].seconds == doctest::Approx(2));
    REQUIRE(report->failed.size() == 1);
    CHECK(report->failed[0] == "g-lora: No memory <left>.");
    CHECK(toMarkdown(*report).find("| +1.4000 |") != std::string::npos);
    const std::string html = toHtml(*report);
    CHECK(html.find("T &amp; U") != std::string::npos);
    CHECK(html.find("No memory &lt;left&gt;.") != std::string::npos);
    CHECK(toCsv(*report).find("ia3") != std::string::npos);
    CHECK_FALSE(reportText(*report, ".doc"));
    CHECK(reportText(*report, ".doc").problem().code == "report_format");
    CHECK_FALSE(makeReport(store, {"nothing"}, ""));
}

TEST_CASE("of several rates of one method the best is kept") {
    RunReport report;
    for (const auto& [method, loss] : {std::pair{"lora", 2.0}, {"ia3", 1.0}, {"lora", 1.5}}) {
        ReportRow row;
        row.method = method;
        row.evalLoss = loss;
        report.rows.push_back(row);
    }
    const std::vector<ReportRow> best = bestOfEachMethod(report.rows);
    REQUIRE(best.size() == 2);
    CHECK(best[1].evalLoss == 1.5);
}
