// SPDX-License-Identifier: Apache-2.0
#include "gguf_survey.h"

#include "export/gguf_importer.h"
#include "io/gguf.h"

namespace luthier::cli {

namespace fs = std::filesystem;

namespace {

std::string textOf(const GgufFile& file, const std::string& key, const std::string& fallback) {
    const std::string* value = file.value<std::string>(key);
    return value != nullptr ? *value : fallback;
}

Json wholeOf(const GgufFile& file, const std::string& key) {
    const std::uint32_t* value = file.value<std::uint32_t>(key);
    return value != nullptr ? Json(*value) : Json();
}

}  // namespace

Json inspectGguf(const fs::path& path) {
    const std::shared_ptr<const GgufFile> file = GgufFile::open(path).orThrow();
    std::int64_t parameters = 0;
    Json tensors = Json::object(), values = Json::object();
    for (const GgufTensor& tensor : file->tensors()) {
        const auto count = static_cast<std::int64_t>(tensor.count());
        parameters += count;
        tensors[name(tensor.type)] = tensors.value(name(tensor.type), std::int64_t{0}) + 1;
        values[name(tensor.type)] = values.value(name(tensor.type), std::int64_t{0}) + count;
    }
    const std::string architecture = textOf(*file, "general.architecture", ""),
                      type = textOf(*file, "general.type", "model");
    const bool isAdapter = type == "adapter";
    Json document{{"kind", isAdapter ? "adapter" : "gguf"},
                  {"path", path.string()},
                  {"name", textOf(*file, "general.name", path.stem().string())},
                  {"type", type},
                  {"architecture", architecture},
                  {"parameters", parameters},
                  {"tensors", file->tensors().size()},
                  {"dtypes", std::move(tensors)},
                  {"values", std::move(values)},
                  {"bytes", file->bytes()},
                  {"parts", Json::array()}};
    document["context"] = wholeOf(*file, architecture + ".context_length");
    document["layers"] = wholeOf(*file, architecture + ".block_count");
    document["hidden"] = wholeOf(*file, architecture + ".embedding_length");
    if (const auto* tokens = file->value<std::vector<std::string>>("tokenizer.ggml.tokens"))
        document["vocabulary"] = tokens->size();
    document["chat_template"] = file->value<std::string>("tokenizer.chat_template") != nullptr;
    const std::vector<fs::path> parts = ggufParts(path);
    if (parts.size() > 1)
        for (const fs::path& part : parts) document["files"].push_back(part.string());
    Problems problems;
    if (isAdapter) {
        const std::string held = textOf(*file, "adapter.type", "");
        const Method* method = methodOfGguf(held);
        document["method"] = method != nullptr ? method->type : held;
    } else if (const Result<ModelDescription> description = describeGguf(*file, path.string())) {
        document["family"] = description->family;
        document["family_title"] = familyTitle(description->family);
    } else {
        problems = description.problems();
    }
    document["can_import"] = !isAdapter && problems.empty();
    document["can_train"] = false;  // not as it is
    document["reason"] =
        isAdapter ? "An adapter: it is used on its base, --adapter " + path.string() + "."
        : problems.empty()
            ? "Import it first: luthier-cli import " + path.string() + " --out FOLDER."
            : problems.front().message;
    document["problems"] = Json::array();
    for (const Problem& problem : problems)
        document["problems"].push_back({{"code", problem.code},
                                        {"message", problem.message},
                                        {"hint", problem.hint},
                                        {"level", "error"}});
    return document;
}

}  // namespace luthier::cli
