// SPDX-License-Identifier: Apache-2.0
#include "survey.h"

#include "gguf_survey.h"

#include "contract/run_store.h"
#include "data/dataset.h"
#include "data/row_format.h"
#include "data/source.h"
#include "data/sources/folder.h"
#include "data/tokenizer_encoder.h"
#include "io/gguf.h"
#include "io/weight_folder.h"
#include "model/arch/families.h"
#include "model/open.h"
#include "peft/adapter_file.h"
#include "peft/method.h"
#include "text/tokenizer.h"
#include "train/estimate.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <map>
#include <set>

namespace luthier::cli {

namespace fs = std::filesystem;

namespace {

Json problemJson(const Problem& problem, const char* level = "error") {
    return Json{{"code", problem.code},
                {"message", problem.message},
                {"hint", problem.hint},
                {"level", level}};
}

std::string lastPart(const std::string& path) {
    const std::size_t dot = path.rfind('.');
    return dot == std::string::npos ? path : path.substr(dot + 1);
}

/// Parameters by module, blocks summed.
Json partsOf(const ModelDescription& description) {
    std::vector<std::pair<std::string, std::int64_t>> parts;
    for (const ParameterShape& parameter : parameterShapes(description)) {
        const std::string name = lastPart(parameter.name.substr(0, parameter.name.rfind('.')));
        std::int64_t count = 1;
        for (const std::int64_t size : parameter.shape) count *= size;
        const auto found = std::find_if(parts.begin(), parts.end(),
                                        [&](const auto& part) { return part.first == name; });
        if (found == parts.end())
            parts.emplace_back(name, count);
        else
            found->second += count;
    }
    Json list = Json::array();
    for (const auto& [name, count] : parts) list.push_back({{"name", name}, {"parameters", count}});
    return list;
}

/// One block's projections with embedding, head and norms: what the window draws.
Json mapOf(const ModelDescription& description) {
    const ModelSites sites = sitesOf(description);
    Json modules = Json::array();
    modules.push_back({{"name", lastPart(sites.embeddingPath)},
                       {"role", "embedding"},
                       {"in", sites.vocabulary},
                       {"out", sites.embeddingWidth},
                       {"parameters", sites.vocabulary * sites.embeddingWidth}});
    const std::string firstLayer = description.names.layers + "0.";
    for (const LinearSite& site : sites.linears) {
        if (site.layer >= 0 && site.path.rfind(firstLayer, 0) != 0)
            continue;  // of two stacks, the decoder's first block
        const bool isHead = site.role == LinearRole::Head;
        modules.push_back(
            {{"name", site.layer < 0 ? lastPart(site.path) : site.path.substr(firstLayer.size())},
             {"role", name(site.role)},
             {"in", site.in},
             {"out", site.out},
             {"parameters",
              isHead && sites.isTied ? 0 : site.in * site.out + (site.hasBias ? site.out : 0)}});
    }
    for (const NormSite& norm : sites.norms)
        if (norm.path.rfind(firstLayer, 0) == 0 || norm.path == description.names.finalNorm)
            modules.push_back(
                {{"name", norm.path.rfind(firstLayer, 0) == 0 ? norm.path.substr(firstLayer.size())
                                                              : lastPart(norm.path)},
                 {"role", "norm"},
                 {"in", norm.width},
                 {"out", norm.width},
                 {"parameters", norm.width * (norm.hasBias ? 2 : 1)}});
    return Json{{"layers", sites.layers},
                {"encoder_layers", sites.encoderLayers},
                {"modules", std::move(modules)}};
}

Json filesOf(const fs::path& folder) {
    std::vector<std::pair<std::string, std::int64_t>> files;
    std::error_code code;
    for (const auto& entry : fs::directory_iterator(folder, code))
        if (entry.is_regular_file(code))
            files.emplace_back(entry.path().filename().string(),
                               static_cast<std::int64_t>(entry.file_size(code)));
    std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) {
        return a.second != b.second ? a.second > b.second : a.first < b.first;
    });
    Json list = Json::array();
    for (const auto& [name, bytes] : files) list.push_back({{"name", name}, {"bytes", bytes}});
    return list;
}

