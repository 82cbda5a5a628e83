// SPDX-License-Identifier: Apache-2.0
#include "export/gguf_importer.h"

#include "io/atomic.h"
#include "model/gguf_config.h"
#include "model/gguf_values.h"
#include "model/open.h"
#include "model/shards.h"
#include "text/vocabulary_files.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/isfinite.h>

#include <algorithm>
#include <array>

namespace luthier {

namespace {

std::string textOf(const GgufFile& file, const char* key) {
    const std::string* value = file.value<std::string>(key);
    return value != nullptr ? *value : std::string();
}

bool flagOf(const GgufFile& file, const char* key, bool fallback) {
    const bool* value = file.value<bool>(key);
    return value != nullptr ? *value : fallback;
}

/// The tokenizer of the file; nothing when it has none.
std::optional<Vocabulary> vocabularyOf(const GgufFile& file) {
    Vocabulary vocabulary;
    vocabulary.model = textOf(file, "tokenizer.ggml.model");
    const auto* tokens = file.value<std::vector<std::string>>("tokenizer.ggml.tokens");
    if (tokens == nullptr || vocabulary.model.empty() || vocabulary.model == "none") return {};
    vocabulary.preTokenizer = textOf(file, "tokenizer.ggml.pre");
    vocabulary.tokens = *tokens;
    if (const auto* scores = file.value<std::vector<float>>("tokenizer.ggml.scores"))
        vocabulary.scores = *scores;
    if (const auto* merges = file.value<std::vector<std::string>>("tokenizer.ggml.merges"))
        vocabulary.merges = *merges;
    if (const auto* kinds = file.value<std::vector<std::int32_t>>("tokenizer.ggml.token_type"))
        for (const std::int32_t kind : *kinds)
            vocabulary.kinds.push_back(static_cast<TokenKind>(kind));
    else
        vocabulary.kinds.assign(vocabulary.tokens.size(),
                                TokenKind::Normal);  // as llama.cpp takes a file that does not say
    for (const char* name : {"bos", "eos", "unknown", "padding"})
        if (const auto* id =
                file.value<std::uint32_t>("tokenizer.ggml." + std::string(name) + "_token_id");
            id != nullptr && *id < vocabulary.tokens.size())
            vocabulary.special[name] = static_cast<int>(*id);
    // Some converters give the token for the unknown the kind of the other control tokens (Gemma's
    // do).
    const bool hasUnknown = std::find(vocabulary.kinds.begin(), vocabulary.kinds.end(),
                                      TokenKind::Unknown) != vocabulary.kinds.end();
    if (const auto found = vocabulary.special.find("unknown");
        !hasUnknown && found != vocabulary.special.end() &&
        static_cast<std::size_t>(found->second) < vocabulary.kinds.size())
        vocabulary.kinds[static_cast<std::size_t>(found->second)] = TokenKind::Unknown;
    // What llama.cpp does when a file does not say.
    const bool isSentencePiece = vocabulary.model == kSentencePieceModel;
    vocabulary.addsBegin = flagOf(file, "tokenizer.ggml.add_bos_token",
                                  isSentencePiece || beginsTexts(vocabulary.preTokenizer));
    vocabulary.addsEnd = flagOf(file, "tokenizer.ggml.add_eos_token", false);
    if (isSentencePiece)
        vocabulary.addsSpacePrefix = flagOf(file, "tokenizer.ggml.add_space_prefix", true);
    vocabulary.chatTemplate = textOf(file, "tokenizer.chat_template");
    return vocabulary;
}

at::ScalarType storedAs(const GgufTensor& tensor) {
    return tensor.type == GgufType::F16    ? at::kHalf
           : tensor.type == GgufType::BF16 ? at::kBFloat16
                                           : at::kFloat;
}

bool hasBlocks(const GgufFile& file) {
    return std::any_of(file.tensors().begin(), file.tensors().end(),
                       [](const GgufTensor& tensor) { return infoOf(tensor.type).isBlocks(); });
}

/// The weight at place `index` of an entry's sources, as the model has it.
at::Tensor valueOf(const GgufEntry& entry, const GgufTensor& tensor, std::size_t index,
                   const std::vector<std::int64_t>& shape, at::ScalarType type) {
    const GgufTensor stored = entry.sources.size() == 1 ? tensor : tensor.at(index);
    const at::Tensor rows =
        inModelOrder(entry, ggufTensor(stored, entry.offset != 0 ? at::kFloat : type));
    const at::Tensor value = entry.offset != 0 ? (rows - entry.offset).to(type) : rows;
    return (entry.isTransposed ? value.t() : value).reshape(shape).contiguous();
}

/// Norms and biases stand in the file as F32 whatever the model's own type was: they go back to it
/// where the file would hold the same again.
at::ScalarType typeOf(const GgufEntry& entry, const GgufTensor& tensor,
                      const std::vector<std::int64_t>& shape, at::ScalarType usual) {
    if (tensor.type != GgufType::F32 || usual == at::kFloat) return storedAs(tensor);
    for (std::size_t i = 0; i < entry.sources.size(); ++i) {
        const at::Tensor value = valueOf(entry, tensor, i, shape, at::kFloat);
        if (!(value.to(usual).to(at::kFloat) + entry.offset).equal(value + entry.offset))
            return at::kFloat;
    }
    return usual;
}

struct Weight {
    const GgufEntry* entry = nullptr;
    const GgufTensor* tensor = nullptr;
    std::size_t index = 0;
    at::ScalarType type = at::kFloat;
};

const char* nameOf(at::ScalarType type) {
    return type == at::kHalf ? "float16" : type == at::kBFloat16 ? "bfloat16" : "float32";
}

/// Chooses the type of each weight by --dtype and the file.
class Types {
public:
    Types(const GgufFile& file, const std::string& dtype) {
        if (dtype != "auto") {
            m_isGiven = true;
            m_usual = dtype == "float16"    ? at::kHalf
                      : dtype == "bfloat16" ? at::kBFloat16
                                            : at::kFloat;
        } else {
            m_isRounded = hasBlocks(file);
            m_usual = m_isRounded ? at::kBFloat16 : storedAs(*file.find("token_embd.weight"));
        }
    }
    at::ScalarType of(const GgufEntry& entry, const GgufTensor& tensor,
                      const std::vector<std::int64_t>& shape) {
        if (m_isGiven) return m_usual;
        const at::ScalarType type = m_isRounded && tensor.type != GgufType::F32
                                        ? m_usual
                                        : typeOf(entry, tensor, shape, m_usual);
        m_isMixed = m_isMixed || type != m_usual;
        return type;
    }
    /// What a program that loads all of it as one type should take: of a file kept exactly, a type
    /// that has all its values.
    const char* name() const { return nameOf(m_isMixed && !m_isRounded ? at::kFloat : m_usual); }

private:
    bool m_isGiven = false;  ///< one type for all
    at::ScalarType m_usual = at::kFloat;
    bool m_isRounded = false;
    bool m_isMixed = false;
};

/// @throws Failure when the blocks or the type asked for cannot hold numbers.
at::Tensor checkedValue(const Weight& weight, const std::vector<std::int64_t>& shape,
                        const std::string& file) {
    const GgufTensor stored =
        weight.entry->sources.size() == 1 ? *weight.tensor : weight.tensor->at(weight.index);
    if (const std::optional<std::uint64_t> block = firstBrokenBlock(stored.type, stored.data))
        throw Failure({"tensor_not_finite",
                       file + ": block " + std::to_string(*block) + " of " + weight.tensor->text() +
                           " has a scale that is no finite number.",
                       "The file is damaged, or was quantised from a model that diverged: download "
                       "it again, or take another one.",
                       file});
    const at::Tensor value =
        valueOf(*weight.entry, *weight.tensor, weight.index, shape, weight.type);
    if (weight.type == at::kHalf && weight.tensor->type != GgufType::F16 &&
        !value.isfinite().all().item<bool>())
        throw Failure({"dtype_too_narrow",
                       file + ": " + weight.tensor->text() +
                           " holds numbers above 65504, which float16 does not have.",
                       "Import with --dtype bfloat16 or float32.", "--dtype"});
    return value;
}

Result<void> checkRoom(const std::filesystem::path& out, std::int64_t bytes) {
    std::error_code code;
    std::filesystem::path folder = std::filesystem::absolute(out, code).parent_path();
    while (!folder.empty() && folder != folder.root_path() &&
           !std::filesystem::exists(folder, code))
        folder = folder.parent_path();
    const std::filesystem::space_info space = std::filesystem::space(folder, code);
    if (code || space.available >= static_cast<std::uintmax_t>(bytes)) return {};
    return Problem{
        "disk_full",
        "The weights take " + std::to_string(bytes) + " bytes; " + std::to_string(space.available) +
            " are free at " + folder.string() + ".",
        "Free some space, choose a folder on another disk, or import with --dtype bfloat16.",
        out.string(), ExitCode::RunFailed};
}

void addTokenIds(Json& config, const Vocabulary& vocabulary) {
    for (const auto& [key, name] :
         {std::pair{"bos_token_id", "bos"}, {"eos_token_id", "eos"}, {"pad_token_id", "padding"}})
        config[key] =
            vocabulary.special.contains(name) ? Json(vocabulary.special.at(name)) : Json();
}

/// What ends an answer: the file's end tokens, and of the control tokens those that chats end a
/// turn with, as llama.cpp takes them. A chat model whose end of a turn is not known to end
/// anything writes on for the user.
std::vector<int> endIdsOf(const GgufFile& file, const Vocabulary& vocabulary) {
    std::vector<int> ids;
    const auto add = [&](std::int64_t id) {
        const bool isToken = id >= 0 && id < static_cast<std::int64_t>(vocabulary.tokens.size());
        if (isToken && std::find(ids.begin(), ids.end(), static_cast<int>(id)) == ids.end())
            ids.push_back(static_cast<int>(id));
    };
    for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                            "tokenizer.ggml.eom_token_id"})
        if (const auto* id = file.value<std::uint32_t>(key)) add(*id);
    if (vocabulary.chatTemplate.empty()) return ids;
    for (std::size_t id = 0; id < vocabulary.tokens.size() && id < vocabulary.kinds.size(); ++id) {
        static constexpr std::array kEndings{"<|eot_id|>",
                                             "<|eom_id|>",
                                             "<|im_end|>",
                                             "<|end|>",
                                             "<end_of_turn>",
                                             "<|endoftext|>",
                                             "<|END_OF_TURN_TOKEN|>",
                                             "<|end_of_text|>",
                                             "<EOT>"};
        const bool isEnding =
            std::find(kEndings.begin(), kEndings.end(), vocabulary.tokens[id]) != kEndings.end();
        if (isEnding && vocabulary.kinds[id] == TokenKind::Control)
            add(static_cast<std::int64_t>(id));
    }
    return ids;
}

