// SPDX-License-Identifier: Apache-2.0
#include "text/pre_tokenizers.h"

#include <algorithm>
#include <utility>

namespace luthier {

namespace {

// Not the project's Json: an ordered object of 128,000 tokens would take quadratic time.
using Tree = nlohmann::json;

constexpr const char* kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kGpt4o =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kThreeDigits = R"(\p{N}{1,3})";
constexpr const char* kDeepseekCjk = R"([一-龥぀-ゟ゠-ヿ]+)";
constexpr const char* kDeepseek3 =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kBloom = R"( ?[^(\s|[.,!?…。，、।۔،])]+)";

Tree split(const char* rule) {
    return {{"type", "Split"},
            {"pattern", {{"Regex", rule}}},
            {"behavior", "Isolated"},
            {"invert", false}};
}
Tree sequence(Tree steps) { return {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}}; }

Tree singleDigits() { return {{"type", "Digits"}, {"individual_digits", true}}; }

struct NamedRule {
    std::vector<std::string> names;  ///< llama.cpp's, which treats them alike
    SplitRule rule;
    std::string read = {};  ///< the name that a tokenizer.json with these steps gets; empty: it is
                            ///< none of llama.cpp's
};

const std::vector<NamedRule>& namedRules() {
    static const std::vector<NamedRule> list{
        {{"", "default", "gpt-2", "phi-2", "olmo", "mpt", "jais", "exaone4", "trillion",
          "granite-docling", "gigachat", "mellum", "modern-bert", "a.x-4.0"},
         {byteLevel(true)},
         "gpt-2"},
        {{"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b"},
         {sequence({singleDigits(), byteLevel(true)})},
         "starcoder"},
        {{"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"},
         {sequence({split(kLlama3), byteLevel(false)}), true, true},
         "llama-bpe"},
        {{"dbrx", "smaug-bpe", "chatglm-bpe", "glm4"},
         {sequence({split(kLlama3), byteLevel(false)})}},
        {{"qwen2", "deepseek-r1-qwen", "megrez"},
         {.preTokenizer = sequence({split(kQwen2), byteLevel(false)}),
          .isComposed = true},  // as Qwen's own files have it
         "qwen2"},
        {{"stablelm2", "hunyuan"}, {sequence({split(kQwen2), byteLevel(false)})}},
        {{"tekken"}, {sequence({split(kTekken), byteLevel(false)}), true, true}},
        {{"gpt-4o", "llama4"}, {sequence({split(kGpt4o), byteLevel(false)})}},
        {{"deepseek-v3", "hunyuan-dense"},
         {sequence(
             {split(kThreeDigits), split(kDeepseekCjk), split(kDeepseek3), byteLevel(false)})}},
        {{"bloom", "poro-chat", "gpt3-finnish"},
         {sequence({split(kBloom), byteLevel(false)})},
         "bloom"},
        {{"falcon"},
         {sequence({{{"type", "Punctuation"}, {"behavior", "Contiguous"}},
                    byteLevel(true),
                    {{"type", "Digits"}, {"individual_digits", false}},
                    split("[0-9][0-9][0-9]")})},
         "falcon"},
    };
    return list;
}

Tree memberOf(const Tree& object, const char* key) {
    return object.is_object() ? object.value(key, Tree()) : Tree();
}

/// The steps in words, without what does not change how a text is cut.
std::string wordsOf(const Tree& rule) {
    std::string text;
    for (const Tree& step : stepsOf(rule)) {
        const std::string type =
            memberOf(step, "type").is_string() ? step["type"].get<std::string>() : "";
        text += text.empty() ? "" : ", ";
        if (type == "ByteLevel")
            text += memberOf(step, "add_prefix_space") == true ? "ByteLevel with a space"
                    : memberOf(step, "use_regex") == false     ? "ByteLevel without a rule"
                                                               : "ByteLevel";
        else if (type == "Digits")
            text += memberOf(step, "individual_digits") == true ? "single digits" : "Digits";
        else if (type == "Split")
            text += "Split " + (memberOf(memberOf(step, "pattern"), "Regex").is_string()
                                    ? step["pattern"]["Regex"].get<std::string>()
                                    : step.dump(-1, ' ', false, Tree::error_handler_t::replace));
        else
            text += type;
    }
    return text;
}

}  // namespace

Tree byteLevel(bool usesRule) {
    return {{"type", "ByteLevel"},
            {"add_prefix_space", false},
            {"trim_offsets", true},
            {"use_regex", usesRule}};
}

std::vector<Tree> stepsOf(const Tree& rule) {
    if (!rule.is_object()) return {};
    if (memberOf(rule, "type") != "Sequence") return {rule};
    const Tree list =
        rule.contains("pretokenizers") ? rule["pretokenizers"] : memberOf(rule, "normalizers");
    return list.is_array() ? std::vector<Tree>(list.begin(), list.end()) : std::vector<Tree>{};
}

std::optional<SplitRule> splitting(const std::string& name) {
    for (const NamedRule& each : namedRules())
        if (std::find(each.names.begin(), each.names.end(), name) != each.names.end())
            return each.rule;
    return {};
}

std::string preTokenizerOf(const Tree& rule) {
    const std::string words = wordsOf(rule);
    for (const NamedRule& each : namedRules())
        if (!each.read.empty() && wordsOf(each.rule.preTokenizer) == words) return each.read;
    return "";
}

}  // namespace luthier
