// SPDX-License-Identifier: Apache-2.0
#include "data/dataset.h"

#include "data/columns.h"
#include "data/labels.h"
#include "data/order.h"
#include "data/row_pipeline.h"
#include "data/row_template.h"
#include "data/source.h"
#include "data/sources/folder.h"
#include "data/token_cache.h"
#include "data/truncation.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <unordered_set>

namespace luthier {

namespace {

constexpr std::size_t kNamedRows = 20;
constexpr std::size_t kShownCutTokens = 64;
constexpr std::size_t kPreviewTokens =
    40'000;  ///< a page of previews ends before the row that would pass this

/// Rows that share one observation.
struct Finding {
    std::int64_t count = 0;
    std::int64_t takenBack = 0;  ///< rows that another finding names better
    std::vector<std::int64_t> rows;

    void add(std::int64_t row) { addStretch(row, 1); }
    void addStretch(std::int64_t first, std::int64_t length) {
        count += length;
        for (std::int64_t row = first; row < first + length && rows.size() < kNamedRows; ++row)
            rows.push_back(row);
    }
    void takeBack(std::int64_t row) {
        --count;
        ++takenBack;
        if (!rows.empty() && rows.back() == row) rows.pop_back();
    }
};

/// Rows that cannot be used, for one reason.
struct Unusable {
    Finding rows;
    Problem first;
};

struct Findings {
    Finding truncated, unlearned, emptyAnswer, uncertainMask, noEnd;
    std::map<std::string, Unusable> unusable;  ///< by the problem's code
    Problems firstUnusable;  ///< what is wrong with the first row that could not be used
    LabelFindings labels;
    std::set<std::string> chosenAway;  ///< columns that data.columns leaves out
};

bool isRowCode(const std::string& code) { return code == "bad_row" || code.starts_with("row_"); }
/// What a template says to one row; anything else that goes wrong in one ends the run.
bool isTemplateCode(const std::string& code) {
    return code == "template_raised" || code == "template_failed" || code == "template_limit";
}

/// A number or a place of a row, which nobody expects in a prompt.
bool isIdentifier(const std::string& key) {
    static const std::set<std::string> names{"id",         "idx",    "index", "uid",  "uuid",
                                             "guid",       "source", "url",   "date", "timestamp",
                                             "created_at", "hash",   "split"};
    return names.contains(key) || key.ends_with("_id") || key.ends_with("_idx") ||
           key.starts_with("__index_level");
}

std::string countOf(std::int64_t count, const char* singular) {
    return std::to_string(count) + " " + singular + (count == 1 ? "" : "s");
}

std::uint64_t hashOf(const std::vector<std::int32_t>& ids) {
    std::uint64_t hash = 1469598103934665603ull;  // FNV-1a
    for (const std::int32_t id : ids)
        hash = (hash ^ static_cast<std::uint32_t>(id)) * 1099511628211ull;
    return hash;
}

/// Which tokens of a row that is too long stay; without `parts` the first ones.
std::vector<std::size_t> keptOf(const std::vector<std::int8_t>& parts, std::size_t count,
                                std::size_t limit) {
    if (parts.size() == count) return keptTokens(parts, limit);
    std::vector<std::size_t> kept(limit);
    std::iota(kept.begin(), kept.end(), std::size_t{0});
    return kept;
}

void keepOnly(std::vector<std::int32_t>& values, const std::vector<std::size_t>& kept) {
    for (std::size_t i = 0; i < kept.size(); ++i) values[i] = values[kept[i]];
    values.resize(kept.size());
}

/// The first of the tokens that do not stay, for the preview.
std::vector<std::int32_t> leftOut(const std::vector<std::int32_t>& ids,
                                  const std::vector<std::size_t>& kept) {
    std::vector<std::int32_t> cut;
    for (std::size_t i = 0, next = 0; i < ids.size() && cut.size() < kShownCutTokens; ++i) {
        if (next < kept.size() && kept[next] == i)
            ++next;
        else
            cut.push_back(ids[i]);
    }
    return cut;
}

struct Reader {
    const TextEncoder& encoder;
    MappingOptions mapping;
    std::int64_t maxLength;
    bool isClassification;
    const Dataset::Progress& progress;
    Dataset& dataset;
    Findings findings;
    std::map<std::string, std::int32_t> classes;
    std::vector<std::string> namedClasses = {};  ///< in the order that the files give them
    ColumnNames columns = {};
    DataChecks checks{encoder};
    std::int64_t rowLimit = std::numeric_limits<std::int64_t>::max();
    bool learnsFirst = false;  ///< a text's first token has something before it that predicts it

    void skip(const char* reason) {
        ++dataset.facts.skippedRows;
        ++dataset.facts.leftOut[reason];
    }