/// What the folder can be opened for, its own task first.
Json tasksOf(const ModelDescription& own, const Json& config, const fs::path& folder) {
    Json tasks = Json::array({own.isClassifier() ? "sequence_classification"
                              : own.encoder      ? "seq2seq_lm"
                                                 : "causal_lm"});
    for (const char* task : {"causal_lm", "seq2seq_lm", "sequence_classification"})
        if (tasks[0] != task && describeModel(config, (folder / "config.json").string(), {task}))
            tasks.push_back(task);
    return tasks;
}

/// Bytes that the model takes to answer (weights and program), and to train with each method's
/// usual settings on one row of 512 tokens a step.
Json memoryOf(const fs::path& folder, const std::string& task) {
    Json memory{{"train", Json::object()}};
    for (const Method& method : methods()) {
        const Json document{{"model", {{"path", folder.string()}, {"task", task}}},
                            {"method", {{"type", method.type}}},
                            {"data", {{"train", {{"path", "rows.jsonl"}}}, {"max_length", 512}}},
                            {"train", {{"batch_size", 1}}}};
        Result<RunConfig> config = resolveRunConfig(document, folder, methodSchemas());
        Result<Json> estimate = config ? estimateRun(*config) : Result<Json>(config.problems());
        if (!estimate) continue;  // the method does not apply to this model
        const Json& parts = (*estimate)["memory"];
        std::int64_t total = 0;
        for (const Json& part : parts) total += part.get<std::int64_t>();
        memory["train"][method.type] = total;
        memory["inference"] =
            parts["weights"].get<std::int64_t>() + parts["runtime"].get<std::int64_t>();
        memory["device_bytes"] = (*estimate)["device"]["total_bytes"];
    }
    return memory;
}

