// SPDX-License-Identifier: Apache-2.0
#include "data/labels.h"

#include "data/dataset.h"
#include "data/row_parts.h"

#include <algorithm>
#include <charconv>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <optional>

namespace luthier {

namespace {

/// The number that `text` spells as a whole.
std::optional<double> numberOf(std::string_view text) {
    text = trimmed(text);
    double value = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || code != std::errc() || end != text.data() + text.size() ||
        !std::isfinite(value))
        return std::nullopt;
    return value;
}

bool isWhole(double value) { return value == std::floor(value) && std::abs(value) < 1e15; }
std::string wholeText(double value) { return std::to_string(static_cast<std::int64_t>(value)); }

/// Index of a class in the order that the files give: by its name, or by its number where only some
/// files have names.
std::optional<std::int32_t> indexIn(const std::vector<std::string>& named,
                                    const std::string& name) {
    if (const auto found = std::find(named.begin(), named.end(), name); found != named.end())
        return static_cast<std::int32_t>(found - named.begin());
    std::int32_t index = -1;
    const auto [end, code] = std::from_chars(name.data(), name.data() + name.size(), index);
    if (code != std::errc() || end != name.data() + name.size() || index < 0 ||
        index >= static_cast<std::int32_t>(named.size()))
        return std::nullopt;
    return index;
}

void renumberClasses(Dataset& dataset, const std::vector<std::int32_t>& newIndex) {
    const auto isItself = [&](std::size_t i) {
        return newIndex[i] == static_cast<std::int32_t>(i);
    };
    bool isSame = true;
    for (std::size_t i = 0; i < newIndex.size(); ++i) isSame = isSame && isItself(i);
    if (isSame) return;
    for (auto* rows : {&dataset.train, &dataset.eval})
        rows->transform([&](DataRow& row) {
            if (row.classIndex >= 0)
                row.classIndex = newIndex[static_cast<std::size_t>(row.classIndex)];
        });
}

/// False when the files name no classes, or not all that occur.
bool takeNamedClasses(Dataset& dataset, const ClassIndices& classes,
                      const std::vector<std::string>& named) {
    if (named.empty() || classes.empty()) return false;
    std::vector<std::int32_t> newIndex(classes.size());
    for (const auto& [name, old] : classes) {
        const std::optional<std::int32_t> index = indexIn(named, name);
        if (!index) return false;
        newIndex[static_cast<std::size_t>(old)] = *index;
    }
    dataset.classNames = named;
    renumberClasses(dataset, newIndex);
    return true;
}

/// Without capitals and blanks.
std::string folded(const std::string& name) {
    std::string result;
    for (const char c : trimmed(name))
        result += c == ' ' || c == '_' || c == '-'
                      ? ' '
                      : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return result;
}

/// Gives every class the name that `renamed` makes of it; classes that then share one become one.
void renameClasses(Dataset& dataset, ClassIndices& classes,
                   const std::function<std::string(const std::string&)>& renamed) {
    ClassIndices merged;
    std::vector<std::int32_t> newIndex(classes.size());
    std::vector<std::pair<std::string, std::int32_t>> order(classes.begin(), classes.end());
    std::sort(order.begin(), order.end(),
              [](const auto& a, const auto& b) { return a.second < b.second; });
    for (const auto& [name, old] : order)
        newIndex[static_cast<std::size_t>(old)] =
            merged.try_emplace(renamed(name), static_cast<std::int32_t>(merged.size()))
                .first->second;
    classes = std::move(merged);
    renumberClasses(dataset, newIndex);
}

/// Rows of the class `name` leave; their source rows.
std::vector<std::int64_t> removeClass(Dataset& dataset, ClassIndices& classes,
                                      const std::string& name) {
    const std::int32_t gone = classes.at(name);
    std::vector<std::int64_t> removed;
    for (RowList* rows : {&dataset.train, &dataset.eval}) {
        RowList kept;
        for (const DataRow& row : *rows)
            if (row.classIndex == gone)
                removed.push_back(row.sourceRow);
            else
                kept.push_back(row);
        *rows = std::move(kept);
    }
    classes.erase(name);
    for (auto& [other, index] : classes) index -= index > gone ? 1 : 0;
    for (RowList* rows : {&dataset.train, &dataset.eval})
        rows->transform([gone](DataRow& row) { row.classIndex -= row.classIndex > gone ? 1 : 0; });
    return removed;
}

bool hasFractions(const Dataset& dataset) {
    for (const RowList* rows : {&dataset.train, &dataset.eval})
        for (const DataRow& row : *rows)
            if (row.classIndex < 0 && row.targets.size() == 1) return true;
    return false;
}

void classesBecomeValues(Dataset& dataset, ClassIndices& classes) {
    std::vector<float> values(classes.size());
    for (const auto& [name, index] : classes)
        values[static_cast<std::size_t>(index)] = static_cast<float>(*numberOf(name));
    for (RowList* rows : {&dataset.train, &dataset.eval})
        rows->transform([&values](DataRow& row) {
            if (row.classIndex < 0) return;
            row.targets = {values[static_cast<std::size_t>(row.classIndex)]};
            row.classIndex = -1;
        });
    classes.clear();
}

}  // namespace