    void keep(MappedRow mapped, std::int64_t sourceRow, bool isPlainText, RowList& rows) {
        const auto forgetFirst = [&] {
            if (!learnsFirst && mapping.task == RowTask::CausalLm && !mapped.labels.empty())
                mapped.labels.front() = kIgnoredLabel;
        };
        forgetFirst();
        dataset.lengths.push_back(static_cast<std::uint32_t>(mapped.ids.size()));
        dataset.facts.longest =
            std::max(dataset.facts.longest, static_cast<std::int64_t>(mapped.ids.size()));
        if (mapped.isAnswerEmpty) findings.emptyAnswer.add(sourceRow);
        if (mapped.isMaskUncertain) findings.uncertainMask.add(sourceRow);
        const auto limit = static_cast<std::size_t>(maxLength);
        if (isChoiceCut(mapped)) {
            checks.add(Check::ChoicesCut, sourceRow);
            skip("choices_cut");
            return;
        }
        const bool hadLabels =
            std::any_of(mapped.labels.begin(), mapped.labels.end(),
                        [](std::int32_t label) { return label != kIgnoredLabel; });
        // A book has no rows: a long paragraph of plain text goes on in the next row instead of
        // being cut.
        while (isPlainText && mapped.ids.size() > limit) {
            DataRow row;
            row.sourceRow = sourceRow;
            row.ids.assign(mapped.ids.begin(), mapped.ids.begin() + maxLength);
            row.labels.assign(mapped.labels.begin(), mapped.labels.begin() + maxLength);
            mapped.ids.erase(mapped.ids.begin(), mapped.ids.begin() + maxLength);
            mapped.labels.erase(mapped.labels.begin(), mapped.labels.begin() + maxLength);
            forgetFirst();
            rows.push_back(row);
        }
        DataRow row;
        row.sourceRow = sourceRow;
        if (mapped.ids.size() > limit) {
            row.isTruncated = true;
            findings.truncated.add(sourceRow);
            row.cutTokens = static_cast<std::int64_t>(mapped.ids.size() - limit);
            const std::vector<std::size_t> kept = keptOf(mapped.parts, mapped.ids.size(), limit);
            row.cut = leftOut(mapped.ids, kept);
            keepOnly(mapped.ids, kept);
            if (mapping.task != RowTask::Seq2SeqLm) keepOnly(mapped.labels, kept);
            if (!mapped.types.empty()) keepOnly(mapped.types, kept);
        }
        if (mapped.labels.size() > limit) {  // a decoder's text has the same limit as what is read
            row.isTruncated = true;
            if (mapped.ids.size() < limit) findings.truncated.add(sourceRow);
            row.cutTokens += static_cast<std::int64_t>(mapped.labels.size() - limit);
            keepOnly(mapped.labels, keptOf(mapped.labelParts, mapped.labels.size(), limit));
        }
        row.ids = std::move(mapped.ids);
        row.labels = std::move(mapped.labels);
        row.types = std::move(mapped.types);
        row.targets = std::move(mapped.targets);
        row.choices = std::move(mapped.choices);
        row.answer = mapped.answer;
        if (mapped.className) {
            row.classIndex =
                classes.try_emplace(*mapped.className, static_cast<std::int32_t>(classes.size()))
                    .first->second;
        } else if (row.targets.empty() && row.supervisedTokens() == 0) {
            const bool isCutAway = row.isTruncated && hadLabels;
            if (isCutAway)
                checks.add(Check::AnswersCutAway, sourceRow);
            else
                findings.unlearned.add(sourceRow);
            if (isCutAway) findings.truncated.takeBack(sourceRow);
            skip(isCutAway ? "answers_cut_away" : "rows_skipped");
            return;
        }
        if (row.ids.empty()) {
            findings.unlearned.add(sourceRow);
            skip("rows_skipped");
            return;
        }
        rows.push_back(row);
    }

    /// Choices are compared whole: a row of which one does not fit is left out. An encoder's input
    /// may be cut.
    bool isChoiceCut(const MappedRow& mapped) const {
        if (mapped.choices.empty()) return false;
        const std::size_t right = mapped.choices[static_cast<std::size_t>(mapped.answer)].size();
        const std::size_t before =
            mapping.task == RowTask::Seq2SeqLm ? 0 : mapped.ids.size() - right;
        return std::any_of(mapped.choices.begin(), mapped.choices.end(), [&](const auto& choice) {
            return before + choice.size() > static_cast<std::size_t>(maxLength);
        });
    }

