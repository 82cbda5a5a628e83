// SPDX-License-Identifier: Apache-2.0
#include "model/gguf_config.h"

#include "model/arch/families.h"
#include "model/gguf_values.h"

#include <ATen/TensorOperators.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <map>
#include <numbers>
#include <optional>
#include <set>

namespace luthier {

namespace {

/// The double whose shortest decimal is the float's: 1e-05 and not 9.999999747378752e-06.
double decimal(float value) {
    std::array<char, 32> text{};
    const auto [end, code] = std::to_chars(text.data(), text.data() + text.size(), value);
    double result = value;
    std::from_chars(text.data(), end, result);
    return result;
}

/// A whole number, also where a converter wrote it once for each layer.
std::optional<std::int64_t> wholeOf(const GgufValue& value) {
    if (const auto* number = std::get_if<std::uint32_t>(&value)) return *number;
    if (const auto* number = std::get_if<std::int32_t>(&value)) return *number;
    if (const auto* list = std::get_if<std::vector<std::int32_t>>(&value);
        list != nullptr && !list->empty() &&
        std::count(list->begin(), list->end(), list->front()) == std::ssize(*list))
        return list->front();
    return {};
}

bool isTied(const GgufFile& file) {
    const GgufTensor* head = file.find("output.weight");
    const GgufTensor* embedding = file.find("token_embd.weight");
    if (head == nullptr || embedding == nullptr) return true;
    return head->data.size() == embedding->data.size() && head->type == embedding->type &&
           std::memcmp(head->data.data(), embedding->data.data(), head->data.size()) == 0;
}

/// Divisors of 1 scale nothing: old converters wrote them for every LLaMA.
bool isAllOnes(const GgufTensor& divisors) { return ggufTensor(divisors).eq(1).all().item<bool>(); }

/// Solves Llama 3's smooth passage between unscaled and scaled frequencies from the divisors in
/// rope_freqs.weight: s, the unscaled share of frequency i, is (length / wavelength - low) / (high
/// - low). Only length / low and high / low matter, so low is 1.
Json llama3Scaling(const GgufTensor& divisors, double theta) {
    const at::Tensor values = ggufTensor(divisors).flatten();
    const std::int64_t count = values.numel();
    const double factor = values.max().item<double>();
    std::vector<std::pair<double, double>> passage;  // 1 / wavelength, share
    for (std::int64_t i = 0; i < count; ++i) {
        const double divisor = values[i].item<double>();
        if (divisor <= 1 + 1e-6 || divisor >= factor * (1 - 1e-6)) continue;
        const double frequency =
            std::pow(theta, -static_cast<double>(i) / static_cast<double>(count));
        passage.emplace_back(frequency / (2 * std::numbers::pi),
                             (1 / divisor - 1 / factor) / (1 - 1 / factor));
    }
    double high = 4, length = 8192;
    if (passage.size() > 1) {
        const auto [x, s] = passage.front();
        const auto [y, t] = passage.back();
        const double slope = (s - t) / (x - y);
        high = std::round(100 * (1 - 1 / (s - slope * x))) / 100;
        length = std::round(slope * (high - 1));
    } else if (!passage.empty()) {
        length = std::round((3 * passage.front().second + 1) / passage.front().first);
    }
    return {{"rope_type", "llama3"},
            {"factor", decimal(static_cast<float>(factor))},
            {"low_freq_factor", 1.0},
            {"high_freq_factor", high},
            {"original_max_position_embeddings", static_cast<std::int64_t>(length)}};
}

Json numbersOf(const GgufTensor& tensor) {
    const at::Tensor values = ggufTensor(tensor).flatten();
    Json list = Json::array();
    for (std::int64_t i = 0; i < values.numel(); ++i)
        list.push_back(decimal(values[i].item<float>()));
    return list;
}

void addRope(Json& config, GgufFacts& facts, const GgufSpelling& spelling) {
    const double theta = facts.number("rope.freq_base").value_or(10000);
    config[spelling.ropeTheta] = theta;
    if (const std::optional<double> local = facts.number("rope.freq_base_swa"))
        config["rope_local_base_freq"] = *local;
    const std::int64_t headSize = facts.headSize();
    const double share =
        static_cast<double>(facts.whole("rope.dimension_count").value_or(headSize)) /
        static_cast<double>(headSize);
    if (share < 1 || spelling.saysRotaryShare) config[spelling.rotaryShare] = share;
    const std::string type = facts.text("rope.scaling.type");
    if (type == "linear" || type == "yarn") {
        Json scaling{{"rope_type", type},
                     {"factor", facts.number("rope.scaling.factor").value_or(1)}};
        if (type == "yarn") {
            scaling["original_max_position_embeddings"] =
                facts.needed("rope.scaling.original_context_length");
            scaling["beta_fast"] = facts.number("rope.scaling.yarn_beta_fast").value_or(32);
            scaling["beta_slow"] = facts.number("rope.scaling.yarn_beta_slow").value_or(1);
        }
        config["rope_scaling"] = std::move(scaling);
    }
    if (const GgufTensor* divisors = facts.file().find("rope_freqs.weight");
        divisors != nullptr && !isAllOnes(*divisors))
        config["rope_scaling"] = llama3Scaling(*divisors, theta);
    const GgufTensor* longFactors = facts.file().find("rope_factors_long.weight");
    const GgufTensor* shortFactors = facts.file().find("rope_factors_short.weight");
    if (longFactors != nullptr && shortFactors != nullptr) {
        config["original_max_position_embeddings"] =
            facts.needed("rope.scaling.original_context_length");
        config["rope_scaling"] = Json{{"rope_type", "longrope"},
                                      {"long_factor", numbersOf(*longFactors)},
                                      {"short_factor", numbersOf(*shortFactors)}};
        if (const std::optional<double> factor = facts.number("rope.scaling.attn_factor"))
            config["rope_scaling"]["attention_factor"] = *factor;
    }
}

void addExperts(Json& config, GgufFacts& facts, const GgufSpelling& spelling) {
    facts.copyWhole(config, spelling.experts.c_str(), "expert_count");
    facts.copyWhole(config, "num_experts_per_tok", "expert_used_count");
    facts.copyWhole(config, "shared_expert_intermediate_size", "expert_shared_feed_forward_length");
    if (!spelling.normalisesExperts) return;
    facts.copyWhole(config, "moe_intermediate_size", "expert_feed_forward_length");
    config["norm_topk_prob"] = *spelling.normalisesExperts;
    config["decoder_sparse_step"] = 1;
    config["mlp_only_layers"] = Json::array();
}

bool isSame(const GgufValue& a, const GgufValue& b) {
    if (const std::optional<std::int64_t> one = wholeOf(a), other = wholeOf(b); one && other)
        return *one == *other;
    const float* x = std::get_if<float>(&a);
    const float* y = std::get_if<float>(&b);
    if (x != nullptr && y != nullptr) return std::abs(*x - *y) <= 1e-6f * std::abs(*x);
    return a == b;
}

std::string shapeText(const std::vector<std::int64_t>& shape) {
    std::string text;
    for (const std::int64_t size : shape)
        text += (text.empty() ? "" : " x ") + std::to_string(size);
    return text;
}

/// Values that say: nothing of the kind.
bool isNeutral(const std::string& key, const GgufValue& value) {
    static const std::map<std::string, double> neutral{{"rope.scaling.factor", 1},
                                                       {"rope.scaling.attn_factor", 1},
                                                       {"attention.causal", 1},
                                                       {"pooling_type", 0},
                                                       {"attention.sliding_window", 0},
                                                       {"expert_count", 0},
                                                       {"expert_used_count", 0},
                                                       {"expert_weights_scale", 1},
                                                       {"expert_shared_count", 0},
                                                       {"leading_dense_block_count", 0},
                                                       {"nextn_predict_layers", 0},
                                                       {"attention.temperature_scale", 1},
                                                       {"attention.shared_kv_layers", 0},
                                                       {"logit_scale", 1},
                                                       {"residual_scale", 1},
                                                       {"embedding_scale", 1},
                                                       {"attn_logit_softcapping", 0},
                                                       {"final_logit_softcapping", 0},
                                                       {"attention.clamp_kqv", 0}};
    if (const auto* text = std::get_if<std::string>(&value))
        return key == "rope.scaling.type" && *text == "none";
    const auto found = neutral.find(key);
    if (found == neutral.end()) return false;
    if (const std::optional<std::int64_t> whole = wholeOf(value))
        return static_cast<double>(*whole) == found->second;
    if (const auto* number = std::get_if<float>(&value)) return *number == found->second;
    if (const auto* flag = std::get_if<bool>(&value)) return *flag == (found->second != 0);
    return false;
}

/// Keys without an effect on the computation, and two that repeat what tensors say.
bool isHarmless(const std::string& key) {
    static const std::set<std::string> known{"vocab_size",
                                             "rope.dimension_count_swa",
                                             "rope.dimension_count",
                                             "attention.key_length",
                                             "attention.value_length",
                                             "attention.key_length_swa",
                                             "attention.value_length_swa",
                                             "rope.scaling.finetuned",
                                             "tensor_data_layout",
                                             "rope.scaling.original_context_length",
                                             "attention.head_count_kv",
                                             "use_parallel_residual",
                                             "expert_feed_forward_length",
                                             "expert_count",
                                             "expert_used_count"};
    return known.contains(key);
}

/// What the description says though llama.cpp's graph, and so an export's keys, do not: Phi 3's
/// window, which llama.cpp leaves out, with the context that it would end; which layers of Gemma
/// have windows.
bool isOfDescription(const std::string& key, const GgufValue& value,
                     const ModelDescription& description) {
    if (key == "context_length") return wholeOf(value) == description.maxPositions;
    const Family* family = findFamily(description.family);
    if (key == "attention.sliding_window" && family != nullptr && family->gguf.leavesOutWindow) {
        for (std::int64_t layer = 0; layer < description.layers; ++layer)
            if (const std::int64_t window = description.layer(layer).window;
                window != 0 && wholeOf(value) != window)
                return false;
        return true;
    }
    if (key != "attention.sliding_window_pattern") return false;
    const auto* flags = std::get_if<std::vector<bool>>(&value);
    const std::optional<std::int64_t> period = wholeOf(value);
    if (flags == nullptr && !period) return false;
    for (std::int64_t layer = 0; layer < description.layers; ++layer) {
        const auto place = static_cast<std::size_t>(layer);
        const bool slides = flags != nullptr
                                ? place < flags->size() && (*flags)[place]
                                : (layer + 1) % std::max<std::int64_t>(1, *period) != 0;
        if (slides != (description.layer(layer).window > 0)) return false;
    }
    return true;
}

}  // namespace

std::optional<std::int64_t> GgufFacts::whole(const std::string& key) const {
    for (const auto& [name, value] : m_file.keys())
        if (name == m_architecture + "." + key) return wholeOf(value);
    return {};
}

std::optional<double> GgufFacts::number(const std::string& key) const {
    const float* value = m_file.value<float>(m_architecture + "." + key);
    return value != nullptr ? std::optional(decimal(*value)) : std::nullopt;
}

std::string GgufFacts::text(const std::string& key) const {
    const std::string* value = m_file.value<std::string>(m_architecture + "." + key);
    return value != nullptr ? *value : std::string();
}

bool GgufFacts::isSet(const std::string& key) const {
    const bool* value = m_file.value<bool>(m_architecture + "." + key);
    return value != nullptr && *value;
}

bool GgufFacts::hasTensor(const std::string& tensor) const {
    return m_file.find(tensor) != nullptr;
}

std::int64_t GgufFacts::needed(const std::string& key) {
    const std::optional<std::int64_t> value = whole(key);
    if (!value)
        m_problems.push_back(
            {"gguf_damaged",
             m_name + " has no single whole number under " + m_architecture + "." + key + ".",
             "Convert the model again, with one value for all its layers.", m_name});
    return value.value_or(1);
}

std::int64_t GgufFacts::headSize() const {
    const std::int64_t hidden = whole("embedding_length").value_or(1),
                       heads = whole("attention.head_count").value_or(1);
    return whole("attention.key_length").value_or(heads > 0 ? hidden / heads : 1);
}

bool GgufFacts::hasQkvBias() const {
    return hasTensor("blk.0.attn_q.bias") || hasTensor("blk.0.attn_qkv.bias");
}

bool GgufFacts::hasUpBias() const { return hasTensor("blk.0.ffn_up.bias"); }

void GgufFacts::copyNumber(Json& config, const char* name, const std::string& key) const {
    if (const std::optional<double> value = number(key)) config[name] = *value;
}

void GgufFacts::copyWhole(Json& config, const char* name, const std::string& key) const {
    if (const std::optional<std::int64_t> value = whole(key)) config[name] = *value;
}

Result<Json> configOfGguf(const GgufFile& file, const std::string& name) {
    const std::string* architecture = file.value<std::string>("general.architecture");
    GgufFacts facts(file, name, architecture != nullptr ? *architecture : "");
    const Family* family = nullptr;
    std::set<std::string> seen;
    std::string known;
    for (const Family& each : families()) {
        const GgufSpelling& spelling = each.gguf;
        if (spelling.architecture.empty()) continue;
        if (seen.insert(spelling.architecture).second)
            known += (known.empty() ? "" : ", ") + spelling.architecture;
        if (architecture == nullptr || *architecture != spelling.architecture) continue;
        if (spelling.owns != nullptr ? spelling.owns(facts) : family == nullptr) family = &each;
    }
    if (family == nullptr)
        return Problem{"gguf_family",
                       name + " holds a model of the architecture \"" +
                           (architecture != nullptr ? *architecture : "") +
                           "\", which Luthier does not know.",
                       "It knows: " + known + ".", name};
    const GgufSpelling& spelling = family->gguf;
    const GgufTensor* embedding = file.find("token_embd.weight");
    if (embedding == nullptr || embedding->shape.size() != 2)
        return Problem{"gguf_damaged", name + " has no token_embd.weight.",
                       "Copy or convert it again.", name};
    const std::int64_t hidden = facts.needed("embedding_length"),
                       heads = facts.needed("attention.head_count");
    const std::int64_t headSize = facts.headSize();
    Json config{{"architectures", Json::array({family->architecture})},
                {"model_type", family->modelType},
                {"vocab_size", embedding->shape.front()}};
    const auto put = [&](const std::string& key, std::int64_t value) {
        if (!key.empty()) config[key] = value;
    };
    put(spelling.hidden, hidden);
    put(spelling.layers, facts.needed("block_count"));
    put(spelling.heads, heads);
    put(spelling.keyValueHeads, facts.whole("attention.head_count_kv").value_or(heads));
    put(spelling.intermediate, facts.needed("feed_forward_length"));
    put(spelling.positions, facts.needed("context_length"));
    put(spelling.headSize, headSize);
    if (!spelling.normEps.empty()) {
        std::optional<double> eps = facts.number("attention.layer_norm_rms_epsilon");
        if (!eps) eps = facts.number("attention.layer_norm_epsilon");
        config[spelling.normEps] = eps.value_or(1e-5);
    }
    config["tie_word_embeddings"] = isTied(file);
    if (headSize > 0) {
        addRope(config, facts, spelling);
        if (spelling.toConfig != nullptr) spelling.toConfig(config, facts);
        addExperts(config, facts, spelling);
    }
    if (!facts.problems().empty()) return facts.problems();
    return config;
}

Result<void> checkAgainstLayout(const GgufFile& file, const std::string& name,
                                const GgufLayout& layout, const ModelDescription& description) {
    Problems problems;
    const std::string prefix = layout.architecture + ".";
    for (const auto& [key, value] : file.keys()) {
        if (key.rfind(prefix, 0) != 0) continue;
        const auto expected = std::find_if(layout.keys.begin(), layout.keys.end(),
                                           [&](const auto& entry) { return entry.first == key; });
        const std::string own = key.substr(prefix.size());
        const bool fits = expected != layout.keys.end()
                              ? isSame(expected->second, value) || own == "vocab_size" ||
                                    isOfDescription(own, value, description)
                              : isHarmless(own) || isNeutral(own, value) ||
                                    isOfDescription(own, value, description);
        if (!fits)
            problems.push_back({"gguf_feature",
                                name + " sets " + key +
                                    (expected == layout.keys.end()
                                         ? ", which Luthier does not compute."
                                         : " to a value that Luthier has no counterpart of."),
                                "Use the model's Hugging Face folder instead.", name});
    }
    std::map<std::string, std::vector<std::int64_t>> shapes;
    for (const ParameterShape& parameter : parameterShapes(description))
        shapes[parameter.name] = parameter.shape;
    std::set<std::string> used;
    for (const GgufEntry& entry : layout.entries) {
        const GgufTensor* tensor = file.find(entry.name);
        if (tensor == nullptr) {
            problems.push_back({"gguf_damaged", name + " has no tensor " + entry.name + ".",
                                "Copy or convert it again.", name});
            continue;
        }
        used.insert(entry.name);
        std::vector<std::int64_t> shape = shapes[entry.sources.front()];
        if (entry.isTransposed) std::swap(shape[0], shape[1]);
        if (entry.sources.size() > 1)
            shape.insert(shape.begin(), static_cast<std::int64_t>(entry.sources.size()));
        std::int64_t wanted = 1, found = 1;
        for (const std::int64_t size : shape) wanted *= size;
        for (const std::int64_t size : tensor->shape) found *= size;
        // Rows of one are vectors in some converters' files.
        if (tensor->shape != shape && (wanted != found || tensor->shape.size() > 1))
            problems.push_back({"gguf_damaged",
                                name + ": " + entry.name + " has the shape " +
                                    shapeText(tensor->shape) + "; its keys ask for " +
                                    shapeText(shape) + ".",
                                "Convert the model again.", name});
    }
    for (const auto& [tensorName, value] : layout.extra) {
        const GgufTensor* tensor = file.find(tensorName);
        used.insert(tensorName);
        const bool fits = tensor != nullptr && ggufTensor(*tensor).numel() == value.numel() &&
                          ((ggufTensor(*tensor).flatten() - value.flatten()).abs() <=
                           1e-4 * value.flatten().abs())
                              .all()
                              .item<bool>();
        if (!fits)
            problems.push_back({"gguf_feature",
                                name + " scales its rotation by a " + tensorName +
                                    " that Luthier has no counterpart of.",
                                "Use the model's Hugging Face folder instead.", name});
    }
    if (const GgufTensor* divisors = file.find("rope_freqs.weight");
        divisors != nullptr && isAllOnes(*divisors))
        used.insert(divisors->name);
    for (const GgufTensor& tensor : file.tensors())
        if (!used.contains(tensor.name) && !(tensor.name == "output.weight" && description.isTied))
            problems.push_back({"gguf_feature",
                                name + " holds " + tensor.name + ", which a " + description.family +
                                    " model has no place for.",
                                "Use the model's Hugging Face folder instead.", name});
    if (!problems.empty()) return problems;
    return {};
}

}  // namespace luthier