Json inspectModel(const fs::path& folder) {
    Json document{
        {"kind", "model"}, {"path", folder.string()}, {"name", folder.filename().string()}};
    Problems problems;
    const Result<Json> config = readConfig(folder);
    document["family"] =
        config && config->is_object() ? config->value("model_type", Json("")) : Json("");
    document["family_title"] =
        document["family"].is_string() ? Json(familyTitle(document["family"])) : document["family"];
    Result<ModelDescription> description =
        config ? readDescription(folder) : Result<ModelDescription>(config.problems());
    if (!description)
        for (const Problem& problem : description.problems()) problems.push_back(problem);
    Result<std::shared_ptr<const WeightFolder>> weights = WeightFolder::open(folder);
    Json dtypes = Json::object();
    if (weights) {
        std::int64_t bytes = 0;
        for (const TensorView* view : (*weights)->tensors()) {
            std::int64_t count = 1;
            for (const std::int64_t size : view->shape) count *= size;
            Json& slot = dtypes[name(view->dtype)];
            slot = (slot.is_null() ? 0 : slot.get<std::int64_t>()) + count;
            bytes += static_cast<std::int64_t>(view->bytes);
        }
        document["bytes"] = bytes;
    } else {
        for (const Problem& problem : weights.problems()) problems.push_back(problem);
    }
    if (description && weights) {
        // A classifier's head may be new: training draws it.
        for (const Problem& problem :
             Weights::check(**weights, *description, folder.string(), HeadDraw::When::Missing))
            problems.push_back(problem);
    }
    document["dtypes"] = dtypes;
    if (description) {
        std::int64_t parameters = 0;
        for (const ParameterShape& parameter : parameterShapes(*description)) {
            std::int64_t count = 1;
            for (const std::int64_t size : parameter.shape) count *= size;
            parameters += count;
        }
        document["architecture"] = description->architecture;
        document["parameters"] = parameters;
        document["layers"] = description->layers;
        document["heads"] = description->heads;
        document["key_value_heads"] = description->keyValueHeads;
        document["hidden"] = description->hidden;
        document["intermediate"] = description->intermediate;
        document["context"] = description->maxPositions;
        document["vocabulary"] = description->vocabulary;
        document["tied"] = description->isTied;
        document["tasks"] = tasksOf(*description, *config, folder);
        if (description->isClassifier()) document["classes"] = description->classifier.classes;
        document["parts"] = partsOf(*description);
        document["map"] = mapOf(*description);
    }
    Result<std::unique_ptr<Tokenizer>> tokenizer =
        description ? openTokenizer(folder, *description) : Tokenizer::open(folder);
    document["chat_template"] = tokenizer && (*tokenizer)->hasChatTemplate();
    if (!tokenizer) problems.push_back(tokenizer.problem());
    document["tokenizer"] = nullptr;
    for (const auto& [file, kind] : {std::pair{"tokenizer.json", "tokenizer.json"},
                                     std::pair{"tokenizer.model", "sentencepiece"}})
        if (std::error_code code;
            tokenizer && document["tokenizer"].is_null() && fs::exists(folder / file, code))
            document["tokenizer"] = kind;
    document["chat_template_text"] = tokenizer ? (*tokenizer)->chatTemplate() : "";
    document["tensors"] = weights ? (*weights)->tensors().size() : 0;
    document["files"] = filesOf(folder);
    document["license"] = nullptr;
    for (const char* file : {"LICENSE", "LICENSE.txt", "LICENSE.md"})
        if (std::error_code code; fs::exists(folder / file, code)) document["license"] = file;
    if (description && problems.empty())
        document["memory"] = memoryOf(folder, document["tasks"][0]);
    document["can_train"] = problems.empty();
    document["reason"] = problems.empty() ? "" : problems.front().message;
    Json list = Json::array();
    for (const Problem& problem : problems) list.push_back(problemJson(problem));
    if (const std::optional<Problem> warning = tokenizer ? warningOf(**tokenizer) : std::nullopt)
        list.push_back(problemJson(*warning, "warning"));
    document["problems"] = std::move(list);
    return document;
}

Json inspectAdapter(const fs::path& folder) {
    Json document{
        {"kind", "adapter"}, {"path", folder.string()}, {"name", folder.filename().string()}};
    Result<AdapterFolder> read = readAdapterFolder(folder);
    Json problems = Json::array();
    if (read) {
        document["method"] = read->method->type;
        document["settings"] = read->settings;
        document["base"] = read->config.value("base_model_name_or_path", Json());
        Result<std::shared_ptr<const SafetensorsFile>> file =
            SafetensorsFile::open(read->tensorFile);
        if (file) {
            Json tensors = Json::array();
            std::int64_t parameters = 0;
            for (const TensorView& view : (*file)->tensors()) {
                tensors.push_back(
                    {{"name", view.name}, {"dtype", name(view.dtype)}, {"shape", view.shape}});
                std::int64_t count = 1;
                for (const std::int64_t size : view.shape) count *= size;
                parameters += count;
            }
            document["parameters"] = parameters;
            document["bytes"] = (*file)->fileBytes();
            document["tensors"] = std::move(tensors);
        } else {
            problems.push_back(problemJson(file.problem()));
        }
    } else {
        for (const Problem& problem : read.problems()) problems.push_back(problemJson(problem));
    }
    document["problems"] = std::move(problems);
    return document;
}

Json inspectTensorFile(const fs::path& file) {
    const std::shared_ptr<const SafetensorsFile> opened = SafetensorsFile::open(file).orThrow();
    Json tensors = Json::array();
    std::int64_t parameters = 0;
    for (const TensorView& view : opened->tensors()) {
        tensors.push_back(
            {{"name", view.name}, {"dtype", name(view.dtype)}, {"shape", view.shape}});
        std::int64_t count = 1;
        for (const std::int64_t size : view.shape) count *= size;
        parameters += count;
    }
    return Json{{"kind", "file"},
                {"path", file.string()},
                {"name", file.filename().string()},
                {"format", "safetensors"},
                {"bytes", opened->fileBytes()},
                {"parameters", parameters},
                {"metadata", opened->metadata()},
                {"tensors", std::move(tensors)},
                {"problems", Json::array()}};
}

