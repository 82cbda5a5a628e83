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
    if (const auto* scores = file.value<std::vector<float>>("tokenizer.ggml.scores")) vocabulary.scores = *scores;
    if (const auto* merges = file.value<std::vector<std::string>>("tokenizer.ggml.merges")) vocabulary.merges = *merges;
    if (const auto* kinds = file.value<std::vector<std::int32_t>>("tokenizer.ggml.token_type"))
        for (const std::int32_t kind : *kinds) vocabulary.kinds.push_back(static_cast<TokenKind>(kind));
    for (const char* name : {"bos", "eos", "unknown", "padding"})
        if (const auto* id = file.value<std::uint32_t>("tokenizer.ggml." + std::string(name) + "_token_id")) vocabulary.special[name] = static_cast<int>(*id);
    // What llama.cpp does when a file does not say.
    const bool isSentencePiece = vocabulary.model == "llama";
    vocabulary.addsBegin = flagOf(file, "tokenizer.ggml.add_bos_token", isSentencePiece || vocabulary.preTokenizer == "llama-bpe");
    vocabulary.addsEnd = flagOf(file, "tokenizer.ggml.add_eos_token", false);
    if (isSentencePiece) vocabulary.addsSpacePrefix = flagOf(file, "tokenizer.ggml.add_space_prefix", true);
    vocabulary.chatTemplate = textOf(file, "tokenizer.chat_template");
    return vocabulary;
}

at::ScalarType storedAs(const GgufTensor& tensor) {
    return tensor.type == GgufType::F16 ? at::kHalf : tensor.type == GgufType::BF16 ? at::kBFloat16 : at::kFloat;
}

/// The weight at place `index` of an entry's sources, as the model has it.
at::Tensor valueOf(const GgufEntry& entry, const GgufTensor& tensor, std::size_t index, const std::vector<std::int64_t>& shape) {
    const at::Tensor all = ggufTensor(tensor);
    const at::Tensor rows = inModelOrder(entry, entry.sources.size() == 1 ? all : all.select(0, static_cast<std::int64_t>(index)));
    const at::Tensor value = entry.offset != 0 ? rows - entry.offset : rows;
    return (entry.isTransposed ? value.t() : value).reshape(shape).contiguous();
}

/// Norms and biases stand in the file as F32 whatever the model's own type was: they go back to it where that loses nothing.
at::ScalarType typeOf(const GgufEntry& entry, const GgufTensor& tensor, const std::vector<std::int64_t>& shape, at::ScalarType usual) {
    const at::ScalarType own = storedAs(tensor);
    if (own == usual || own != at::kFloat || tensor.type != GgufType::F32) return own;
    for (std::size_t i = 0; i < entry.sources.size(); ++i) {
        const at::Tensor value = valueOf(entry, tensor, i, shape);
        if (!value.to(usual).to(at::kFloat).equal(value)) return at::kFloat;
    }
    return usual;
}

struct Weight {
    const GgufEntry* entry = nullptr;
    const GgufTensor* tensor = nullptr;
    std::size_t index = 0;
    at::ScalarType type = at::kFloat;
};

const char* nameOf(at::ScalarType type) { return type == at::kHalf ? "float16" : type == at::kBFloat16 ? "bfloat16" : "float32"; }

void addTokenIds(Json& config, const Vocabulary& vocabulary) {
    for (const auto& [key, name] : {std::pair{"bos_token_id", "bos"}, {"eos_token_id", "eos"}, {"pad_token_id", "padding"}})
        config[key] = vocabulary.special.contains(name) ? Json(vocabulary.special.at(name)) : Json();
}

Result<void> checkFolder(const std::filesystem::path& folder, const ModelDescription& description, bool hasTokenizer) {
    Result<std::shared_ptr<const WeightFolder>> weights = WeightFolder::open(folder);
    if (!weights) return weights.problems();
    if (Problems problems = Weights::check(**weights, description, folder.string(), std::nullopt); !problems.empty()) return problems;
    if (!hasTokenizer) return {};
    Result<std::unique_ptr<Tokenizer>> tokenizer = openTokenizer(folder, description);
    if (!tokenizer) return tokenizer.problems();
    return {};
}

}  // namespace

