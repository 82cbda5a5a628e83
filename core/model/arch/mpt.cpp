// SPDX-License-Identifier: Apache-2.0
// MPT (MosaicML 2023; Hugging Face `MptForCausalLM`): ALiBi, LayerNorms without bias, no biases at
// all.
#include "model/arch/families.h"

namespace luthier {

namespace {

Result<ModelDescription> readMpt(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d;
    d.vocabulary = read.integer("vocab_size");
    d.hidden = read.integer("d_model");
    d.layers = read.integer("n_layers");
    d.heads = d.keyValueHeads = read.integer("n_heads");
    d.intermediate = 4 * d.hidden;
    d.maxPositions = read.integer("max_seq_len", 2048);
    d.headSize = d.heads > 0 ? d.hidden / d.heads : 0;
    d.norm = NormKind::LayerNorm;
    d.normEps = read.number("layer_norm_epsilon", 1e-5);
    d.feedForward = FeedForwardKind::Plain;
    d.position = PositionKind::Alibi;  // modeling_mpt.py does not look at learned_pos_emb,
                                       // expansion_ratio and alibi_bias_max
    d.alibi = AlibiKind::Mpt;
    d.activation = kernels::GateActivation::Gelu;
    d.isTied = read.flag("tie_word_embeddings", true);
    d.initializerRange = read.number("initializer_range", 0.02);
    read.require("no_bias", read.flag("no_bias", true), "true");
    read.require("logit_scale", !read.has("logit_scale"), "null");
    const auto section = config.find("attn_config");
    const Json none = Json::object();
    ConfigReader attention(section != config.end() && section->is_object() ? *section : none,
                           file + ", attn_config");
    d.clipQkv = attention.number("clip_qkv", 0);
    d.attentionScale = attention.number("softmax_scale", 0);
    attention.require("alibi", attention.flag("alibi", true), "true");
    for (const char* key : {"qk_ln", "prefix_lm", "attn_uses_sequence_id"})
        attention.require(key, !attention.flag(key, false), "false");
    attention.require("attn_type",
                      attention.text("attn_type", "multihead_attention") == "multihead_attention",
                      "\"multihead_attention\"");
    for (const Problem& problem : attention.problems()) read.problems().push_back(problem);
    d.learnsPadding = true;
    d.names = {.embedding = "transformer.wte",
               .finalNorm = "transformer.norm_f",
               .head = "lm_head",
               .layers = "transformer.blocks.",
               .attentionNorm = "norm_1",
               .fusedQkv = "attn.Wqkv",
               .attentionOut = "attn.out_proj",
               .feedForwardNorm = "norm_2",
               .up = "ffn.up_proj",
               .down = "ffn.down_proj"};
    d.prefixes = {"transformer."};
    return finished(read, std::move(d));
}

}  // namespace

Family mptFamily() {
    Family family{.modelType = "mpt",
                  .title = "MPT",
                  .architecture = "MptForCausalLM",
                  .classifier = "MptForSequenceClassification",
                  .read = &readMpt};
    family.targets = {.lowRank = {"Wqkv"}, .adaptive = std::vector<std::string>{}};
    family.gguf = {.architecture = "mpt",
                   .isGelu = true,
                   .hidden = "d_model",
                   .layers = "n_layers",
                   .heads = "n_heads",
                   .keyValueHeads = "",
                   .intermediate = "",
                   .positions = "max_seq_len",
                   .normEps = "layer_norm_epsilon",
                   .headSize = ""};
    family.gguf.ownKeys = [](const ModelDescription&) {
        return GgufKeys{{"attention.max_alibi_bias", 8.0f}};
    };
    family.gguf.toConfig = [](Json& config, GgufFacts& facts) {
        config["attn_config"] = Json{{"alibi", true}};
        facts.copyNumber(config["attn_config"], "clip_qkv", "attention.clamp_kqv");
        config["no_bias"] = true;
    };
    return family;
}

}  // namespace luthier
