// SPDX-License-Identifier: Apache-2.0
#pragma once
// All rows of a run as tokens and labels, split into training and evaluation, with the facts and problems a person should see before
// the first step. Rows that are cut, skipped or suspicious are counted and named, never silent.

#include "contract/run_config.h"
#include "data/checks.h"
#include "data/row_format.h"
#include "data/text_encoder.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace luthier {

struct DataRow {
    std::vector<std::int32_t> ids;
    std::vector<std::int32_t> labels;  ///< as long as ids, -100 where no loss is taken; the first is always -100. Sequence to sequence: the decoder's, of any length
    std::vector<std::int32_t> types;   ///< token types, as long as ids, or empty: all 0
    std::vector<std::int32_t> cut;     ///< the first tokens behind max_length, for the preview only
    std::int32_t classIndex = -1;      ///< classification
    std::vector<float> targets;        ///< classification: 0 or 1 for every class, or the values of a regression
    std::vector<std::vector<std::int32_t>> choices;  ///< tokens of every answer to choose from; ids and labels hold the right one
    std::int32_t answer = -1;          ///< its index
    std::int64_t sourceRow = 0;        ///< counted from 1 in its file
    std::int64_t cutTokens = 0;        ///< how many lie behind max_length; `cut` holds the first of them
    bool isTruncated = false;

    std::int64_t supervisedTokens() const;
};

/// Which rows a preview pages through. Longest: all, longest first.
enum class RowFilter { All, Cut, Longest };

struct DataFacts {
    std::int64_t rows = 0;             ///< read
    std::int64_t tokens = 0;           ///< training rows
    std::int64_t supervisedTokens = 0;
    std::int64_t truncatedRows = 0;    ///< training and evaluation
    std::int64_t skippedRows = 0;
    std::int64_t longest = 0;          ///< before cutting
    std::string format;
    std::string mapping;
};

struct Dataset {
    std::vector<DataRow> train;
    std::vector<DataRow> eval;
    std::vector<std::string> classNames;  ///< classification, by index
    DataFacts facts;
    std::vector<DataProblem> problems;
    std::vector<std::uint32_t> lengths;   ///< of all rows before cutting
    std::int64_t maxLength = 0;
    RowTask task = RowTask::CausalLm;

    using Progress = std::function<void(const std::string& name, std::int64_t done, std::int64_t total)>;

    /// Reads, maps, cuts and splits what `config.data()` names, or takes the result of the same rows from the token cache. Problems: those of openSource and mapRow, data_format, data_no_rows.
    static Result<Dataset> build(const RunConfig& config, const TextEncoder& encoder, const Progress& progress = {});

    std::vector<std::uint32_t> trainLengths() const;
    /// The document of `luthier-cli data --json`; preview rows `first` … `first + count - 1` of those that `filter` keeps, training
    /// rows before evaluation rows; fewer when their tokens would make a document too large to show at once.
    Json toJson(const TextEncoder& encoder, std::int64_t first, std::int64_t count, RowFilter filter = RowFilter::All) const;
};

}  // namespace luthier
