// SPDX-License-Identifier: Apache-2.0
#pragma once
// A tokenizer that needs no files: one token a byte, 256 begins, 257 ends, and "<e>" in a template
// is 257 as well.

#include "data/text_encoder.h"

#include <filesystem>
#include <fstream>

#include <unistd.h>

namespace luthier {

class Letters final : public TextEncoder {
public:
    bool isChat = false;
    bool hasEnd = true;
    bool isPairs = false;
    std::optional<std::int32_t> unknownId;

    std::vector<std::int32_t> encode(std::string_view text, TextOrigin origin) const override {
        std::vector<std::int32_t> ids;
        for (std::size_t i = 0; i < text.size(); ++i) {
            const bool isControl = origin == TextOrigin::Template && text.substr(i, 3) == "<e>";
            ids.push_back(isControl ? 257 : static_cast<unsigned char>(text[i]));
            if (isControl) i += 2;
        }
        return ids;
    }
    /// "<b>first", and with `isPairs` "<b>first<e>second<e>", as BERT's tokenizers frame.
    FramedText frame(std::string_view first,
                     std::optional<std::string_view> second) const override {
        FramedText framed;
        const auto add = [&framed](std::int32_t id, std::int32_t type, std::int8_t part) {
            framed.ids.push_back(id);
            framed.types.push_back(type);
            framed.parts.push_back(part);
        };
        add(256, 0, kFramePart);
        for (const char c : first) add(static_cast<unsigned char>(c), 0, 0);
        if (isPairs) add(257, 0, kFramePart);
        for (const char c : second.value_or(""))
            add(static_cast<unsigned char>(c), isPairs ? 1 : 0, 1);
        if (isPairs && second) add(257, 1, kFramePart);
        return framed;
    }
    Json namedTokens() const override { return {{"eos_token", "<e>"}}; }
    bool separatesPairs() const override { return isPairs; }
    std::optional<std::int32_t> begin() const override { return 256; }
    std::optional<std::int32_t> end() const override {
        return hasEnd ? std::optional<std::int32_t>(257) : std::nullopt;
    }
    std::optional<std::int32_t> unknown() const override { return unknownId; }
    std::optional<std::int32_t> padding() const override { return 0; }
    std::int64_t vocabularySize() const override { return 258; }
    std::string tokenText(std::int32_t id) const override {
        return id < 256 ? std::string(1, static_cast<char>(id)) : id == 256 ? "<b>" : "<e>";
    }
    bool isSpecial(std::int32_t id) const override { return id > 255; }
    bool hasChatTemplate() const override { return isChat; }
    Result<std::string> renderChat(const Json& messages, bool withGenerationPrompt) const override {
        std::string text;
        for (const Json& message : messages) {
            const bool isAnswer = message["role"] == "assistant";
            text += (isAnswer ? "A:" : "U:") + message["content"].get<std::string>() +
                    (isAnswer ? "<e>" : "|");
        }
        return withGenerationPrompt ? text + "A:" : text;
    }
};

/// A file that goes with the value.
struct DataFile {
    std::filesystem::path path;
    DataFile(const std::string& name, const std::string& text)
        : path(std::filesystem::temp_directory_path() /
               ("luthier-" + std::to_string(::getpid()) + "-" + name)) {
        std::ofstream(path, std::ios::binary) << text;
    }
    ~DataFile() { std::filesystem::remove(path); }
};

}  // namespace luthier
