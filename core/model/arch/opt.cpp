// SPDX-License-Identifier: Apache-2.0
// OPT (Zhang et al. 2022; Hugging Face `OPTForCausalLM`): learned positions from row 2, norms
// before (350M: after) each part, embeddings that may be narrower than the blocks.
#include "model/arch/families.h"

namespace luthier {

namespace {

Result<ModelDescription> readOpt(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d;
    d.vocabulary = read.integer("vocab_size");
    d.hidden = read.integer("hidden_size");
    d.layers = read.integer("num_hidden_layers");
    d.heads = d.keyValueHeads = read.integer("num_attention_heads");
    d.intermediate = read.integer("ffn_dim");
    d.maxPositions = read.integer("max_position_embeddings", 2048);
    d.headSize = d.heads > 0 ? d.hidden / d.heads : 0;
    d.norm = NormKind::LayerNorm;
    d.normEps = 1e-5;
    d.feedForward = FeedForwardKind::Plain;
    d.position = PositionKind::Learned;
    d.positionOffset = 2;
    d.activation = read.activation("activation_function", "relu");
    d.hasQkvBias = d.hasAttentionOutBias = d.hasFeedForwardBias = read.flag("enable_bias", true);
    d.hasNormWeight = d.hasNormBias = read.flag("layer_norm_elementwise_affine", true);
    d.isTied = read.flag("tie_word_embeddings", true);
    d.initializerRange = read.number("init_std", 0.02);
    const bool isBefore = read.flag("do_layer_norm_before", true);
    d.flow = isBefore ? BlockFlow::Sequential : BlockFlow::PostNorm;
    d.embeddingWidth = read.integer("word_embed_proj_dim", d.hidden);
    d.names = {.embedding = "model.decoder.embed_tokens",
               .positions = "model.decoder.embed_positions",
               .finalNorm = isBefore && !read.flag("_remove_final_layer_norm", false)
                                ? "model.decoder.final_layer_norm"
                                : "",
               .head = "lm_head",
               .layers = "model.decoder.layers.",
               .attentionNorm = "self_attn_layer_norm",
               .query = "self_attn.q_proj",
               .key = "self_attn.k_proj",
               .value = "self_attn.v_proj",
               .attentionOut = "self_attn.out_proj",
               .feedForwardNorm = "final_layer_norm",
               .up = "fc1",
               .down = "fc2"};
    if (d.embeddingWidth != d.hidden) {
        d.names.projectIn = "model.decoder.project_in";
        d.names.projectOut = "model.decoder.project_out";
    }
    d.prefixes = {"model."};
    return finished(read, std::move(d));
}

}  // namespace

Family optFamily() {
    Family family{.modelType = "opt",
                  .title = "OPT",
                  .architecture = "OPTForCausalLM",
                  .classifier = "OPTForSequenceClassification",
                  .read = &readOpt};
    family.targets = {.lowRank = {"q_proj", "v_proj"},
                      .scaled = {"q_proj", "k_proj", "fc2"},
                      .scaledFeedForward = {"fc2"},
                      .adaptive = std::vector<std::string>{"q_proj", "k_proj", "v_proj", "out_proj",
                                                           "fc1", "fc2"}};
    return family;
}

}  // namespace luthier
