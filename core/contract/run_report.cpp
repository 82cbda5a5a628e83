// SPDX-License-Identifier: Apache-2.0
#include "contract/run_report.h"

#include "contract/number_text.h"
#include "contract/schema.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>
#include <set>

namespace luthier {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

template <class... Values>
std::string printed(const char* format, Values... values) {
    char text[64];
    std::snprintf(text, sizeof text, format, values...);
    return text;
}

std::string loss(double value) { return std::isnan(value) ? "" : printed("%.4f", value); }
std::string number(double value) { return std::isnan(value) ? "" : printed("%.9g", value); }

/// A setting of a run's configuration, which may be a stranger's; null where it is not there.
Json settingOf(const Json& config, const char* key) {
    const Json* found = findDotted(config, key);
    return found == nullptr ? Json() : *found;
}

/// Configurations that differ only in their seed and in what names a run are one row.
std::string keyOf(Json config) {
    if (!config.is_object()) return "";
    for (const char* key : {"name", "group", "versions", "hardware", "inputs"}) config.erase(key);
    if (const auto train = config.find("train"); train != config.end() && train->is_object())
        train->erase("seed");
    return dumpLine(config);
}

/// "methods-lora-seed43" → "methods-lora"
std::string withoutSeed(const std::string& name, const Json& config) {
    const std::string suffix = "-seed" + dumpLine(settingOf(config, "train.seed"));
    const bool has = name.size() > suffix.size() &&
                     name.compare(name.size() - suffix.size(), suffix.size(), suffix) == 0;
    return has ? name.substr(0, name.size() - suffix.size()) : name;
}

struct Trained {
    RunInfo info;
    Json config;
    double trainSeconds = 0;
};

Result<Trained> readTrained(const RunFolder& folder) {
    Result<RunSnapshot> snapshot = readRunSnapshot(folder.path);
    if (!snapshot) return snapshot.problems();
    Trained run{readRunInfo(folder, *snapshot), snapshot->config, 0};
    if (!snapshot->steps.trainSeconds.empty())
        run.trainSeconds = snapshot->steps.trainSeconds.back();
    return run;
}

ReportRow rowOf(const std::vector<const Trained*>& seeds) {
    const Trained& first = *seeds.front();
    ReportRow row;
    row.label = seeds.size() > 1 ? withoutSeed(first.info.name, first.config) : first.info.name;
    row.method = first.info.method;
    if (const Json rate = settingOf(first.config, "train.learning_rate"); rate.is_number())
        row.learningRate = rate.get<double>();
    row.trainable = first.info.trainable;
    row.percent = first.info.total > 0 ? 100.0 * static_cast<double>(first.info.trainable) /
                                             static_cast<double>(first.info.total)
                                       : 0;
    row.fileBytes = first.info.adapterBytes;
    row.steps = first.info.steps;
    const double share = 1.0 / static_cast<double>(seeds.size());
    for (const Trained* run : seeds) {
        row.runs.push_back(run->info.id);
        row.evalLoss += run->info.bestEvalLoss * share;
        row.seconds += run->trainSeconds * share;
        row.tokensPerSecond += run->info.tokensPerSecond * share;
        row.peakBytes = std::max(row.peakBytes, run->info.peakBytes);
    }
    double squares = 0;
    for (const Trained* run : seeds) squares += std::pow(run->info.bestEvalLoss - row.evalLoss, 2);
    if (seeds.size() > 1)
        row.deviation = std::sqrt(squares / static_cast<double>(seeds.size() - 1));
    return row;
}

/// What every run has alike, of the things that make a comparison fair.
std::vector<std::string> sharedFacts(const std::vector<Trained>& runs) {
    const std::pair<const char*, const char*> facts[] = {{"model.path", "model "},
                                                         {"data.train.path", "data "},
                                                         {"train.max_steps", "steps "},
                                                         {"train.batch_size", "batch "},
                                                         {"train.seed", "seed "}};
    std::vector<std::string> same;
    for (const auto& [key, words] : facts) {
        std::set<std::string> values;
        for (const Trained& run : runs) values.insert(dumpLine(settingOf(run.config, key)));
        if (values.size() != 1 || *values.begin() == "null") continue;
        const Json value = parseJson(*values.begin(), "a setting").orThrow();
        same.push_back(words +
                       (value.is_string()
                            ? std::filesystem::path(value.get<std::string>()).filename().string()
                            : dumpLine(value)));
    }
    return same;
}

/// Evaluation loss above that of full fine-tuning; empty without such a row.
std::string distance(const RunReport& report, const ReportRow& row) {
    for (const ReportRow& other : report.rows)
        if (other.percent >= 100 && !std::isnan(other.evalLoss) && !std::isnan(row.evalLoss))
            return printed("%+.4f", row.evalLoss - other.evalLoss);
    return "";
}

std::string lossWords(const ReportRow& row) {
    return loss(row.evalLoss) + (row.runs.size() > 1 && !std::isnan(row.evalLoss)
                                     ? " ± " + printed("%.4f", row.deviation)
                                     : "");
}

const std::vector<const char*> kColumns{"Run",        "Method", "Learning rate", "Trainable",
                                        "Share",      "File",   "Peak memory",   "Time",
                                        "Eval. loss", "To full"};

std::vector<std::string> cells(const RunReport& report, const ReportRow& row) {
    return {row.label,
            row.method,
            printed("%g", row.learningRate),
            withThousands(row.trainable),
            printed("%.3g %%", row.percent),
            bytesText(row.fileBytes),
            bytesText(row.peakBytes),
            printed("%.1f s", row.seconds),
            lossWords(row),
            distance(report, row)};
}

std::string joined(const std::vector<std::string>& parts, const char* between) {
    std::string text;
    for (const std::string& part : parts) text += (text.empty() ? "" : between) + part;
    return text;
}

}  // namespace

