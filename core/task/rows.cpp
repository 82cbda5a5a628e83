// SPDX-License-Identifier: Apache-2.0
#include "task/rows.h"

#include <charconv>

namespace luthier {

namespace {

std::string rowText(const DataRow& row) { return "Row " + std::to_string(row.sourceRow) + " of the data"; }

/// A model with one output measures: "4" is a value there, not the name of a class.
Result<void> classesAsValues(Dataset& data) {
    for (std::vector<DataRow>* rows : {&data.train, &data.eval})
        for (DataRow& row : *rows) {
            if (row.classIndex < 0) continue;
            const std::string& name = data.classNames[static_cast<std::size_t>(row.classIndex)];
            float value = 0;
            const auto [end, code] = std::from_chars(name.data(), name.data() + name.size(), value);
            if (code != std::errc() || end != name.data() + name.size())
                return Problem{"label_not_a_number", rowText(row) + " has the label \"" + name + "\"; a model with one output learns numbers.",
                               "Give numbers, or set model.num_labels to the number of classes.", "model.num_labels"};
            row.targets = {value};
            row.classIndex = -1;
        }
    data.classNames.clear();
    return {};
}

}  // namespace

Example exampleOf(const DataRow& row) { return {row.ids, row.labels, row.types, row.classIndex, row.targets}; }

Result<void> fitLabels(Dataset& data, const ModelDescription& description) {
    const std::int64_t classes = description.classifier.classes;
    if (classes == 0) return {};
    if (classes == 1)
        if (Result<void> done = classesAsValues(data); !done) return done;
    const auto known = static_cast<std::int64_t>(data.classNames.size());
    if (known > classes)
        return Problem{"too_many_classes", "The data has " + std::to_string(known) + " classes; the model has " + std::to_string(classes) + ".",
                       "Set model.num_labels to " + std::to_string(known) + ".", "model.num_labels"};
    for (const std::vector<DataRow>* rows : {&data.train, &data.eval})
        for (const DataRow& row : *rows) {
            if (known > 0 && row.classIndex < 0)
                return Problem{"label_count", rowText(row) + " gives values where other rows name a class.", "Label all rows alike.", "data.train.path"};
            if (known == 0 && static_cast<std::int64_t>(row.targets.size()) != classes)
                return Problem{"label_count", rowText(row) + " has " + std::to_string(row.targets.size()) + " label values; the model has " + std::to_string(classes) + " outputs.",
                               "Give one value an output, or set model.num_labels.", "model.num_labels"};
        }
    return {};
}

}  // namespace luthier
