// SPDX-License-Identifier: Apache-2.0
// StableLM (Stability AI 2024; Hugging Face `StableLmForCausalLM`): LayerNorm, a quarter of each
// head rotated, optionally parallel parts.
#include "model/arch/families.h"

namespace luthier {

namespace {

Result<ModelDescription> readStableLm(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d = llamaLike(read, config, file, 10000, 0.25);
    d.norm = NormKind::LayerNorm;
    d.hasNormBias = true;
    d.normEps = read.number("layer_norm_eps", 1e-5);
    d.hasQkvBias = read.flag("use_qkv_bias", false);
    if (read.flag("use_parallel_residual", false)) {
        d.flow = BlockFlow::Parallel;
        d.names.feedForwardNorm = "";
    }
    if (read.flag("qk_layernorm", false)) {
        d.queryKeyNorm = QueryKeyNorm::OwnPerHead;
        d.names.queryNorm = "self_attn.q_layernorm";
        d.names.keyNorm = "self_attn.k_layernorm";
    }
    return finished(read, std::move(d));
}

}  // namespace

Family stablelmFamily() {
    Family family{.modelType = "stablelm",
                  .title = "StableLM",
                  .architecture = "StableLmForCausalLM",
                  .classifier = "StableLmForSequenceClassification",
                  .read = &readStableLm};
    family.gguf = {.architecture = "stablelm",
                   .needsHead = true,
                   .takesBiases = true,
                   .normEps = "layer_norm_eps",
                   .saysRotaryShare = true};
    family.gguf.ownKeys = [](const ModelDescription& d) {
        return GgufKeys{{"use_parallel_residual", d.flow == BlockFlow::Parallel}};
    };
    family.gguf.toConfig = [](Json& config, GgufFacts& facts) {
        config["use_qkv_bias"] = facts.hasQkvBias();
        config["qk_layernorm"] = facts.hasTensor("blk.0.attn_q_norm.weight");
        config["use_parallel_residual"] = facts.isSet("use_parallel_residual");
    };
    return family;
}

}  // namespace luthier