Result<GgufImported> importGguf(const GgufImport& request) {
    const at::NoGradGuard guard;
    const std::string name = request.file.string();
    if (request.progress) request.progress("opening", 0, 1);
    Result<std::shared_ptr<const GgufFile>> opened = GgufFile::open(request.file);
    if (!opened) return opened.problems();
    const GgufFile& file = **opened;
    if (const std::string kind = textOf(file, "general.type"); !kind.empty() && kind != "model")
        return Problem{"gguf_kind", name + " holds no model but an " + kind + ".", "An adapter is used as it is: --adapter " + name + ".", name, ExitCode::BadUsage};
    Result<Json> config = configOfGguf(file, name);
    if (!config) return config.problems();
    const std::optional<Vocabulary> vocabulary = vocabularyOf(file);
    if (vocabulary) addTokenIds(*config, *vocabulary);
    Result<ModelDescription> description = describeModel(*config, name);
    if (!description) return description.problems();
    Result<GgufLayout> layout = ggufLayout(*description);
    if (!layout) return layout.problems();
    if (Result<void> checked = checkAgainstLayout(file, name, *layout, *description); !checked) return checked.problems();

    std::map<std::string, Weight> weights;
    const at::ScalarType usual = storedAs(*file.find("token_embd.weight"));
    std::map<std::string, std::vector<std::int64_t>> shapes;
    for (const ParameterShape& parameter : parameterShapes(*description)) shapes[parameter.name] = parameter.shape;
    at::ScalarType widest = usual;
    for (const GgufEntry& entry : layout->entries) {
        const GgufTensor* tensor = file.find(entry.name);
        const at::ScalarType type = typeOf(entry, *tensor, shapes[entry.sources.front()], usual);
        if (type != usual) widest = at::kFloat;
        for (std::size_t i = 0; i < entry.sources.size(); ++i) weights[entry.sources[i]] = {&entry, tensor, i, type};
    }
    std::vector<ShardTensor> tensors;
    GgufImported result{.family = description->family, .dtype = nameOf(widest), .hasTokenizer = vocabulary.has_value()};
    for (const auto& [source, shape] : shapes) {
        const auto found = weights.find(source);
        if (found == weights.end()) return Problem{"gguf_damaged", name + " has no place for " + source + ".", "Use the model's Hugging Face folder instead.", name};
        std::int64_t count = 1;
        for (const std::int64_t size : shape) count *= size;
        result.parameters += count;
        const auto place = static_cast<std::int64_t>(tensors.size());
        tensors.push_back({source, count * static_cast<std::int64_t>(at::elementSize(found->second.type)), [&, weight = found->second, shape = shape, place] {
            if (request.progress) request.progress("writing", place, static_cast<std::int64_t>(shapes.size()));
            return valueOf(*weight.entry, *weight.tensor, weight.index, shape).to(weight.type);
        }});
    }
    Result<AtomicDir> target = AtomicDir::begin(request.out);
    if (!target) return target.problems();
    (*config)["torch_dtype"] = result.dtype;
    Result<void> done = writeJsonAtomically(target->path() / "config.json", *config);
    if (done && vocabulary) done = writeVocabulary(*vocabulary, target->path());
    if (!done) return done.problems();
    Result<std::int64_t> bytes = writeShards(tensors, target->path());
    if (!bytes) return bytes.problems();
    result.bytes = *bytes;
    if (request.progress) request.progress("checking", 0, 1);
    done = checkFolder(target->path(), *description, vocabulary.has_value());
    if (done) done = target->commit(Existing::Refuse);
    if (!done) return done.problems();
    return result;
}

}  // namespace luthier