    Result<void> read(const std::vector<std::filesystem::path>& files,
                      const std::string& formatName, RowList& rows) {
        const std::filesystem::path& path = files.front();
        Result<OpenSource> source = openSource(files);
        if (!source) return source.problems();
        std::optional<RowFormat> format =
            formatName == "auto" ? std::nullopt : rowFormatFromName(formatName);
        bool isFirst = true;
        RowPipeline pipeline(
            *source->rows,
            [&](SourceRow& row) -> Result<void> {
                for (const std::string& column : columns.apply(row.value)) {
                    ++dataset.facts.unusedColumns[column];
                    findings.chosenAway.insert(column);
                }
                if (!isFirst) return {};
                isFirst = false;
                if (namedClasses.empty())
                    namedClasses =
                        source->rows->classNames(columns.columnOf(classKeyOf(row.value)));
                return settle(path, row, format);
            },
            [&](const SourceRow& row) {
                return mapRow(row.value, *format, mapping, encoder, placeOf(path, row));
            });
        std::int64_t reported = 0;
        std::int64_t rowNumber = 0;
        while (rowNumber < rowLimit) {
            Result<std::optional<PipelineRow>> next = pipeline.next();
            if (!next) return next.problems();
            if (!next->has_value()) break;
            PipelineRow& found = **next;
            if (!found.row) {
                setAside(rowNumber + 1, found.row.problems(), found.count);
                rowNumber += found.count;
                continue;
            }
            ++rowNumber;
            const SourceRow& row = **found.row;
            Result<MappedRow>& mapped = *found.mapped;
            if (!mapped) {
                if (const std::string& code = mapped.problem().code;
                    !isRowCode(code) && !isTemplateCode(code))
                    return mapped.problems();
                setAside(row.row, withFile(mapped.problems(), path, row));
                continue;
            }
            ++dataset.facts.rows;
            for (const std::string& key : unusedKeys(row.value, *format, mapping, encoder))
                ++dataset.facts.unusedColumns[key];
            checks.row(row.value, *format, *mapped, row.row);
            keep(std::move(*mapped), row.row, source->isPlainText && *format == RowFormat::Text,
                 rows);
            if (progress && source->rows->bytesRead() - reported > (1 << 18)) {
                reported = source->rows->bytesRead();
                progress("tokenising", reported, source->bytes);
            }
        }
        if (progress) progress("tokenising", source->bytes, source->bytes);
        return {};
    }

    /// The format that all rows of a file have, by its first one.
    Result<void> settle(const std::filesystem::path& path, const SourceRow& row,
                        std::optional<RowFormat>& format) {
        if (mapping.rowTemplate != nullptr)
            format = RowFormat::Custom;
        else if (!format) {
            format = recognise(row.value);
            if (!format) return formatProblem(path, row);
            // A text may have a label that a language model has no use for; of a pair it is what to
            // write.
            if (*format == RowFormat::Classification && mapping.task == RowTask::CausalLm &&
                !isSentencePair(row.value))
                format = RowFormat::Text;
        }
        if (dataset.facts.format.empty()) {
            dataset.facts.format = rowFormatName(*format);
            dataset.facts.mapping =
                mappingDescription(*format, row.value, mapping.task, encoder.separatesPairs());
        }
        if (isClassification && *format != RowFormat::Classification &&
            *format != RowFormat::Tokenized)
            return Problem{"data_format",
                           path.string() + " has no labels: its rows are of the format " +
                               rowFormatName(*format) + ", with the columns " + keysOf(row.value) +
                               ".",
                           "Give rows with \"text\" (or \"sentence1\" and \"sentence2\") and "
                           "\"label\", name a column of another name with data.columns {\"text\": "
                           "…, \"label\": …}, or set model.task to causal_lm.",
                           "data.train.format"};
        return {};
    }

    /// A row that cannot be used is left out and named; the rest of the file is used.
    void setAside(std::int64_t row, const Problems& problems, std::int64_t count = 1) {
        if (findings.firstUnusable.empty()) findings.firstUnusable = problems;
        Unusable& kind =
            findings.unusable[problems.front().code.starts_with("row_") ? problems.front().code
                                                                        : "unusable_rows"];
        if (kind.rows.count == 0) kind.first = problems.front();
        kind.rows.addStretch(row, count);
        dataset.facts.unusableRows += count;
        dataset.facts.leftOut[problems.front().code.starts_with("row_") ||
                                      isTemplateCode(problems.front().code)
                                  ? problems.front().code
                                  : "unusable_rows"] += count;
    }

    static std::string keysOf(const Json& row) {
        std::string keys;
        for (const auto& [key, value] : row.items()) keys += (keys.empty() ? "" : ", ") + key;
        return keys;
    }

    static Problem formatProblem(const std::filesystem::path& path, const SourceRow& row) {
        return Problem{"data_format",
                       "In " + path.string() + ", row " + std::to_string(row.row) +
                           " has the keys " + keysOf(row.value) + ", which fit no known format.",
                       "Use text; prompt and completion; question and answer; instruction and "
                       "output; messages; text and label; sentence1, "
                       "sentence2 and label; question, choices and answer; or input_ids and "
                       "labels. Columns with other names: data.columns.",
                       "data.train.format"};
    }