constexpr std::int64_t kCheckedBytes = 64 << 20;  ///< larger files are counted, not read row by row

Json inspectData(const fs::path& file) {
    OpenSource source = openSource(file).orThrow();
    Json document{{"kind", "dataset"},
                  {"path", file.string()},
                  {"name", file.filename().string()},
                  {"bytes", source.bytes}};
    std::vector<Json> sample;
    std::int64_t rows = 0;
    Json problems = Json::array();
    std::set<std::string> columns;
    while (source.bytes <= kCheckedBytes || rows < 1000) {
        Result<std::optional<SourceRow>> row = source.rows->next();
        if (row && !row->has_value()) break;
        ++rows;
        if (!row && problems.size() < 20) problems.push_back(problemJson(row.problem()));
        if (row && sample.size() < 20) sample.push_back((*row)->value);
    }
    if (source.count)
        rows = *source.count;
    else if (source.bytes > kCheckedBytes)
        rows += source.rows->skip(std::numeric_limits<std::int64_t>::max()).orThrow();
    for (const Json& row : sample)
        for (const auto& [key, value] : row.items()) columns.insert(key);
    const std::optional<RowFormat> format =
        sample.empty() ? std::nullopt : recognise(sample.front());
    document["format"] = format ? Json(rowFormatName(*format)) : Json();
    if (!format && problems.empty()) {
        std::string names;
        for (const std::string& column : columns) names += (names.empty() ? "" : ", ") + column;
        problems.push_back(problemJson(
            {"data_format",
             sample.empty() ? file.string() + " has no rows."
                            : "Its rows have the keys " + names + ", which fit no known format.",
             "Use text; prompt and completion; question and answer; instruction and output; "
             "messages; text and label; or input_ids and labels.",
             ""}));
    }
    document["rows"] = rows;
    document["columns"] = columns;
    document["first"] = sample.empty() ? Json() : sample.front();
    document["problems"] = std::move(problems);
    return document;
}

}  // namespace

Json inspectPath(const fs::path& given) {
    std::error_code code;
    const fs::path path = fs::absolute(given, code).lexically_normal();
    if (!fs::exists(path, code))
        throw Failure({"file_missing", given.string() + " does not exist.", "Check the path.",
                       given.string()});
    if (fs::is_directory(path, code)) {
        const fs::path folder = path.filename().empty() ? path.parent_path() : path;
        if (fs::exists(folder / "adapter_config.json", code)) return inspectAdapter(folder);
        if (fs::exists(folder / "events.jsonl", code) && fs::exists(folder / "run.json", code)) {
            Json document{{"kind", "run"}, {"path", folder.string()}};
            const Json info = toJson(readRunInfo(RunFolder{folder}));
            for (const auto& [key, value] : info.items()) document[key] = value;
            document["problems"] = Json::array();
            return document;
        }
        if (!fs::exists(folder / "config.json", code) && filesOfFolder(folder))
            return inspectData(folder);
        return inspectModel(folder);
    }
    const std::string ending = path.extension().string();
    if (ending == ".safetensors") return inspectTensorFile(path);
    if (isGguf(path)) return inspectGguf(path);
    if (ending == ".bin" || ending == ".pt" || ending == ".pth" || ending == ".ckpt")
        throw Failure({"pickle_refused",
                       path.string() + " is a pickle, which can run code; Luthier never opens one.",
                       "Convert it to safetensors with transformers' save_pretrained.",
                       path.string()});
    return inspectData(path);
}

