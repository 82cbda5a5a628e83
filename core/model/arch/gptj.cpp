// SPDX-License-Identifier: Apache-2.0
// GPT-J (Wang & Komatsuzaki 2021; Hugging Face `GPTJForCausalLM`): parallel parts behind one
// LayerNorm, neighbouring values rotated.
#include "model/arch/families.h"

namespace luthier {

namespace {

Result<ModelDescription> readGptJ(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d;
    d.vocabulary = read.integer("vocab_size");
    d.hidden = read.integer("n_embd");
    d.layers = read.integer("n_layer");
    d.heads = d.keyValueHeads = read.integer("n_head");
    d.intermediate = read.integer("n_inner", 4 * d.hidden);
    d.maxPositions = read.integer("n_positions", 2048);
    d.headSize = d.heads > 0 ? d.hidden / d.heads : 0;
    d.norm = NormKind::LayerNorm;
    d.normEps = read.number("layer_norm_epsilon", 1e-5);
    d.feedForward = FeedForwardKind::Plain;
    d.flow = BlockFlow::Parallel;
    d.rope.rotary = read.integer("rotary_dim", d.headSize);
    d.rope.maxPositions = d.rope.originalPositions = d.maxPositions;
    read.require("rotary_dim",
                 d.rope.rotary >= 2 && d.rope.rotary % 2 == 0 && d.rope.rotary <= d.headSize,
                 "even and at most the head size");
    d.ropePairs = kernels::RopePairs::Neighbours;
    d.activation = read.activation("activation_function", "gelu_new");
    d.hasFeedForwardBias = d.hasNormBias = d.hasHeadBias = true;
    d.isTied = read.flag("tie_word_embeddings", false);
    d.initializerRange = read.number("initializer_range", 0.02);
    d.learnsPadding = true;
    d.names = {.embedding = "transformer.wte",
               .finalNorm = "transformer.ln_f",
               .head = "lm_head",
               .layers = "transformer.h.",
               .attentionNorm = "ln_1",
               .query = "attn.q_proj",
               .key = "attn.k_proj",
               .value = "attn.v_proj",
               .attentionOut = "attn.out_proj",
               .up = "mlp.fc_in",
               .down = "mlp.fc_out"};
    d.prefixes = {"transformer."};
    d.ignoredSuffixes = {".attn.bias", ".attn.masked_bias", ".attn.embed_positions"};
    return finished(read, std::move(d));
}

}  // namespace

Family gptjFamily() {
    Family family{.modelType = "gptj",
                  .title = "GPT-J",
                  .architecture = "GPTJForCausalLM",
                  .classifier = "GPTJForSequenceClassification",
                  .read = &readGptJ};
    family.targets = {.lowRank = {"q_proj", "v_proj"},
                      .scaled = {"q_proj", "v_proj", "fc_out"},
                      .scaledFeedForward = {"fc_out"},
                      .norms = {"ln_1", "ln_f"}};
    return family;
}

}  // namespace luthier