Result<RunReport> makeReport(RunStore& store, const std::vector<std::string>& ids,
                             const std::string& title) {
    RunReport report;
    report.title = title;
    std::vector<Trained> runs;
    for (const std::string& id : ids) {
        Result<RunFolder> folder = store.find(id);
        if (!folder) return folder.problems();
        Result<Trained> run = readTrained(*folder);
        if (!run) return run.problems();
        if (run->info.status == RunStatus::Failed)
            report.failed.push_back(run->info.name + ": " + run->info.failure);
        else
            runs.push_back(std::move(*run));
    }
    std::vector<std::string> order;
    std::map<std::string, std::vector<const Trained*>> byConfig;
    const auto seedOf = [](const Trained& run) { return settingOf(run.config, "train.seed"); };
    for (const Trained& run : runs) {
        // Runs that differ in nothing but their seed are one row; the same seed again is a run of
        // its own.
        std::string key = keyOf(run.config);
        const auto isThere = [&](const Trained* other) { return seedOf(*other) == seedOf(run); };
        while (byConfig.contains(key) &&
               std::any_of(byConfig[key].begin(), byConfig[key].end(), isThere))
            key += "+";
        if (!byConfig.contains(key)) order.push_back(key);
        byConfig[key].push_back(&run);
    }
    for (const std::string& key : order) report.rows.push_back(rowOf(byConfig[key]));
    report.same = sharedFacts(runs);
    std::stable_sort(
        report.rows.begin(), report.rows.end(), [](const ReportRow& a, const ReportRow& b) {
            return std::isnan(b.evalLoss) ? !std::isnan(a.evalLoss) : a.evalLoss < b.evalLoss;
        });
    return report;
}

std::vector<ReportRow> bestOfEachMethod(const std::vector<ReportRow>& rows) {
    std::map<std::string, double> best;
    for (const ReportRow& row : rows) {
        const double value =
            std::isnan(row.evalLoss) ? std::numeric_limits<double>::max() : row.evalLoss;
        const auto [found, isNew] = best.try_emplace(row.method, value);
        if (!isNew) found->second = std::min(found->second, value);
    }
    std::vector<ReportRow> kept;
    std::set<std::string> seen;
    for (const ReportRow& row : rows) {
        const double value =
            std::isnan(row.evalLoss) ? std::numeric_limits<double>::max() : row.evalLoss;
        if (value == best[row.method] && seen.insert(row.method).second) kept.push_back(row);
    }
    return kept;
}