    static Problems withFile(Problems problems, const std::filesystem::path& path,
                             const SourceRow& row) {
        for (Problem& problem : problems)
            if (isRowCode(problem.code))
                problem.field = (row.file != nullptr ? *row.file : path).string() + ":" +
                                std::to_string(row.fileRow);
        return problems;
    }
};

/// How many of `count` rows a split of `share` holds back.
std::size_t heldBack(std::size_t count, double share) {
    auto held = static_cast<std::size_t>(std::llround(share * static_cast<double>(count)));
    if (share > 0 && held == 0 && count > 1) held = 1;
    return std::min(held, count > 0 ? count - 1 : 0);
}

void split(Dataset& dataset, double share, std::uint64_t seed) {
    const std::size_t count = dataset.train.size();
    const std::size_t held = heldBack(count, share);
    if (held == 0) return;
    const std::vector<std::uint32_t> order = permutation(count, seed, "split", 0);
    std::vector<bool> isHeld(count, false);
    for (std::size_t i = 0; i < held; ++i) isHeld[order[i]] = true;
    dataset.train.moveTo(dataset.eval, isHeld);
}

void report(Dataset& dataset, DataLevel level, const char* code, const Finding& finding,
            const std::string& message, const std::string& hint) {
    if (finding.count > 0) dataset.problems.push_back({level, code, message, hint, finding.rows});
}

/// Every column that no row's mapping reads, once, with how many rows have something there.
void reportColumns(Dataset& dataset, const Findings& findings) {
    std::string names, chosen;
    bool isTelling = false;
    for (const auto& [name, count] : dataset.facts.unusedColumns) {
        const bool isChosen = findings.chosenAway.contains(name);
        std::string& list = isChosen ? chosen : names;
        list += (list.empty() ? "" : ", ") + name + " (" + countOf(count, "row") + ")";
        isTelling = isTelling || (!isChosen && !isIdentifier(name));
    }
    if (!names.empty())
        dataset.problems.push_back(
            {isTelling ? DataLevel::Warning : DataLevel::Note,
             "unused_columns",
             "Nothing is read from " + names + ".",
             "If one of them matters, name it with data.columns, or write it into the prompt "
             "(data.template custom puts any column there).",
             {}});
    if (!chosen.empty())
        dataset.problems.push_back(
            {DataLevel::Note, "unused_columns", "data.columns leaves out " + chosen + ".", "", {}});
}

void reportLabels(Dataset& dataset, const LabelFindings& labels) {
    Finding unlabelled;
    for (const std::int64_t row : labels.unlabelledRows) unlabelled.add(row);
    report(dataset, DataLevel::Warning, "unlabelled_rows", unlabelled,
           countOf(unlabelled.count, "row") + " labelled -1, which stands for no label, left out.",
           "If -1 is a class, number the classes from 0 or give them names.");
    for (const std::vector<std::string>& names : labels.spellings)
        dataset.problems.push_back(
            {DataLevel::Warning,
             "class_spellings",
             "The classes " + quotedList(names) +
                 " differ in capitals or spaces only; each is a class of its own.",
             "If they are spellings of one class, write them alike in the file.",
             {}});
}

void reportAll(Dataset& dataset, const Findings& findings, const TextEncoder& encoder) {
    reportColumns(dataset, findings);
    reportLabels(dataset, findings.labels);
    const auto isNamed = [&dataset](const char* code) {
        return std::any_of(dataset.problems.begin(), dataset.problems.end(),
                           [&](const DataProblem& problem) { return problem.code == code; });
    };
    if (!isNamed("most_rows_truncated"))
        report(dataset, DataLevel::Warning, "rows_truncated", findings.truncated,
               countOf(findings.truncated.count, "row") + " cut to " +
                   std::to_string(dataset.maxLength) + " tokens.",
               "The longest row has " + std::to_string(dataset.facts.longest) +
                   " tokens; raise data.max_length to keep it whole.");
    report(dataset, DataLevel::Warning, "rows_skipped", findings.unlearned,
           countOf(findings.unlearned.count, "row") + " skipped: no token of it carries loss.",
           "The answer is empty or lies behind data.max_length.");
    report(dataset, DataLevel::Warning, "empty_answers", findings.emptyAnswer,
           countOf(findings.emptyAnswer.count, "row") + " with an empty answer.",
           "The model learns to say nothing there; delete them unless that is meant.");
    for (const auto& [code, kind] : findings.unusable)
        report(dataset, DataLevel::Error, code.c_str(), kind.rows,
               countOf(kind.rows.count, "row") + " cannot be used and " +
                   (kind.rows.count == 1 ? "is" : "are") +
                   " left out. The first: " + kind.first.message,
               kind.first.hint);
    report(
        dataset, DataLevel::Warning, "mask_uncertain", findings.uncertainMask,
        "In " + countOf(findings.uncertainMask.count, "row") +
            " the chat template rewrites earlier turns; only answers with a sure place carry loss.",
        "Split such chats into one row an answer.");
    report(dataset, DataLevel::Warning, "no_end_token", findings.noEnd,
           countOf(findings.noEnd.count, "row") + " never show the model where to stop.",
           encoder.end() ? "Their last learned token is no end token."
                         : "The tokenizer names no end token (eos_token).");
    // A sorted list of hashes is a tenth of a set's memory; only those that occur again need one.
    std::vector<std::uint64_t> hashes;
    hashes.reserve(dataset.train.size());
    for (const DataRow& row : dataset.train) hashes.push_back(hashOf(row.ids));
    std::vector<std::uint64_t> sorted = hashes;
    std::sort(sorted.begin(), sorted.end());
    std::unordered_set<std::uint64_t> again, seen;
    for (std::size_t i = 1; i < sorted.size(); ++i)
        if (sorted[i] == sorted[i - 1]) again.insert(sorted[i]);
    Finding repeated;
    for (std::size_t i = 0; i < hashes.size(); ++i)
        if (again.contains(hashes[i]) && !seen.insert(hashes[i]).second)
            repeated.add(dataset.train[i].sourceRow);
    report(dataset, DataLevel::Note, "duplicates", repeated,
           countOf(repeated.count, "training row") + " occur more than once.", "");
    Finding leaked;
    for (const DataRow& row : dataset.eval)
        if (std::binary_search(sorted.begin(), sorted.end(), hashOf(row.ids)))
            leaked.add(row.sourceRow);
    if (!isNamed("eval_same_file"))
        report(dataset, DataLevel::Warning, "eval_in_train", leaked,
               countOf(leaked.count, "evaluation row") +
                   " also occur in the training rows, so the evaluation flatters.",
               "Remove duplicates.");
    std::stable_sort(dataset.problems.begin(), dataset.problems.end(),
                     [](const auto& a, const auto& b) { return a.level < b.level; });
}

Json previewOf(const DataRow& row, bool isEval, RowTask task, const TextEncoder& encoder) {
    Json tokens = Json::array();
    const bool isApart =
        row.labels.size() != row.ids.size() || task == RowTask::Seq2SeqLm;  // written by a decoder
    for (std::size_t i = 0; i < row.ids.size(); ++i) {
        const char* state = !isApart && row.labels[i] != kIgnoredLabel ? "loss"
                            : encoder.isSpecial(row.ids[i])            ? "special"
                                                                       : "prompt";
        tokens.push_back(
            {{"id", row.ids[i]}, {"text", encoder.tokenText(row.ids[i])}, {"state", state}});
        if (!row.types.empty()) tokens.back()["type"] = row.types[i];
    }
    for (std::size_t i = 0; isApart && i < row.labels.size(); ++i)
        if (row.labels[i] != kIgnoredLabel)
            tokens.push_back({{"id", row.labels[i]},
                              {"text", encoder.tokenText(row.labels[i])},
                              {"state", "loss"}});
    for (const std::int32_t id : row.cut)
        tokens.push_back({{"id", id}, {"text", encoder.tokenText(id)}, {"state", "cut"}});
    Json json{{"row", row.sourceRow},
              {"split", isEval ? "eval" : "train"},
              {"truncated", row.isTruncated},
              {"cut_tokens", row.cutTokens}};
    if (row.classIndex >= 0) json["label"] = row.classIndex;
    json["tokens"] = std::move(tokens);
    if (row.choices.empty()) return json;
    json["answer"] = row.answer;
    for (const std::vector<std::int32_t>& choice : row.choices) {
        Json texts = Json::array();
        for (const std::int32_t id : choice)
            texts.push_back({{"id", id}, {"text", encoder.tokenText(id)}});
        json["choices"].push_back(std::move(texts));
    }
    return json;
}

Json histogramOf(const std::vector<std::uint32_t>& lengths) {
    const std::uint32_t longest =
        lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end());
    std::uint32_t width = 1;
    while (longest / width >= 40) width *= 2;
    std::vector<std::int64_t> counts(longest / width + 1, 0);
    for (const std::uint32_t length : lengths) ++counts[length / width];
    // Exact, so that whoever moves max_length can count the cut rows without asking again.
    std::map<std::uint32_t, std::int64_t> exact;
    for (const std::uint32_t length : lengths) ++exact[length];
    Json byLength = Json::array();
    for (const auto& [length, count] : exact) byLength.push_back({length, count});
    return Json{{"bin_width", width},
                {"counts", counts},
                {"longest", longest},
                {"by_length", std::move(byLength)}};
}

/// Indices over training rows, then evaluation rows, that `filter` keeps, in the order of its
/// paging.
std::vector<std::size_t> chosenRows(const Dataset& dataset, RowFilter filter) {
    const std::size_t trainCount = dataset.train.size();
    const std::size_t count = trainCount + dataset.eval.size();
    const auto rowAt = [&](std::size_t i) {
        return i < trainCount ? dataset.train[i] : dataset.eval[i - trainCount];
    };
    std::vector<std::size_t> chosen;
    for (std::size_t i = 0; i < count; ++i)
        if (filter != RowFilter::Cut || rowAt(i).isTruncated) chosen.push_back(i);
    if (filter != RowFilter::Longest) return chosen;
    std::vector<std::int64_t> lengths(count);
    for (std::size_t i = 0; i < count; ++i) {
        const DataRow row = rowAt(i);
        lengths[i] = static_cast<std::int64_t>(row.ids.size()) + row.cutTokens;
    }
    std::stable_sort(chosen.begin(), chosen.end(),
                     [&](std::size_t a, std::size_t b) { return lengths[a] > lengths[b]; });
    return chosen;
}

/// What shows only when all rows are there.
void addWholeSetChecks(Dataset& dataset, Reader& reader, const RunConfig& config) {
    const auto evalPath = config.optional<std::string>("data.eval.path");
    std::error_code code;
    if (evalPath &&
        std::filesystem::equivalent(*evalPath, config.get<std::string>("data.train.path"), code))
        for (const DataRow& row : dataset.eval)
            reader.checks.add(Check::EvalSameFile, row.sourceRow);
    std::set<std::int32_t> trained;
    for (const DataRow& row : dataset.train) trained.insert(row.classIndex);
    for (const DataRow& row : dataset.eval)
        if (row.classIndex >= 0 && !trained.contains(row.classIndex))
            reader.checks.add(Check::ClassOnlyInEval, row.sourceRow);
    if (dataset.facts.rows >= 10 && dataset.facts.truncatedRows * 2 > dataset.facts.rows)
        for (const auto* rows : {&dataset.train, &dataset.eval})
            for (const DataRow& row : *rows)
                if (row.isTruncated) reader.checks.add(Check::MostRowsTruncated, row.sourceRow);
}

/// What data.train.path and data.eval.path stand for.
Result<DataFiles> filesOf(const RunConfig& config) {
    const std::string trainPath = config.get<std::string>("data.train.path");
    std::error_code code;
    DataFiles files{{trainPath}, {}, {}};
    if (std::filesystem::is_directory(trainPath, code)) {
        Result<DataFiles> found = filesOfFolder(trainPath);
        if (!found) return found.problems();
        files = std::move(*found);
    }
    const auto evalPath = config.optional<std::string>("data.eval.path");
    if (!evalPath || evalPath->empty()) return files;
    files.eval = {*evalPath};
    if (std::filesystem::is_directory(*evalPath, code)) {
        Result<DataFiles> found = filesOfFolder(*evalPath);
        if (!found) return found.problems();
        files.eval = found->eval.empty() ? found->train : found->eval;
        for (std::filesystem::path& left : found->left) files.left.push_back(std::move(left));
    }
    return files;
}

/// The files of a folder that hold rows, or may, and that nobody reads.
std::vector<DataProblem> filesLeft(const DataFiles& files) {
    if (files.left.empty()) return {};
    constexpr std::size_t kNamed = 20;
    std::string names;
    for (std::size_t i = 0; i < std::min(files.left.size(), kNamed); ++i)
        names += (i == 0 ? "" : ", ") + files.left[i].filename().string();
    if (files.left.size() > kNamed)
        names += " and " + std::to_string(files.left.size() - kNamed) + " more";
    return {{DataLevel::Warning,
             "files_left_out",
             "Of the folder these files are not read: " + names + ".",
             "One kind of file and one split of a folder is read. Convert them to the kind of the "
             "others, or name a file in data.train.path or data.eval.path.",
             {}}};
}

/// One output: by model.num_labels, or by the model's config.json where that is not set.
bool isRegression(const RunConfig& config) {
    if (const auto outputs = config.optional<std::int64_t>("model.num_labels"))
        return *outputs == 1;
    const auto path = config.optional<std::string>("model.path");
    const Result<Json> model =
        path ? readJsonFile(std::filesystem::path(*path) / "config.json") : Result<Json>(Json());
    if (!model || !model->is_object()) return false;
    const Json names = model->value("id2label", Json());
    return model->value("problem_type", Json()) == "regression" ||
           model->value("num_labels", Json()) == Json(1) ||
           (names.is_object() && names.size() == 1);
}

/// Rows of the files, the first few of which tell how long one is.
std::optional<std::pair<std::int64_t, bool>> countedRows(
    const std::vector<std::filesystem::path>& files) {
    constexpr std::int64_t kSample = 64, kCountedBytes = 1 << 20;
    Result<OpenSource> source = openSource(files);
    if (!source) return {};
    if (source->count) return std::pair{*source->count, true};
    std::int64_t rows = 0;
    for (; rows < kSample || (source->bytes <= kCountedBytes && rows < kCountedBytes); ++rows)
        if (Result<std::optional<SourceRow>> row = source->rows->next(); row && !row->has_value())
            return std::pair{rows, true};
    const std::int64_t bytes = source->rows->bytesRead();
    if (bytes <= 0) return {};
    return std::pair{std::max(rows, source->bytes * rows / bytes), false};
}

/// @param limit of rows, for a beginning
Result<Dataset> tokenised(const RunConfig& config, const TextEncoder& encoder,
                          const DataFiles& files, const Dataset::Progress& progress,
                          std::optional<std::int64_t> limit = {}) {
    Dataset dataset;
    dataset.maxLength = config.get<std::int64_t>("data.max_length");
    dataset.task = rowTaskFromName(config.get<std::string>("model.task"));
    const bool isClassification =
        config.get<std::string>("model.task") == "sequence_classification";
    Reader reader{encoder,
                  {lossOnFromName(config.get<std::string>("data.loss_on")),
                   config.get<std::string>("data.template"),
                   rowTaskFromName(config.get<std::string>("model.task"))},
                  dataset.maxLength,
                  isClassification,
                  progress,
                  dataset,
                  {},
                  {},
                  {}};
    std::unique_ptr<RowTemplate> rowTemplate;
    if (reader.mapping.chatTemplate == "custom") {
        if (isClassification)
            return Problem{"template_task",
                           "data.template is \"custom\", but a classifier writes nothing.",
                           "Set data.template to \"auto\".", "data.template", ExitCode::BadUsage};
        auto made =
            RowTemplate::create(config.get<std::string>("data.template_text"),
                                reader.mapping.lossOn == LossOn::All, encoder.namedTokens());
        if (!made) return made.problems();
        rowTemplate = std::move(*made);
        reader.mapping.rowTemplate = rowTemplate.get();
    }
    reader.mapping.templateText = config.optional<std::string>("data.template_text").value_or("");
    reader.mapping.wantsValues = isClassification && isRegression(config);
    const std::string trainPath = config.get<std::string>("data.train.path");
    const std::int64_t outputs =
        isClassification ? config.optional<std::int64_t>("model.num_labels").value_or(0) : 0;
    reader.columns = ColumnNames(config);
    reader.learnsFirst = config.learnsFirstToken;
    reader.rowLimit = limit.value_or(reader.rowLimit);
    if (Result<void> read =
            reader.read(files.train, config.get<std::string>("data.train.format"), dataset.train);
        !read)
        return read.problems();
    if (limit) {
        Result<LabelFindings> settled = settleLabels(dataset, reader.classes, 0);
        if (!settled) return settled.problems();
        sortClasses(dataset, reader.classes, reader.namedClasses);
        return dataset;
    }
    if (!files.eval.empty()) {
        if (Result<void> read =
                reader.read(files.eval, config.get<std::string>("data.eval.format"), dataset.eval);
            !read)
            return read.problems();
    }
    Result<LabelFindings> settled = settleLabels(dataset, reader.classes, outputs);
    if (!settled) return settled.problems();
    reader.findings.labels = std::move(*settled);
    if (const auto unlabelled =
            static_cast<std::int64_t>(reader.findings.labels.unlabelledRows.size());
        unlabelled > 0) {
        dataset.facts.skippedRows += unlabelled;
        dataset.facts.leftOut["unlabelled_rows"] += unlabelled;
    }
    if (files.eval.empty()) {
        split(dataset, config.get<double>("data.eval.split"),
              config.get<std::uint64_t>("train.seed"));
    }
    if (dataset.train.empty() && !reader.findings.firstUnusable.empty())
        return reader.findings.firstUnusable;
    if (dataset.train.empty())
        return Problem{
            "data_no_rows",
            "No row of " + trainPath + " can be trained on: " + std::to_string(dataset.facts.rows) +
                " read, " + std::to_string(dataset.facts.skippedRows) +
                " without a token that carries loss.",
            "Check data.max_length, data.loss_on and the rows' answers.", "data.train.path"};
    sortClasses(dataset, reader.classes, reader.namedClasses);
    const bool isTokenized = dataset.facts.format == "tokenized";
    const bool isChoiceOfIds = dataset.facts.mapping.rfind("input_ids", 0) == 0;
    DataRow row, following;
    for (std::size_t i = 0; i < dataset.train.size(); ++i) {
        row = i == 0 ? dataset.train[0] : std::move(following);
        following = i + 1 < dataset.train.size() ? dataset.train[i + 1] : DataRow{};
        dataset.facts.tokens += static_cast<std::int64_t>(row.ids.size());
        dataset.facts.supervisedTokens += row.supervisedTokens();
        const auto isOfTemplate =
            dataset.facts.format == "chat" ||
            dataset.facts.format == "custom";  // they end answers with tokens of their own
        const bool endsWell =
            row.isTruncated || isClassification || isTokenized || isChoiceOfIds ||
            (encoder.end() && row.labels.back() == *encoder.end()) ||
            (isOfTemplate && std::any_of(row.labels.begin(), row.labels.end(),
                                         [&](std::int32_t id) {
                                             return id != kIgnoredLabel && encoder.isSpecial(id);
                                         })) ||
            (i + 1 < dataset.train.size() && following.sourceRow == row.sourceRow);
        if (!endsWell) reader.findings.noEnd.add(row.sourceRow);
    }
    dataset.facts.truncatedRows =
        reader.findings.truncated.count + reader.findings.truncated.takenBack;
    addWholeSetChecks(dataset, reader, config);
    dataset.problems = filesLeft(files);
    for (DataProblem& problem :
         reader.checks.problems(dataset.facts.rows, config.get<bool>("data.shuffle")))
        dataset.problems.push_back(std::move(problem));
    reportAll(dataset, reader.findings, encoder);
    return dataset;
}

}  // namespace