/// generation_config.json, where more than one token ends an answer.
Result<void> writeEnds(const GgufFile& file, const Vocabulary& vocabulary,
                       const std::filesystem::path& folder) {
    const std::vector<int> ends = endIdsOf(file, vocabulary);
    if (ends.size() < 2) return {};
    Json config = Json::object();
    addTokenIds(config, vocabulary);
    config["eos_token_id"] = ends;
    return writeJsonAtomically(folder / "generation_config.json", config);
}

Result<void> checkFolder(const std::filesystem::path& folder, const ModelDescription& description,
                         bool hasTokenizer) {
    Result<std::shared_ptr<const WeightFolder>> weights = WeightFolder::open(folder);
    if (!weights) return weights.problems();
    if (Problems problems = Weights::check(**weights, description, folder.string(), std::nullopt);
        !problems.empty())
        return problems;
    if (!hasTokenizer) return {};
    Result<std::unique_ptr<Tokenizer>> tokenizer = openTokenizer(folder, description);
    if (!tokenizer) return tokenizer.problems();
    return {};
}

/// What the keys of a file say, held against its tensors.
struct Opened {
    Json config;
    std::optional<Vocabulary> vocabulary;
    ModelDescription description;
    GgufLayout layout;
};

Result<Opened> understood(const GgufFile& file, const std::string& name) {
    if (const std::string kind = textOf(file, "general.type"); !kind.empty() && kind != "model")
        return Problem{"gguf_kind", name + " holds no model but an " + kind + ".",
                       kind == "adapter" ? "An adapter is used as it is: --adapter " + name + "."
                                         : "Take the file of the language model itself.",
                       name, ExitCode::BadUsage};
    if (const std::uint32_t* version = file.value<std::uint32_t>("general.quantization_version");
        version != nullptr && *version != 2 && hasBlocks(file))
        return Problem{"gguf_unsupported",
                       name + " has its blocks in version " + std::to_string(*version) +
                           " of the format; Luthier reads version 2.",
                       "Take a newer file of the model.", name};
    Result<Json> config = configOfGguf(file, name);
    if (!config) return config.problems();
    if (const std::optional<Vocabulary> vocabulary = vocabularyOf(file))
        if (Result<void> known = checkVocabulary(*vocabulary); !known) return known.problems();
    Opened opened{.config = std::move(*config),
                  .vocabulary = vocabularyOf(file),
                  .description = {},
                  .layout = {}};
    if (opened.vocabulary) addTokenIds(opened.config, *opened.vocabulary);
    Result<ModelDescription> description = describeModel(opened.config, name);
    if (!description) return description.problems();
    Result<GgufLayout> layout = ggufLayout(*description);
    if (!layout) return layout.problems();
    if (Result<void> checked = checkAgainstLayout(file, name, *layout, *description); !checked)
        return checked.problems();
    opened.description = std::move(*description);
    opened.layout = std::move(*layout);
    return opened;
}

}  // namespace

