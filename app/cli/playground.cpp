// SPDX-License-Identifier: Apache-2.0
#include "playground.h"

#include "adapter_weight.h"

#include "generate/generator.h"
#include "peft/adapter_file.h"

#include <algorithm>
#include <cmath>

namespace luthier::cli {

namespace {

struct Prompt {
    std::vector<std::int64_t> ids;
    std::string text;  ///< rendered chat; empty for plain text
};

Prompt promptOf(const Fields& request, const Tokenizer& tokenizer) {
    Prompt prompt;
    std::vector<int> ids;
    if (request.has("messages")) {
        prompt.text = tokenizer.renderChat(request.list("messages"), true).orThrow();
        ids = tokenizer.encode(prompt.text, SpecialTokens::Omit, TextKind::Template);
    } else {
        ids = tokenizer.encode(request.get("prompt", ""));
        // A tokenizer that closes every text would make the model answer after the end.
        if (ids.size() > 1 && tokenizer.eosId() && ids.back() == *tokenizer.eosId()) ids.pop_back();
    }
    if (ids.empty() && tokenizer.bosId()) ids.push_back(*tokenizer.bosId());
    tokenizer.checkIds(ids, "The prompt", "prompt").orThrow();
    if (ids.empty())
        throw Failure(
            {"empty_prompt", "The prompt has no token.", "Write some text first.", "prompt"});
    prompt.ids.assign(ids.begin(), ids.end());
    return prompt;
}

SamplingSettings samplingOf(const Fields& request) {
    SamplingSettings settings;
    settings.maxNewTokens = request.get("max_new_tokens", settings.maxNewTokens);
    settings.temperature = request.get("temperature", settings.temperature);
    settings.topP = request.get("top_p", settings.topP);
    settings.topK = request.get("top_k", settings.topK);
    settings.repetitionPenalty = request.get("repetition_penalty", settings.repetitionPenalty);
    settings.seed = request.get("seed", settings.seed);
    settings.alternatives =
        std::clamp<std::int64_t>(request.get("alternatives", std::int64_t{0}), 0, 50);
    const auto refuse = [](const char* field, const std::string& message, const std::string& hint) {
        throw Failure({"out_of_range", message, hint, field, ExitCode::BadUsage});
    };
    if (settings.maxNewTokens < 1)
        refuse("max_new_tokens", "The number of new tokens is below 1.", "Ask for at least one.");
    if (settings.temperature < 0)
        refuse("temperature", "The temperature is negative.",
               "0 takes the most probable token, 1 follows the model.");
    if (settings.topP <= 0 || settings.topP > 1)
        refuse("top_p", "Top p lies outside 0 to 1.", "1 keeps all tokens.");
    if (settings.repetitionPenalty <= 0)
        refuse("repetition_penalty", "The repetition penalty is not above 0.",
               "1 changes nothing.");
    return settings;
}

AdapterStack stackOf(const Json& column, const Loaded& base) {
    AdapterStack stack(*base.model);
    for (const Json& each : Fields(column, "column").list("adapters")) {
        const Fields entry(each, "column's adapter");
        std::shared_ptr<Adapter> adapter =
            openAdapter(entry.need<std::string>("path"), *base.model).orThrow();
        weigh(*adapter, entry.get("weight", 1.0));
        stack.add(std::move(adapter));
    }
    return stack;
}

bool hasAdapters(const Json& column) { return !Fields(column, "column").list("adapters").empty(); }

Json problemOf(const Failure& failure) {
    const Problem& problem = failure.problem();
    return Json{{"code", problem.code},
                {"message", problem.message},
                {"hint", problem.hint},
                {"field", problem.field}};
}

/// One column of a playground while it is written.
struct Column {
    Column(const Json& wanted, const Loaded& base, const Tokenizer& tokenizer)
        : stack(stackOf(wanted, base)), stream(tokenizer) {}
    AdapterStack stack;
    StreamDecoder stream;
    std::unique_ptr<Continuation> continuation;
    std::string text;
};

/// Cuts `text` at the first of `stops`; false when none is in it.
bool cutAtStop(std::string& text, const std::vector<std::string>& stops) {
    std::size_t first = std::string::npos;
    for (const std::string& stop : stops)
        if (!stop.empty()) first = std::min(first, text.find(stop));
    if (first == std::string::npos) return false;
    text.resize(first);
    return true;
}

Json tokenEvent(std::int64_t column, const GeneratedToken& token, const std::string& piece,
                const Tokenizer& tokenizer) {
    Json event{{"column", column},
               {"text", piece},
               {"token_id", token.id},
               {"probability", token.probability}};
    if (token.alternatives.empty()) return event;
    Json list = Json::array();
    for (const TokenProbability& other : token.alternatives) {
        const int id = static_cast<int>(other.id);
        list.push_back({{"id", other.id},
                        {"text", tokenizer.tokenText(id)},
                        {"probability", other.probability}});
    }
    event["alternatives"] = std::move(list);
    return event;
}

/// What the base thinks of a column's tokens.
void compareWithBase(Json& document, const Loaded& base, AdapterStack& stack,
                     const std::vector<std::int64_t>& prompt,
                     const std::vector<std::int64_t>& ids) {
    std::vector<std::int64_t> all = prompt;
    all.insert(all.end(), ids.begin(), ids.end());
    AdapterStack none(*base.model);
    const TokenScores scores = scoreTokens(*base.model, stack, &none, all);
    Json probabilities = Json::array();
    double divergence = 0;
    std::int64_t counted = 0;
    for (std::size_t i = prompt.size(); i < all.size(); ++i) {
        probabilities.push_back(std::isnan(scores.referenceLogProbability[i])
                                    ? Json()
                                    : Json(std::exp(scores.referenceLogProbability[i])));
        if (std::isnan(scores.divergence[i])) continue;
        divergence += scores.divergence[i];
        ++counted;
    }
    document["base_probabilities"] = std::move(probabilities);
    if (counted > 0) setNumber(document, "kl_to_base", divergence / static_cast<double>(counted));
}

}  // namespace

Json generateColumns(const Fields& request, const Loaded& base, const Reply& reply) {
    const Tokenizer& tokenizer = base.needTokenizer();
    const SmallModelThreads threads(base.model->device().is_cpu() ? base.model->weights().bytes()
                                                                  : 0);
    const Prompt prompt = promptOf(request, tokenizer);
    const SamplingSettings settings = samplingOf(request);
    const auto stops = request.get("stop", std::vector<std::string>{});
    const Json& wanted = request.list("columns");
    std::vector<std::unique_ptr<Column>> columns;
    Json documents = Json::array();
    for (const Json& each : wanted) {
        Json document = Json::object();
        columns.push_back(nullptr);
        try {
            columns.back() = std::make_unique<Column>(each, base, tokenizer);
            columns.back()->continuation = std::make_unique<Continuation>(
                *base.model, columns.back()->stack, prompt.ids, base.endIds(), settings);
        } catch (const Failure& failure) {
            columns.back() = nullptr;
            document["problem"] = problemOf(failure);
            reply.send("column_failed",
                       Json{{"column", columns.size() - 1}, {"problem", document["problem"]}});
        }
        documents.push_back(std::move(document));
    }
    reply.send("started", Json{{"prompt_tokens", prompt.ids.size()}, {"text", prompt.text}});

    // One token of each column in turn, all columns in one pass over the weights.
    bool isWriting = true;
    while (isWriting) {
        isWriting = false;
        std::vector<std::size_t> writing;
        std::vector<Continuation*> texts;
        for (std::size_t i = 0; i < columns.size(); ++i) {
            if (!columns[i] || columns[i]->continuation->isFinished()) continue;
            if (reply.isCancelled()) {
                columns[i]->continuation->finish("cancelled");
                continue;
            }
            writing.push_back(i);
            texts.push_back(columns[i]->continuation.get());
        }
        const std::vector<std::optional<GeneratedToken>> tokens = nextOfEach(*base.model, texts);
        for (std::size_t k = 0; k < writing.size(); ++k) {
            const std::optional<GeneratedToken>& token = tokens[k];
            const std::size_t i = writing[k];
            Column& column = *columns[i];
            if (!token) continue;
            isWriting = true;
            const std::string piece = column.stream.push(static_cast<int>(token->id));
            column.text += piece;
            reply.send("token", tokenEvent(static_cast<std::int64_t>(i), *token, piece, tokenizer));
            if (cutAtStop(column.text, stops)) column.continuation->finish("stop_text");
        }
    }
    const bool comparesBase = request.get("compare_base", false) && !reply.isCancelled();
    for (std::size_t i = 0; i < columns.size(); ++i) {
        if (!columns[i]) continue;
        Column& column = *columns[i];
        const Generated& generated = column.continuation->result();
        if (generated.finishReason != "stop_text") column.text += column.stream.finish();
        Json& document = documents[i];
        document = Json{{"text", column.text},
                        {"ids", generated.ids},
                        {"finish_reason", generated.finishReason},
                        {"seconds", generated.seconds},
                        {"mean_logprob", generated.meanLogProbability},
                        {"cache_bytes", column.continuation->cacheBytes()}};
        if (comparesBase && hasAdapters(wanted[i]) && !generated.ids.empty())
            compareWithBase(document, base, column.stack, prompt.ids, generated.ids);
    }
    return Json{{"columns", std::move(documents)},
                {"prompt_tokens", prompt.ids.size()},
                {"weights_bytes", base.model->weights().bytes()},
                {"dtype", base.model->dtype() == at::kFloat      ? "float32"
                          : base.model->dtype() == at::kBFloat16 ? "bfloat16"
                                                                 : "float16"}};
}

Json scoreColumns(const Fields& request, const Loaded& base, const Reply& reply) {
    const Tokenizer& tokenizer = base.needTokenizer();
    std::vector<std::int64_t> ids;
    Json tokens = Json::array();
    if (request.has("ids")) {
        ids = request.need<std::vector<std::int64_t>>("ids");
        for (const std::int64_t id : ids)
            tokens.push_back({{"id", id}, {"text", tokenizer.tokenText(static_cast<int>(id))}});
    } else {
        const std::string text = request.get("text", "");
        std::size_t shown =
            0;  // several tokens may share one character: its text belongs to the first of them
        for (const TokenSpan& span : tokenizer.encodeWithOffsets(text)) {
            ids.push_back(span.id);
            const std::size_t begin = std::max(shown, span.begin);
            tokens.push_back({{"id", span.id},
                              {"text", begin < span.end ? text.substr(shown, span.end - shown)
                                                        : std::string()}});
            shown = std::max(shown, span.end);
        }
        if (ids.size() > 1 && tokenizer.eosId() && ids.back() == *tokenizer.eosId() &&
            tokens.back()["text"] == "") {
            ids.pop_back();
            tokens.erase(tokens.size() - 1);
        }
    }
    const ModelDescription& description = base.model->description();
    if (ids.size() < 2)
        throw Failure({"text_too_short", "The text has fewer than two tokens.",
                       "A model predicts each token from those before it; write more.", "text"});
    const auto count = static_cast<std::int64_t>(ids.size());
    if (description.position == PositionKind::Learned && count > description.maxPositions)
        throw Failure({"text_too_long",
                       "The text has " + std::to_string(count) + " tokens; this model has " +
                           std::to_string(description.maxPositions) + " positions.",
                       "Shorten the text.", "text"});
    for (const std::int64_t id : ids)
        if (id < 0 || id >= description.vocabulary)
            throw Failure({"bad_row",
                           "Token " + std::to_string(id) +
                               " lies outside the model's vocabulary of " +
                               std::to_string(description.vocabulary) + ".",
                           "The data was tokenised for another model.", "ids"});
    Json columns = Json::array();
    std::int64_t done = 0;
    for (const Json& wanted : request.list("columns")) {
        if (reply.isCancelled()) throw Failure({"cancelled", "The request was cancelled.", "", ""});
        Json document = Json::object();
        try {
            const SmallModelThreads threads(
                base.model->device().is_cpu() ? base.model->weights().bytes() : 0);
            AdapterStack stack = stackOf(wanted, base);
            const TokenScores scores = scoreTokens(*base.model, stack, nullptr, ids);
            Json probabilities = Json::array();
            double sum = 0;
            for (const double value : scores.logProbability) {
                probabilities.push_back(std::isnan(value) ? Json() : Json(std::exp(value)));
                if (!std::isnan(value)) sum += value;
            }
            const double mean = sum / static_cast<double>(count - 1);
            document["probabilities"] = std::move(probabilities);
            setNumber(document, "mean_logprob", mean);
            setNumber(document, "perplexity", std::exp(-mean));
        } catch (const Failure& failure) {
            document["problem"] = problemOf(failure);
        }
        columns.push_back(std::move(document));
        reply.send(
            "phase",
            Json{{"name", "scoring"}, {"done", ++done}, {"total", request.list("columns").size()}});
    }
    return Json{{"tokens", std::move(tokens)}, {"columns", std::move(columns)}};
}

Json tokenizePrompt(const Fields& request, const Tokenizer& tokenizer) {
    Json document = Json::object();
    std::vector<int> ids;
    if (request.has("messages")) {
        const std::string rendered =
            tokenizer.renderChat(request.list("messages"), request.get("generation_prompt", true))
                .orThrow();
        document["text"] = rendered;
        ids = tokenizer.encode(rendered, SpecialTokens::Omit, TextKind::Template);
    } else {
        ids = tokenizer.encode(request.get("text", ""));
    }
    Json tokens = Json::array();
    for (const int id : ids) tokens.push_back(tokenizer.tokenText(id));
    document["ids"] = ids;
    document["tokens"] = std::move(tokens);
    return document;
}

}  // namespace luthier::cli
