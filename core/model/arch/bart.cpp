// SPDX-License-Identifier: Apache-2.0
// BART (Lewis et al. 2020; Hugging Face `BartForConditionalGeneration`): encoder-decoder,
// post-LayerNorm, learned positions that start at row 2, biases everywhere. mBART (Liu et al. 2020)
// puts the norms before each part and one after each stack.
#include "model/arch/families.h"

namespace luthier {

namespace {

ModelDescription stackOf(ConfigReader& read, const std::string& stack, bool isPreNorm,
                         bool isDecoder) {
    const auto key = [&](const char* name) { return stack + name; };
    ModelDescription d;
    d.vocabulary = read.integer("vocab_size");
    d.hidden = read.integer("d_model");
    d.layers = read.integer(key("_layers").c_str());
    d.heads = d.keyValueHeads = read.integer(key("_attention_heads").c_str());
    d.headSize = d.heads > 0 ? d.hidden / d.heads : 0;
    d.intermediate = read.integer(key("_ffn_dim").c_str());
    d.maxPositions = read.integer("max_position_embeddings", 1024);
    d.isCausal = isDecoder;
    d.norm = NormKind::LayerNorm;
    d.normEps = 1e-5;
    d.position = PositionKind::Learned;
    d.positionOffset = 2;
    d.flow = isPreNorm ? BlockFlow::Sequential : BlockFlow::PostNorm;
    d.feedForward = FeedForwardKind::Plain;
    d.activation = read.activation("activation_function", "gelu");
    d.hasQkvBias = d.hasAttentionOutBias = d.hasFeedForwardBias = d.hasNormBias = true;
    if (read.flag("scale_embedding", false) && d.hidden > 0)
        d.embeddingScale = std::sqrt(static_cast<double>(d.hidden));
    const std::string path = "model." + stack + ".";
    d.names = {.embedding = "model.shared",
               .positions = path + "embed_positions",
               .embeddingNorm = path + "layernorm_embedding",
               .finalNorm = isPreNorm ? path + "layer_norm" : "",
               .head = "lm_head",
               .layers = path + "layers.",
               .attentionNorm = "self_attn_layer_norm",
               .query = "self_attn.q_proj",
               .key = "self_attn.k_proj",
               .value = "self_attn.v_proj",
               .attentionOut = "self_attn.out_proj",
               .feedForwardNorm = "final_layer_norm",
               .up = "fc1",
               .down = "fc2"};
    if (isDecoder) {
        d.names.crossNorm = "encoder_attn_layer_norm";
        d.names.crossQuery = "encoder_attn.q_proj";
        d.names.crossKey = "encoder_attn.k_proj";
        d.names.crossValue = "encoder_attn.v_proj";
        d.names.crossOut = "encoder_attn.out_proj";
    }
    return d;
}

Result<ModelDescription> readFamily(const Json& config, const std::string& file, bool isPreNorm) {
    ConfigReader read(config, file);
    ModelDescription d = stackOf(read, "decoder", isPreNorm, true);
    d.encoder =
        std::make_shared<const ModelDescription>(stackOf(read, "encoder", isPreNorm, false));
    d.isTied = read.flag("tie_word_embeddings", true);
    read.require("tie_word_embeddings", d.isTied,
                 "true: encoder and decoder share one embedding here");
    d.startsWithLast = isPreNorm;
    d.decoderStart = read.integer("decoder_start_token_id", read.integer("eos_token_id", 2));
    d.initializerRange = read.number("init_std", 0.02);
    d.prefixes = {"model."};
    d.ignoredSuffixes = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"};
    d.zeroTensors = {"final_logits_bias"};
    d.classifier = {.pooling = Pooling::LastEnd,
                    .dense = "classification_head.dense",
                    .activation = PoolActivation::Tanh,
                    .head = "classification_head.out_proj",
                    .hasHeadBias = true};
    return finished(read, std::move(d));
}

Result<ModelDescription> readBart(const Json& config, const std::string& file) {
    return readFamily(config, file, false);
}
Result<ModelDescription> readMbart(const Json& config, const std::string& file) {
    return readFamily(config, file, true);
}

}  // namespace

Family bartFamily() {
    Family family{.modelType = "bart",
                  .title = "BART",
                  .architecture = "BartForConditionalGeneration",
                  .classifier = "BartForSequenceClassification",
                  .read = &readBart};
    family.targets = {
        .lowRank = {"q_proj", "v_proj"},
        .scaled = {"q_proj", "v_proj", "fc2"},
        .scaledFeedForward = {"fc2"},
        .adaptive =
            std::vector<std::string>{"q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"},
        .norms = {"self_attn_layer_norm", "encoder_attn_layer_norm", "final_layer_norm"}};
    return family;
}

Family mbartFamily() {
    Family family{.modelType = "mbart",
                  .title = "mBART",
                  .architecture = "MBartForConditionalGeneration",
                  .classifier = "MBartForSequenceClassification",
                  .read = &readMbart};
    return family;
}

}  // namespace luthier