std::string quotedList(const std::vector<std::string>& names, std::size_t most) {
    std::string text;
    for (std::size_t i = 0; i < std::min(names.size(), most); ++i)
        text += (i == 0 ? "" : i + 1 == names.size() ? " and " : ", ") + ("\"" + names[i] + "\"");
    return names.size() > most ? text + " and " + std::to_string(names.size() - most) + " more"
                               : text;
}

const std::vector<const char*>& classKeys() {
    static const std::vector<const char*> keys{"label",  "class",  "category",
                                               "labels", "target", "targets"};
    return keys;
}

const char* classKeyIn(const Json& row) {
    for (const char* key : classKeys())
        if (row.contains(key)) return key;
    return nullptr;
}

Result<void> readLabel(const Json& row, bool wantsValues, const std::string& place,
                       MappedRow& mapped) {
    const char* found = classKeyIn(row);
    const std::string key = found == nullptr ? "label" : found;
    Json value = found == nullptr ? Json() : row[key];
    if (value.is_string() &&
        trimmed(value.get_ref<const std::string&>()).starts_with('[')) {  // a list in a table
        Result<Json> list = decoded(value, key, place);
        if (list && list->is_array()) value = std::move(*list);
    }
    if (value.is_array()) {
        for (const Json& item : value) {
            if (!item.is_number())
                return wrongType(
                    place, "the label holds " + dumpLine(item),
                    "Give numbers: 0 or 1 for every class, or the values of a regression.");
            if (!std::isfinite(item.get<double>()))
                return badRow(place, "the label holds a number that is not finite",
                              "Give numbers, or delete the row.");
            mapped.targets.push_back(item.get<float>());
        }
        if (mapped.targets.empty())
            return badRow(place, "the label is an empty list", "Give a number for every class.");
        return {};
    }
    Result<std::string> label = textOf(row, key.c_str(), place);
    if (!label) return label.problems();
    if (trimmed(*label).empty()) return badRow(place, "the label is empty", "Give a class.");
    const std::optional<double> number = value.is_boolean()  ? std::nullopt
                                         : value.is_number() ? std::optional(value.get<double>())
                                                             : numberOf(*label);
    if (number && (wantsValues || (value.is_number_float() && !isWhole(*number))))
        mapped.targets = {static_cast<float>(*number)};
    else
        mapped.className = value.is_number_float() ? wholeText(*number) : *label;
    return {};
}

Result<std::string> labelText(const Json& row, const std::string& place) {
    const char* key = classKeyIn(row);
    Result<std::string> label = textOf(row, key == nullptr ? "label" : key, place);
    if (!label) return label.problems();
    if (label->empty()) return badRow(place, "the label is empty", "Give a class.");
    if (key != nullptr && row[key].is_number_float() && isWhole(row[key].get<double>()))
        label = wholeText(row[key].get<double>());
    if (*label == "-1")
        return badRow(place, "the label is -1, which stands for no label",
                      "Leave such rows out, or give the class a name.");
    return label;
}

