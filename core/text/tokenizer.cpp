// SPDX-License-Identifier: Apache-2.0
#include "text/tokenizer.h"

#include "io/sha256.h"
#include "text/backend.h"
#include "text/chat_template.h"
#include "text/model_files.h"
#include "text/utf8.h"

#include <algorithm>
#include <limits>
#include <map>

namespace luthier {

struct Tokenizer::Parts {
    std::filesystem::path folder;
    std::unique_ptr<TokenizerBackend> backend;
    ModelFiles files;
    std::optional<int> bos;
    std::optional<int> eos;
    std::optional<int> pad;
    std::int64_t rows = std::numeric_limits<std::int64_t>::max();  ///< of the model's embedding
    std::map<std::string, std::unique_ptr<ChatTemplate>> chatTemplates;
};

namespace {

bool flagOf(const Json& object, const char* key, bool fallback) {
    const Json& value = object.value(key, Json());
    return value.is_boolean() ? value.get<bool>() : fallback;
}

bool isNamed(const Json& object, const char* key) {
    return object.contains(key) && object[key].is_boolean();
}

std::optional<int> namedId(const TokenizerBackend& backend, const ModelFiles& files,
                           const std::string& name) {
    if (const std::string text = files.namedToken(name); !text.empty()) {
        if (const auto id = backend.idOf(text)) return id;
    }
    const std::vector<int> ids = files.ids(name + "_id");
    if (ids.empty() || ids.front() < 0 || ids.front() >= backend.size()) return std::nullopt;
    return ids.front();
}

struct Opened {
    std::unique_ptr<TokenizerBackend> backend;
    bool isSentencePiece = false;
};

Result<Opened> openBackend(const std::filesystem::path& folder, const ModelFiles& files) {
    if (const auto file = folder / "tokenizer.json"; std::filesystem::exists(file)) {
        auto backend = openTokenizerJson(file);
        if (!backend) return backend.problems();
        return Opened{std::move(*backend), false};
    }
    for (const char* name : {"tokenizer.model", "spiece.model"}) {
        const auto file = folder / name;
        if (!std::filesystem::exists(file)) continue;
        auto backend = openSentencePiece(file, flagOf(files.tokenizerConfig, "legacy", true));
        if (!backend) return backend.problems();
        return Opened{std::move(*backend), true};
    }
    return Problem{
        .code = "tokenizer_missing",
        .message = "No tokenizer.json and no tokenizer.model in " + folder.string() + ".",
        .hint = "Copy the tokenizer's files into the model's folder.",
        .field = ""};
}

/// transformers gives a message's reasoning under every name that templates read it by.
/// Calls `take` with the arguments of every tool call.
template <class Take>
void forEachArguments(Json& messages, const Take& take) {
    const auto ofCall = [&take](Json& call) {
        if (!call.is_object()) return;
        Json& function = call.contains("function") ? call["function"] : call;
        if (function.is_object() && function.contains("arguments")) take(function["arguments"]);
    };
    for (Json& message : messages) {
        if (const auto calls = message.find("tool_calls");
            calls != message.end() && calls->is_array())
            for (Json& call : *calls) ofCall(call);
        if (const auto call = message.find("function_call"); call != message.end()) ofCall(*call);
    }
}

/// With the arguments of tool calls as objects where they are given as JSON text, as OpenAI's API
/// writes them; nullopt where none are.
std::optional<Json> withDecodedArguments(Json messages) {
    bool isChanged = false;
    forEachArguments(messages, [&isChanged](Json& arguments) {
        if (!arguments.is_string()) return;
        Result<Json> decoded = parseJson(arguments.get_ref<const std::string&>(), "arguments");
        if (!decoded || !decoded->is_object()) return;
        arguments = std::move(*decoded);
        isChanged = true;
    });
    return isChanged ? std::optional(std::move(messages)) : std::nullopt;
}

/// " The arguments of a tool call are 7, not an object.", where they are.
std::string oddArguments(Json messages) {
    std::string words;
    forEachArguments(messages, [&words](Json& arguments) {
        if (words.empty() && !arguments.is_object())
            words = " The arguments of a tool call are " + dumpLine(arguments).substr(0, 60) +
                    ", not an object.";
    });
    return words;
}

Json withReasoningNames(const Json& messages) {
    Json renamed = Json::array();
    for (const Json& message : messages) {
        const Json* reasoning = nullptr;
        for (const char* key : {"reasoning_content", "thinking", "reasoning"}) {
            if (reasoning == nullptr && message.contains(key) && !message[key].is_null())
                reasoning = &message[key];
        }
        Json copy = Json::object();
        if (reasoning != nullptr)
            copy["thinking"] = *reasoning;  // first, as there: a template may list a message's keys
        for (const auto& [key, value] : message.items()) copy[key] = value;
        if (reasoning != nullptr) copy["reasoning_content"] = *reasoning;
        renamed.push_back(std::move(copy));
    }
    return renamed;
}

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<Parts> parts) : m_parts(std::move(parts)) {}
Tokenizer::~Tokenizer() = default;

Result<std::unique_ptr<Tokenizer>> Tokenizer::open(const std::filesystem::path& modelFolder) {
    auto files = readModelFiles(modelFolder);
    if (!files) return files.problems();
    auto opened = openBackend(modelFolder, *files);
    if (!opened) return opened.problems();

    auto parts = std::make_unique<Parts>();
    parts->folder = modelFolder;
    parts->backend = std::move(opened->backend);
    parts->files = std::move(*files);
    TokenizerBackend& backend = *parts->backend;
    for (const DeclaredToken& token : parts->files.declaredTokens()) {
        if (auto declared = backend.declare(token); !declared) return declared.problems();
    }
    parts->bos = namedId(backend, parts->files, "bos_token");
    parts->eos = namedId(backend, parts->files, "eos_token");
    if (!parts->bos) parts->bos = backend.ownEnds().bos;
    if (!parts->eos) parts->eos = backend.ownEnds().eos;
    parts->pad = namedId(backend, parts->files, "pad_token");

    // As transformers 5: tokenizer.json's post-processor counts unless the configuration names what
    // to add.
    const Json& config = parts->files.tokenizerConfig;
    if (opened->isSentencePiece || isNamed(config, "add_bos_token") ||
        isNamed(config, "add_eos_token")) {
        Ends ends;
        if (flagOf(config, "add_bos_token", opened->isSentencePiece)) ends.bos = parts->bos;
        // A sentencepiece model without a begin token is of T5's kind, which ends every text.
        if (flagOf(config, "add_eos_token", opened->isSentencePiece && !parts->bos))
            ends.eos = parts->eos;
        if (auto set = backend.setEnds(ends); !set) return set.problems();
    }
    for (auto& [name, source] : parts->files.chatTemplates) {
        parts->chatTemplates[name] = std::make_unique<ChatTemplate>(source);
    }
    return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(parts)));
}

