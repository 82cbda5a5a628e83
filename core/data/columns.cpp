// SPDX-License-Identifier: Apache-2.0
#include "data/columns.h"

#include <algorithm>

namespace luthier {

const std::vector<std::string>& columnKeys() {
    static const std::vector<std::string> keys{"text",        "text_pair", "prompt", "completion",
                                               "instruction", "input",     "output", "messages",
                                               "question",    "answer",    "label",  "choices"};
    return keys;
}

ColumnNames::ColumnNames(const RunConfig& config) {
    for (const std::string& key : columnKeys())
        if (const auto column = config.optional<std::string>("data.columns." + key);
            column && !column->empty())
            m_names.emplace_back(key, *column);
}

std::string ColumnNames::columnOf(const std::string& key) const {
    for (const auto& [known, column] : m_names)
        if (known == key) return column;
    return key;
}

std::vector<std::string> ColumnNames::apply(Json& row) const {
    if (m_names.empty()) return {};
    // A user who names columns means these and no others.
    Json renamed = Json::object();
    for (const auto& [key, column] : m_names)
        if (const auto found = row.find(column); found != row.end()) renamed[key] = *found;
    std::vector<std::string> others;
    for (const auto& [column, value] : row.items()) {
        const bool isNamed =
            std::any_of(m_names.begin(), m_names.end(),
                        [&column = column](const auto& name) { return name.second == column; });
        if (!isNamed && !value.is_null() && value != Json("")) others.push_back(column);
    }
    row = std::move(renamed);
    return others;
}

}  // namespace luthier
