// SPDX-License-Identifier: Apache-2.0
#pragma once
// All rows of a run as tokens and labels, split into training and evaluation, with the facts and
// problems a person should see before the first step. Rows that are cut, skipped or suspicious are
// counted and named, never silent.

#include "contract/run_config.h"
#include "data/checks.h"
#include "data/row_format.h"
#include "data/row_list.h"
#include "data/text_encoder.h"

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace luthier {

/// Which rows a preview pages through. Longest: all, longest first.
enum class RowFilter { All, Cut, Longest };

struct DataFacts {
    std::int64_t rows =
        0;  ///< read and usable: those that are trained and evaluated, and the skipped ones
    std::int64_t tokens = 0;  ///< training rows
    std::int64_t supervisedTokens = 0;
    std::int64_t truncatedRows = 0;  ///< training and evaluation
    std::int64_t skippedRows = 0;
    std::int64_t longest = 0;  ///< before cutting
    std::string format;
    std::string mapping;
    std::int64_t unusableRows =
        0;  ///< rows of the files that could not be read or mapped; rows + unusableRows were met
    std::map<std::string, std::int64_t> leftOut;  ///< skipped and unusable rows by reason
    std::map<std::string, std::int64_t>
        unusedColumns;  ///< columns and "messages[].KEY" that no mapping read, and in how many rows
                        ///< they say something
};

/// The files that data.train and data.eval stand for, training rows first; empty where they cannot
/// be told.
std::vector<std::filesystem::path> dataFiles(const RunConfig& config);

/// Rows that a run will find, told from the beginning of its files.
struct ExpectedRows {
    std::int64_t train = 0;
    std::int64_t eval = 0;
    bool isExact = false;  ///< the files say how many they hold, or were short enough to be counted
};

/// Reads a few rows of each file; nothing where a file cannot be read.
std::optional<ExpectedRows> expectedRows(const RunConfig& config);

struct Dataset {
    RowList train;
    RowList eval;
    std::vector<std::string> classNames;  ///< classification, by index
    DataFacts facts;
    std::vector<DataProblem> problems;
    std::vector<std::uint32_t> lengths;  ///< of all rows before cutting
    std::int64_t maxLength = 0;
    RowTask task = RowTask::CausalLm;

    using Progress =
        std::function<void(const std::string& name, std::int64_t done, std::int64_t total)>;

    /// Reads, maps, cuts and splits what `config.data()` names, or takes the result of the same
    /// rows from the token cache. Problems: those of openSource and mapRow, data_format,
    /// data_no_rows.
    static Result<Dataset> build(const RunConfig& config, const TextEncoder& encoder,
                                 const Progress& progress = {});

    /// The first `rows` training rows, neither split nor checked: what can be shown while a large
    /// file is being counted. Takes nothing from the token cache. Problems: as build.
    static Result<Dataset> beginning(const RunConfig& config, const TextEncoder& encoder,
                                     std::int64_t rows);

    std::vector<std::uint32_t> trainLengths() const;
    /// The document of `luthier-cli data --json`; preview rows `first` … `first + count - 1` of
    /// those that `filter` keeps, training rows before evaluation rows; fewer when their tokens
    /// would make a document too large to show at once.
    Json toJson(const TextEncoder& encoder, std::int64_t first, std::int64_t count,
                RowFilter filter = RowFilter::All) const;
};

}  // namespace luthier
