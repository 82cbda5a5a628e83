// SPDX-License-Identifier: Apache-2.0
// A tokenizer on a pipe for tests/interop/text_tokenizers.py: one JSON request a line, one JSON
// answer a line.
#include "text/tokenizer.h"

#include <iostream>
#include <map>

using namespace luthier;

namespace {

Json answer(Tokenizer& tokenizer, const Json& request) {
    if (request.contains("messages")) {
        const auto text = tokenizer.renderChat(request["messages"], request["generation"],
                                               request.value("tools", Json()));
        if (!text) return {{"code", text.problem().code}, {"message", text.problem().message}};
        return {{"text", *text}};
    }
    if (request.contains("ids")) {
        const auto ids = request["ids"].get<std::vector<int>>();
        StreamDecoder stream(tokenizer, request["skip"]);
        std::string streamed;
        for (const int id : ids) streamed += stream.push(id);
        return {{"text", tokenizer.decode(ids, request["skip"])},
                {"streamed", streamed + stream.finish()}};
    }
    const auto special = request["special"].get<bool>() ? SpecialTokens::Add : SpecialTokens::Omit;
    const auto kind = request["plain"].get<bool>() ? TextKind::Plain : TextKind::Template;
    Json spans = Json::array();
    for (const TokenSpan& token :
         tokenizer.encodeWithOffsets(request["text"].get<std::string>(), special, kind)) {
        spans.push_back({token.id, token.begin, token.end});
    }
    return {{"spans", spans},
            {"size", tokenizer.vocabularySize()},
            {"bos", tokenizer.bosId().value_or(-1)},
            {"eos", tokenizer.eosId().value_or(-1)},
            {"pad", tokenizer.padId().value_or(-1)}};
}

}  // namespace

int main() {
    std::map<std::string, std::unique_ptr<Tokenizer>> opened;
    for (std::string line; std::getline(std::cin, line);) {
        const Json request = Json::parse(line);
        const std::string folder = request["model"];
        if (!opened.contains(folder)) {
            auto tokenizer = Tokenizer::open(folder);
            if (!tokenizer) {
                std::cout << dumpLine({{"code", tokenizer.problem().code},
                                       {"message", tokenizer.problem().message}})
                          << std::endl;
                continue;
            }
            opened[folder] = std::move(*tokenizer);
        }
        std::cout << dumpLine(answer(*opened[folder], request)) << std::endl;
    }
}
