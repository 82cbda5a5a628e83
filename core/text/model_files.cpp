// SPDX-License-Identifier: Apache-2.0
#include "text/model_files.h"

#include "io/recognise.h"
#include "text/utf8.h"

#include <fstream>
#include <iterator>

namespace luthier {
namespace {

constexpr std::size_t kMaxConfigBytes = 4u << 20;
constexpr std::size_t kMaxTemplateBytes = 256u << 10;

/// A token is written as "text" or as {"content": "text", …}.
std::string textOf(const Json& token) {
    if (token.is_string()) return token.get<std::string>();
    if (token.is_object() && token.contains("content") && token["content"].is_string())
        return token["content"].get<std::string>();
    return {};
}

Result<void> readObject(const std::filesystem::path& file, Json& object) {
    if (!std::filesystem::exists(file)) return {};
    if (std::optional<Problem> foreign = looksLike(file, "JSON")) return *foreign;
    auto read = readJsonFile(file, kMaxConfigBytes);
    if (!read) return read.problems();
    if (!read->is_object()) {
        return Problem{.code = "wrong_type",
                       .message = file.string() + " does not hold a JSON object.",
                       .hint = "Copy it again from where the model came from.",
                       .field = ""};
    }
    object = std::move(*read);
    return {};
}

Result<std::string> readTemplate(const std::filesystem::path& file) {
    if (std::optional<Problem> foreign = looksLike(file, "a chat template")) return *foreign;
    std::error_code error;
    if (std::filesystem::file_size(file, error) > kMaxTemplateBytes) {
        return Problem{
            .code = "file_too_large",
            .message = file.string() + " is larger than 256 KiB, more than a chat template needs.",
            .hint = "Check that this is a chat template.",
            .field = ""};
    }
    std::ifstream stream(file, std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
    return toUtf8(text);
}

Result<void> readTemplates(const std::filesystem::path& folder, ModelFiles& files) {
    const Json& configured = files.tokenizerConfig.value("chat_template", Json());
    if (configured.is_string()) files.chatTemplates["default"] = configured.get<std::string>();
    if (configured.is_array()) {
        for (const Json& entry : configured) {
            if (!entry.is_object()) continue;
            files.chatTemplates[textOf(entry.value("name", Json()))] =
                textOf(entry.value("template", Json()));
        }
    }
    const auto add = [&](const std::filesystem::path& file,
                         const std::string& name) -> Result<void> {
        auto text = readTemplate(file);
        if (!text) return text.problems();
        files.chatTemplates[name] = std::move(*text);
        return {};
    };
    if (const auto file = folder / "chat_template.jinja"; std::filesystem::exists(file)) {
        if (auto done = add(file, "default"); !done) return done;
    }
    std::error_code error;
    for (const auto& entry :
         std::filesystem::directory_iterator(folder / "additional_chat_templates", error)) {
        if (entry.path().extension() != ".jinja") continue;
        if (auto done = add(entry.path(), entry.path().stem().string()); !done) return done;
    }
    return {};
}

}  // namespace

Result<ModelFiles> readModelFiles(const std::filesystem::path& folder) {
    ModelFiles files;
    const std::pair<const char*, Json*> wanted[] = {
        {"tokenizer_config.json", &files.tokenizerConfig},
        {"special_tokens_map.json", &files.specialTokensMap},
        {"generation_config.json", &files.generationConfig},
        {"config.json", &files.config},
        {"added_tokens.json", &files.addedTokens},
    };
    Problems problems;
    for (const auto& [name, object] : wanted) {
        if (auto read = readObject(folder / name, *object); !read)
            problems.push_back(read.problem());
    }
    if (!problems.empty()) return problems;
    if (auto read = readTemplates(folder, files); !read) return read.problems();
    return files;
}

std::string ModelFiles::namedToken(const std::string& name) const {
    if (std::string text = textOf(tokenizerConfig.value(name, Json())); !text.empty()) return text;
    return textOf(specialTokensMap.value(name, Json()));
}

std::vector<DeclaredToken> ModelFiles::declaredTokens() const {
    std::vector<DeclaredToken> tokens;
    const Json& decoder = tokenizerConfig.value("added_tokens_decoder", Json::object());
    for (const auto& [id, token] : decoder.items()) {
        if (!token.is_object() || id.empty() ||
            id.find_first_not_of("0123456789") != std::string::npos || id.size() > 8)
            continue;
        const Json& special = token.value("special", Json(false));
        tokens.push_back(
            {textOf(token), std::stoi(id), special.is_boolean() && special.get<bool>()});
    }
    for (const auto& [text, id] : addedTokens.items()) {
        if (id.is_number_integer() && id.get<std::int64_t>() >= 0 &&
            id.get<std::int64_t>() < (1 << 21))
            tokens.push_back({text, id.get<int>(), true});
    }
    for (const char* name : kNamedTokens) {
        if (std::string text = namedToken(name); !text.empty())
            tokens.push_back({std::move(text), std::nullopt, true});
    }
    for (const char* list : {"additional_special_tokens", "extra_special_tokens"}) {
        for (const Json& token : tokenizerConfig.value(list, Json::array())) {
            if (std::string text = textOf(token); !text.empty())
                tokens.push_back({std::move(text), std::nullopt, true});
        }
    }
    return tokens;
}

std::vector<int> ModelFiles::ids(const std::string& key) const {
    for (const Json* source : {&generationConfig, &config}) {
        const Json& value = source->value(key, Json());
        std::vector<int> ids;
        if (value.is_number_integer()) ids.push_back(value.get<int>());
        if (value.is_array()) {
            for (const Json& id : value) {
                if (id.is_number_integer()) ids.push_back(id.get<int>());
            }
        }
        if (!ids.empty()) return ids;
    }
    return {};
}

}  // namespace luthier
