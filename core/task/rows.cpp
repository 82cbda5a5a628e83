// SPDX-License-Identifier: Apache-2.0
#include "task/rows.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace luthier {

namespace {

std::string rowText(const DataRow& row) {
    return "Row " + std::to_string(row.sourceRow) + " of the data";
}

/// A model with one output measures: "4" is a value there, not the name of a class.
Result<void> classesAsValues(Dataset& data) {
    std::vector<std::optional<float>> values;
    for (const std::string& name : data.classNames) {
        float value = 0;
        const auto [end, code] = std::from_chars(name.data(), name.data() + name.size(), value);
        values.push_back(code == std::errc() && end == name.data() + name.size()
                             ? std::optional(value)
                             : std::nullopt);
    }
    Problems problems;
    for (RowList* rows : {&data.train, &data.eval})
        rows->transform([&](DataRow& row) {
            if (row.classIndex < 0) return;
            const auto index = static_cast<std::size_t>(row.classIndex);
            if (!values[index] && problems.empty())
                problems.push_back(
                    {"label_not_a_number",
                     rowText(row) + " has the label \"" + data.classNames[index] +
                         "\"; a model with one output learns numbers.",
                     "Give numbers, or set model.num_labels to the number of classes.",
                     "model.num_labels"});
            row.targets = {values[index].value_or(0)};
            row.classIndex = -1;
        });
    if (!problems.empty()) return problems;
    data.classNames.clear();
    return {};
}

/// A model that names all classes of the data has learned them in its own order.
void takeModelClasses(Dataset& data, const std::vector<std::string>& names) {
    std::vector<std::int32_t> newIndex;
    for (const std::string& name : data.classNames) {
        const auto found = std::find(names.begin(), names.end(), name);
        if (found == names.end()) return;
        newIndex.push_back(static_cast<std::int32_t>(found - names.begin()));
    }
    for (RowList* rows : {&data.train, &data.eval})
        rows->transform([&](DataRow& row) {
            if (row.classIndex >= 0)
                row.classIndex = newIndex[static_cast<std::size_t>(row.classIndex)];
        });
    if (!newIndex.empty()) data.classNames = names;
}

}  // namespace

Example exampleOf(const DataRow& row) {
    return {row.ids, row.labels, row.types, row.classIndex, row.targets, row.choices, row.answer};
}

Result<void> fitLabels(Dataset& data, const ModelDescription& description) {
    const std::int64_t classes = description.classifier.classes;
    if (classes == 0) return {};
    takeModelClasses(data, description.classifier.classNames);
    if (classes == 1)
        if (Result<void> done = classesAsValues(data); !done) return done;
    const auto known = static_cast<std::int64_t>(data.classNames.size());
    if (known > classes)
        return Problem{"too_many_classes",
                       "The data has " + std::to_string(known) + " classes; the model has " +
                           std::to_string(classes) + ".",
                       "Set model.num_labels to " + std::to_string(known) + ".",
                       "model.num_labels"};
    for (const RowList* rows : {&data.train, &data.eval})
        for (const DataRow& row : *rows) {
            if (known > 0 && row.classIndex < 0)
                return Problem{"label_count",
                               rowText(row) + " gives values where other rows name a class.",
                               "Label all rows alike.", "data.train.path"};
            if (known == 0 && static_cast<std::int64_t>(row.targets.size()) != classes)
                return Problem{
                    "label_count",
                    rowText(row) + " has " + std::to_string(row.targets.size()) +
                        " label values; the model has " + std::to_string(classes) + " outputs.",
                    "Give one value an output, or set model.num_labels.", "model.num_labels"};
        }
    return {};
}

bool haveChoices(const Dataset& data) {
    if (data.train.empty()) return false;
    for (const RowList* rows : {&data.train, &data.eval})
        for (const DataRow& row : *rows)
            if (row.choices.empty()) return false;
    return true;
}

Result<TaskOptions> taskOptions(const RunConfig& config, const Dataset& data,
                                const ModelDescription& description) {
    TaskOptions options;
    options.unlikelihood = config.get<double>("train.loss.unlikelihood");
    options.lengthNormalized = config.get<double>("train.loss.length_normalized");
    options.unlikelihoodForm = config.get<std::string>("train.loss.unlikelihood_form") == "code"
                                   ? UnlikelihoodForm::Code
                                   : UnlikelihoodForm::Paper;
    options.hasChoices = !description.isClassifier() && haveChoices(data);
    options.labelSmoothing = config.get<double>("train.label_smoothing_factor");
    options.noiseAlpha = config.optional<double>("train.neftune_noise_alpha").value_or(0);
    if (!options.hasChoices && (options.unlikelihood > 0 || options.lengthNormalized > 0)) {
        const std::string key =
            options.unlikelihood > 0 ? "train.loss.unlikelihood" : "train.loss.length_normalized";
        return Problem{
            "no_choices",
            key +
                " compares a right answer with wrong ones, but not every row of the data has "
                "choices (its format is " +
                data.facts.format + ").",
            "Give rows with a question, \"choices\" and \"answer\", or set " + key + " to 0.", key};
    }
    if (options.labelSmoothing > 0 && description.isClassifier() && data.classNames.empty())
        return Problem{"label_smoothing_values",
                       "train.label_smoothing_factor spreads a label over classes; these rows are "
                       "labelled with values.",
                       "Set train.label_smoothing_factor to 0.", "train.label_smoothing_factor"};
    return options;
}

}  // namespace luthier
