// SPDX-License-Identifier: Apache-2.0
#include "model/arch/common.h"

#include <algorithm>
#include <cmath>

namespace luthier {

namespace {
constexpr double kLargestNumber = 1e30;
}

void ConfigReader::complain(const char* key, const std::string& wanted) {
    const auto found = m_config.find(key);
    const std::string value = found == m_config.end() ? "missing" : dumpLine(*found).substr(0, 60);
    m_problems.push_back({"config_value",
                          m_file + ": " + key + " is " + value + "; it must be " + wanted + ".",
                          "Use the config.json that came with the model.", m_file});
}

std::int64_t ConfigReader::integer(const char* key) {
    const auto found = m_config.find(key);
    // Sizes are multiplied with each other: beyond this they are no sizes.
    constexpr double kMost = 1LL << 40;
    if (found != m_config.end() && found->is_number_integer() &&
        std::abs(found->get<double>()) <= kMost)
        return found->get<std::int64_t>();
    complain(key, found != m_config.end() && found->is_number_integer()
                      ? "a size that a model can have"
                      : "a whole number");
    return 0;
}

std::int64_t ConfigReader::integer(const char* key, std::int64_t fallback) {
    const auto found = m_config.find(key);
    return found == m_config.end() || found->is_null() ? fallback : integer(key);
}

double ConfigReader::number(const char* key, double fallback) {
    const auto found = m_config.find(key);
    if (found == m_config.end() || found->is_null()) return fallback;
    if (found->is_number() && std::abs(found->get<double>()) <= kLargestNumber)
        return found->get<double>();
    complain(key, "a number that float32 holds");
    return fallback;
}

bool ConfigReader::flag(const char* key, bool fallback) {
    const auto found = m_config.find(key);
    if (found == m_config.end() || found->is_null()) return fallback;
    if (found->is_boolean()) return found->get<bool>();
    complain(key, "true or false");
    return fallback;
}

std::string ConfigReader::text(const char* key, const std::string& fallback) {
    const auto found = m_config.find(key);
    if (found == m_config.end() || found->is_null()) return fallback;
    if (found->is_string()) return found->get<std::string>();
    complain(key, "a string");
    return fallback;
}

kernels::GateActivation ConfigReader::activation(const char* key, const std::string& fallback) {
    return activationNamed(key, text(key, fallback));
}

kernels::GateActivation ConfigReader::activationNamed(const char* key, const std::string& name) {
    if (name == "silu" || name == "swish") return kernels::GateActivation::Silu;
    if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast")
        return kernels::GateActivation::GeluTanh;
    if (name == "gelu") return kernels::GateActivation::Gelu;
    if (name == "relu") return kernels::GateActivation::Relu;
    complain(key, "one of silu, gelu, gelu_new, gelu_pytorch_tanh, relu");
    return kernels::GateActivation::Silu;
}

std::int64_t ConfigReader::eitherInteger(const char* key, const char* otherKey) {
    return integer(has(key) || !has(otherKey) ? key : otherKey);
}

bool ConfigReader::has(const char* key) const {
    const auto found = m_config.find(key);
    return found != m_config.end() && !found->is_null();
}

void ConfigReader::require(const char* key, bool isMet, const std::string& wanted) {
    if (!isMet) complain(key, wanted);
}

ModelDescription llamaLike(ConfigReader& read, const Json& config, const std::string& file,
                           double defaultTheta, double defaultPartial,
                           std::int64_t defaultHeadSize) {
    ModelDescription d;
    d.vocabulary = read.integer("vocab_size");
    d.hidden = read.integer("hidden_size");
    d.layers = read.integer("num_hidden_layers");
    d.heads = read.integer("num_attention_heads");
    d.keyValueHeads = read.integer("num_key_value_heads", d.heads);
    d.intermediate = read.integer("intermediate_size");
    d.maxPositions = read.integer("max_position_embeddings", 2048);
    d.headSize = read.integer("head_dim", defaultHeadSize > 0 ? defaultHeadSize
                                          : d.heads > 0       ? d.hidden / d.heads
                                                              : 0);
    d.normEps = read.number("rms_norm_eps", 1e-6);
    d.activation = read.activation("hidden_act", "silu");
    d.isTied = read.flag("tie_word_embeddings", false);
    d.initializerRange = read.number("initializer_range", 0.02);
    d.names = {.embedding = "model.embed_tokens",
               .finalNorm = "model.norm",
               .head = "lm_head",
               .layers = "model.layers.",
               .attentionNorm = "input_layernorm",
               .query = "self_attn.q_proj",
               .key = "self_attn.k_proj",
               .value = "self_attn.v_proj",
               .attentionOut = "self_attn.o_proj",
               .feedForwardNorm = "post_attention_layernorm",
               .gate = "mlp.gate_proj",
               .up = "mlp.up_proj",
               .down = "mlp.down_proj"};
    d.prefixes = {"model."};
    d.ignoredSuffixes = {".rotary_emb.inv_freq"};
    if (!read.problems().empty()) return d;
    Result<RopeSpec> rope = readRope(config, file, d.headSize, defaultTheta, defaultPartial);
    if (rope)
        d.rope = *rope;
    else
        for (const Problem& problem : rope.problems()) read.problems().push_back(problem);
    return d;
}

ModelDescription bertLike() {
    ModelDescription d;
    d.isCausal = false;
    d.norm = NormKind::LayerNorm;
    d.position = PositionKind::Learned;
    d.flow = BlockFlow::PostNorm;
    d.feedForward = FeedForwardKind::Plain;
    d.hasQkvBias = d.hasAttentionOutBias = d.hasFeedForwardBias = d.hasNormBias = true;
    return d;
}

ModelDescription readBertLike(ConfigReader& read, const std::string& prefix) {
    ModelDescription d = bertLike();
    d.vocabulary = read.integer("vocab_size");
    d.hidden = read.integer("hidden_size");
    d.layers = read.integer("num_hidden_layers");
    d.heads = d.keyValueHeads = read.integer("num_attention_heads");
    d.headSize = d.heads > 0 ? d.hidden / d.heads : 0;
    d.intermediate = read.integer("intermediate_size");
    d.maxPositions = read.integer("max_position_embeddings", 512);
    d.tokenTypes = read.integer("type_vocab_size", 2);
    d.normEps = read.number("layer_norm_eps", 1e-12);
    d.activation = read.activation("hidden_act", "gelu");
    d.initializerRange = read.number("initializer_range", 0.02);
    read.require("position_embedding_type",
                 read.text("position_embedding_type", "absolute") == "absolute", "\"absolute\"");
    read.require("is_decoder", !read.flag("is_decoder", false), "false");
    const std::string embeddings = prefix + "embeddings.";
    d.names = {.embedding = embeddings + "word_embeddings",
               .positions = embeddings + "position_embeddings",
               .tokenTypes = embeddings + "token_type_embeddings",
               .embeddingNorm = embeddings + "LayerNorm",
               .head = "classifier",
               .layers = prefix + "encoder.layer.",
               .attentionNorm = "attention.output.LayerNorm",
               .query = "attention.self.query",
               .key = "attention.self.key",
               .value = "attention.self.value",
               .attentionOut = "attention.output.dense",
               .feedForwardNorm = "output.LayerNorm",
               .up = "intermediate.dense",
               .down = "output.dense"};
    d.prefixes = {prefix};
    d.ignoredSuffixes = {"embeddings.position_ids"};
    return d;
}

void cappedConfig(Json& config, GgufFacts& facts, std::int64_t largest) {
    std::int64_t scalar = facts.headSize();
    if (facts.whole("block_count") == largest)
        scalar = facts.needed("embedding_length") /
                 std::max<std::int64_t>(1, facts.needed("attention.head_count"));
    config["query_pre_attn_scalar"] = scalar;
    const std::optional<double> attention = facts.number("attn_logit_softcapping"),
                                logits = facts.number("final_logit_softcapping");
    config["attn_logit_softcapping"] = attention ? Json(*attention) : Json();
    config["final_logit_softcapping"] = logits ? Json(*logits) : Json();
    const std::optional<std::int64_t> window = facts.whole("attention.sliding_window");
    config["sliding_window"] = window ? *window : facts.needed("context_length");
}

void spreadSwitches(ModelDescription& d) {
    if (d.layerSwitches.empty() && d.layers > 0 && d.layers <= 1024)
        d.layerSwitches.resize(static_cast<std::size_t>(d.layers));
}

void readWindows(ConfigReader& read, const Json& config, ModelDescription& d, std::int64_t window,
                 const std::function<bool(std::int64_t)>& isSliding) {
    if (window <= 0) return;
    spreadSwitches(d);
    const auto types = config.find("layer_types");
    const bool hasTypes = types != config.end() && types->is_array();
    if (hasTypes && types->size() != d.layerSwitches.size()) {
        read.require("layer_types", false, "a list of one entry a layer");
        return;
    }
    for (std::size_t layer = 0; layer < d.layerSwitches.size(); ++layer) {
        const bool slides = hasTypes ? (*types)[layer] == "sliding_attention"
                                     : isSliding(static_cast<std::int64_t>(layer));
        if (slides) d.layerSwitches[layer].window = window;
    }
}

void readSparseLayers(ConfigReader& read, const Json& config, ModelDescription& d) {
    std::vector<std::int64_t> dense;
    if (const auto list = config.find("mlp_only_layers"); list != config.end() && list->is_array())
        for (const Json& item : *list)
            if (item.is_number_integer()) dense.push_back(item.get<std::int64_t>());
    const std::int64_t step = read.integer("decoder_sparse_step", 1);
    read.require("decoder_sparse_step", step >= 1, "at least 1");
    spreadSwitches(d);
    for (std::size_t layer = 0;
         step >= 1 && d.mixture.experts > 0 && layer < d.layerSwitches.size(); ++layer) {
        const auto index = static_cast<std::int64_t>(layer);
        d.layerSwitches[layer].isMixture =
            std::find(dense.begin(), dense.end(), index) == dense.end() && (index + 1) % step == 0;
    }
}

Result<ModelDescription> finished(ConfigReader& read, ModelDescription description) {
    if (!read.problems().empty()) return read.problems();
    return description;
}

}  // namespace luthier
