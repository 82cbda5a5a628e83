// SPDX-License-Identifier: Apache-2.0
// Command R (Cohere 2024; Hugging Face `CohereForCausalLM`): parallel parts behind one LayerNorm
// without bias, neighbouring values rotated.
#include "model/arch/families.h"

namespace luthier {

namespace {

Result<ModelDescription> readCohere(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d = llamaLike(read, config, file);
    d.norm = NormKind::LayerNorm;
    d.normEps = read.number("layer_norm_eps", 1e-5);
    d.flow = BlockFlow::Parallel;
    d.names.feedForwardNorm = "";
    d.ropePairs = kernels::RopePairs::Neighbours;
    d.logitScale = read.number("logit_scale", 0.0625);
    d.isTied = read.flag("tie_word_embeddings", true);
    d.hasQkvBias = d.hasAttentionOutBias = read.flag("attention_bias", false);
    read.require("use_qk_norm", !read.flag("use_qk_norm", false), "false");
    return finished(read, std::move(d));
}

}  // namespace

Family cohereFamily() {
    Family family{.modelType = "cohere",
                  .title = "Command R",
                  .architecture = "CohereForCausalLM",
                  .classifier = nullptr,
                  .read = &readCohere};
    family.gguf = {.architecture = "command-r", .normEps = "layer_norm_eps"};
    family.gguf.lacks = [](const ModelDescription& d) -> std::string {
        return d.isTied ? "" : "a head that is not the embedding";
    };
    family.gguf.ownKeys = [](const ModelDescription& d) {
        return GgufKeys{{"logit_scale", static_cast<float>(d.logitScale)}};
    };
    family.gguf.toConfig = [](Json& config, GgufFacts& facts) {
        facts.copyNumber(config, "logit_scale", "logit_scale");
        config["use_qk_norm"] = facts.hasTensor("blk.0.attn_q_norm.weight");
    };
    return family;
}

}  // namespace luthier
