// SPDX-License-Identifier: Apache-2.0
// Falcon (Almazrouei et al. 2023; Hugging Face `FalconForCausalLM`): 7B (one key-value head,
// parallel parts), 40B and 180B (the new decoder), and RW with ALiBi.
#include "model/arch/families.h"

namespace luthier {

namespace {

Result<ModelDescription> readFalcon(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d;
    d.vocabulary = read.integer("vocab_size");
    d.hidden = read.eitherInteger("hidden_size", "n_embed");
    d.layers = read.eitherInteger("num_hidden_layers", "n_layer");
    d.heads = read.eitherInteger("num_attention_heads", "n_head");
    d.intermediate = read.integer("ffn_hidden_size", 4 * d.hidden);
    d.maxPositions = read.integer("max_position_embeddings", 2048);
    d.headSize = d.heads > 0 ? d.hidden / d.heads : 0;
    d.norm = NormKind::LayerNorm;
    d.normEps = read.number("layer_norm_epsilon", 1e-5);
    d.feedForward = FeedForwardKind::Plain;
    const bool isNew = read.flag("new_decoder_architecture", false);
    const bool hasOneKey = read.flag("multi_query", true);
    const bool isParallel = read.flag("parallel_attn", true) || isNew;
    d.keyValueHeads = isNew ? read.integer("num_kv_heads", d.heads) : hasOneKey ? 1 : d.heads;
    d.activation = read.activation("activation", "gelu");
    d.hasNormBias = true;
    d.hasQkvBias = d.hasAttentionOutBias = d.hasFeedForwardBias = read.flag("bias", false);
    d.isTied = read.flag("tie_word_embeddings", true);
    d.initializerRange = read.number("initializer_range", 0.02);
    d.flow = isParallel ? BlockFlow::Parallel : BlockFlow::Sequential;
    d.qkvLayout = isNew || !hasOneKey ? QkvLayout::Grouped : QkvLayout::Blocks;
    // transformers repeats the keys of the new decoder for every query head before it caches them.
    if (d.qkvLayout == QkvLayout::Grouped) d.prefixHeads = d.heads;
    if (!read.problems().empty()) return read.problems();
    if (read.flag("alibi", false)) {
        d.position = PositionKind::Alibi;
        d.alibi = AlibiKind::Falcon;
    } else {
        Result<RopeSpec> rope = readRope(config, file, d.headSize, 10000);
        if (!rope) return rope.problems();
        d.rope = *rope;
    }
    const bool hasTwoNorms = isNew && read.integer("num_ln_in_parallel_attn", 2) == 2;
    d.learnsPadding = true;
    d.names = {.embedding = "transformer.word_embeddings",
               .finalNorm = "transformer.ln_f",
               .head = "lm_head",
               .layers = "transformer.h.",
               .attentionNorm = hasTwoNorms ? "ln_attn" : "input_layernorm",
               .fusedQkv = "self_attention.query_key_value",
               .attentionOut = "self_attention.dense",
               .feedForwardNorm = hasTwoNorms  ? "ln_mlp"
                                  : isParallel ? ""
                                               : "post_attention_layernorm",
               .up = "mlp.dense_h_to_4h",
               .down = "mlp.dense_4h_to_h"};
    d.prefixes = {"transformer."};
    d.ignoredSuffixes = {".rotary_emb.inv_freq", ".maybe_rotary.inv_freq"};
    return finished(read, std::move(d));
}

}  // namespace

Family falconFamily() {
    Family family{.modelType = "falcon",
                  .title = "Falcon",
                  .architecture = "FalconForCausalLM",
                  .classifier = "FalconForSequenceClassification",
                  .read = &readFalcon};
    family.targets = {.lowRank = {"query_key_value"},
                      .scaled = {"query_key_value", "dense_4h_to_h"},
                      .scaledFeedForward = {"dense_4h_to_h"},
                      .adaptive = std::vector<std::string>{},
                      .norms = {"input_layernorm", "post_attention_layernorm", "ln_f"}};
    family.gguf = {.architecture = "falcon",
                   .isGelu = true,
                   .hasNormsSwapped = true,
                   .keyValueHeads = "num_kv_heads",
                   .intermediate = "ffn_hidden_size",
                   .normEps = "layer_norm_epsilon",
                   .headSize = ""};
    family.gguf.lacks = [](const ModelDescription& d) -> std::string {
        return d.flow == BlockFlow::Parallel && d.position == PositionKind::Rope
                   ? ""
                   : "ALiBi or parts one after another (Falcon RW)";
    };
    family.gguf.toConfig = [](Json& config, GgufFacts& facts) {
        const bool hasTwoNorms = facts.hasTensor("blk.0.attn_norm_2.weight");
        const bool isNew = hasTwoNorms || facts.whole("attention.head_count_kv") != 1;
        config["new_decoder_architecture"] = isNew;
        config["multi_query"] = !isNew;
        config["parallel_attn"] = true;
        config["bias"] = config["alibi"] = false;
        if (isNew) config["num_ln_in_parallel_attn"] = hasTwoNorms ? 2 : 1;
    };
    return family;
}

}  // namespace luthier
