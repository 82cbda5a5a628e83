// SPDX-License-Identifier: Apache-2.0
#include "data/row_parts.h"

#include "contract/python_json.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

namespace luthier {

namespace {

bool isLearnedWith(const Part& part, LossOn lossOn) {
    return !part.isMuted && (part.isLearned || lossOn == LossOn::All);
}

/// A token is learned when some byte of it belongs to a learned part. nullopt: the encoder gives no
/// bytes.
std::optional<MappedRow> encodeJoined(const std::vector<Part>& parts, LossOn lossOn,
                                      const TextEncoder& encoder) {
    std::string whole;
    std::vector<std::pair<std::size_t, std::size_t>> learned;
    for (const Part& part : parts) {
        if (isLearnedWith(part, lossOn))
            learned.emplace_back(whole.size(), whole.size() + part.text.size());
        whole += part.text;
    }
    const std::vector<EncodedSpan> spans = encoder.encodeSpans(whole);
    if (spans.empty()) return std::nullopt;
    MappedRow row;
    for (const EncodedSpan& span : spans) {
        const bool isLearned = std::any_of(learned.begin(), learned.end(), [&](const auto& range) {
            return span.end > range.first && span.begin < range.second;
        });
        row.ids.push_back(span.id);
        row.labels.push_back(isLearned ? span.id : kIgnoredLabel);
    }
    return row;
}

}  // namespace

MappedRow encodeApart(const std::vector<Part>& parts, const TextEncoder& encoder) {
    std::string source, target;
    for (const Part& part : parts) (part.isLearned && !part.isMuted ? target : source) += part.text;
    FramedText read = encoder.frame(source, std::nullopt);
    FramedText written = target.empty() ? FramedText{} : encoder.frame(target, std::nullopt);
    MappedRow row;
    row.ids = std::move(read.ids);
    row.parts = std::move(read.parts);
    row.labels = std::move(written.ids);
    row.labelParts = std::move(written.parts);
    return row;
}

MappedRow encodeParts(const std::vector<Part>& parts, Ends ends, const MappingOptions& options,
                      const TextEncoder& encoder) {
    if (options.task == RowTask::Seq2SeqLm) return encodeApart(parts, encoder);
    const LossOn lossOn = options.lossOn;
    // A rendered chat is tokenised as one text, as apply_chat_template does: tokens may depend on
    // what stands before them.
    if (ends == Ends::InText)
        if (std::optional<MappedRow> joined = encodeJoined(parts, lossOn, encoder)) return *joined;
    MappedRow row;
    const auto add = [&row](std::int32_t id, bool isLearned) {
        row.ids.push_back(id);
        row.labels.push_back(isLearned ? id : kIgnoredLabel);
    };
    if (ends == Ends::Added && encoder.begin()) add(*encoder.begin(), false);
    for (const Part& part : parts)
        for (const std::int32_t id : encoder.encode(part.text, part.origin))
            add(id, isLearnedWith(part, lossOn));
    if (ends == Ends::Added && encoder.end())
        add(*encoder.end(), parts.empty() || !parts.back().isMuted);
    return row;
}

Result<std::string> textOf(const Json& row, const char* key, const std::string& place) {
    const auto found = row.find(key);
    if (found == row.end()) {
        std::string keys;
        for (const auto& [name, value] : row.items()) keys += (keys.empty() ? "" : ", ") + name;
        return badRow(place, "the key \"" + std::string(key) + "\" is missing",
                      "It has: " + keys + ".");
    }
    if (found->is_string()) return found->get<std::string>();
    if (found->is_number_float() && !std::isfinite(found->get<double>()))
        return badRow(
            place,
            "\"" + std::string(key) + "\" is " +
                (std::isnan(found->get<double>()) ? "NaN, which stands for a missing value"
                                                  : "infinite"),
            "Give a text, or delete the row.");
    if (found->is_number() || found->is_boolean()) return found->dump();
    if (found->is_null()) return std::string();
    return wrongType(place, "\"" + std::string(key) + "\" is not text", "Give a string.");
}

Result<Json> decoded(const Json& value, const std::string& key, const std::string& place) {
    if (value.is_array() || value.is_object()) return value;
    if (!value.is_string()) return Json(nullptr);
    const std::string_view text = trimmed(value.get_ref<const std::string&>());
    if (!text.starts_with('[') && !text.starts_with('{'))
        return wrongType(place, "\"" + key + "\" is text, where a list is expected",
                         "Give a list.");
    Result<Json> parsed = parsePythonJson(text, "the text");
    if (parsed) return parsed;
    return wrongType(
        place,
        "\"" + key + "\" is text that should be a list, but " +
            parsed.problem().message.substr(0, parsed.problem().message.find_last_not_of('.') + 1),
        "Decode it, or write it with json.dumps: Python's str() of a list is no JSON.");
}

}  // namespace luthier