std::string Tokenizer::fingerprint() const {
    std::string all;
    std::error_code code;
    std::vector<std::filesystem::path> files;
    for (const char* name :
         {"tokenizer.json", "tokenizer.model", "spiece.model", "tokenizer_config.json",
          "special_tokens_map.json", "added_tokens.json", "generation_config.json", "config.json",
          "chat_template.jinja", "chat_template.json"})
        if (const auto file = m_parts->folder / name; std::filesystem::exists(file, code))
            files.push_back(file);
    for (const auto& entry :
         std::filesystem::directory_iterator(m_parts->folder / "additional_chat_templates", code))
        files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    for (const std::filesystem::path& file : files) {
        const Result<std::string> hash = sha256OfFile(file);
        if (!hash) return {};
        all += file.filename().string() + " " + *hash + "\n";
    }
    return sha256(all + std::to_string(usableIds()));
}

std::vector<TokenSpan> Tokenizer::encodeWithOffsets(std::string_view text, SpecialTokens special,
                                                    TextKind kind) const {
    if (!isUtf8(text)) return m_parts->backend->encode(toUtf8(text), special, kind);
    return m_parts->backend->encode(text, special, kind);
}

std::vector<int> Tokenizer::encode(std::string_view text, SpecialTokens special,
                                   TextKind kind) const {
    if (!isUtf8(text)) return m_parts->backend->encodeIds(toUtf8(text), special, kind);
    return m_parts->backend->encodeIds(text, special, kind);
}

std::vector<std::vector<int>> Tokenizer::encodeBatch(std::span<const std::string> texts,
                                                     SpecialTokens special, TextKind kind) const {
    std::vector<std::vector<int>> rows;
    rows.reserve(texts.size());
    for (const std::string& text : texts) rows.push_back(encode(text, special, kind));
    return rows;
}

std::vector<FramedToken> Tokenizer::encodeFramed(std::string_view first,
                                                 std::optional<std::string_view> second,
                                                 TextKind kind) const {
    const std::string a = isUtf8(first) ? std::string(first) : toUtf8(first);
    if (!second) return m_parts->backend->frame(a, std::nullopt, kind);
    const std::string b = isUtf8(*second) ? std::string(*second) : toUtf8(*second);
    return m_parts->backend->frame(a, b, kind);
}

std::string Tokenizer::decode(std::span<const int> ids, bool skipSpecial) const {
    return m_parts->backend->decode(ids, skipSpecial);
}

std::string Tokenizer::tokenText(int id) const {
    return id < 0 ? std::string() : m_parts->backend->piece(id);
}
std::optional<int> Tokenizer::idOf(std::string_view token) const {
    return m_parts->backend->idOf(token);
}
bool Tokenizer::isSpecial(int id) const { return id >= 0 && m_parts->backend->isSpecial(id); }
int Tokenizer::vocabularySize() const { return m_parts->backend->size(); }
void Tokenizer::limitTo(std::int64_t rows) { m_parts->rows = rows; }
int Tokenizer::usableIds() const {
    return static_cast<int>(std::min<std::int64_t>(vocabularySize(), m_parts->rows));
}

