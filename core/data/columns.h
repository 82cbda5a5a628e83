// SPDX-License-Identifier: Apache-2.0
#pragma once
// data.columns: names of a file's columns for the keys that the formats of rows know, where a user
// names them by hand.

#include "contract/run_config.h"

#include <string>
#include <utility>
#include <vector>

namespace luthier {

/// Keys of data.columns, as the formats of row_format.h call them.
const std::vector<std::string>& columnKeys();

class ColumnNames final {
public:
    ColumnNames() = default;
    explicit ColumnNames(const RunConfig& config);

    /// The row with the named columns under their keys, and no others: those with something in them
    /// are given back.
    std::vector<std::string> apply(Json& row) const;
    /// The column of the file that `key` of a row comes from.
    std::string columnOf(const std::string& key) const;

private:
    std::vector<std::pair<std::string, std::string>> m_names;  // key, column
};

}  // namespace luthier
