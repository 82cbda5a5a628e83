// SPDX-License-Identifier: Apache-2.0
#pragma once
// Labels of rows that are classified, as tables have them: names, numbers, booleans, whole decimals
// (0.0 and 1.0, which pandas makes of numbers as soon as one is missing), lists for several classes
// at once, fractions for a regression. -1 stands for no label. Which of these a column holds shows
// only when all of it was read: settleLabels.

#include "data/row_format.h"

#include <map>
#include <set>
#include <string>
#include <vector>

namespace luthier {

struct Dataset;

/// Keys that a row's class may stand under, in the order in which they are looked for.
const std::vector<const char*>& classKeys();
const char* classKeyIn(const Json& row);

/// The row's label into `mapped`: targets of a list, a fraction or, with `wantsValues` (a
/// regression), of any number; the class's name otherwise.
Result<void> readLabel(const Json& row, bool wantsValues, const std::string& place,
                       MappedRow& mapped);

/// The label as the text that a model that writes learns.
Result<std::string> labelText(const Json& row, const std::string& place);

/// Classes by name, with the index that rows have for the time being.
using ClassIndices = std::map<std::string, std::int32_t>;

struct LabelFindings {
    std::vector<std::int64_t> unlabelledRows;  ///< labelled -1 and left out
    std::vector<std::vector<std::string>>
        spellings;  ///< names that differ in capitals and blanks only
};

/// Makes one thing of the labels of all rows: rows labelled -1 leave, whole decimals become
/// classes, or values where there are fractions.
/// @param outputs model.num_labels, 0 when not given
/// Problem codes: label_minus_one (-1 and 1 are the only ones), class_spellings, too_many_classes.
Result<LabelFindings> settleLabels(Dataset& dataset, ClassIndices& classes, std::int64_t outputs);

/// Numbers the classes: in the order that the files give, else numbers as themselves, else names in
/// the order of the alphabet.
void sortClasses(Dataset& dataset, const ClassIndices& classes,
                 const std::vector<std::string>& named);

/// "\"a\", \"b\" and \"c\""
std::string quotedList(const std::vector<std::string>& names, std::size_t most = 8);

}  // namespace luthier