namespace {

Json withLengthWarning(Json document, const RunConfig& config) {
    if (const std::optional<Problem> warning = lengthWarning(config))
        document["problems"].push_back({{"level", "warning"},
                                        {"code", warning->code},
                                        {"message", warning->message},
                                        {"hint", warning->hint},
                                        {"rows", Json::array()}});
    return document;
}

}  // namespace

Json listMethods() {
    Json document = describeMethods();
    document["file_kinds"] = fileKindsToJson();
    return document;
}

Json previewData(
    const RunConfig& config, std::int64_t first, std::int64_t count,
    const std::function<void(const std::string&, std::int64_t, std::int64_t)>& progress) {
    const std::unique_ptr<Tokenizer> tokenizer =
        openTokenizer(config.get<std::string>("model.path")).orThrow();
    const TokenizerEncoder encoder(*tokenizer);
    return withLengthWarning(Dataset::build(withTask(config).orThrow(), encoder, progress)
                                 .orThrow()
                                 .toJson(encoder, first, count),
                             config);
}

namespace {

constexpr std::uintmax_t kAtOnceBytes = 4u << 20;  // tokenised within a blink

std::uintmax_t bytesOf(const fs::path& path) {
    std::error_code code;
    if (!fs::is_directory(path, code)) return fs::file_size(path, code);
    std::uintmax_t bytes = 0;
    for (const auto& entry : fs::recursive_directory_iterator(path, code))
        if (entry.is_regular_file(code)) bytes += entry.file_size(code);
    return bytes;
}

}  // namespace

struct DataPreviews::Entry {
    std::string key;
    std::unique_ptr<Tokenizer> tokenizer;
    Dataset data;
};

DataPreviews::DataPreviews() = default;
DataPreviews::~DataPreviews() = default;

Json DataPreviews::page(
    const RunConfig& config, std::int64_t first, std::int64_t count, const std::string& filter,
    const std::function<void(const std::string&, std::int64_t, std::int64_t)>& progress,
    const std::function<void(const Json&)>& beginning) {
    const RunConfig whole = withTask(config).orThrow();
    const std::string model = config.get<std::string>("model.path");
    std::string key = dumpLine(whole.data()) + config.methodType() + model +
                      config.get<std::string>("model.task") +
                      std::to_string(config.get<std::int64_t>("train.seed"));
    std::error_code code;
    for (const std::string& path : {config.get<std::string>("data.train.path"),
                                    config.optional<std::string>("data.eval.path").value_or(""),
                                    (fs::path(model) / "tokenizer.json").string(),
                                    (fs::path(model) / "tokenizer_config.json").string(),
                                    (fs::path(model) / "tokenizer.model").string()})
        if (!path.empty() && fs::exists(path, code))
            key += "|" + std::to_string(fs::file_size(path, code)) + ":" +
                   std::to_string(fs::last_write_time(path, code).time_since_epoch().count());
    if (!m_entry || m_entry->key != key) {
        m_entry.reset();
        std::unique_ptr<Tokenizer> tokenizer = openTokenizer(model).orThrow();
        const TokenizerEncoder encoder(*tokenizer);
        if (first == 0 && count > 0 && filter == "all" &&
            bytesOf(whole.get<std::string>("data.train.path")) > kAtOnceBytes)
            if (const Result<Dataset> start = Dataset::beginning(whole, encoder, count)) {
                Json document = start->toJson(encoder, 0, count);
                document["beginning"] = true;
                beginning(document);
            }
        Dataset data = Dataset::build(whole, encoder, progress).orThrow();
        m_entry = std::make_unique<Entry>(Entry{key, std::move(tokenizer), std::move(data)});
    }
    const RowFilter chosen = filter == "cut"       ? RowFilter::Cut
                             : filter == "longest" ? RowFilter::Longest
                                                   : RowFilter::All;
    return withLengthWarning(
        m_entry->data.toJson(TokenizerEncoder(*m_entry->tokenizer), first, count, chosen), config);
}

}  // namespace luthier::cli
