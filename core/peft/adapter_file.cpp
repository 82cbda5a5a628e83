// SPDX-License-Identifier: Apache-2.0
#include "peft/adapter_file.h"

#include "io/atomic.h"
#include "io/safetensors.h"
#include "io/weight_folder.h"
#include "model/open.h"
#include "model/shards.h"
#include "model/tensors.h"
#include "peft/gguf_adapter.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>

namespace luthier {

namespace fs = std::filesystem;

namespace {

/// Keys of adapter_config.json that describe, but do not change the mathematics.
const std::set<std::string>& harmlessKeys() {
    static const std::set<std::string> keys{"peft_type",
                                            "task_type",
                                            "auto_mapping",
                                            "base_model_name_or_path",
                                            "inference_mode",
                                            "revision",
                                            "peft_version",
                                            "fan_in_fan_out",
                                            "megatron_core",
                                            "init_ia3_weights",
                                            "tokenizer_name_or_path",
                                            "tokenizer_kwargs",
                                            "token_dim",
                                            "num_layers",
                                            "num_attention_heads",
                                            "num_transformer_submodules",
                                            "runtime_config",
                                            "eva_config",
                                            "corda_config",
                                            "lora_ga_config",
                                            "loftq_config",
                                            "qalora_group_size",
                                            "projection_prng_key",
                                            "ensure_weight_tying",
                                            "init_weights",
                                            "encoder_dropout"};
    return keys;
}

bool isNeutral(const Json& value) {
    return value.is_null() || value == false || value == 0 || value == "" || value == "none" ||
           ((value.is_array() || value.is_object()) && value.empty());
}

Result<Json> peftSettings(const Json& config, const Method& method, const std::string& file) {
    Json settings = Json::object();
    for (const auto& [key, value] : config.items()) {
        if (method.unusedKeys.contains(key)) continue;
        if (method.schema.find(key) != nullptr) {
            // A stored null stands for the default of a key that must have a value.
            if (!value.is_null() || method.schema.find(key)->isNullable) settings[key] = value;
        } else if (!harmlessKeys().contains(key) && !isNeutral(value)) {
            return Problem{"adapter_feature",
                           file + " sets " + key + " to " + dumpLine(value).substr(0, 60) +
                               ", which Luthier does not compute yet.",
                           "Open it with PEFT, or train an adapter without that option.", key};
        }
    }
    if (settings.value("init_lora_weights", Json(true)).is_string()) {
        // Starts that only choose A and B: the file holds what came of them. OLoRA and the like
        // change the base when they load.
        static const std::set<std::string> plain{"gaussian", "eva", "orthogonal"};
        const std::string init = settings["init_lora_weights"];
        if (plain.contains(init))
            settings["init_lora_weights"] = true;
        else if (init.rfind("pissa", 0) != 0)
            return Problem{
                "adapter_feature",
                file + " was started with init_lora_weights \"" + init +
                    "\", which changes the base model.",
                "Convert it to plain LoRA with PEFT's path_initial_model_for_weight_conversion.",
                "init_lora_weights"};
    }
    // PEFT finds PiSSA's start again by random rounds; all it can mean is what more and more rounds
    // come to.
    if (const Json init = settings.value("init_lora_weights", Json(true));
        init.is_string() && init.get<std::string>().rfind("pissa", 0) == 0)
        settings["init_lora_weights"] = "pissa";
    return settings;
}

std::string knownPeftTypes() {
    std::string text;
    for (const Method& method : methods())
        if (!method.peftType.empty() && text.find(method.peftType) == std::string::npos)
            text += (text.empty() ? "" : ", ") + method.peftType;
    return text;
}

}  // namespace

Result<TensorMap> tensorsOf(const AdapterFolder& folder) {
    Result<TensorMap> tensors = readTensors(folder.tensorFile);
    if (!tensors) return tensors;
    if (folder.method->plainNames != nullptr)
        return folder.method->plainNames(*tensors, folder.config);
    // Files saved with the adapter's name in their keys load in PEFT, so they load here.
    TensorMap plain;
    for (const auto& [name, tensor] : *tensors) {
        const std::size_t at = name.find(".default.weight");
        plain[at == std::string::npos ? name : name.substr(0, at) + ".weight"] = tensor;
    }
    return plain;
}

Problems asOfFile(Problems problems, const fs::path& file) {
    const std::string run = "method.";
    for (Problem& problem : problems) {
        for (std::string* text : {&problem.message, &problem.hint, &problem.field})
            for (std::size_t at = text->find(run); at != std::string::npos;
                 at = text->find(run, at))
                text->erase(at, run.size());
        problem.message = file.string() + ": " + problem.message;
        problem.exit = ExitCode::BadInput;
    }
    return problems;
}

Result<AdapterFolder> readAdapterFolder(const fs::path& folder) {
    std::error_code code;
    if (isGgufAdapter(folder))
        return Problem{
            "adapter_base",
            folder.string() + " is a GGUF adapter, which can only be read beside its base.",
            "Export it as a PEFT folder first: export FILE --model BASE --format peft.",
            folder.string()};
    if (!fs::is_directory(folder, code))
        return Problem{"folder_missing", folder.string() + " is not a folder.",
                       "Give the folder that holds adapter_config.json.", folder.string()};
    const fs::path file = folder / "adapter_config.json";
    if (!fs::exists(file, code))
        return Problem{"adapter_config_missing", folder.string() + " has no adapter_config.json.",
                       "Give an adapter folder.", file.string()};
    Result<Json> config = readJsonFile(file, 4u << 20);
    if (!config) return config.problems();
    if (!config->is_object())
        return Problem{"adapter_config", file.string() + " is not a JSON object.", "",
                       file.string()};

    AdapterFolder result;
    result.path = folder;
    result.config = *config;
    result.method = methodOfConfig(*config);
    if (result.method == nullptr) {
        const Json type = config->value("peft_type", Json());
        return Problem{
            "adapter_method",
            file.string() + ": peft_type is " +
                (type.is_string() && type != ""
                     ? "\"" + type.get<std::string>() + "\", which Luthier does not know yet"
                     : "missing") +
                ".",
            "Known: " + knownPeftTypes() + ".", "peft_type"};
    }
    Result<Json> read = result.method->readSettings != nullptr
                            ? result.method->readSettings(*config, file.string())
                            : peftSettings(*config, *result.method, file.string());
    if (!read) return read.problems();
    const Json settings = *read;
    if (Problems problems = check(settings, result.method->schema, ""); !problems.empty())
        return asOfFile(std::move(problems), file);
    result.settings = withDefaults(settings, result.method->schema);
    result.tensorFile = folder / result.method->tensorFile;
    if (!fs::exists(result.tensorFile, code)) {
        for (const char* pickle : {"adapter_model.bin", "pytorch_adapter.bin"})
            if (fs::exists(folder / pickle, code))
                return Problem{"pickle_refused",
                               (folder / pickle).string() +
                                   " is a pickle, which can run code; Luthier never opens one.",
                               "Save the adapter again with safe_serialization=True.",
                               (folder / pickle).string()};
        return Problem{"adapter_weights_missing",
                       folder.string() + " has no " + result.tensorFile.filename().string() + ".",
                       "The folder is incomplete.", result.tensorFile.string()};
    }
    return result;
}

ModelTask taskOfAdapter(const AdapterFolder& folder) {
    const std::string type = folder.config.value("task_type", Json()).is_string()
                                 ? folder.config["task_type"].get<std::string>()
                                 : "";
    if (type != "SEQ_CLS") return {};
    ModelTask task{"sequence_classification"};
    // The head's last layer says how many classes there are.
    if (Result<std::shared_ptr<const SafetensorsFile>> file =
            SafetensorsFile::open(folder.tensorFile))
        for (const TensorView& view : (*file)->tensors())
            for (const char* head :
                 {".score.weight", ".classifier.weight", ".classifier.out_proj.weight",
                  ".classification_head.out_proj.weight"})
                if (view.name.ends_with(head) && view.shape.size() == 2)
                    task.classes = view.shape[0];
    return task;
}

Result<ModelTask> taskOfAdapter(const fs::path& path) {
    if (isGgufAdapter(path)) return ModelTask{};
    Result<AdapterFolder> folder = readAdapterFolder(path);
    if (!folder) return folder.problems();
    return taskOfAdapter(*folder);
}

Result<TensorMap> readTensors(const fs::path& file) {
    Result<std::shared_ptr<const SafetensorsFile>> opened = SafetensorsFile::open(file);
    if (!opened) return opened.problems();
    TensorMap tensors;
    for (const TensorView& view : (*opened)->tensors()) {
        if (!scalarType(view.dtype))
            return Problem{
                "tensor_dtype",
                file.string() + ": " + view.name + " is stored as " + name(view.dtype) + ".", "",
                view.name};
        tensors[view.name] = mappedTensor(view, *opened);
    }
    return tensors;
}

namespace {

Problems doesNotFit(const fs::path& path, Problems problems) {
    problems.front().message =
        path.string() + " does not fit this model: " + problems.front().message;
    return problems;
}

/// Rows of the base's embedding and head that a file's own do not match: tokens were added before
/// training.
Problem grownVocabulary(const fs::path& path, std::int64_t rows, std::int64_t baseRows) {
    return {"adapter_vocabulary",
            path.string() + " was trained on a vocabulary of " + std::to_string(rows) +
                " tokens; this model has " + std::to_string(baseRows) + ".",
            rows > baseRows
                ? "Add the same tokens to the model first: in transformers "
                  "tokenizer.add_tokens(…), model.resize_token_embeddings(" +
                      std::to_string(rows) + "), then save both."
                : "Use the model that it was trained on; this one's vocabulary was extended since.",
            path.string()};
}

/// Whole weights of the base that stand in an adapter's file beside its own tensors, as PEFT's
/// save_embedding_layers and ensure_weight_tying write them: copies of what the base has are
/// dropped, others become modules_to_save of `settings`. Problem code: adapter_vocabulary.
Result<void> takeWholeWeights(TensorMap& tensors, Json& settings, const Model& model,
                              const fs::path& path) {
    const std::string prefix = "base_model.model.", inner = ".base_layer.weight";
    const ModelSites& sites = model.sites();
    const std::string table = sites.embeddingPath + ".weight", head = sites.headPath + ".weight";
    const Json saved = settings.value("modules_to_save", Json());
    // PEFT saves a module whole, whatever lies in it.
    const auto isSaved = [&](std::string module) {
        for (; saved.is_array() && !module.empty();
             module =
                 module.substr(0, module.find('.') == std::string::npos ? 0 : module.rfind('.')))
            if (std::any_of(saved.begin(), saved.end(), [&](const Json& entry) {
                    return entry.is_string() && module.ends_with(entry.get<std::string>());
                }))
                return true;
        return false;
    };
    TensorMap kept;
    for (const auto& [name, tensor] : tensors) {
        std::string plain = name.rfind(prefix, 0) == 0 ? name.substr(prefix.size()) : name;
        if (plain.ends_with(inner))
            plain = plain.substr(0, plain.size() - inner.size()) + ".weight";
        const at::Tensor* base = model.weights().find(plain);
        const bool isEmbedding =
            plain == table || plain == head ||
            std::any_of(sites.embeddings.begin(), sites.embeddings.end(),
                        [&](const EmbeddingSite& site) { return plain == site.path + ".weight"; });
        if (base == nullptr && isEmbedding) base = model.weights().find(table);
        if (base == nullptr || !plain.ends_with(".weight") || sites.classes > 0) {
            kept[name] = tensor;
            continue;
        }
        if (isEmbedding && tensor.dim() == 2 && base->dim() == 2 &&
            tensor.size(0) != base->size(0) && tensor.size(1) == base->size(1))
            return grownVocabulary(path, tensor.size(0), base->size(0));
        const std::string module = plain.substr(0, plain.size() - std::string(".weight").size());
        if (isSaved(module)) {
            kept[name] = tensor;
            continue;
        }
        if (tensor.sizes() != base->sizes()) {
            kept[name] = tensor;  // load() names it
            continue;
        }
        if (tensor.to(at::kFloat).equal(base->to(at::kFloat))) continue;
        if (!settings["modules_to_save"].is_array()) settings["modules_to_save"] = Json::array();
        settings["modules_to_save"].push_back(module);
        kept[prefix + plain] = tensor;
    }
    tensors = std::move(kept);
    return {};
}

Result<std::shared_ptr<Adapter>> openGguf(const fs::path& path, Model& model) {
    Result<GgufAdapter> read = readGgufAdapter(path, model.description());
    if (!read) return read.problems();
    Result<std::shared_ptr<Adapter>> adapter =
        createAdapter(*read->method, {model, read->settings, 0, {}});
    if (!adapter) return adapter;
    Result<void> loaded = (*adapter)->load(read->tensors);
    if (!loaded) return doesNotFit(path, loaded.problems());
    return adapter;
}

/// A GGUF LoRA for a run: its scale is alpha over its rank, as the run's must be.
Result<void> loadGgufInto(Adapter& adapter, const fs::path& path, const Model& model) {
    Result<GgufAdapter> read = readGgufAdapter(path, model.description());
    if (!read) return read.problems();
    if (adapter.method() != read->method->type)
        return Problem{"adapter_method",
                       path.string() + " holds a " + read->method->type +
                           " adapter, but the run trains " + adapter.method() + ".",
                       "Set method.type to \"" + read->method->type + "\".", "method.init_from"};
    const Json config = adapter.fileConfig();
    if (std::abs(config.at("lora_alpha").get<double>() -
                 read->settings.at("lora_alpha").get<double>()) > 1e-6 ||
        config.value("use_rslora", false) || config.contains("alpha_pattern"))
        return Problem{"bad_combination",
                       path.string() + " was made with lora_alpha " +
                           dumpLine(read->settings.at("lora_alpha")) +
                           " over the rank; the run scales otherwise.",
                       "Set method.lora_alpha to that, without use_rslora and alpha_pattern.",
                       "method.lora_alpha", ExitCode::BadUsage};
    return adapter.load(read->tensors);
}

}  // namespace

Result<std::shared_ptr<Adapter>> openAdapter(const fs::path& path, Model& model) {
    if (isGgufAdapter(path)) return openGguf(path, model);
    Result<AdapterFolder> folder = readAdapterFolder(path);
    if (!folder) return folder.problems();
    // All values come from the file: nothing is to be drawn, projected or looked up.
    Json settings = folder->settings;
    settings["init_from"] = path.string();
    Result<TensorMap> tensors = tensorsOf(*folder);
    if (!tensors) return tensors.problems();
    if (Result<void> taken = takeWholeWeights(*tensors, settings, model, path); !taken)
        return taken.problems();
    // With ensure_weight_tying PEFT adapts the head of a tied model along with its embedding and
    // does not say so in target_modules.
    const std::string& head = model.sites().headPath;
    if (folder->config.value("ensure_weight_tying", Json()) == true &&
        settings.value("target_modules", Json()).is_array() &&
        tensors->contains("base_model.model." + head + ".lora_A.weight"))
        settings["target_modules"].push_back(head);
    Result<std::shared_ptr<Adapter>> adapter =
        createAdapter(*folder->method, {model, settings, 0, {}});
    if (!adapter) return asOfFile(adapter.problems(), path / "adapter_config.json");
    Result<void> loaded = (*adapter)->load(*tensors);
    if (!loaded) return doesNotFit(path, loaded.problems());
    return adapter;
}

Result<void> loadInto(Adapter& adapter, const fs::path& path, const Model& model) {
    if (isGgufAdapter(path)) return loadGgufInto(adapter, path, model);
    Result<AdapterFolder> folder = readAdapterFolder(path);
    if (!folder) return folder.problems();
    const auto kindOf = [](const Method* method) {
        return method->fileType.empty() ? method->type : method->fileType;
    };
    if (kindOf(folder->method) != kindOf(findMethod(adapter.method())))
        return Problem{"adapter_method",
                       path.string() + " holds a " + folder->method->type +
                           " adapter, but the run trains " + adapter.method() + ".",
                       "Set method.type to \"" + folder->method->type + "\".", "method.init_from"};
    Result<TensorMap> tensors = tensorsOf(*folder);
    if (!tensors) return tensors.problems();
    // What the run does not train of the file's whole weights is refused by load().
    Json settings = adapter.fileConfig();
    if (Result<void> taken = takeWholeWeights(*tensors, settings, model, path); !taken)
        return taken.problems();
    return adapter.load(*tensors);
}

std::string baseNameOf(const fs::path& modelFolder) {
    std::error_code code;
    const fs::path whole = fs::absolute(modelFolder, code).lexically_normal();
    // models--OWNER--NAME/snapshots/REVISION
    const fs::path snapshots = whole.parent_path();
    const std::string folder = snapshots.parent_path().filename().string();
    if (snapshots.filename() != "snapshots" || folder.rfind("models--", 0) != 0)
        return whole.string();
    std::string name = folder.substr(8);
    if (const std::size_t cut = name.find("--"); cut != std::string::npos)
        name.replace(cut, 2, "/");
    return name;
}

namespace {

/// Of the adapter_config.json that an adapter was read from: what the file written now lacks and
/// every loader may go on reading. Targets are written as what they came to, and what chose among
/// them chooses the same again.
Json keptOf(const Json& came, const Json& written) {
    Json kept = Json::object();
    for (const char* key : {"fan_in_fan_out", "exclude_modules", "layers_to_transform",
                            "layers_pattern", "tokenizer_name_or_path", "revision"})
        if (const auto found = came.find(key);
            found != came.end() && !written.contains(key) && (!isNeutral(*found) || *found == 0))
            kept[key] = *found;
    if (kept.contains("layers_pattern") && !kept.contains("layers_to_transform"))
        kept.erase("layers_pattern");  // says nothing alone, and PEFT refuses it
    return kept;
}

}  // namespace

Result<std::int64_t> writeAdapter(const Adapter& adapter, const fs::path& folder,
                                  const std::string& baseModelName, const Json& came) {
    std::vector<at::Tensor> storage;
    std::vector<TensorView> views;
    for (const NamedTensor& tensor : adapter.fileTensors())
        views.push_back(viewOf(tensor.name, tensor.tensor, storage));
    Json config = adapter.fileConfig();
    const Method& method = *findMethod(adapter.method());
    if (method.library.empty()) {
        config["task_type"] = adapter.taskType();
        config["base_model_name_or_path"] = baseModelName.empty() ? Json() : Json(baseModelName);
        config["inference_mode"] = true;
        config.update(keptOf(came, config));
    }
    Result<void> written = writeJsonAtomically(folder / "adapter_config.json", config);
    if (!written) return written.problems();
    Result<std::uint64_t> bytes =
        writeSafetensors(folder / method.tensorFile, views, {{"format", "pt"}});
    if (!bytes) return bytes.problems();
    return static_cast<std::int64_t>(*bytes);
}

namespace {

/// Small files of a model folder that a copy of it needs as well; weights and config.json are
/// written anew.
bool isCompanion(const fs::path& file) {
    static const std::set<std::string> endings{".json", ".model", ".txt", ".jinja", ".tiktoken"};
    const std::string name = file.filename().string();
    if (name == "config.json" || name.ends_with(".index.json") || name.rfind("adapter", 0) == 0)
        return name == "config.json";
    if (name.rfind("LICENSE", 0) == 0) return true;
    return endings.contains(file.extension().string());
}

Result<void> copyCompanions(const fs::path& source, const fs::path& folder) {
    std::error_code code;
    for (const fs::directory_entry& entry : fs::directory_iterator(source, code)) {
        if (!entry.is_regular_file(code) || entry.path().filename() == "config.json" ||
            !isCompanion(entry.path()))
            continue;
        Result<void> copied = copyFileDurably(entry.path(), folder / entry.path().filename());
        if (!copied) return copied;
    }
    return {};
}

/// What transformers reads of a sequence classifier.
void sayClasses(const ModelDescription& description, Json& config) {
    const ClassifierSpec& classifier = description.classifier;
    config["architectures"] = Json::array({description.architecture});
    Json names = Json::object();
    Json ids = Json::object();
    for (std::int64_t i = 0; i < classifier.classes; ++i) {
        const std::string key = std::to_string(i);
        const std::string name = i < static_cast<std::int64_t>(classifier.classNames.size())
                                     ? classifier.classNames[static_cast<std::size_t>(i)]
                                     : "LABEL_" + key;
        names[key] = name;
        ids[name] = i;
    }
    config["id2label"] = std::move(names);
    config["label2id"] = std::move(ids);
    config.erase("num_labels");
}

}  // namespace

Result<std::map<std::string, at::ScalarType>> writtenTypes(const Model& model,
                                                           const fs::path& source,
                                                           std::optional<at::ScalarType> dtype) {
    std::map<std::string, at::ScalarType> types, stored;
    at::ScalarType most = at::kFloat;
    if (!dtype) {
        Result<std::shared_ptr<const WeightFolder>> files = WeightFolder::open(source);
        if (!files) return files.problems();
        stored = Weights::typesIn(**files, model.description());
        std::map<at::ScalarType, std::int64_t> values;
        for (const auto& [name, type] : stored) values[type] += model.weights().at(name).numel();
        std::int64_t largest = 0;
        for (const auto& [type, count] : values)
            if (count > largest) std::tie(most, largest) = std::pair(type, count);
    }
    for (const std::string& name : model.weights().names()) {
        const auto found = stored.find(name);
        types[name] = dtype ? *dtype : found != stored.end() ? found->second : most;
    }
    return types;
}

void roundWeights(Model& model, const std::map<std::string, at::ScalarType>& types) {
    for (const auto& [name, type] : types)
        model.weights().assign(name, model.weights().at(name).to(type));
}

Result<std::int64_t> writeModel(const Model& model, const fs::path& source, const fs::path& folder,
                                const std::map<std::string, at::ScalarType>& types) {
    const at::NoGradGuard guard;
    Result<Json> config = readConfig(source);
    if (!config) return config.problems();
    // Of files that mix types config.json goes on saying what it said.
    const at::ScalarType first = types.begin()->second;
    if (std::all_of(types.begin(), types.end(),
                    [&](const auto& type) { return type.second == first; })) {
        const char* dtypeName = first == at::kBFloat16 ? "bfloat16"
                                : first == at::kHalf   ? "float16"
                                                       : "float32";
        for (const char* key : {"torch_dtype", "dtype"})
            if (config->contains(key)) (*config)[key] = dtypeName;
        if (!config->contains("torch_dtype") && !config->contains("dtype"))
            (*config)["torch_dtype"] = dtypeName;
    }
    if (model.description().isClassifier()) sayClasses(model.description(), *config);
    // An encoder-decoder's flag also ties its embeddings and scales T5's head; what lies in the
    // file says that its head is its own.
    if (const ModelDescription& d = model.description();
        !d.isClassifier() && !d.encoder && (config->contains("tie_word_embeddings") || !d.isTied))
        (*config)["tie_word_embeddings"] = d.isTied;
    Result<void> done = writeJsonAtomically(folder / "config.json", *config);
    if (!done) return done.problems();
    done = copyCompanions(source, folder);
    if (!done) return done.problems();

    std::vector<ShardTensor> tensors;
    for (const std::string& name : model.weights().names()) {
        const at::Tensor& tensor = model.weights().at(name);
        const at::ScalarType type = types.at(name);
        tensors.push_back(
            {name, type, tensor.sizes().vec(), [&tensor, type] { return tensor.to(type); }});
    }
    // Buffers of zeros that the model does not compute with: a file that had them has them again.
    const ModelDescription& d = model.description();
    if (d.zeroTensors.empty() || d.isClassifier()) return writeShards(tensors, folder);
    Result<std::shared_ptr<const WeightFolder>> files = WeightFolder::open(source);
    if (!files) return files.problems();
    for (const std::string& name : d.zeroTensors) {
        const TensorView* view = (*files)->find(name);
        if (view == nullptr) continue;
        const at::ScalarType type = types.at(d.names.embedding + ".weight");
        const std::vector<std::int64_t> shape = view->shape;
        tensors.push_back({name, type, shape, [shape, type] { return at::zeros(shape, type); }});
    }
    return writeShards(tensors, folder);
}

}  // namespace luthier
