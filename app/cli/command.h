// SPDX-License-Identifier: Apache-2.0
#pragma once
// What every command of luthier-cli shares: one file a command, each adding itself to the parser
// and doing its work in a function that returns an exit code or throws a Failure. With --json
// exactly one document goes to stdout.

#include "progress.h"

#include "contract/json.h"
#include "contract/number_text.h"
#include "contract/problem.h"

#include <CLI/CLI.hpp>

#include <functional>
#include <memory>
#include <string>

namespace luthier::cli {

struct Context {
    bool isJson = false;            ///< --json
    std::function<ExitCode()> run;  ///< set by the chosen command
    bool isQuiet = false;           ///< --quiet: no progress
    int stdoutDescriptor = 1;  ///< the true standard output; descriptor 1 itself points at stderr
    std::shared_ptr<Progress>
        progress;  ///< set before `run` is called; silent with --json and --quiet
};

/// Writes to the true standard output.
void print(const Context& context, const std::string& text);
void printLine(const Context& context, const std::string& text);
/// The document with --json, else `table`.
void report(const Context& context, const Json& document, const std::string& table);

/// "DIR" or "DIR:WEIGHT", either behind "NAME=" (a name has no slash).
struct WeightedPath {
    std::string path;
    double weight = 1;
    std::string name = {};
};
WeightedPath weightedPath(const std::string& text);

void addTrain(CLI::App& app, Context& context);
void addEstimate(CLI::App& app, Context& context);
void addMethods(CLI::App& app, Context& context);
void addModels(CLI::App& app, Context& context);
void addImport(CLI::App& app, Context& context);
void addInspect(CLI::App& app, Context& context);
void addData(CLI::App& app, Context& context);
void addTokenize(CLI::App& app, Context& context);
void addScore(CLI::App& app, Context& context);
void addEval(CLI::App& app, Context& context);
void addGenerate(CLI::App& app, Context& context);
void addMerge(CLI::App& app, Context& context);
void addCombine(CLI::App& app, Context& context);
void addCompareMethods(CLI::App& app, Context& context);
void addExport(CLI::App& app, Context& context);
void addRuns(CLI::App& app, Context& context);
void addDevices(CLI::App& app, Context& context);
void addServe(CLI::App& app, Context& context);

}  // namespace luthier::cli