std::int64_t DataRow::supervisedTokens() const {
    return std::count_if(labels.begin(), labels.end(),
                         [](std::int32_t label) { return label != kIgnoredLabel; });
}

Result<Dataset> Dataset::build(const RunConfig& config, const TextEncoder& encoder,
                               const Progress& progress) {
    Result<DataFiles> files = filesOf(config);
    if (!files) return files.problems();
    const std::optional<TokenCache> cache = TokenCache::ofUser();
    const std::string state = stateOf(*files);
    const std::string key = cache ? tokenCacheKey(config, *files, encoder, progress) : "";
    if (!key.empty())
        if (std::optional<Dataset> found = cache->find(key)) {
            if (progress) progress("tokenising", 1, 1);
            return std::move(*found);
        }
    Result<Dataset> dataset = tokenised(config, encoder, *files, progress);
    if (dataset && !key.empty() && stateOf(*files) == state) cache->store(key, *dataset);
    return dataset;
}

Result<Dataset> Dataset::beginning(const RunConfig& config, const TextEncoder& encoder,
                                   std::int64_t rows) {
    Result<DataFiles> files = filesOf(config);
    if (!files) return files.problems();
    return tokenised(config, encoder, *files, {}, rows);
}

std::vector<std::filesystem::path> dataFiles(const RunConfig& config) {
    Result<DataFiles> files = filesOf(config);
    if (!files) return {};
    std::vector<std::filesystem::path> all = std::move(files->train);
    all.insert(all.end(), files->eval.begin(), files->eval.end());
    return all;
}

