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
#include <vector>

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

/// A command is one file in commands/ that makes a Command, and one line of commands.list.
struct Command {
    void (*add)(CLI::App& app, Context& context);
};

/// Made from commands.list, in the order of --help.
std::vector<Command> listOfCommands();

}  // namespace luthier::cli
