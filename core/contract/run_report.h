// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a group of runs shows: one line for each configuration, runs that differ only in their seed
// put together, and the picture of quality against what it costs (trainable parameters, memory,
// time, file size). Written as Markdown, CSV, SVG, or an HTML page that holds table and picture and
// needs no other file. Everything comes from the run folders.

#include "contract/run_store.h"

#include <string>
#include <vector>

namespace luthier {

/// One configuration, run with one seed or several; means where there are several.
struct ReportRow {
    std::string label;   ///< the run's name without its seed
    std::string method;  ///< method.type
    double learningRate = 0;
    std::vector<std::string> runs;  ///< ids
    double evalLoss = 0;            ///< best evaluation loss; NaN when no run has one
    double deviation = 0;           ///< of evalLoss over seeds; 0 for one seed
    std::int64_t trainable = 0;
    double percent = 0;          ///< of all parameters
    std::int64_t fileBytes = 0;  ///< adapter or model
    std::int64_t peakBytes = 0;  ///< the largest of the seeds
    double seconds = 0;          ///< of the optimiser steps
    double tokensPerSecond = 0;
    std::int64_t steps = 0;
};

struct RunReport {
    std::string title;
    std::vector<ReportRow> rows;      ///< by evaluation loss, best first; rows without one last
    std::vector<std::string> same;    ///< sentences: what all runs share, "seed 42", …
    std::vector<std::string> failed;  ///< sentences: runs that gave no result, and why
};

/// @param ids of finished, stopped or failed runs.  Problems: those of RunStore::find and of
/// reading a run.
Result<RunReport> makeReport(RunStore& store, const std::vector<std::string>& ids,
                             const std::string& title);

/// The row with the lowest evaluation loss of each method, order kept.
std::vector<ReportRow> bestOfEachMethod(const std::vector<ReportRow>& rows);

/// {"title", "same", "failed", "rows": [{"label", "method", "learning_rate", "runs",
/// "best_eval_loss", "deviation", "trainable", "percent", "file_bytes", "peak_bytes",
/// "train_seconds", "tokens_per_second", "steps"}]}; a loss that no run has is null.
Json toJson(const RunReport& report);
/// Columns: method, learning rate, trainable, share, file, peak memory, time, evaluation loss,
/// distance to `full` where it took part.
std::string toMarkdown(const RunReport& report);
std::string toCsv(const RunReport& report);
/// Four panels of evaluation loss against a cost on a log axis; rows that another beats in both are
/// hollow, the others joined.
std::string toSvg(const RunReport& report);
std::string toHtml(const RunReport& report);

/// The text of a file with this suffix (.md .csv .svg .html). Problem code: report_format.
Result<std::string> reportText(const RunReport& report, const std::string& suffix);

}  // namespace luthier