Json toJson(const RunReport& report) {
    Json rows = Json::array();
    for (const ReportRow& row : report.rows)
        rows.push_back({{"label", row.label},
                        {"method", row.method},
                        {"learning_rate", row.learningRate},
                        {"runs", row.runs},
                        {"best_eval_loss", std::isnan(row.evalLoss) ? Json() : Json(row.evalLoss)},
                        {"deviation", row.deviation},
                        {"trainable", row.trainable},
                        {"percent", row.percent},
                        {"file_bytes", row.fileBytes},
                        {"peak_bytes", row.peakBytes},
                        {"train_seconds", row.seconds},
                        {"tokens_per_second", row.tokensPerSecond},
                        {"steps", row.steps}});
    return Json{{"title", report.title},
                {"same", report.same},
                {"failed", report.failed},
                {"rows", std::move(rows)}};
}

std::string toMarkdown(const RunReport& report) {
    std::string text = "# " + markdownText(report.title) + "\n\n";
    if (!report.same.empty())
        text += "The same for all: " + markdownText(joined(report.same, ", ")) + ".\n\n";
    text += "| " + joined({kColumns.begin(), kColumns.end()}, " | ") +
            " |\n| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n";
    for (const ReportRow& row : report.rows) {
        std::vector<std::string> shown = cells(report, row);
        for (std::string& cell : shown) cell = markdownText(cell);
        text += "| " + joined(shown, " | ") + " |\n";
    }
    if (!report.failed.empty()) text += "\nNo result:\n";
    for (const std::string& line : report.failed) text += "- " + markdownText(line) + "\n";
    return text;
}

std::string toCsv(const RunReport& report) {
    std::string text =
        "run,method,learning_rate,trainable,percent,file_bytes,peak_bytes,seconds,tokens_per_"
        "second,steps,eval_loss,eval_loss_deviation,seeds\n";
    for (const ReportRow& row : report.rows)
        text +=
            joined({csvField(row.label), csvField(row.method), number(row.learningRate),
                    std::to_string(row.trainable), number(row.percent),
                    std::to_string(row.fileBytes), std::to_string(row.peakBytes),
                    number(row.seconds), number(row.tokensPerSecond), std::to_string(row.steps),
                    number(row.evalLoss), number(row.deviation), std::to_string(row.runs.size())},
                   ",") +
            "\n";
    return text;
}

std::string toHtml(const RunReport& report) {
    std::string text =
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>" +
        htmlText(report.title) +
        "</title>\n<style>"
        "body{font:14px/1.5 system-ui,sans-serif;max-width:1100px;margin:40px auto;padding:0 "
        "24px;color:#1d2025;background:#fff}"
        "table{border-collapse:collapse;width:100%;margin:24px 0}th,td{padding:6px "
        "10px;border-bottom:1px solid #e2e5ea;text-align:right;font-variant-numeric:tabular-nums}"
        "th{font-weight:500;color:#5d6570}th:nth-child(-n+2),td:nth-child(-n+2){text-align:left}p{"
        "color:#5d6570}svg{width:100%;height:auto}"
        "@media "
        "(prefers-color-scheme:dark){body{background:#16181c;color:#e6e8eb}th,td{border-color:#"
        "2b2f36}th,p{color:#9aa2ad}}"
        "</style></head><body>\n<h1>" +
        htmlText(report.title) + "</h1>\n";
    if (!report.same.empty())
        text += "<p>The same for all: " + htmlText(joined(report.same, ", ")) + ".</p>\n";
    text += toSvg(report) + "<table><thead><tr>";
    for (const char* column : kColumns) text += std::string("<th>") + column + "</th>";
    text += "</tr></thead><tbody>\n";
    for (const ReportRow& row : report.rows) {
        text += "<tr>";
        for (const std::string& cell : cells(report, row))
            text += "<td>" + htmlText(cell) + "</td>";
        text += "</tr>\n";
    }
    text += "</tbody></table>\n";
    for (const std::string& line : report.failed)
        text += "<p>No result: " + htmlText(line) + "</p>\n";
    return text + "</body></html>\n";
}

Result<std::string> reportText(const RunReport& report, const std::string& suffix) {
    if (suffix == ".md") return toMarkdown(report);
    if (suffix == ".csv") return toCsv(report);
    if (suffix == ".svg") return toSvg(report);
    if (suffix == ".html") return toHtml(report);
    return Problem{"report_format", "A report cannot be written as \"" + suffix + "\".",
                   "Name a file that ends in .html, .md, .csv or .svg.", "--out",
                   ExitCode::BadUsage};
}

}  // namespace luthier