Result<void> Tokenizer::checkIds(std::span<const int> ids, const std::string& what,
                                 const std::string& field) const {
    const auto found = std::find_if(ids.begin(), ids.end(),
                                    [this](int id) { return id < 0 || id >= m_parts->rows; });
    if (found == ids.end()) return {};
    return Problem{
        "id_out_of_range",
        what + " holds the token " + tokenText(*found) + " (id " + std::to_string(*found) +
            "), which has no row in the model's embedding: its ids end at " +
            std::to_string(m_parts->rows - 1) + ".",
        "Leave that token out, or use a model whose embedding was enlarged for it.", field};
}

std::optional<int> Tokenizer::bosId() const { return m_parts->bos; }
std::optional<int> Tokenizer::eosId() const { return m_parts->eos; }
std::optional<int> Tokenizer::padId() const { return m_parts->pad; }

std::vector<int> Tokenizer::endIds() const {
    std::vector<int> ids = m_parts->files.ids("eos_token_id");
    if (ids.empty() && m_parts->eos) ids.push_back(*m_parts->eos);
    return ids;
}

Json Tokenizer::namedTokens() const {
    Json tokens = Json::object();
    for (const char* name : kNamedTokens)
        if (const std::string text = m_parts->files.namedToken(name); !text.empty())
            tokens[name] = text;
    return tokens;
}

bool Tokenizer::hasChatTemplate() const { return m_parts->chatTemplates.contains("default"); }

std::string Tokenizer::chatTemplate() const {
    return hasChatTemplate() ? m_parts->chatTemplates.at("default")->source() : std::string();
}

Result<std::string> Tokenizer::renderChat(const Json& messages, bool addGenerationPrompt,
                                          const Json& tools, ChatMarks marks) const {
    if (!hasChatTemplate()) {
        return Problem{.code = "chat_template_missing",
                       .message = "This model has no chat template.",
                       .hint =
                           "Use prompt and completion rows, or put a chat_template.jinja into the "
                           "model's folder.",
                       .field = ""};
    }
    const auto isMessage = [](const Json& message) { return message.is_object(); };
    if (!messages.is_array() || !std::all_of(messages.begin(), messages.end(), isMessage)) {
        return Problem{.code = "wrong_type",
                       .message = "A conversation is a list of objects with role and content.",
                       .hint = "Write [{\"role\": \"user\", \"content\": \"…\"}].",
                       .field = ""};
    }
    Json context = namedTokens();
    context["messages"] = withReasoningNames(messages);
    context["tools"] = tools;
    context["documents"] = nullptr;
    context["add_generation_prompt"] = addGenerationPrompt;
    if (marks == ChatMarks::Kept) context["mark_generation"] = true;
    const bool hasToolUse = !tools.is_null() && m_parts->chatTemplates.contains("tool_use");
    ChatTemplate& used = *m_parts->chatTemplates.at(hasToolUse ? "tool_use" : "default");
    Result<std::string> rendered = used.render(dumpLine(context));
    const auto isRefused = [&rendered] {
        return !rendered && (rendered.problem().code == "template_failed" ||
                             rendered.problem().code == "template_raised");
    };
    if (!isRefused()) return rendered;
    // As given first, which is what apply_chat_template does; a template that walks through the
    // arguments needs the object.
    if (const std::optional<Json> decoded = withDecodedArguments(messages)) {
        context["messages"] = withReasoningNames(*decoded);
        rendered = used.render(dumpLine(context));
    }
    if (!isRefused()) return rendered;
    Problem problem = rendered.problem();
    if (problem.code == "template_failed") problem.message += oddArguments(messages);
    return problem;
}

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skipSpecial)
    : m_tokenizer(tokenizer), m_skipSpecial(skipSpecial) {}

std::string StreamDecoder::push(int id) {
    m_ids.push_back(id);
    const std::span<const int> ids(m_ids);
    const std::string known =
        m_tokenizer.decode(ids.subspan(m_settled, m_pending - m_settled), m_skipSpecial);
    const std::string all = m_tokenizer.decode(ids.subspan(m_settled), m_skipSpecial);
    if (all.size() <= known.size() || all.ends_with("\xEF\xBF\xBD")) return {};
    m_settled = m_pending;
    m_pending = m_ids.size();
    return all.substr(known.size());
}

std::string StreamDecoder::finish() {
    const std::span<const int> ids(m_ids);
    const std::string known =
        m_tokenizer.decode(ids.subspan(m_settled, m_pending - m_settled), m_skipSpecial);
    const std::string all = m_tokenizer.decode(ids.subspan(m_settled), m_skipSpecial);
    m_ids.clear();
    m_settled = m_pending = 0;
    return all.size() > known.size() ? all.substr(known.size()) : std::string();
}

}  // namespace luthier