Result<ModelDescription> describeGguf(const GgufFile& file, const std::string& name) {
    const at::NoGradGuard guard;
    Result<Opened> opened = understood(file, name);
    if (!opened) return opened.problems();
    return opened->description;
}

Result<GgufImported> importGguf(const GgufImport& request) try {
    const at::NoGradGuard guard;
    const std::string name = request.file.string();
    if (request.progress) request.progress("opening", 0, 1);
    Result<std::shared_ptr<const GgufFile>> file = GgufFile::open(request.file);
    if (!file) return file.problems();
    Result<Opened> opened = understood(**file, name);
    if (!opened) return opened.problems();

    std::map<std::string, std::vector<std::int64_t>> shapes;
    for (const ParameterShape& parameter : parameterShapes(opened->description))
        shapes[parameter.name] = parameter.shape;
    Types types(**file, request.dtype);
    std::map<std::string, Weight> weights;
    for (const GgufEntry& entry : opened->layout.entries) {
        const GgufTensor* tensor = (*file)->find(entry.name);
        const at::ScalarType type = types.of(entry, *tensor, shapes[entry.sources.front()]);
        for (std::size_t i = 0; i < entry.sources.size(); ++i)
            weights[entry.sources[i]] = {&entry, tensor, i, type};
    }
    GgufImported result{.family = opened->description.family,
                        .dtype = types.name(),
                        .hasTokenizer = opened->vocabulary.has_value()};
    for (const GgufTensor& tensor : (*file)->tensors()) ++result.types[luthier::name(tensor.type)];
    std::vector<ShardTensor> tensors;
    std::int64_t written = 0;
    for (const auto& [source, shape] : shapes) {
        const auto found = weights.find(source);
        if (found == weights.end())
            return Problem{"gguf_damaged", name + " has no place for " + source + ".",
                           "Use the model's Hugging Face folder instead.", name};
        tensors.push_back(
            {source, found->second.type, shape, [&, weight = found->second, shape = shape] {
                 if (request.progress) request.progress("writing", written, result.bytes);
                 at::Tensor value = checkedValue(weight, shape, name);
                 written += static_cast<std::int64_t>(value.nbytes());
                 return value;
             }});
        std::int64_t count = 1;
        for (const std::int64_t size : shape) count *= size;
        result.parameters += count;
    }
    result.bytes = bytesOf(tensors);
    if (Result<void> room = checkRoom(request.out, result.bytes); !room) return room.problems();
    Result<AtomicDir> target = AtomicDir::begin(request.out);
    if (!target) return target.problems();
    opened->config["torch_dtype"] = result.dtype;
    Result<void> done = writeJsonAtomically(target->path() / "config.json", opened->config);
    if (done && opened->vocabulary) done = writeVocabulary(*opened->vocabulary, target->path());
    if (done && opened->vocabulary) done = writeEnds(**file, *opened->vocabulary, target->path());
    if (!done) return done.problems();
    if (Result<std::int64_t> bytes = writeShards(tensors, target->path()); !bytes)
        return bytes.problems();
    if (request.progress) request.progress("writing", result.bytes, result.bytes);
    if (request.progress) request.progress("checking", 0, 1);
    done = checkFolder(target->path(), opened->description, opened->vocabulary.has_value());
    if (done) done = target->commit(Existing::Refuse);
    if (!done) return done.problems();
    if (request.progress) request.progress("checking", 1, 1);
    return result;
} catch (const Failure& failure) {
    return failure.problem();
}

}  // namespace luthier