std::optional<ExpectedRows> expectedRows(const RunConfig& config) {
    const Result<DataFiles> files = filesOf(config);
    if (!files) return {};
    const auto train = countedRows(files->train);
    if (!train) return {};
    if (files->eval.empty()) {
        const auto held =
            heldBack(static_cast<std::size_t>(train->first), config.get<double>("data.eval.split"));
        return ExpectedRows{train->first - static_cast<std::int64_t>(held),
                            static_cast<std::int64_t>(held), train->second};
    }
    const auto eval = countedRows(files->eval);
    if (!eval) return {};
    return ExpectedRows{train->first, eval->first, train->second && eval->second};
}

std::vector<std::uint32_t> Dataset::trainLengths() const {
    std::vector<std::uint32_t> result;
    result.reserve(train.size());
    for (std::size_t i = 0; i < train.size(); ++i) result.push_back(train.tokensOf(i));
    return result;
}

Json Dataset::toJson(const TextEncoder& encoder, std::int64_t first, std::int64_t count,
                     RowFilter filter) const {
    static constexpr const char* kLevels[] = {"error", "warning", "note"};
    Json list = Json::array();
    for (const DataProblem& problem : problems)
        list.push_back({{"level", kLevels[static_cast<int>(problem.level)]},
                        {"code", problem.code},
                        {"message", problem.message},
                        {"hint", problem.hint},
                        {"rows", problem.rows}});
    Json preview = Json::array();
    const std::vector<std::size_t> chosen = chosenRows(*this, filter);
    const auto total = static_cast<std::int64_t>(chosen.size());
    std::size_t tokens = 0;
    for (std::int64_t i = std::max<std::int64_t>(0, first); i < std::min(first + count, total);
         ++i) {
        const std::size_t row = chosen[static_cast<std::size_t>(i)];
        const bool isEval = row >= train.size();
        const DataRow shown = isEval ? eval[row - train.size()] : train[row];
        tokens += shown.ids.size() + shown.cut.size();
        if (!preview.empty() && tokens > kPreviewTokens) break;
        preview.push_back(previewOf(shown, isEval, task, encoder));
    }
    Json json{{"rows", facts.rows},
              {"train_rows", train.size()},
              {"eval_rows", eval.size()},
              {"tokens", facts.tokens},
              {"supervised_tokens", facts.supervisedTokens},
              {"truncated_rows", facts.truncatedRows},
              {"skipped_rows", facts.skippedRows},
              {"unusable_rows", facts.unusableRows},
              {"left_out", facts.leftOut},
              {"unused_columns", facts.unusedColumns},
              {"max_length", maxLength},
              {"format", facts.format},
              {"mapping", facts.mapping},
              {"lengths", histogramOf(lengths)},
              {"problems", std::move(list)},
              {"filtered_rows", total},
              {"first", first},
              {"preview", std::move(preview)}};
    if (!classNames.empty()) json["classes"] = classNames;
    return json;
}

}  // namespace luthier
