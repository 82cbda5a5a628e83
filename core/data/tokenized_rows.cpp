// SPDX-License-Identifier: Apache-2.0
#include "data/tokenized_rows.h"

#include "data/labels.h"
#include "data/row_parts.h"

#include <limits>
#include <optional>

namespace luthier {

namespace {

/// The list under `key`, also as JSON text; nullopt when the row has none.
Result<std::optional<Json>> listUnder(const Json& row, const char* key, const std::string& place) {
    const auto found = row.find(key);
    if (found == row.end() || found->is_null()) return std::optional<Json>{};
    Result<Json> list = decoded(*found, key, place);
    if (!list) return list.problems();
    if (!list->is_array())
        return wrongType(place, "\"" + std::string(key) + "\" is not a list",
                         "Give a number for every token.");
    return std::optional<Json>{std::move(*list)};
}

Result<std::vector<std::int32_t>> idsUnder(const Json& list, const char* key, bool mayIgnore,
                                           const TextEncoder& encoder, const std::string& place) {
    std::vector<std::int32_t> ids;
    for (const Json& id : list) {
        if (!id.is_number_integer())
            return wrongType(place, "\"" + std::string(key) + "\" holds " + dumpLine(id),
                             "Token ids are whole numbers.");
        const std::int64_t value =
            id.is_number_unsigned() &&
                    id.get<std::uint64_t>() > std::numeric_limits<std::int32_t>::max()
                ? std::numeric_limits<std::int64_t>::max()
                : id.get<std::int64_t>();
        if (!(mayIgnore && value == kIgnoredLabel) &&
            (value < 0 || value >= encoder.vocabularySize()))
            return badRow(place,
                          "the token id " + dumpLine(id) + " is outside the vocabulary of " +
                              std::to_string(encoder.vocabularySize()),
                          "Tokenise the data with this model's tokenizer.");
        ids.push_back(static_cast<std::int32_t>(value));
    }
    return ids;
}

/// Which positions stay: 1 or true. Anything else than 0 and 1 (packed rows counted 1, 2, 3, masks
/// in two dimensions) means something that no row here has.
Result<std::vector<bool>> maskUnder(const Json& list, std::size_t count, const std::string& place) {
    std::vector<bool> stays;
    for (const Json& value : list) {
        if (value != Json(0) && value != Json(1) && !value.is_boolean())
            return wrongType(place, "\"attention_mask\" holds " + dumpLine(value).substr(0, 40),
                             "Give 1 for a token that counts and 0 for padding; rows packed into "
                             "one are given one by one.");
        stays.push_back(value == Json(1) || value == Json(true));
    }
    if (stays.size() != count)
        return badRow(place,
                      "input_ids has " + std::to_string(count) + " entries and attention_mask " +
                          std::to_string(stays.size()),
                      "Give both the same length.");
    return stays;
}

template <class T>
void keepOnly(std::vector<T>& values, const std::vector<bool>& stays) {
    if (values.size() != stays.size()) return;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < stays.size(); ++i)
        if (stays[i]) values[kept++] = values[i];
    values.resize(kept);
}

}  // namespace

Result<MappedRow> mapTokenized(const Json& row, RowTask task, bool wantsValues,
                               const TextEncoder& encoder, const std::string& place) {
    MappedRow mapped;
    Result<std::optional<Json>> ids = listUnder(row, "input_ids", place);
    if (!ids) return ids.problems();
    if (!*ids) return wrongType(place, "\"input_ids\" is not a list", "Give token ids.");
    Result<std::vector<std::int32_t>> read = idsUnder(**ids, "input_ids", false, encoder, place);
    if (!read) return read.problems();
    mapped.ids = std::move(*read);
    bool hasLabels = false;
    if (task != RowTask::Classification) {
        Result<std::optional<Json>> labels = listUnder(row, "labels", place);
        if (!labels) return labels.problems();
        hasLabels = labels->has_value();
        if (hasLabels) {
            Result<std::vector<std::int32_t>> given =
                idsUnder(**labels, "labels", true, encoder, place);
            if (!given) return given.problems();
            mapped.labels = std::move(*given);
        }
    }
    Result<std::optional<Json>> types = listUnder(row, "token_type_ids", place);
    if (!types) return types.problems();
    if (*types) {
        if ((*types)->size() != mapped.ids.size())
            return badRow(place,
                          "input_ids has " + std::to_string(mapped.ids.size()) +
                              " entries and token_type_ids " + std::to_string((*types)->size()),
                          "Give both the same length.");
        for (const Json& type : **types)
            mapped.types.push_back(type.is_number_integer() ? type.get<std::int32_t>() : 0);
    }
    if (task == RowTask::CausalLm && hasLabels && mapped.labels.size() != mapped.ids.size())
        return badRow(place,
                      "input_ids has " + std::to_string(mapped.ids.size()) +
                          " entries and labels " + std::to_string(mapped.labels.size()),
                      "Give both the same length.");
    Result<std::optional<Json>> mask = listUnder(row, "attention_mask", place);
    if (!mask) return mask.problems();
    if (*mask) {
        const Result<std::vector<bool>> stays = maskUnder(**mask, mapped.ids.size(), place);
        if (!stays) return stays.problems();
        if (task == RowTask::CausalLm)
            keepOnly(mapped.labels, *stays);  // those of a decoder are a text of their own
        keepOnly(mapped.types, *stays);
        keepOnly(mapped.ids, *stays);
    }
    if (task == RowTask::Classification) {
        if (Result<void> label = readLabel(row, wantsValues, place, mapped); !label)
            return label.problems();
        mapped.labels.assign(mapped.ids.size(), kIgnoredLabel);
    } else if (task == RowTask::Seq2SeqLm) {
        if (!hasLabels)
            return badRow(place, "there are no labels",
                          "Give \"labels\": the token ids that are to be written.");
    } else if (!hasLabels) {
        mapped.labels = mapped.ids;
    }
    return mapped;
}

}  // namespace luthier
