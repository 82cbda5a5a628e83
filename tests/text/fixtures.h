// SPDX-License-Identifier: Apache-2.0
#pragma once
// Model folders small enough to read, written where a test runs.
#include "contract/json.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>

namespace luthier {

class Folder final {
public:
    Folder() {
        static int count = 0;
        m_path = std::filesystem::temp_directory_path() /
                 ("luthier-text-" + std::to_string(::getpid()) + "-" + std::to_string(count++));
        std::filesystem::create_directories(m_path);
    }
    ~Folder() { std::filesystem::remove_all(m_path); }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;

    const std::filesystem::path& path() const { return m_path; }
    void write(const std::string& name, const std::string& text) const {
        std::ofstream(m_path / name, std::ios::binary) << text;
    }
    void write(const std::string& name, const Json& json) const { write(name, json.dump()); }

private:
    std::filesystem::path m_path;
};

/// Words "hello" 3, "world" 4; bytes <0xF0> … of "🙂" 5 to 8; control tokens <s> 0, </s> 1,
/// <unk> 2.
inline Json wordTokenizer() {
    return Json::parse(R"({
      "version": "1.0", "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}, "padding": null,
      "added_tokens": [
        {"id": 0, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
        {"id": 1, "content": "</s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
      "normalizer": null, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null,
      "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
      "model": {"type": "WordLevel", "unk_token": "<unk>", "vocab": {"<s>": 0, "</s>": 1, "<unk>": 2, "hello": 3, "world": 4,
        "<0xF0>": 5, "<0x9F>": 6, "<0x99>": 7, "<0x82>": 8}}
    })");
}

inline void writeModel(const Folder& folder) {
    folder.write("tokenizer.json", wordTokenizer());
    folder.write("tokenizer_config.json",
                 Json{{"bos_token", "<s>"}, {"eos_token", {{"content", "</s>"}}}});
}

}  // namespace luthier
