// SPDX-License-Identifier: Apache-2.0
// Phi 1, 1.5 and 2 (Gunasekar et al. 2023; Hugging Face `PhiForCausalLM`): parallel parts behind
// one LayerNorm, half of each head rotated.
#include "model/arch/families.h"

namespace luthier {

namespace {

Result<ModelDescription> readPhi(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d = llamaLike(read, config, file, 10000, 0.5);
    d.norm = NormKind::LayerNorm;
    d.hasNormBias = true;
    d.normEps = read.number("layer_norm_eps", 1e-5);
    d.flow = BlockFlow::Parallel;
    d.feedForward = FeedForwardKind::Plain;
    d.activation = read.activation("hidden_act", "gelu_new");
    d.hasQkvBias = d.hasAttentionOutBias = d.hasFeedForwardBias = d.hasHeadBias = true;
    d.names.finalNorm = "model.final_layernorm";
    d.names.attentionOut = "self_attn.dense";
    d.names.feedForwardNorm = "";
    d.names.gate = "";
    d.names.up = "mlp.fc1";
    d.names.down = "mlp.fc2";
    if (read.flag("qk_layernorm", false)) {
        d.queryKeyNorm = QueryKeyNorm::PerHead;
        d.hasQueryKeyNormBias = true;
        d.names.queryNorm = "self_attn.q_layernorm";
        d.names.keyNorm = "self_attn.k_layernorm";
    }
    return finished(read, std::move(d));
}

}  // namespace

Family phiFamily() {
    Family family{.modelType = "phi",
                  .title = "Phi",
                  .architecture = "PhiForCausalLM",
                  .classifier = "PhiForSequenceClassification",
                  .read = &readPhi};
    family.targets = {.lowRank = {"q_proj", "v_proj", "fc1", "fc2"},
                      .scaled = {"q_proj", "v_proj", "fc2"},
                      .scaledFeedForward = {"fc2"},
                      .adaptive = std::vector<std::string>{},
                      .sharedMatrices = std::vector<std::string>{"q_proj", "v_proj"},
                      .norms = {"input_layernorm", "final_layernorm"}};
    family.gguf = {.architecture = "phi2",
                   .needsHead = true,
                   .takesBiases = true,
                   .isGelu = true,
                   .normEps = "layer_norm_eps",
                   .saysRotaryShare = true};
    family.gguf.lacks = [](const ModelDescription& d) -> std::string {
        return d.queryKeyNorm == QueryKeyNorm::None ? "" : "qk_layernorm";
    };
    return family;
}

}  // namespace luthier