Result<LabelFindings> settleLabels(Dataset& dataset, ClassIndices& classes, std::int64_t outputs) {
    LabelFindings findings;
    if (classes.empty()) return findings;
    const auto all = [&classes](const auto& is) {
        return std::all_of(classes.begin(), classes.end(),
                           [&](const auto& entry) { return is(entry.first); });
    };
    if (hasFractions(dataset) &&
        all([](const std::string& name) { return numberOf(name).has_value(); })) {
        classesBecomeValues(dataset, classes);
        return findings;
    }
    if (all([](const std::string& name) { return numberOf(name) && isWhole(*numberOf(name)); }))
        renameClasses(dataset, classes,
                      [](const std::string& name) { return wholeText(*numberOf(name)); });
    if (classes.contains("-1")) {
        if (classes.size() == 2 && classes.contains("1"))
            return Problem{"label_minus_one",
                           "The labels are -1 and 1; -1 stands for no label in most data sets, so "
                           "it is no class here.",
                           "Number the classes 0 and 1, or give them names.", "data.train.path"};
        findings.unlabelledRows = removeClass(dataset, classes, "-1");
    }
    std::map<std::string, std::vector<std::string>> byFolded;
    for (const auto& [name, index] : classes) byFolded[folded(name)].push_back(name);
    for (const auto& [key, names] : byFolded)
        if (names.size() > 1) findings.spellings.push_back(names);
    const auto count = static_cast<std::int64_t>(classes.size());
    if (outputs > 1 && count > outputs) {
        if (!findings.spellings.empty())
            return Problem{
                "class_spellings",
                "The data has " + std::to_string(count) + " classes and model.num_labels is " +
                    std::to_string(outputs) + ", but " + quotedList(findings.spellings.front()) +
                    " seem to be spellings of one class: they differ in capitals or spaces only.",
                "Write them alike in the file.", "data.train.path"};
        std::vector<std::string> names;
        for (const auto& [name, index] : classes) names.push_back(name);
        return Problem{
            "too_many_classes",
            "The data has " + std::to_string(count) + " classes, " + quotedList(names, 6) +
                "; model.num_labels is " + std::to_string(outputs) + ".",
            "If these are the classes, set model.num_labels to " + std::to_string(count) +
                "; otherwise name the right column with data.columns.label, or correct the rows.",
            "model.num_labels"};
    }
    return findings;
}

void sortClasses(Dataset& dataset, const ClassIndices& classes,
                 const std::vector<std::string>& named) {
    if (takeNamedClasses(dataset, classes, named)) return;
    // Names are sorted, so the same data always gives the same classes. Numbers from 0 on are the
    // classes themselves, even where some do not occur; other numbers keep their order.
    std::vector<std::pair<std::string, std::int32_t>> order(classes.begin(), classes.end());
    const auto isNumber = [](const auto& entry) {
        return entry.first.find_first_not_of("0123456789") == std::string::npos &&
               entry.first.size() < 10;
    };
    if (std::all_of(order.begin(), order.end(), isNumber))
        std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
            return std::stoll(a.first) < std::stoll(b.first);
        });
    const bool areIndices = !order.empty() && isNumber(order.front()) && isNumber(order.back()) &&
                            order.back().first.size() < 7 &&
                            (order.front().first == "0" || dataset.facts.format == "tokenized");
    std::vector<std::int32_t> newIndex(order.size());
    for (std::size_t i = 0; i < order.size(); ++i) {
        const auto index = areIndices ? std::stoi(order[i].first) : static_cast<std::int32_t>(i);
        newIndex[static_cast<std::size_t>(order[i].second)] = index;
        while (areIndices && static_cast<std::int32_t>(dataset.classNames.size()) < index)
            dataset.classNames.push_back(std::to_string(dataset.classNames.size()));
        dataset.classNames.push_back(order[i].first);
    }
    renumberClasses(dataset, newIndex);
}

}  // namespace luthier
